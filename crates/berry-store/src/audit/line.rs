//! A record as a line, and the chain of them. A record's hash is SHA-256 over the line's bytes before `,"hash":`, which hold the
//! hash of the record before; a checkpoint has a signature of its hash behind it. So every byte of a line is bound by something,
//! and none of it needs a parser of JSON to be judged.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;

use super::event::Event;
use super::hex;
use super::signing::{Signer, Verifier};

/// The action of a record whose hash is signed.
pub(super) const CHECKPOINT: &str = "audit.checkpoint";

/// A longer text is cut: what a client sends must not decide how long a line is.
const LONGEST_TEXT: usize = 256;
/// The same of a difference, which holds what an operator wrote.
const LONGEST_DIFF: usize = 8 << 10;

/// The newest record of a chain; all zeros before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) hash: [u8; 32],
}

/// A line, taken apart into what binds it to the chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'l> {
    /// What the hash is of.
    hashed: &'l [u8],
    prev: [u8; 32],
    /// What the line says that it is.
    pub(super) link: Link,
    pub(super) signature: Option<[u8; 64]>,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is no record.
    Form,
    /// It was changed.
    Hash,
    /// Others are missing before it, or it stands twice or in the wrong place.
    Order(u64),
    /// It follows another record than the one before it.
    Previous,
    /// It is a checkpoint that this log's key has not signed.
    Signature,
}

// === impl Link ===

impl Link {
    /// Appends the line of an event, which becomes the newest record.
    pub(super) fn push(&mut self, event: &Event, out: &mut Vec<u8>) {
        self.push_hashed(event, out);
        out.extend_from_slice(b"}\n");
    }

    /// Appends a checkpoint.
    pub(super) fn push_checkpoint(&mut self, unix_millis: u64, signer: &Signer, out: &mut Vec<u8>) {
        let event = Event::own(unix_millis, CHECKPOINT, format!("key:{}", signer.id()), "signed");
        self.push_hashed(&event, out);
        out.extend_from_slice(b",\"signature\":\"");
        hex::push(&signer.sign(&statement(self)), out);
        out.extend_from_slice(b"\"}\n");
    }

    fn push_hashed(&mut self, event: &Event, out: &mut Vec<u8>) {
        let start = out.len();
        let seq = self.seq + 1;
        out.extend_from_slice(format!("{{\"seq\":{seq},\"time\":\"{}\"", time(event.unix_millis)).as_bytes());
        for (name, text) in [
            ("actor", Some(event.who.actor.to_string().as_str())),
            ("action", Some(&*event.action)),
            ("resource", Some(&event.resource)),
            ("result", Some(&event.result)),
            ("ip", event.who.ip.map(|ip| ip.to_canonical().to_string()).as_deref()),
            ("request_id", event.who.request_id.as_deref()),
        ] {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            push_text(text, LONGEST_TEXT, out);
        }
        if event.diff.is_some() {
            out.extend_from_slice(b",\"diff\":");
            push_text(event.diff.as_deref(), LONGEST_DIFF, out);
        }
        out.extend_from_slice(b",\"prev\":\"");
        hex::push(&self.hash, out);
        out.push(b'"');
        *self = Self { seq, hash: sha256(out.get(start..).unwrap_or_default()) };
        out.extend_from_slice(b",\"hash\":\"");
        hex::push(&self.hash, out);
        out.push(b'"');
    }
}

// === impl Wrong ===

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Form => f.write_str("this is no record"),
            Wrong::Hash => f.write_str("this record was changed: its hash is another"),
            Wrong::Order(before) => {
                write!(f, "record {} should stand here: records are missing, doubled, or out of order", before + 1)
            }
            Wrong::Previous => f.write_str("this record follows another one than that before it"),
            Wrong::Signature => f.write_str("this log's key has not signed this checkpoint"),
        }
    }
}

// === impl Line ===

impl<'l> Line<'l> {
    /// Takes a line (without its line break) apart; `None`: it is no record.
    pub(super) fn read(line: &'l [u8]) -> Option<Self> {
        let (rest, signature) = match take_last(line.strip_suffix(b"}")?, b",\"signature\":\"", 128) {
            Some((rest, digits)) => (rest, Some(hex::read(digits)?)),
            None => (line.strip_suffix(b"}")?, None),
        };
        let (hashed, hash) = take_last(rest, b",\"hash\":\"", 64)?;
        let (_, prev) = take_last(hashed, b",\"prev\":\"", 64)?;
        let digits = hashed.strip_prefix(b"{\"seq\":")?.split(|byte| *byte == b',').next()?;
        let seq = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(Self { hashed, prev: hex::read(prev)?, link: Link { seq, hash: hex::read(hash)? }, signature })
    }

    /// Whether it is the record that follows `before`, as it was written.
    pub(super) fn check(&self, before: &Link, verifier: Option<&Verifier>) -> Result<(), Wrong> {
        if sha256(self.hashed) != self.link.hash {
            return Err(Wrong::Hash);
        }
        if self.link.seq != before.seq.saturating_add(1) {
            return Err(Wrong::Order(before.seq));
        }
        if self.prev != before.hash {
            return Err(Wrong::Previous);
        }
        if self.signature.is_none() && !self.is_checkpoint() {
            return Ok(());
        }
        let is_signed = |verifier: &Verifier| {
            self.signature.is_some_and(|signature| verifier.has_signed(&statement(&self.link), &signature))
        };
        if verifier.is_some_and(is_signed) { Ok(()) } else { Err(Wrong::Signature) }
    }

    /// The record that it says it follows.
    pub(super) fn before(&self) -> Link {
        Link { seq: self.link.seq.saturating_sub(1), hash: self.prev }
    }

    /// Whether it says that it is one. Quotes within a text are written as `\"`, so that none can say so in its place.
    fn is_checkpoint(&self) -> bool {
        memchr::memmem::find(self.hashed, b",\"action\":\"audit.checkpoint\",").is_some()
    }
}

/// What a checkpoint's signature is of.
fn statement(link: &Link) -> Vec<u8> {
    format!("berry audit checkpoint 1\n{}\n{}\n", link.seq, hex::text(&link.hash)).into_bytes()
}

/// Takes a text of `length` bytes off the end of `bytes`, with the name before it and the quotation mark behind it.
fn take_last<'b>(bytes: &'b [u8], name: &[u8], length: usize) -> Option<(&'b [u8], &'b [u8])> {
    let rest = bytes.strip_suffix(b"\"")?;
    let (rest, text) = rest.split_at_checked(rest.len().checked_sub(length)?)?;
    Some((rest.strip_suffix(name)?, text))
}

/// RFC 3339, in UTC, with milliseconds.
pub(super) fn time(unix_millis: u64) -> String {
    let of = i64::try_from(unix_millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    format!("{:.3}", of.unwrap_or_default())
}

fn push_text(text: Option<&str>, longest: usize, out: &mut Vec<u8>) {
    let Some(text) = text else {
        return out.extend_from_slice(b"null");
    };
    let cut = text.floor_char_boundary(longest);
    out.push(b'"');
    for character in text.get(..cut).unwrap_or_default().chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.extend_from_slice(if cut < text.len() { "…\"".as_bytes() } else { b"\"" });
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap_or_default()
}
