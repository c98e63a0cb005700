//! Who may call, and from where: the table of endpoints says which role, this finds out whether the caller has it.

use std::net::IpAddr;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use berry_proxy::{Door, Origin};
use berry_store::audit::{Actor, Event};
use berry_vocab::Code;

use crate::Control;
use crate::caller::Caller;
use crate::endpoint::{PROBE, is_known};
use crate::error::ApiError;

/// Lets requests through that come from where they may, before anything else of them is looked at, and notes their origin for
/// [`admins_only`]. The address is that of the connection's peer, which the listener knows.
pub(crate) async fn known_addresses_only(
    State((control, peer)): State<(Control, IpAddr)>,
    mut request: Request,
    next: Next,
) -> Response {
    let fields = request.headers().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let origin = control.gateway.origin(peer, fields);
    request.extensions_mut().insert(origin);
    let door = if request.uri().path() == PROBE { Door::Probe } else { Door::Admin };
    if !control.gateway.lets_in(origin, door) {
        return refuse(Code::IpForbidden, &control, &request).into_response();
    }
    next.run(request).await
}

/// Lets users tagged `admin` through, and tells the endpoint who it is. Without the origin, which the listener notes, nobody is.
pub(crate) async fn admins_only(
    State(control): State<Control>,
    Extension(origin): Extension<Origin>,
    mut request: Request,
    next: Next,
) -> Response {
    let token = bearer(request.headers()).ok_or(Code::AuthMissingOrInvalid);
    match token.and_then(|token| control.gateway.admin(token, origin)) {
        Ok(id) => {
            let caller = Caller::of(Actor::User(id.to_string()), &request);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(code) => refuse(code, &control, &request).into_response(),
    }
}

/// The one place where somebody is turned away.
fn refuse(code: Code, control: &Control, request: &Request) -> ApiError {
    let unix_millis = control.gateway.clock().unix_millis();
    control.audit.note_refusal(code, unix_millis, || {
        let Caller(who) = Caller::of(Actor::Unknown, request);
        // One of the table's paths: what a stranger writes beyond it is none of the log's.
        let resource = known_path(request.uri().path());
        Event { unix_millis, who, action: "refuse".into(), resource, result: code.as_str().into(), diff: None }
    });
    match code {
        Code::IpForbidden => ApiError::forbidden_from_there(),
        _ => ApiError::unauthorized(),
    }
}

/// A path as the log has it: what strangers ask beyond the table is none of its.
fn known_path(path: &str) -> String {
    if is_known(path) { path.to_owned() } else { "an unknown path".to_owned() }
}

/// The token of the one `Authorization` header. Two of them are none: it would be a guess which one is meant.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        bearer(&headers).map(|token| String::from_utf8_lossy(token).into_owned())
    }

    #[test]
    fn only_one_bearer_token_is_a_credential() {
        assert_eq!(token(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(token(&["bearer  abc"]).as_deref(), Some("abc"));
        for values in [&[][..], &["Basic abc"], &["abc"], &["Bearer"], &["Bearer a", "Bearer a"]] {
            assert_eq!(token(values), None, "{values:?}");
        }
    }
}
