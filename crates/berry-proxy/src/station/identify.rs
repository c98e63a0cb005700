//! Station 2: who asks, and from where; before the body is read. Unknown, malformed, disabled and expired tokens are all told
//! the same. An address that may not come in is told so before its token is looked at; one that its user may not come from, after.

use std::sync::Arc;

use berry_vocab::{Code, Failure, Protocol};
use berry_wire::CREDENTIAL_HEADERS;

use crate::client::Request;
use crate::routes::{Page, Target};
use crate::snapshot::{Door, User};
use crate::station::Ticket;

/// Whether the request may come in from where it comes. `target` is what it asks for, if that is anything.
///
/// # Errors
/// `ip_forbidden`.
pub(crate) fn address(target: Option<&Target<'_>>, ticket: &Ticket) -> Result<(), Failure> {
    let door = match target {
        Some(Target::Page(Page::Live | Page::Ready | Page::Health)) => Door::Probe,
        _ => Door::Data,
    };
    let may_come_in = ticket.snapshot.addresses.let_in(ticket.origin, door);
    if may_come_in { Ok(()) } else { Err(forbidden("requests from this address are not taken")) }
}

/// The user that a request's credentials belong to, also noted in the ticket. Several in one request must agree. `dialect` says
/// whether the query may carry one (`?key=`, on Gemini's routes alone).
///
/// # Errors
/// `auth_missing_or_invalid`, whatever is wrong with the token; `ip_forbidden`, where its user may not come from this address.
pub(crate) fn caller(request: &Request, dialect: Protocol, ticket: &mut Ticket) -> Result<Arc<User>, Failure> {
    let token = token(request, dialect).ok_or_else(refused)?;
    let user = ticket.snapshot.users.find(&token, ticket.unix_seconds()).ok_or_else(refused)?.clone();
    // Before it is refused too: whose token turns up elsewhere is worth knowing.
    ticket.user = Some(user.clone());
    let message = "this token may not be used from this address";
    if user.may_come_from(ticket.origin) { Ok(user) } else { Err(forbidden(message)) }
}

fn forbidden(message: &'static str) -> Failure {
    Failure::new(Code::IpForbidden, message)
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
