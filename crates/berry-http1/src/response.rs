//! Response heads, as upstreams send them.

use crate::fields::{self, Field, Meaning};
use crate::{Fault, Framing, Limits, Version};

/// A response's head, as spans of the bytes that it was read from. Reused, so that reading allocates nothing.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// Status code, 100 to 999.
    pub status: u16,
    /// Version.
    pub version: Version,
    /// Field lines in their order.
    pub fields: Vec<Field>,
    /// Length of the head with its blank line, in bytes.
    pub length: usize,
    /// How long the body is.
    pub framing: Framing,
    /// Whether the connection may serve another request afterwards.
    pub keep_alive: bool,
}

impl ResponseHead {
    /// The value of the first field of that name (lower case).
    pub fn first<'b>(&self, bytes: &'b [u8], name: &str) -> Option<&'b [u8]> {
        let field = self.fields.iter().find(|field| field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes()))?;
        Some(field.value.of(bytes))
    }
}

/// Reads the head of an answer to a request that was no HEAD. `Ok(false)`: it is not complete yet.
///
/// # Errors
/// A malformed head, or lengths that contradict each other; the connection must not be used again.
pub fn read_response(bytes: &[u8], limits: &Limits, head: &mut ResponseHead) -> Result<bool, Fault> {
    head.fields.clear();
    let complete = match read_status_line(bytes, head)? {
        Some(at) => read_fields(bytes, at, limits, head)?,
        None => false,
    };
    let length = if complete { head.length } else { bytes.len() };
    if length > limits.head { Err(Fault::HeadTooLarge) } else { Ok(complete) }
}

fn read_status_line(bytes: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, Fault> {
    const MALFORMED: Fault = Fault::Malformed("the status line must be a version, a status and a reason");
    const LONGEST_REASON: usize = 256;
    let prefix = bytes.get(..bytes.len().min(7)).unwrap_or_default();
    if !b"HTTP/1.".starts_with(prefix) {
        return Err(MALFORMED);
    }
    let Some(&[.., minor, b' ', a, b, c, after]) = bytes.first_chunk::<13>() else {
        return if bytes.len() < 13 { Ok(None) } else { Err(MALFORMED) };
    };
    let digits = [a, b, c];
    let good =
        (minor == b'0' || minor == b'1') && digits.iter().all(u8::is_ascii_digit) && (after == b' ' || after == b'\r');
    if !good || a == b'0' {
        return Err(MALFORMED);
    }
    head.version = if minor == b'0' { Version::Http10 } else { Version::Http11 };
    head.status = digits.iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0'));
    let reason = bytes.get(12..).unwrap_or_default();
    match memchr::memchr(b'\n', reason.get(..reason.len().min(LONGEST_REASON)).unwrap_or_default()) {
        Some(lf) if lf > 0 && reason.get(lf - 1) == Some(&b'\r') => Ok(Some(12 + lf + 1)),
        Some(_) => Err(MALFORMED),
        None if reason.len() >= LONGEST_REASON => Err(MALFORMED),
        None => Ok(None),
    }
}

fn read_fields(bytes: &[u8], at: usize, limits: &Limits, head: &mut ResponseHead) -> Result<bool, Fault> {
    let mut meaning = Meaning::default();
    let Some(end) = fields::read_fields(bytes, at, limits, &mut head.fields, &mut meaning)? else { return Ok(false) };
    head.length = end;
    head.framing = match (head.status, meaning.codings, meaning.content_length) {
        (100..=199 | 204 | 304, _, _) => Framing::None,
        (_, 1, None) if meaning.chunked => Framing::Chunked,
        (_, 1.., _) => return Err(Fault::Malformed("the answer's transfer-encoding is not chunked alone")),
        (_, 0, Some(_)) if meaning.lengths_differ => return Err(Fault::Malformed("the answer's lengths differ")),
        (_, 0, Some(0)) => Framing::None,
        (_, 0, Some(length)) => Framing::Length(length),
        (_, 0, None) => Framing::UntilClose,
    };
    let persistent = !meaning.close && (head.version == Version::Http11 || meaning.keep_alive);
    head.keep_alive = persistent && head.framing != Framing::UntilClose;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<ResponseHead>, Fault> {
        let mut head = ResponseHead::default();
        read_response(text.as_bytes(), &Limits::default(), &mut head).map(|complete| complete.then_some(head))
    }

    #[test]
    fn framing_follows_status_and_fields() {
        for (text, framing, keep_alive) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Framing::Length(5), true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Framing::Length(5), true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Chunked, true),
            ("HTTP/1.1 200\r\n\r\n", Framing::UntilClose, false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", Framing::Length(5), false),
            ("HTTP/1.1 204 No Content\r\n\r\n", Framing::None, true),
            ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", Framing::None, true),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", Framing::None, false),
        ] {
            let head = read(text).unwrap().unwrap();
            assert_eq!((head.framing, head.keep_alive, head.length), (framing, keep_alive, text.len()), "{text}");
            for end in 0..text.len() {
                assert!(read(&text[..end]).unwrap().is_none(), "{text} complete at {end}");
            }
        }
    }

    #[test]
    fn contradictions_and_garbage_are_refused() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 020 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "<html><body>",
            "SSH-2.0-OpenSSH_9.2\r\n",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(&format!("HTTP/1.1 200 {}", "x".repeat(300))).is_err());
        assert_eq!(
            read(&format!("HTTP/1.1 200 OK\r\nX: {}\r\n", "x".repeat(40_000))).unwrap_err(),
            Fault::HeadTooLarge
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let mut head = ResponseHead::default();
            let _ = read_response(&bytes, &Limits::default(), &mut head);
            let mut after_prefix = b"HTTP/1.1 200 OK\r\n".to_vec();
            after_prefix.extend(bytes);
            let _ = read_response(&after_prefix, &Limits::default(), &mut head);
        }
    }
}
