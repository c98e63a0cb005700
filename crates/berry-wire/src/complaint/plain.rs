//! Whether a whole plain answer with a good status is a good answer. It runs on every one of them, so that no tree is built and
//! nothing is asked that a client would not miss: an unusual answer passes.

use std::sync::LazyLock;

use berry_vocab::Protocol;
use memchr::memmem::Finder;

use super::{Complaint, of_error_object};
use crate::route::Operation;
use crate::scan::{ScanError, each_member, is_closed_object};

/// What `error` may be in an answer that tells of none.
const NO_ERROR: [&[u8]; 5] = [b"null", b"false", b"\"\"", b"{}", b"[]"];

/// What is wrong with a plain answer that announced success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainFault {
    /// It is none of the protocol's: nothing, a page, no JSON or not all of it.
    Garbled,
    /// It is an error after all.
    Told(Complaint),
}

/// What is wrong with a whole plain answer whose status is 2xx; `None` where it is good enough.
pub fn plain_fault(operation: Operation, body: &[u8]) -> Option<PlainFault> {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    let look = match shape(operation, text.first().copied()) {
        Shape::Bytes if text.is_empty() || is_page(text) => Look::Bad,
        Shape::Bytes => Look::Good,
        Shape::Object => look_at_object(operation, text),
        Shape::List => look_at_list(text),
    };
    match look {
        Look::Good => None,
        Look::Bad => Some(PlainFault::Garbled),
        Look::Error => Some(PlainFault::Told(of_error_object(operation.protocol(), text))),
    }
}

/// How an answer looks.
enum Look {
    Good,
    Bad,
    /// There is an error in it.
    Error,
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

/// It is all there, and no error. An object that nests deeper than the scan follows is taken as it is.
fn look_at_object(operation: Operation, text: &[u8]) -> Look {
    if !may_tell_of_an_error(text) {
        // Nearly every answer: there is nothing in it that could be one, and it is not cut short.
        let is_whole = text.starts_with(b"{") && text.ends_with(b"}") && (is_even(text) || is_closed_object(text));
        return if is_whole { Look::Good } else { Look::Bad };
    }
    let mut is_error = false;
    let end = each_member(text, |name, value| {
        is_error |= match name {
            b"error" => !NO_ERROR.contains(&value),
            b"type" => operation.protocol() == Protocol::Anthropic && value == b"\"error\"",
            _ => false,
        };
    });
    match end {
        Ok(end) if end == text.len() && is_error => Look::Error,
        Ok(end) if end == text.len() => Look::Good,
        Err(ScanError::TooDeep) if !is_error => Look::Good,
        Ok(_) | Err(_) => Look::Bad,
    }
}

/// Whether as many brackets of each kind close as open, wherever they stand: a count that vector instructions make. A text that was
/// cut has opened more, unless text within it makes up for that; one that is whole and uneven, because of brackets in its
/// texts, must be looked at.
fn is_even(text: &[u8]) -> bool {
    // So few at a time that a count of them fits into a byte, and always as many, so that no loop has a rest.
    const RUN: usize = 64;
    let count = |run: &[u8; RUN]| {
        let (mut braces, mut brackets) = (0_i8, 0_i8);
        for &byte in run {
            braces += i8::from(byte == b'{') - i8::from(byte == b'}');
            brackets += i8::from(byte == b'[') - i8::from(byte == b']');
        }
        (i64::from(braces), i64::from(brackets))
    };
    let (runs, rest) = text.as_chunks::<RUN>();
    let mut last = [0; RUN];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let all = runs.iter().chain([&last]).map(count);
    all.fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1)) == (0, 0)
}

/// Whether `"error"` stands anywhere but before a null.
fn may_tell_of_an_error(text: &[u8]) -> bool {
    static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));
    ERROR.find_iter(text).any(|at| {
        let rest = text.get(at + ERROR.needle().len()..).unwrap_or_default().trim_ascii_start();
        !rest.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"null"))
    })
}

/// It is a list of one object or more, and none of them has an error.
fn look_at_list(text: &[u8]) -> Look {
    let Some(mut rest) = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")) else {
        return Look::Bad;
    };
    loop {
        rest = rest.trim_ascii_start();
        let mut is_error = false;
        match each_member(rest, |name, value| is_error |= name == b"error" && !NO_ERROR.contains(&value)) {
            Ok(_) if is_error => return Look::Error,
            Ok(end) => rest = rest.get(end..).unwrap_or_default().trim_ascii_start(),
            Err(_) => return Look::Bad,
        }
        match rest.strip_prefix(b",") {
            Some(more) => rest = more,
            None if rest.is_empty() => return Look::Good,
            None => return Look::Bad,
        }
    }
}
