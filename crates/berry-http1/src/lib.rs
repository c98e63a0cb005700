//! HTTP/1 message syntax (RFC 9112): bytes to heads and bodies, and back. Pure: no sockets, no runtime, no header map.
//!
//! Why an own reader: the common ones accept a bare LF, let Transfer-Encoding stand beside Content-Length, merge equal
//! lengths, and answer a malformed head with no body. A gateway that another proxy stands in front of must not read a message
//! differently from that proxy, so whatever is ambiguous is refused here (see [`Fault`]), once, before anything else sees it.
//! It knows nothing of models, users or providers.

mod chunked;
mod fields;
mod request;
mod response;
mod write;

pub use chunked::{ChunkedReader, Decoded};
pub use fields::{Field, Span, find_head_end};
pub use request::{Method, RequestHead, read_request};
pub use response::{ResponseHead, read_response};
pub use write::{chunk_size_line, push_decimal, push_field, push_status_line, reason};

use std::fmt;

/// Bounds on a head. Berry's defaults are those of its failure model: 32 KiB, 100 fields, a target of 8 KiB.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest head, in bytes, its blank line included.
    pub head: usize,
    /// Most field lines.
    pub fields: usize,
    /// Longest request target, in bytes.
    pub target: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: 32 * 1024, fields: 100, target: 8 * 1024 }
    }
}

/// HTTP/1's two versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunks, closed after the answer unless agreed otherwise.
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

/// How the length of a message's body is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, the last of length 0.
    Chunked,
    /// Until the connection ends (answers only).
    UntilClose,
}

/// Why a message was refused. The connection cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The message is malformed, or could be read in two ways; the text says how, for people.
    Malformed(&'static str),
    /// The target is longer than its limit.
    TargetTooLong,
    /// The head is larger than its limit, or has too many fields.
    HeadTooLarge,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// A transfer coding other than chunked.
    TransferCoding,
    /// A method that makes a tunnel of the connection (CONNECT) or shows what came in (TRACE): no path is served by them.
    Method,
}

impl Fault {
    /// The status that tells a client of it.
    pub fn status(self) -> u16 {
        match self {
            Fault::Malformed(_) => 400,
            Fault::TargetTooLong => 414,
            Fault::HeadTooLarge => 431,
            Fault::Version => 505,
            Fault::TransferCoding | Fault::Method => 501,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Malformed(how) => how,
            Fault::TargetTooLong => "the request target is too long",
            Fault::HeadTooLarge => "the message head is too large",
            Fault::Version => "the HTTP version is not supported",
            Fault::TransferCoding => "the transfer coding is not supported",
            Fault::Method => "the method is not supported",
        })
    }
}

impl std::error::Error for Fault {}
