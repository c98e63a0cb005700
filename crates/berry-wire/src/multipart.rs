//! The shallow read of a `multipart/form-data` body (RFC 7578): where the fields `model`, `stream` and `backend` stand. Files are
//! skipped by searching for the delimiter, never copied.
//!
//! Where two readers could disagree on what a form holds, it is refused: what Berry lets through on one reading must not be
//! another request on the backend's.

use std::fmt;
use std::ops::Range;

use memchr::memmem;

/// How long the headers of one part may be.
const MAX_PART_HEAD: usize = 8 * 1024;
/// How many parts there may be.
const MAX_PARTS: usize = 1024;

/// Where the fields that Berry reads stand in a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// `model`.
    pub model: Option<Field>,
    /// `stream`.
    pub stream: Option<Field>,
    /// `backend`.
    pub backend: Option<Field>,
}

/// Where one field stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its value.
    pub value: Range<usize>,
    /// What to cut so that the field is gone: its delimiter up to the next one.
    pub cut: Range<usize>,
}

/// Why a form is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormError {
    /// The content type names no boundary that RFC 2046 allows.
    NoBoundary,
    /// The form has no first delimiter, or none at its end.
    Truncated,
    /// The boundary is also the beginning of some other text in the form.
    AmbiguousBoundary,
    /// The headers of a part are malformed.
    PartHead,
    /// The headers of a part are longer than 8 KiB.
    PartHeadTooLong,
    /// There are more than 1024 parts.
    TooManyParts,
    /// A field that Berry reads stands there twice.
    Duplicate(&'static str),
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormError::NoBoundary => f.write_str("the content type names no valid boundary for the form"),
            FormError::Truncated => f.write_str("the form does not begin and end with its boundary"),
            FormError::AmbiguousBoundary => {
                f.write_str("the form's boundary also stands inside a part; choose another")
            }
            FormError::PartHead => f.write_str("the headers of a part of the form are malformed"),
            FormError::PartHeadTooLong => f.write_str("the headers of a part of the form are longer than 8 KiB"),
            FormError::TooManyParts => write!(f, "the form has more than {MAX_PARTS} parts"),
            FormError::Duplicate(name) => write!(f, "\"{name}\" stands twice in the form; send it once"),
        }
    }
}

impl std::error::Error for FormError {}

/// The boundary that a content type names, quoted or not.
pub fn boundary(content_type: &str) -> Option<String> {
    let mut found = None;
    for (name, value) in Parameters::after_first(content_type) {
        if name.eq_ignore_ascii_case("boundary") && found.replace(value?).is_some() {
            return None;
        }
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    found.filter(|text| (1..=70).contains(&text.len()) && text.bytes().all(is_allowed) && !text.ends_with(' '))
}

/// Finds the fields in a form.
pub fn scan_form(body: &[u8], boundary: &str) -> Result<Form, FormError> {
    let dashes = ["--", boundary].concat();
    let finder = memmem::Finder::new(dashes.as_bytes());
    let mut form = Form::default();
    let mut start = first_delimiter(body, dashes.as_bytes())?;
    for _ in 0..MAX_PARTS {
        let after = start + dashes.len();
        let Some(head) = part_head(body, after)? else {
            let epilogue = body.get(after..).unwrap_or_default();
            return if finder.find(epilogue).is_none() { Ok(form) } else { Err(FormError::AmbiguousBoundary) };
        };
        let content = content(body, head.end, &finder)?;
        let next = content.end + 2;
        if let Some(name) = field_name(body.get(head).unwrap_or_default())? {
            let slot = match name {
                "model" => &mut form.model,
                "stream" => &mut form.stream,
                _ => &mut form.backend,
            };
            if slot.replace(Field { value: content, cut: start..next }).is_some() {
                return Err(FormError::Duplicate(name));
            }
        }
        start = next;
    }
    Err(FormError::TooManyParts)
}

/// Where the first delimiter's dashes stand. RFC 2046 allows a preamble before it, but no client of a form writes one.
fn first_delimiter(body: &[u8], dashes: &[u8]) -> Result<usize, FormError> {
    let start = if body.starts_with(b"\r\n") { 2 } else { 0 };
    if body.get(start..).is_some_and(|body| body.starts_with(dashes)) { Ok(start) } else { Err(FormError::Truncated) }
}

/// A part's content, up to the line break that belongs to the next delimiter. Some readers take the boundary for a delimiter
/// also after a bare line feed, or without the line break that an empty content needs, so it must not stand anywhere else.
fn content(body: &[u8], start: usize, finder: &memmem::Finder<'_>) -> Result<Range<usize>, FormError> {
    let rest = body.get(start..).unwrap_or_default();
    let dashes = finder.find(rest).ok_or(FormError::Truncated)?;
    match rest.get(..dashes).and_then(|content| content.strip_suffix(b"\r\n")) {
        Some(content) => Ok(start..start + content.len()),
        None => Err(FormError::AmbiguousBoundary),
    }
}

/// The headers of the part whose delimiter ended at `after`, with the empty line that ends them; `None` after the last part.
fn part_head(body: &[u8], after: usize) -> Result<Option<Range<usize>>, FormError> {
    let rest = body.get(after..).unwrap_or_default();
    let last = rest.strip_prefix(b"--");
    let padded = last.unwrap_or(rest);
    let padding = padded.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let line_end = padded.get(padding..).unwrap_or_default();
    match (last, line_end.first()) {
        (Some(_), None | Some(b'\r' | b'\n')) => return Ok(None),
        (None, Some(b'\r')) if line_end.starts_with(b"\r\n") => {}
        (None, None) => return Err(FormError::Truncated),
        _ => return Err(FormError::AmbiguousBoundary),
    }
    let start = after + padding + 2;
    let rest = body.get(start..).unwrap_or_default();
    if rest.starts_with(b"\r\n") {
        return Ok(Some(start..start + 2));
    }
    let window = rest.get(..MAX_PART_HEAD.min(rest.len())).unwrap_or_default();
    match memmem::find(window, b"\r\n\r\n") {
        Some(end) => Ok(Some(start..start + end + 4)),
        None if rest.len() > MAX_PART_HEAD => Err(FormError::PartHeadTooLong),
        None => Err(FormError::Truncated),
    }
}

/// The part's name, if it is a field (no file) that Berry reads.
fn field_name(head: &[u8]) -> Result<Option<&'static str>, FormError> {
    let head = simdutf8::basic::from_utf8(head).map_err(|_| FormError::PartHead)?;
    let mut disposition = None;
    let mut encoded = false;
    for line in head.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(FormError::PartHead)?;
        if name.is_empty() || line.contains(['\r', '\n', '\0']) || name.contains([' ', '\t']) {
            return Err(FormError::PartHead);
        }
        if name.eq_ignore_ascii_case("content-disposition") && disposition.replace(value).is_some() {
            return Err(FormError::PartHead);
        }
        encoded |= name.eq_ignore_ascii_case("content-transfer-encoding") && !is_identity(value.trim());
    }
    let name = disposition.map(disposition_name).transpose()?.flatten();
    if name.is_some() && encoded { Err(FormError::PartHead) } else { Ok(name) }
}

fn is_identity(encoding: &str) -> bool {
    ["7bit", "8bit", "binary"].iter().any(|known| encoding.eq_ignore_ascii_case(known))
}

fn disposition_name(value: &str) -> Result<Option<&'static str>, FormError> {
    let mut found = None;
    let mut is_file = false;
    for (name, value) in Parameters::after_first(value) {
        let value = value.ok_or(FormError::PartHead)?;
        if name.eq_ignore_ascii_case("name*") {
            return Err(FormError::PartHead);
        }
        if name.eq_ignore_ascii_case("name") && found.replace(value).is_some() {
            return Err(FormError::PartHead);
        }
        is_file |= name.eq_ignore_ascii_case("filename") || name.eq_ignore_ascii_case("filename*");
    }
    let known = ["model", "stream", "backend"].into_iter().find(|known| found.as_deref() == Some(known));
    Ok(known.filter(|_| !is_file))
}

/// The parameters of a header's value: what follows the first `;`. A value is `None` where it is malformed.
struct Parameters<'h> {
    rest: &'h str,
}

impl<'h> Parameters<'h> {
    fn after_first(header: &'h str) -> Self {
        Parameters { rest: header.split_once(';').map_or("", |(_, rest)| rest) }
    }

    /// A quoted value, without its first quote; the rest then begins after its last.
    fn quoted(&mut self, text: &'h str) -> Option<String> {
        let mut value = String::new();
        let mut chars = text.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    let after = text.get(at + 1..).unwrap_or_default();
                    let (gap, rest) = after.split_once(';').unwrap_or((after, ""));
                    self.rest = rest;
                    return gap.trim().is_empty().then_some(value);
                }
                '\\' => value.push(chars.next()?.1),
                _ => value.push(char),
            }
        }
        None
    }
}

impl<'h> Iterator for Parameters<'h> {
    type Item = (&'h str, Option<String>);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.trim_start_matches([' ', '\t', ';']);
        if text.is_empty() {
            return None;
        }
        self.rest = "";
        let Some((name, value)) = text.split_once('=') else {
            return Some((text, None));
        };
        if let Some(quoted) = value.trim_start().strip_prefix('"') {
            return Some((name.trim(), self.quoted(quoted)));
        }
        let (value, rest) = value.split_once(';').unwrap_or((value, ""));
        self.rest = rest;
        Some((name.trim(), Some(value.trim().to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;name=model.wav\"\r\n\
        Content-Type: audio/wav\r\n\r\nRIFF\r\n--\r\n\0bytes\r\n--b\r\ncontent-disposition: form-data; name=model\r\n\r\nwhisper-1\r\n\
        --b\r\nContent-Disposition: form-data; name=\"backend\"\r\n\r\ncheap\r\n--b\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\n\r\n--b--\r\n";

    fn text(body: &str, field: Option<Field>) -> Option<&str> {
        field.map(|field| &body[field.value])
    }

    #[test]
    fn fields_are_found_between_files() {
        let form = scan_form(FORM.as_bytes(), "b").unwrap();
        assert_eq!(text(FORM, form.model), Some("whisper-1"));
        assert_eq!(text(FORM, form.stream), Some(""));
        let cut = form.backend.unwrap().cut;
        let rest = [&FORM[..cut.start], &FORM[cut.end..]].concat();
        assert!(!rest.contains("cheap") && !rest.contains("backend"));
        let form = scan_form(rest.as_bytes(), "b").unwrap();
        assert!(form.backend.is_none() && form.model.is_some() && form.stream.is_some());
    }

    #[test]
    fn the_boundary_is_read_quoted_or_not() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("multipart/form-data;Boundary=\"a b\\c\"", Some("a bc")),
            ("multipart/form-data; charset=utf-8 ; boundary = x ; y=z", Some("x")),
            (
                "multipart/form-data; note=\"; boundary=no\"; boundary=----WebKitFormBoundary1",
                Some("----WebKitFormBoundary1"),
            ),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"a", None),
            ("multipart/form-data; boundary=a; boundary=b", None),
            ("multipart/form-data; boundary=\"a \"", None),
            ("multipart/form-data; boundary=a\r\nb", None),
        ] {
            assert_eq!(boundary(content_type).as_deref(), expected, "{content_type}");
        }
        assert_eq!(boundary(&format!("multipart/form-data; boundary={}", "x".repeat(71))), None);
    }

    #[test]
    fn a_file_part_of_that_name_is_not_the_field() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"model\"; filename=\"m\"\r\n\r\nx\r\n--b--";
        assert_eq!(scan_form(body.as_bytes(), "b"), Ok(Form::default()));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let part = |head: &str| format!("--b\r\n{head}\r\n\r\nx\r\n--b--");
        let disposition = "Content-Disposition: form-data; name=\"model\"";
        for (body, error) in [
            (String::new(), FormError::Truncated),
            ("--c--".to_owned(), FormError::Truncated),
            ("--b".to_owned(), FormError::Truncated),
            ("--b\r\n".to_owned(), FormError::Truncated),
            (format!("--b\r\n{disposition}\r\n\r\nx\r\n"), FormError::Truncated),
            ("--bb\r\n\r\nx\r\n--b--".to_owned(), FormError::AmbiguousBoundary),
            (format!("--b\r\n{disposition}\r\n\r\nx\r\n--by\r\n--b--"), FormError::AmbiguousBoundary),
            (format!("--b\r\n{disposition}\r\n\r\nx\n--b\r\n\r\ny\r\n--b--"), FormError::AmbiguousBoundary),
            (format!("--b\r\n{disposition}\r\n\r\n--b--"), FormError::AmbiguousBoundary),
            ("--b\r\n\r\n\r\n--b--x".to_owned(), FormError::AmbiguousBoundary),
            (part("no header"), FormError::PartHead),
            (part(" folded: x"), FormError::PartHead),
            (part(&format!("{disposition}\r\n{disposition}")), FormError::PartHead),
            (part(&format!("{disposition}; name=\"x\"")), FormError::PartHead),
            (part("Content-Disposition: form-data; name*=utf-8''model"), FormError::PartHead),
            (part("Content-Disposition: form-data; name=\"model"), FormError::PartHead),
            (part("Content-Disposition: form-data; name=\"model\" x"), FormError::PartHead),
            (part(&format!("{disposition}\r\nContent-Transfer-Encoding: base64")), FormError::PartHead),
            (part(&format!("X-Long: {}", "x".repeat(9000))), FormError::PartHeadTooLong),
            (
                format!("--b\r\n{disposition}\r\n\r\nx\r\n--b\r\n{disposition}\r\n\r\ny\r\n--b--"),
                FormError::Duplicate("model"),
            ),
            (format!("{}--", "--b\r\n\r\n\r\n".repeat(1025) + "--b"), FormError::TooManyParts),
        ] {
            assert_eq!(scan_form(body.as_bytes(), "b"), Err(error), "{}", &body[..body.len().min(120)]);
        }
    }

    #[test]
    fn an_epilogue_is_nobodys_but_hides_no_part() {
        let epilogue = format!("\r\n{FORM}epilogue");
        assert_eq!(text(&epilogue, scan_form(epilogue.as_bytes(), "b").unwrap().model), Some("whisper-1"));
        for two in [format!("{FORM}{FORM}"), format!("x\r\n{FORM}")] {
            assert!(scan_form(two.as_bytes(), "b").is_err());
        }
    }
}
