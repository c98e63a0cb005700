//! Field lines, shared by requests and answers, and the search for a head's end.

use crate::{Fault, Framing, Limits};

/// A part of the bytes that a head was read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        // Heads are bounded far below 4 GiB; a larger offset would only give an empty span.
        Self { start: u32::try_from(start).unwrap_or(0), end: u32::try_from(end).unwrap_or(0) }
    }

    /// The part itself. `bytes` are those that the head was read from.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// One field line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Its name, in the case that was sent.
    pub name: Span,
    /// Its value, without the white space around it.
    pub value: Span,
}

/// Where a head ends, looking only at bytes from `from` on: for heads that arrive in pieces.
///
/// Returns the length of the head with its blank line; `None` while it is not complete. Fails on a bare LF, which would
/// otherwise hide the end of a head from this reader but not from others.
pub fn find_head_end(bytes: &[u8], from: usize) -> Result<Option<usize>, Fault> {
    // Two bytes back, so that a CRLF split between two reads is seen; three, so that the line before it is.
    let start = from.saturating_sub(3);
    for at in memchr::memchr_iter(b'\n', bytes.get(start..).unwrap_or_default()).map(|i| start + i) {
        match bytes.get(..at) {
            Some([.., b'\r', b'\n', b'\r']) => return Ok(Some(at + 1)),
            Some([.., b'\r']) => {}
            _ => return Err(Fault::Malformed("a line must end with CRLF, not with a bare LF")),
        }
    }
    Ok(None)
}

/// What the fields say about the message itself.
#[derive(Debug, Default)]
pub(crate) struct Meaning {
    pub(crate) content_length: Option<u64>,
    pub(crate) lengths_differ: bool,
    pub(crate) lengths: u8,
    pub(crate) codings: u8,
    pub(crate) chunked: bool,
    pub(crate) hosts: u8,
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) names_fields: bool,
    pub(crate) expect_continue: bool,
    pub(crate) expect_other: bool,
    /// Whether a name stands for a guarded one with `_` for `-`.
    pub(crate) has_twin: bool,
}

impl Meaning {
    /// Takes a field into account if it is one of those that frame or steer the message.
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        // By length first: nearly every field is dismissed by one comparison.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts = self.hosts.saturating_add(1),
            6 if name.eq_ignore_ascii_case(b"expect") => match value.eq_ignore_ascii_case(b"100-continue") {
                true => self.expect_continue = true,
                false => self.expect_other = true,
            },
            10 if name.eq_ignore_ascii_case(b"connection") => self.take_connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.take_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.codings = self.codings.saturating_add(1);
                self.chunked = value.eq_ignore_ascii_case(b"chunked");
            }
            _ => {}
        }
        Ok(())
    }

    fn take_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
        if !digits {
            return Err(Fault::Malformed("content-length must be one decimal number"));
        }
        let length = value.iter().fold(0u64, |n, &digit| n * 10 + u64::from(digit - b'0'));
        self.lengths_differ |= self.content_length.is_some_and(|before| before != length);
        self.content_length = Some(length);
        self.lengths = self.lengths.saturating_add(1);
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) {
        for token in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if !token.is_empty() {
                self.names_fields = true;
            }
        }
    }

    /// The framing of a request: whatever leaves room for two readings is refused (RFC 9112, section 6.3).
    pub(crate) fn request_framing(&self, is_http10: bool) -> Result<Framing, Fault> {
        if self.codings > 0 {
            if self.lengths > 0 {
                return Err(Fault::Malformed("content-length and transfer-encoding must not stand together"));
            }
            if self.codings > 1 || is_http10 {
                return Err(Fault::Malformed("transfer-encoding must stand once, in HTTP/1.1"));
            }
            return if self.chunked { Ok(Framing::Chunked) } else { Err(Fault::TransferCoding) };
        }
        if self.lengths > 1 {
            return Err(Fault::Malformed("content-length must stand once"));
        }
        Ok(match self.content_length {
            Some(0) | None => Framing::None,
            Some(length) => Framing::Length(length),
        })
    }
}

/// Reads field lines from `at` up to the blank line. `Ok(None)`: the bytes end before it. Gives the offset behind it.
pub(crate) fn read_fields(
    bytes: &[u8],
    mut at: usize,
    limits: &Limits,
    fields: &mut Vec<Field>,
    meaning: &mut Meaning,
) -> Result<Option<usize>, Fault> {
    loop {
        match bytes.get(at..) {
            Some([b'\r', b'\n', ..]) => return Ok(Some(at + 2)),
            None | Some([] | [b'\r']) => return Ok(None),
            Some([b'\r', ..]) => return Err(Fault::Malformed("a bare CR stands in the head")),
            Some([b'\n', ..]) => return Err(Fault::Malformed("a line must end with CRLF, not with a bare LF")),
            Some([b' ' | b'\t', ..]) => return Err(Fault::Malformed("folded field lines are not accepted")),
            Some(_) => {}
        }
        if fields.len() >= limits.fields {
            return Err(Fault::HeadTooLarge);
        }
        let Some(line) = read_line(bytes, at)? else { return Ok(None) };
        let name = line.field.name.of(bytes);
        meaning.take(name, line.field.value.of(bytes))?;
        meaning.has_twin |= line.has_underscore && is_twin(name);
        fields.push(line.field);
        at = line.end;
    }
}

/// A field line.
struct Line {
    field: Field,
    has_underscore: bool,
    /// Behind its CRLF.
    end: usize,
}

fn read_line(bytes: &[u8], at: usize) -> Result<Option<Line>, Fault> {
    let (mut colon, mut classes) = (at, 0);
    for &byte in bytes.get(at..).unwrap_or_default() {
        let class = class(byte);
        if class == 0 {
            break;
        }
        classes |= class;
        colon += 1;
    }
    match bytes.get(colon) {
        Some(b':') if colon > at => {}
        Some(_) => return Err(Fault::Malformed("a field line must be a name, a colon and a value")),
        None => return Ok(None),
    }
    let Some(end) = value_end(bytes, colon + 1) else { return Ok(None) };
    match bytes.get(end..) {
        Some([b'\r', b'\n', ..]) => {}
        Some([b'\r']) => return Ok(None),
        Some([b'\n', ..]) => return Err(Fault::Malformed("a line must end with CRLF, not with a bare LF")),
        Some([b'\r', ..]) => return Err(Fault::Malformed("a bare CR stands in the head")),
        _ => return Err(Fault::Malformed("a control byte stands in a field value")),
    }
    let (mut from, mut to) = (colon + 1, end);
    while from < to && bytes.get(from).is_some_and(|&b| is_blank(b)) {
        from += 1;
    }
    while from < to && bytes.get(to - 1).is_some_and(|&b| is_blank(b)) {
        to -= 1;
    }
    let field = Field { name: Span::new(at, colon), value: Span::new(from, to) };
    Ok(Some(Line { field, has_underscore: classes & UNDERSCORE != 0, end: end + 2 }))
}

/// Where a field value stops being visible text, blanks and obs-text: normally at its CR. `None`: not within `bytes`.
fn value_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES * 128;
    // Eight bytes at once: the high bit of each byte that is below 0x20 or equal to 0x7f. Above the lowest of them a borrow may
    // set others too, so only the lowest counts. Tabs are rare, and stepped over singly.
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk).map(|word| u64::from_le_bytes(*word)) {
        let below_space = word.wrapping_sub(ONES * 0x20) & !word;
        let delete = word ^ (ONES * 0x7f);
        let found = (below_space | (delete.wrapping_sub(ONES) & !delete)) & HIGHS;
        if found == 0 {
            at += 8;
            continue;
        }
        at += (found.trailing_zeros() / 8) as usize;
        if bytes.get(at) != Some(&b'\t') {
            return Some(at);
        }
        at += 1;
    }
    bytes.get(at..)?.iter().position(|&b| is_control(b)).map(|offset| at + offset)
}

/// Whether a name becomes one that frames, routes or authenticates when `_` is taken for `-`, as CGI-like servers do.
fn is_twin(name: &[u8]) -> bool {
    const GUARDED: [&[u8]; 10] = [
        b"content-length",
        b"transfer-encoding",
        b"content-type",
        b"x-api-key",
        b"api-key",
        b"x-goog-api-key",
        b"x-forwarded-for",
        b"berry-backend",
        b"x-request-id",
        b"proxy-authorization",
    ];
    let same = |a: u8, b: u8| a.eq_ignore_ascii_case(&b) || (a == b'_' && b == b'-');
    GUARDED.iter().any(|g| g.len() == name.len() && name.iter().zip(*g).all(|(&a, &b)| same(a, b)))
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// What a byte is within a token (RFC 9110, section 5.6.2): 0 where it cannot stand in one.
fn class(byte: u8) -> u8 {
    const CLASSES: [u8; 256] = {
        const MARKS: &[u8] = b"!#$%&'*+-.^`|~";
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            table[i] = (i as u8).is_ascii_alphanumeric() as u8;
            i += 1;
        }
        let mut i = 0;
        while i < MARKS.len() {
            table[MARKS[i] as usize] = 1;
            i += 1;
        }
        table[b'_' as usize] = UNDERSCORE;
        table
    };
    CLASSES[byte as usize]
}

const UNDERSCORE: u8 = 2;

pub(crate) fn is_token(byte: u8) -> bool {
    class(byte) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_head_is_found_however_it_is_split() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        let end = head.len() - 4;
        for split in 0..end {
            assert_eq!(find_head_end(&head[..split], 0), Ok(None));
            assert_eq!(find_head_end(head, split), Ok(Some(end)), "from {split}");
        }
    }

    #[test]
    fn a_bare_lf_is_refused_while_the_end_is_looked_for() {
        assert!(find_head_end(b"GET / HTTP/1.1\nHost: a\n\n", 0).is_err());
    }

    #[test]
    fn a_value_ends_at_the_first_control_byte_wherever_it_stands() {
        for len in 0..40 {
            for control in [b'\r', b'\n', 0, 0x1f, 0x7f] {
                let mut value = vec![b'a'; len];
                value.push(control);
                value.extend_from_slice(b"\ttail");
                assert_eq!(value_end(&value, 0), Some(len));
            }
            assert_eq!(value_end(&vec![b'\t'; len], 0), None);
            assert_eq!(value_end(&vec![0xff; len], 0), None);
        }
    }
}
