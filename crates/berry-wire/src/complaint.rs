//! What a backend says went wrong, read from its status and from the stable fields of its error object; never from prose.
//!
//! The vendors' own words are rows in `complaint/rows.rs`. What an answer with a good status must be to count as one stands in
//! `complaint/plain.rs`.

mod plain;
mod rows;

use berry_vocab::Protocol;
use serde_json::Value;

use crate::error_object::{error_object, find_at};
use rows::ROWS;

pub use plain::{PlainFault, is_page, plain_fault};

/// What a backend complains of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Complaint {
    /// The client's own request is at fault: no backend would take it.
    Client,
    /// The backend does not know the model (or the path), or does not serve it this way: another one may.
    Model,
    /// The key is refused.
    Auth,
    /// The account has nothing left to spend: the key is of no use until somebody pays.
    Quota,
    /// The account's rate limit.
    RateLimit,
    /// The backend is overloaded, whoever asks.
    Overloaded,
    /// The backend gave the request up.
    Timeout,
    /// A fault of the backend's own.
    Server,
}

/// What a status alone complains of. Statuses that no failed answer has are the backend's fault too.
pub fn complaint_of_status(status: u16) -> Complaint {
    match status {
        // 407: a proxy on the way wants to know who Berry is.
        401 | 403 | 407 => Complaint::Auth,
        402 => Complaint::Quota,
        // 405, 410: the path takes no such request, or does no longer. 424, 498: a server of the client's own that it has the
        // model call, and the service tier that it asks for (Groq, November 2026): no other request is any the worse for it.
        404 | 405 | 410 | 424 | 498 => Complaint::Model,
        408 => Complaint::Timeout,
        // What is between two servers, of connections and protocol versions: no client's affair.
        421 | 425 | 426 => Complaint::Server,
        429 => Complaint::RateLimit,
        529 => Complaint::Overloaded,
        400..=499 => Complaint::Client,
        _ => Complaint::Server,
    }
}

/// What an answer complains of: its status, unless its error object is known to say it better.
pub fn complaint(protocol: Protocol, status: u16, body: &[u8]) -> Complaint {
    judge(protocol, Some(status).filter(|status| is_failure(*status)), body)
}

/// Whether a refusal may mean that the account knows nothing of what the request refers to: an id, a file, encrypted reasoning.
/// Vendors have no common word for that; what names none of these things means something else.
pub fn may_lack_state(status: u16, body: &[u8]) -> bool {
    const STATUSES: [u16; 3] = [400, 403, 404];
    const WORDS: [&str; 12] = [
        "not_found",
        "not found",
        "no such",
        "not exist",
        "expired",
        "previous_response",
        "encrypted",
        "conversation",
        "container",
        "file",
        "cached",
        "do not have access",
    ];
    const READ: usize = 16 * 1024;
    let text = body.get(..READ).unwrap_or(body).to_ascii_lowercase();
    let says = |word: &&str| memchr::memmem::find(&text, word.as_bytes()).is_some();
    STATUSES.contains(&status) && (text.trim_ascii().is_empty() || WORDS.iter().any(says))
}

/// What an error object complains of that came without a status: in an answer with a good one, or as an event of a stream.
pub fn of_error_object(protocol: Protocol, body: &[u8]) -> Complaint {
    judge(protocol, None, body)
}

/// A number in the error object stands for the status where there is none.
fn judge(protocol: Protocol, status: Option<u16>, body: &[u8]) -> Complaint {
    let error = error_object(body).unwrap_or_default();
    let status = status.or_else(|| find_at(&error, "/code", &mut status_in));
    if status == Some(529) {
        // Only ever sent for this, whatever the vendor's error object says beside it.
        return Complaint::Overloaded;
    }
    let known = ROWS.iter().find(|row| row.says(protocol, status, &error));
    known.map_or_else(|| complaint_of_status(status.unwrap_or(500)), |row| row.complaint)
}

fn status_in(value: &Value) -> Option<u16> {
    let number = match value {
        Value::String(text) => text.parse().ok()?,
        other => u16::try_from(other.as_u64()?).ok()?,
    };
    Some(number).filter(|number| is_failure(*number))
}

fn is_failure(status: u16) -> bool {
    (400..600).contains(&status)
}

#[cfg(test)]
mod tests;
