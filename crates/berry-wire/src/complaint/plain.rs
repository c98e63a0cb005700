//! Whether a whole plain answer with a good status is a good answer. It runs on every one of them, so that no tree is built and
//! nothing is asked that a client would not miss: an unusual answer passes.

use berry_vocab::Protocol;

use super::{Complaint, of_error_object};
use crate::route::Operation;
use crate::scan::{ScanError, each_member};

/// What `error` may be in an answer that tells of none.
const NO_ERROR: [&[u8]; 5] = [b"null", b"false", b"\"\"", b"{}", b"[]"];

/// What is wrong with a whole plain answer whose status is 2xx; `None` where it is good enough.
pub fn plain_fault(operation: Operation, body: &[u8]) -> Option<Complaint> {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    let is_good = match shape(operation, text.first().copied()) {
        Shape::Bytes => !text.is_empty() && !is_page(text),
        Shape::Object => is_good_object(operation, text),
        Shape::List => is_good_list(text),
    };
    (!is_good).then(|| of_error_object(operation.protocol(), text))
}

/// Whether a body begins as a page for people does, which no protocol here answers with.
pub fn is_page(body: &[u8]) -> bool {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    [&b"<!doctype"[..], b"<html"]
        .iter()
        .any(|start| text.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)))
}

/// What an answer has to be.
enum Shape {
    /// A JSON object.
    Object,
    /// A JSON list of objects.
    List,
    /// Whatever it is, sound and text too.
    Bytes,
}

/// Some answers are recognised by how they begin: images may come as they are, a stream of Gemini's that is not asked for as
/// events is one list, and some servers rank into a list.
fn shape(operation: Operation, first: Option<u8>) -> Shape {
    match (operation, first) {
        (Operation::Audio, _) => Shape::Bytes,
        (Operation::Images, first) if first != Some(b'{') => Shape::Bytes,
        (Operation::StreamGenerateContent | Operation::Rerank, Some(b'[')) => Shape::List,
        _ => Shape::Object,
    }
}

/// Something stands in it, and no error. An object that nests deeper than the scan follows is taken as it is.
fn is_good_object(operation: Operation, text: &[u8]) -> bool {
    let (mut is_empty, mut is_error) = (true, false);
    let end = each_member(text, |name, value| {
        is_empty = false;
        is_error |= match name {
            b"error" => !NO_ERROR.contains(&value),
            b"type" => operation.protocol() == Protocol::Anthropic && value == b"\"error\"",
            _ => false,
        };
    });
    match end {
        Ok(end) => end == text.len() && !is_empty && !is_error,
        Err(ScanError::TooDeep) => !is_error,
        Err(_) => false,
    }
}

/// It is a list of one object or more, and none of them has an error.
fn is_good_list(text: &[u8]) -> bool {
    let Some(mut rest) = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")) else {
        return false;
    };
    loop {
        rest = rest.trim_ascii_start();
        let mut is_error = false;
        match each_member(rest, |name, value| is_error |= name == b"error" && !NO_ERROR.contains(&value)) {
            Ok(end) if !is_error => rest = rest.get(end..).unwrap_or_default().trim_ascii_start(),
            _ => return false,
        }
        match rest.strip_prefix(b",") {
            Some(more) => rest = more,
            None => return rest.is_empty(),
        }
    }
}
