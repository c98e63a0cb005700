//! The shallow scan of a JSON body: where the top-level `model`, `stream` and `backend` stand, and nothing else.
//!
//! It is deliberately no parser. It follows strings and brackets exactly, so that no nested or quoted text can pass for a
//! top-level member, and it checks the grammar of the top level; the finer grammar below it is the backend's to judge. No tree
//! is built, nothing is copied, and the stack is 128 bits.
//!
//! A string's end is found by looking for quotes alone and counting the backslashes before each: text with an escape in every
//! line, as prompts and code have it, then costs no more than plain text.

use std::fmt;
use std::ops::Range;

use memchr::memchr;

/// How deep a body may nest; the top-level object is the first level.
pub const MAX_DEPTH: u32 = 128;

/// Where the members that Berry reads stand in a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// `model`.
    pub model: Option<Member>,
    /// `stream`.
    pub stream: Option<Member>,
    /// `backend`.
    pub backend: Option<Member>,
}

/// Where one member of the top-level object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its value, without the white space around it.
    pub value: Range<usize>,
    /// What to cut so that the member is gone and the rest is still an object: key to value, and one adjoining comma.
    pub cut: Range<usize>,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanError {
    /// It begins with a byte order mark.
    Bom,
    /// It is no UTF-8.
    NotUtf8,
    /// It is no object.
    NotObject,
    /// It ends before its object does.
    Truncated,
    /// Something follows the object.
    Trailing {
        /// Where.
        at: usize,
    },
    /// It is no JSON there.
    Syntax {
        /// Where.
        at: usize,
    },
    /// It nests deeper than [`MAX_DEPTH`].
    TooDeep,
    /// A member that Berry reads stands there twice.
    Duplicate(&'static str),
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScanError::Bom => f.write_str("the body begins with a byte order mark; send plain UTF-8"),
            ScanError::NotUtf8 => f.write_str("the body is not UTF-8"),
            ScanError::NotObject => f.write_str("the body is not a JSON object"),
            ScanError::Truncated => f.write_str("the body ends before its JSON object does"),
            ScanError::Trailing { at } => write!(f, "something follows the JSON object, at byte {at}"),
            ScanError::Syntax { at } => write!(f, "the body is not valid JSON, at byte {at}"),
            ScanError::TooDeep => write!(f, "the body nests deeper than {MAX_DEPTH}"),
            ScanError::Duplicate(name) => write!(f, "\"{name}\" stands twice in the body; send it once"),
        }
    }
}

impl std::error::Error for ScanError {}

/// Scans a body.
pub fn scan_json(body: &[u8]) -> Result<Scan, ScanError> {
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(ScanError::Bom);
    }
    if simdutf8::basic::from_utf8(body).is_err() {
        return Err(ScanError::NotUtf8);
    }
    let mut cursor = Cursor { body, at: 0 };
    if cursor.next_token() != Some(b'{') {
        return Err(ScanError::NotObject);
    }
    let mut scan = Scan::default();
    cursor.members(|key, member| {
        if let Some((name, slot)) = slot(body, &mut scan, key)?
            && slot.replace(member).is_some()
        {
            return Err(ScanError::Duplicate(name));
        }
        Ok(())
    })?;
    match cursor.next_token() {
        None => Ok(scan),
        Some(_) => Err(ScanError::Trailing { at: cursor.at - 1 }),
    }
}

/// The text of a JSON string, quotes and all. `None` for what is no string, or one with a broken escape or a lone surrogate.
pub(crate) fn string_value(literal: &[u8]) -> Option<String> {
    serde_json::from_slice(literal).ok()
}

/// Shows the members of the object that a text begins with: each one's name, as it is written between its quotes, and its value.
/// The result is where the object ends. Only the grammar is checked, and that as [`scan_json`] does it.
pub(crate) fn each_member<'b>(text: &'b [u8], mut each: impl FnMut(&'b [u8], &'b [u8])) -> Result<usize, ScanError> {
    let mut cursor = Cursor { body: text, at: 0 };
    if cursor.next_token() != Some(b'{') {
        return Err(ScanError::NotObject);
    }
    cursor.members(|key, member| {
        each(text.get(key.start + 1..key.end - 1).unwrap_or_default(), text.get(member.value).unwrap_or_default());
        Ok(())
    })?;
    Ok(cursor.at)
}

/// Whether a text is one object whose strings and brackets all end, which an answer that was cut short is not. A glance: of the
/// grammar between them nothing is said. One that nests deeper than can be followed passes.
pub(crate) fn is_closed_object(text: &[u8]) -> bool {
    if text.first() != Some(&b'{') {
        return false;
    }
    // One bit for each open bracket: set for an object.
    let (mut kinds, mut depth, mut at) = (0_u128, 0, 0);
    while let Some(found) = find_in_words(text, at, brackets_and_quotes) {
        at = found + 1;
        match text.get(found) {
            Some(b'"') => match end_of_string(text, at) {
                Some(end) => at = end,
                None => return false,
            },
            Some(b'{' | b'[') if depth == MAX_DEPTH => return true,
            Some(open @ (b'{' | b'[')) => {
                kinds = kinds << 1 | u128::from(*open == b'{');
                depth += 1;
            }
            Some(close @ (b'}' | b']')) => {
                if (kinds & 1 == 1) != (*close == b'}') {
                    return false;
                }
                kinds >>= 1;
                depth -= 1;
                if depth == 0 {
                    return at == text.len();
                }
            }
            // A control character that looks like a quote here.
            _ => {}
        }
    }
    false
}

/// Where the string ends whose first quote stands before `at`.
fn end_of_string(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let found = find_in_words(text, at, quotes_and_backslashes)?;
        match text.get(found) {
            Some(b'"') => return Some(found + 1),
            _ => at = found + 2,
        }
    }
}

/// The first byte from `at` on that `marks` marks, eight at a time: it sets the highest bit of each byte that it means, and of no
/// byte before the first of them.
#[inline]
fn find_in_words(text: &[u8], mut at: usize, marks: impl Fn(u64) -> u64) -> Option<usize> {
    while let Some(word) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
    let mut word = [0; 8];
    word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let found = marks(u64::from_le_bytes(word));
    (found != 0).then(|| at + found.trailing_zeros() as usize / 8).filter(|at| *at < text.len())
}

fn brackets_and_quotes(word: u64) -> u64 {
    // The brackets differ from the braces in one bit.
    let folded = word | every_byte(0x20);
    zeros(folded ^ every_byte(b'{')) | zeros(folded ^ every_byte(b'}')) | zeros(folded ^ every_byte(b'"'))
}

fn quotes_and_backslashes(word: u64) -> u64 {
    quotes(word) | zeros(word ^ every_byte(b'\\'))
}

const fn every_byte(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The highest bit of each byte that is zero; perhaps also of such as follow one (Warren, Hacker's Delight, section 6-1).
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(every_byte(1)) & !word & every_byte(0x80)
}

/// What follows a member's name that ends before `at`: the text from its value on.
pub(crate) fn from_value(text: &[u8], at: usize) -> Option<&[u8]> {
    let mut cursor = Cursor { body: text, at };
    cursor.expect(b':').ok()?;
    cursor.next_token()?;
    text.get(cursor.at - 1..)
}

/// The string that a text begins with, quotes and all.
pub(crate) fn leading_string(text: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor { body: text, at: 0 };
    cursor.expect(b'"').ok()?;
    cursor.skip_string().ok()?;
    text.get(..cursor.at)
}

/// Where a member is kept, if it is one that Berry reads. A key may be written with escapes.
fn slot<'s>(
    body: &[u8],
    scan: &'s mut Scan,
    key: Range<usize>,
) -> Result<Option<(&'static str, &'s mut Option<Member>)>, ScanError> {
    let at = key.start;
    let literal = body.get(key).unwrap_or_default();
    let unescaped;
    let name = if memchr(b'\\', literal).is_some() {
        unescaped = string_value(literal).ok_or(ScanError::Syntax { at })?;
        unescaped.as_bytes()
    } else {
        literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default()
    };
    Ok(match name {
        b"model" => Some(("model", &mut scan.model)),
        b"stream" => Some(("stream", &mut scan.stream)),
        b"backend" => Some(("backend", &mut scan.backend)),
        _ => None,
    })
}

/// How many bytes are looked at together.
const BLOCK: usize = 64;

struct Cursor<'b> {
    body: &'b [u8],
    /// The next byte to read.
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    /// The next byte that is no white space; the cursor then stands after it.
    fn next_token(&mut self) -> Option<u8> {
        loop {
            let byte = self.peek()?;
            self.at += 1;
            if !is_space(byte) {
                return Some(byte);
            }
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<(), ScanError> {
        match self.next_token() {
            Some(byte) if byte == wanted => Ok(()),
            Some(_) => Err(ScanError::Syntax { at: self.at - 1 }),
            None => Err(ScanError::Truncated),
        }
    }

    /// The members of an object, from after its `{` to after its `}`. Each is shown with the place of its key, quotes and all.
    fn members(
        &mut self,
        mut each: impl FnMut(Range<usize>, Member) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        let mut comma_before = None;
        loop {
            let key_start = match self.next_token() {
                Some(b'"') => self.at - 1,
                Some(b'}') if comma_before.is_none() => return Ok(()),
                Some(_) => return Err(ScanError::Syntax { at: self.at - 1 }),
                None => return Err(ScanError::Truncated),
            };
            self.skip_string()?;
            let key = key_start..self.at;
            self.expect(b':')?;
            let value = self.value()?;
            let end = self.next_token().ok_or(ScanError::Truncated)?;
            let after = self.at;
            let cut = match comma_before {
                Some(comma) => comma..value.end,
                None if end == b',' => key_start..after,
                None => key_start..value.end,
            };
            each(key, Member { value, cut })?;
            match end {
                b',' => comma_before = Some(after - 1),
                b'}' => return Ok(()),
                _ => return Err(ScanError::Syntax { at: after - 1 }),
            }
        }
    }

    /// Skips a value of the top level.
    fn value(&mut self) -> Result<Range<usize>, ScanError> {
        let first = self.next_token().ok_or(ScanError::Truncated)?;
        let start = self.at - 1;
        match first {
            b'"' => self.skip_string()?,
            b'{' | b'[' => self.skip_nested(first)?,
            _ => self.skip_scalar(start)?,
        }
        Ok(start..self.at)
    }

    /// Skips a string; the cursor stands after its first quote, and then after its last.
    fn skip_string(&mut self) -> Result<(), ScanError> {
        let start = self.at;
        loop {
            let rest = self.body.get(self.at..).unwrap_or_default();
            let quote = self.at + find_quote(rest).ok_or(ScanError::Truncated)?;
            self.at = quote + 1;
            if !self.is_escaped(start, quote) {
                return Ok(());
            }
            // Where one quote was escaped, code or speech is quoted: more will be.
            self.skip_quoted_text();
        }
    }

    /// Goes over the blocks of a string in which every quote is plainly escaped: by one backslash, before which none stands. Each
    /// byte is looked at with the two before it and without a branch, so that the compiler makes vector instructions of it.
    fn skip_quoted_text(&mut self) {
        let block = |at: usize| self.body.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>);
        while let (Some(two_before), Some(before), Some(here)) =
            (block(self.at - 2), block(self.at - 1), block(self.at))
        {
            let mut may_end = 0;
            for ((&byte, &previous), &earlier) in here.iter().zip(before).zip(two_before) {
                let is_plainly_escaped = u8::from(previous == b'\\') & u8::from(earlier != b'\\');
                may_end |= u8::from(byte == b'"') & !is_plainly_escaped;
            }
            if may_end != 0 {
                return;
            }
            self.at += BLOCK;
        }
    }

    /// Whether an odd number of backslashes stands before this quote, in the string that begins at `start`.
    fn is_escaped(&self, start: usize, quote: usize) -> bool {
        let before = self.body.get(start..quote).unwrap_or_default();
        // Nearly every quote has something else before it.
        if before.last() != Some(&b'\\') {
            return false;
        }
        let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
        !backslashes.is_multiple_of(2)
    }

    /// Skips an object or array; the cursor stands after its opening bracket, and then after its closing one.
    fn skip_nested(&mut self, first: u8) -> Result<(), ScanError> {
        // One bit for each open bracket below the top level: set for an object.
        let mut kinds = u128::from(first == b'{');
        let mut depth = 2;
        while depth > 1 {
            let rest = self.body.get(self.at..).unwrap_or_default();
            let at = self.at + find_structural(rest).ok_or(ScanError::Truncated)?;
            self.at = at + 1;
            match self.body.get(at) {
                Some(b'"') => self.skip_string()?,
                Some(open @ (b'{' | b'[')) => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(ScanError::TooDeep);
                    }
                    kinds = kinds << 1 | u128::from(*open == b'{');
                }
                Some(close) => {
                    if (kinds & 1 == 1) != (*close == b'}') {
                        return Err(ScanError::Syntax { at });
                    }
                    kinds >>= 1;
                    depth -= 1;
                }
                None => return Err(ScanError::Truncated),
            }
        }
        Ok(())
    }

    /// Skips a number or one of the three words; `start` is where it begins.
    fn skip_scalar(&mut self, start: usize) -> Result<(), ScanError> {
        while self.peek().is_some_and(|byte| !is_space(byte) && !matches!(byte, b',' | b'}' | b']' | b'"' | b':')) {
            self.at += 1;
        }
        let text = self.body.get(start..self.at).unwrap_or_default();
        let is_number = || {
            text.first().is_some_and(|byte| *byte == b'-' || byte.is_ascii_digit())
                && text.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'))
        };
        let is_word = matches!(text, b"true" | b"false" | b"null");
        if is_word || is_number() { Ok(()) } else { Err(ScanError::Syntax { at: start }) }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The first quote. Most strings of a body are short (keys, roles), and code is full of quotes, for which a call of `memchr`
/// costs more than the look at a few words; most bytes are in long strings, which `memchr` takes 32 at a time.
fn find_quote(text: &[u8]) -> Option<usize> {
    const NEAR: usize = 16;
    let Some(near) = text.first_chunk::<NEAR>() else {
        return text.iter().position(|byte| *byte == b'"');
    };
    let near = u128::from_le_bytes(*near);
    let found = u128::from(quotes(near as u64)) | u128::from(quotes((near >> 64) as u64)) << 64;
    if found != 0 {
        return usize::try_from(found.trailing_zeros() / 8).ok();
    }
    memchr(b'"', text.get(NEAR..)?).map(|at| at + NEAR)
}

/// Marks quotes.
fn quotes(word: u64) -> u64 {
    zeros(word ^ every_byte(b'"'))
}

/// The first quote or bracket. Between two strings there are few bytes, in arrays of numbers many: they go by blocks, whose
/// test the compiler turns into vector instructions.
fn find_structural(text: &[u8]) -> Option<usize> {
    const NEAR: usize = 8;
    if let Some(at) = text.iter().take(NEAR).position(|byte| is_structural(*byte)) {
        return Some(at);
    }
    let mut from = NEAR;
    while let Some(block) = text.get(from..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
        if block.iter().fold(0, |any, byte| any | u8::from(is_structural(*byte))) != 0 {
            break;
        }
        from += BLOCK;
    }
    text.get(from..)?.iter().position(|byte| is_structural(*byte)).map(|at| at + from)
}

fn is_structural(byte: u8) -> bool {
    // The brackets differ from the braces in one bit.
    (byte == b'"') | (byte | 0x20 == b'{') | (byte | 0x20 == b'}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_closed_when_all_that_it_opens_is() {
        for text in
            [r#"{}"#, r#"{"a":[1,{"b":"}"}],"c":"\"]"}"#, r#"{"a":"x, which is longer than a short string is"}"#]
        {
            assert!(is_closed_object(text.as_bytes()), "{text}");
            for cut in 0..text.len() {
                assert!(!is_closed_object(&text.as_bytes()[..cut]), "{text} up to {cut}");
            }
        }
        for text in ["", "[]", "[{}]", "{}{}", "{} x", r#"{"a":[}]}"#, r#"{"a":"b}"#, "}", "x"] {
            assert!(!is_closed_object(text.as_bytes()), "{text}");
        }
        let deep = format!("{{\"a\":{}", "[".repeat(200));
        assert!(is_closed_object(deep.as_bytes()));
    }

    fn model_of(body: &str) -> Option<&str> {
        scan_json(body.as_bytes())
            .unwrap_or_else(|error| panic!("{body}: {error}"))
            .model
            .map(|model| &body[model.value])
    }

    #[test]
    fn the_model_is_found_whatever_stands_around_it() {
        for body in [
            r#"{"model":"m"}"#,
            " \t\r\n{ \"model\" :\t\"m\"\n} \n",
            r#"{"a":{"model":"x"},"b":["model",{"model":"y"}],"model":"m"}"#,
            r#"{"text":"\"model\":\"x\"","model":"m"}"#,
            r#"{"text":"ends with a backslash \\","model":"m","z":"\\\""}"#,
            r#"{"mod\u0065l":"m"}"#,
            r#"{"n":-1.5E+300,"t":true,"f":false,"u":null,"e":{},"l":[],"s":"","model":"m"}"#,
            r#"{"models":"x","mode":"x","Model":"x","":"x","model":"m"}"#,
        ] {
            assert_eq!(model_of(body), Some(r#""m""#), "{body}");
        }
        assert_eq!(model_of(r#"{"models":["model"],"x":{"model":1}}"#), None);
        assert_eq!(model_of("{}"), None);
    }

    #[test]
    fn cutting_a_member_takes_one_comma_with_it() {
        for (body, rest) in [
            (r#"{"backend":"b"}"#, "{}"),
            (r#"{ "backend" : "b" , "a":1}"#, r#"{  "a":1}"#),
            (r#"{"a":1 , "backend":{"x":[]} }"#, r#"{"a":1  }"#),
            (r#"{"a":1,"backend":1,"b":2}"#, r#"{"a":1,"b":2}"#),
        ] {
            let cut = scan_json(body.as_bytes()).unwrap().backend.unwrap().cut;
            assert_eq!([&body[..cut.start], &body[cut.end..]].concat(), rest, "{body}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_reason() {
        use ScanError::*;
        for (body, error) in [
            (&b"\xef\xbb\xbf{}"[..], Bom),
            (b"{\"a\":\"\xff\"}", NotUtf8),
            (b"", NotObject),
            (b"   ", NotObject),
            (b"[]", NotObject),
            (b"\"{}\"", NotObject),
            (b"{", Truncated),
            (b"{\"a\"", Truncated),
            (b"{\"a\":", Truncated),
            (b"{\"a\":1", Truncated),
            (b"{\"a\":\"x", Truncated),
            (b"{\"a\":\"x\\\"}", Truncated),
            (b"{\"a\":[{}", Truncated),
            (b"{} {}", Trailing { at: 3 }),
            (b"{}\0", Trailing { at: 2 }),
            (b"{\"a\":1,}", Syntax { at: 7 }),
            (b"{,}", Syntax { at: 1 }),
            (b"{a:1}", Syntax { at: 1 }),
            (b"{\"a\" 1}", Syntax { at: 5 }),
            (b"{\"a\":1 2}", Syntax { at: 7 }),
            (b"{\"a\":}", Syntax { at: 5 }),
            (b"{\"a\":NaN}", Syntax { at: 5 }),
            (b"{\"a\":nul}", Syntax { at: 5 }),
            (b"{\"a\":[}", Syntax { at: 6 }),
            (b"{\"a\":{]}", Syntax { at: 6 }),
            (b"{\"a\":[{]}}", Syntax { at: 7 }),
            (b"{\"\\ud800\":1}", Syntax { at: 1 }),
            (b"{\"model\":1,\"mod\\u0065l\":2}", Duplicate("model")),
            (b"{\"stream\":1,\"a\":1,\"stream\":1}", Duplicate("stream")),
            (b"{\"backend\":1,\"backend\":1}", Duplicate("backend")),
        ] {
            assert_eq!(scan_json(body), Err(error), "{}", String::from_utf8_lossy(body));
        }
        assert!(scan_json(br#"{"other":1,"other":2}"#).is_ok(), "only the members that Berry reads must be unique");
    }

    #[test]
    fn nesting_ends_at_128_levels() {
        let nested = |levels: usize, open: &str, close: &str| {
            format!("{{\"a\":{}{}}}", open.repeat(levels - 1), close.repeat(levels - 1))
        };
        assert!(scan_json(nested(128, "[", "]").as_bytes()).is_ok());
        assert_eq!(scan_json(nested(129, "[", "]").as_bytes()), Err(ScanError::TooDeep));
        assert!(scan_json(nested(128, "{\"x\":[1,", "2]}").as_bytes()).is_err());
        assert!(scan_json(nested(64, "{\"x\":[1,", "2]}").as_bytes()).is_ok());
        assert_eq!(scan_json("{\"a\":".repeat(200_000).as_bytes()), Err(ScanError::TooDeep));
    }

    #[test]
    fn a_strings_end_is_found_at_every_distance_from_escaped_quotes() {
        for length in 0..120 {
            for backslashes in 1..6 {
                let escape = ["\\".repeat(backslashes), "\"".to_owned()].concat();
                let text = format!("{{\"x\":\"{0}{1}{0}{1}\",\"model\":\"m\"}}", "y".repeat(length), escape);
                let read = serde_json::from_str::<serde_json::Value>(&text).is_ok();
                let scan = scan_json(text.as_bytes());
                assert_eq!(scan.is_ok_and(|scan| scan.model.is_some()), read, "{text}");
            }
        }
    }

    #[test]
    fn the_searches_agree_with_the_plain_ones_at_every_distance() {
        for length in 0..200 {
            for (needle, search) in [(b'"', find_quote as fn(&[u8]) -> Option<usize>), (b']', find_structural)] {
                for filler in [b' ', b'!', b'#', 0x21 ^ 0x80, b'0', b'\\'] {
                    let filler = if needle == b']' && filler == b'"' { b' ' } else { filler };
                    let mut text = vec![filler; length];
                    assert_eq!(search(&text), None);
                    text.push(needle);
                    text.extend([needle; 3]);
                    assert_eq!(search(&text), Some(length), "{length} {filler}");
                }
            }
        }
    }
}
