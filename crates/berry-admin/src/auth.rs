//! Who may call: the table of endpoints says which role, this finds out whether the caller has it.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::Control;
use crate::error::ApiError;

/// The user who asks, for endpoints behind [`admins_only`].
#[derive(Clone, Debug)]
pub(crate) struct Admin(pub(crate) String);

/// Lets users tagged `admin` through.
pub(crate) async fn admins_only(State(control): State<Control>, mut request: Request, next: Next) -> Response {
    let admin = bearer(request.headers()).and_then(|token| control.gateway.admin(token));
    match admin {
        Some(id) => {
            request.extensions_mut().insert(Admin(id.to_string()));
            next.run(request).await
        }
        None => ApiError::unauthorized().into_response(),
    }
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
