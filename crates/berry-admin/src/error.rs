//! Errors of the admin API: always `{"error":{"code","message"}}`, with the codes of the data listener.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::configuration::Refusal;

/// Why a request is not answered as it was meant.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// There is nothing under this path.
    pub(crate) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "route_not_found", message)
    }

    /// The path is known, the method is not its own.
    pub(crate) fn method_not_allowed() -> Self {
        let message = "this endpoint takes another method, see the header `allow`";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// One answer for every reason (security rule E4): none, unknown, malformed, disabled, expired, or no admin's.
    pub(crate) fn unauthorized() -> Self {
        let message = "send the token of a user tagged `admin` as `Authorization: Bearer TOKEN`";
        Self::new(StatusCode::UNAUTHORIZED, "auth_missing_or_invalid", message)
    }

    /// It comes from an address that may not use the listener, or not with this token.
    pub(crate) fn forbidden_from_there() -> Self {
        Self::new(StatusCode::FORBIDDEN, "ip_forbidden", "requests from this address are not taken")
    }

    /// What cannot be recorded is not done (failure model, DK1).
    pub(crate) fn not_recorded(why: &str) -> Self {
        let message = format!("nothing was changed: {why}; make room on the disk of the data directory, or repair it");
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "audit_unavailable", message)
    }

    /// The records cannot be read.
    pub(crate) fn unreadable(error: &std::io::Error) -> Self {
        let message = format!("the audit log cannot be read: {error}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "audit_unavailable", message)
    }

    /// There is no such thing of this kind.
    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "invalid_request", message)
    }

    /// It is right to ask for it, and something stands in the way.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "invalid_request", message)
    }

    /// A parameter that cannot be used.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown(message) => Self::unknown(message),
            Refusal::InTheWay(message) => Self::conflict(message),
            Refusal::NotRecorded(why) => Self::not_recorded(&why.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": {"code": self.code, "message": self.message}}));
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = axum::http::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
