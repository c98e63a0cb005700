//! Who calls: as the audit log names them, and what they do recorded there before it is done.

use axum::extract::{FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use berry_proxy::Origin;
use berry_store::audit::{Actor, Event, Who};
use tokio::task::spawn_blocking;

use crate::Control;
use crate::error::ApiError;

/// An admin who has proved to be one.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Who);

impl Caller {
    /// The caller of a request.
    pub(crate) fn of(actor: Actor, request: &Request) -> Self {
        let ip = request.extensions().get::<Origin>().and_then(|origin| origin.known());
        Self(Who { actor, ip, request_id: request_id(request.headers()) })
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // Only endpoints that are open to all have none, and they change nothing.
        parts.extensions.get().cloned().ok_or_else(ApiError::unauthorized)
    }
}

impl Control {
    /// Records what a caller is about to change.
    ///
    /// # Errors
    /// It cannot be recorded, so that nothing may be changed.
    pub(crate) async fn record(
        &self,
        Caller(who): Caller,
        action: &'static str,
        resource: String,
    ) -> Result<(), ApiError> {
        let unix_millis = self.gateway.clock().unix_millis();
        let event = Event { unix_millis, who, action: action.into(), resource, result: "allowed".into(), diff: None };
        let audit = self.audit.clone();
        let recorded = spawn_blocking(move || audit.record(event)).await;
        match recorded {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_recorded)) => Err(ApiError::not_recorded(&not_recorded.to_string())),
            Err(_) => Err(ApiError::not_recorded("a fault of Berry's own; its log says where")),
        }
    }
}

/// The caller's own id of the request, where it is well-formed, as the data listener takes it.
fn request_id(headers: &HeaderMap) -> Option<String> {
    const LONGEST: usize = 128;
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
    ((1..=LONGEST).contains(&id.len()) && id.bytes().all(allowed)).then(|| id.to_owned())
}
