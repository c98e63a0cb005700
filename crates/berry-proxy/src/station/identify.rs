//! Station 2: headers to caller, before the body is read. Unknown, malformed, disabled and expired tokens are all told the same.

use std::sync::Arc;

use berry_vocab::{Code, Failure, Protocol};
use berry_wire::CREDENTIAL_HEADERS;

use crate::client::Request;
use crate::snapshot::{User, Users};

/// The user that a request's credentials belong to. Several in one request must agree. `dialect` says whether the query may
/// carry one (`?key=`, on Gemini's routes alone).
///
/// # Errors
/// `auth_missing_or_invalid`, whatever the reason.
pub(crate) fn caller<'u>(
    request: &Request,
    dialect: Protocol,
    users: &'u Users,
    unix_seconds: i64,
) -> Result<&'u Arc<User>, Failure> {
    token(request, dialect).and_then(|token| users.find(&token, unix_seconds)).ok_or_else(refused)
}

fn refused() -> Failure {
    let message = "the token is missing or not valid; send one as `Authorization: Bearer TOKEN`, `x-api-key`, `api-key` or `x-goog-api-key`";
    Failure::new(Code::AuthMissingOrInvalid, message)
}

/// The one token that all credentials of the request agree on.
fn token(request: &Request, dialect: Protocol) -> Option<Vec<u8>> {
    let mut found: Option<&[u8]> = None;
    for (name, value) in request.fields() {
        let Some(credential) = credential(name, value) else {
            continue;
        };
        let token = credential?;
        if found.is_some_and(|before| before != token) {
            return None;
        }
        found = Some(token);
    }
    let found = found.map(<[u8]>::to_vec);
    if dialect != Protocol::Gemini {
        return found;
    }
    let in_query =
        request.query().into_iter().flat_map(berry_wire::key_parameters).map(|key| key.into_owned().into_bytes());
    let mut all = found.into_iter().chain(in_query);
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// The token in a field, if the field is one that carries credentials; `Some(None)`: it is, and is malformed.
fn credential<'v>(name: &[u8], value: &'v [u8]) -> Option<Option<&'v [u8]>> {
    // By length first, as nearly every field is none of these.
    if !matches!(name.len(), 7 | 9 | 13 | 14)
        || !CREDENTIAL_HEADERS.iter().any(|h| name.eq_ignore_ascii_case(h.as_bytes()))
    {
        return None;
    }
    if name.len() != "authorization".len() {
        return Some(Some(value));
    }
    let (scheme, token) = value.split_at_checked("Bearer ".len()).unwrap_or((value, b""));
    Some(scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii()))
}
