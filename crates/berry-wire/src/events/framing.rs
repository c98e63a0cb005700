//! Where the events of a stream end, and what stands in one: the lines of WHATWG HTML, section 9.2.6.
//!
//! Nothing here knows what an event means. A line ends with LF, CR or both, and both may be split between two reads.

use std::borrow::Cow;

use memchr::{memchr2, memrchr_iter};

/// How far the stream has been followed: what the next byte is seen in the light of.
#[derive(Default)]
pub(super) struct Framing {
    /// The byte before was a CR, so that a LF belongs to the same line end.
    is_after_cr: bool,
    /// The line that the next byte stands in has begun.
    is_in_line: bool,
}

/// The fields of one event that matter.
pub(super) struct Fields<'t> {
    /// The name, from `event`; empty where there is none.
    pub(super) name: &'t [u8],
    /// The lines of `data`, joined by LF. They are copied only where there are several.
    pub(super) data: Cow<'t, [u8]>,
}

// === impl Framing ===

impl Framing {
    /// How many of these bytes belong to the event that is being followed, if it ends in them.
    pub(super) fn end_of_event(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = self.rest_of_line_end(bytes);
        loop {
            let rest = bytes.get(at..)?;
            let length = match rest.first()? {
                b'\n' | b'\r' => 0,
                _ => {
                    let found = memchr2(b'\n', b'\r', rest);
                    self.is_in_line |= found.is_none();
                    found?
                }
            };
            let is_blank = length == 0 && !self.is_in_line;
            self.is_in_line = false;
            self.is_after_cr = rest.get(length) == Some(&b'\r');
            at += length + 1;
            at += self.rest_of_line_end(bytes.get(at..)?);
            if is_blank {
                return Some(at);
            }
        }
    }

    /// How many of these bytes are the rest of a line end whose CR came before.
    pub(super) fn rest_of_line_end(&mut self, bytes: &[u8]) -> usize {
        let is_rest = self.is_after_cr && bytes.first() == Some(&b'\n');
        self.is_after_cr &= bytes.is_empty();
        usize::from(is_rest)
    }
}

/// How many bytes there are before the last `most` events that end here; 0 where there are no more than that. Line ends of a
/// lone CR are not looked for.
pub(super) fn before_last_events(bytes: &[u8], most: usize) -> usize {
    let mut ends = 0;
    for at in memrchr_iter(b'\n', bytes) {
        let before = bytes.get(..at).unwrap_or_default();
        if before.ends_with(b"\n") || before.ends_with(b"\r\n\r") {
            ends += 1;
            if ends > most {
                return at + 1;
            }
        }
    }
    0
}

/// The fields of an event. Its last line need not be ended.
pub(super) fn fields(text: &[u8]) -> Fields<'_> {
    let mut name = &b""[..];
    let mut data: Option<Cow<'_, [u8]>> = None;
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(memchr2(b'\n', b'\r', rest).unwrap_or(rest.len()));
        rest = after.get(1..).unwrap_or_default();
        if let Some(value) = value_of(line, b"data") {
            match &mut data {
                None => data = Some(Cow::Borrowed(value)),
                Some(data) => {
                    let data = data.to_mut();
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            }
        } else if let Some(value) = value_of(line, b"event") {
            name = value;
        }
    }
    Fields { name, data: data.unwrap_or_default() }
}

/// The value of a line, if it is this field's. One without a colon has the empty value.
fn value_of<'l>(line: &'l [u8], field: &[u8]) -> Option<&'l [u8]> {
    let rest = line.strip_prefix(field)?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_of_a_read_are_found_from_behind() {
        for (text, most, before) in [
            ("a: 1\n\nb: 2\n\nc: 3\n\n", 2, "a: 1\n\n"),
            ("a: 1\n\nb: 2\n\nc: 3", 1, "a: 1\n\n"),
            ("a: 1\r\n\r\nb: 2\r\n\r\nc: 3\r\n\r\n", 2, "a: 1\r\n\r\n"),
            ("a: 1\n\nb: 2\n\n", 2, ""),
            ("a: 1\nb: 2\nc: 3\n", 0, ""),
            ("", 1, ""),
        ] {
            assert_eq!(before_last_events(text.as_bytes(), most), before.len(), "{text:?}");
        }
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        for (text, name, data) in [
            ("data: x\n\n", "", "x"),
            ("data:x\r\n\r\n", "", "x"),
            ("data:  x \r\r", "", " x "),
            ("data: [DO\ndata: NE]\n\n", "", "[DO\nNE]"),
            ("data: a\r\ndata\r\ndata: b\r\n\r\n", "", "a\n\nb"),
            ("event: a\nid: 1\nevent: b\ndata: x: y\n\n", "b", "x: y"),
            (": data: x\n\n", "", ""),
            ("datax: y\n data: x\nData: x\n\n", "", ""),
            ("data: x", "", "x"),
        ] {
            let fields = fields(text.as_bytes());
            assert_eq!((fields.name, &*fields.data), (name.as_bytes(), data.as_bytes()), "{text:?}");
        }
    }
}
