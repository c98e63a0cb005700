//! What in a request only one account knows, and what in an answer makes it so: earlier responses, conversations, containers,
//! files, caches, encrypted reasoning. Values are told apart by their hashes, so that nothing of them is kept.
//!
//! Members are looked for by name anywhere in the text, without reading the JSON around them. A quoted name cannot stand within
//! a string, where its last quote would have a backslash before it; so what is found is a name, or a value that is not followed
//! by a colon. One that is written with escapes is not found, and its request is tried as any other.
//!
//! Hashes hold within one process.

use std::hash::BuildHasher;
use std::sync::LazyLock;

use foldhash::quality::FixedState;
use memchr::memchr;
use memchr::memmem::{self, Finder};
use smallvec::SmallVec;

use crate::route::Operation;
use crate::scan::{each_member, from_value, leading_string, string_value};

/// Hashes of values.
type States = SmallVec<[u64; 2]>;

/// No more values than these are looked at; of those with one name, the last, which are of the latest turns.
const MAX_STATES: usize = 16;

/// How much of an object is looked at for its `id`.
const MAX_OBJECT_BYTES: usize = 4096;

/// Within how many bytes the type of an event stands that begins with it.
const TYPE_BYTES: usize = 96;

/// Names, with the searchers for them, which cost more to make than a usual body to search.
type Names = LazyLock<Vec<Finder<'static>>>;

macro_rules! names {
    ($($name:literal),*) => {
        LazyLock::new(|| [$($name),*].map(Finder::new).into())
    };
}

/// Names in requests. The first ones bind a request as a whole.
fn asked_for(operation: Operation) -> &'static [Finder<'static>] {
    use Operation::*;
    static RESPONSES: Names =
        names!("\"previous_response_id\"", "\"conversation\"", "\"container\"", "\"file_id\"", "\"encrypted_content\"");
    static MESSAGES: Names = names!("\"container\"", "\"file_id\"");
    static GEMINI: Names = names!("\"cachedContent\"", "\"cached_content\"", "\"fileUri\"", "\"file_uri\"");
    static OTHERS: Names = names!("\"file_id\"");
    match operation {
        Responses => &RESPONSES,
        Messages | CountTokens => &MESSAGES,
        GenerateContent | StreamGenerateContent | GeminiCountTokens | EmbedContent | BatchEmbedContents => &GEMINI,
        ChatCompletions | Completions | Embeddings | Moderations | Images | Audio | Rerank => &OTHERS,
    }
}

/// Names in answers.
fn handed_out(operation: Operation) -> &'static [Finder<'static>] {
    static RESPONSES: Names =
        names!("\"conversation\"", "\"container\"", "\"container_id\"", "\"file_id\"", "\"encrypted_content\"");
    static MESSAGES: Names = names!("\"container\"", "\"file_id\"");
    match operation {
        Operation::Responses => &RESPONSES,
        Operation::Messages => &MESSAGES,
        _ => &[],
    }
}

/// Hashes of the values in a request that only the account which made them knows.
pub fn bound_state(operation: Operation, body: &[u8]) -> States {
    let mut states = States::new();
    for name in asked_for(operation) {
        gather(body, name, &mut states);
    }
    states
}

/// Hashes of the values that an answer hands out to be named in later requests; the answer is a plain body, or one event's data.
pub fn made_state(operation: Operation, answer: &[u8]) -> States {
    let mut states = States::new();
    // Most events of a stream are pieces of text, which say so at once: five looks at each would be for nothing.
    let beginning = answer.get(..TYPE_BYTES).unwrap_or(answer);
    if operation == Operation::Responses && memmem::find(beginning, b".delta\"").is_some() {
        return states;
    }
    if operation == Operation::Responses {
        // The id of the response itself: of a plain answer at the top, in events within `response`. Other ids are of its items.
        let _ = each_member(answer, |name, value| {
            if matches!(name, b"id" | b"response") {
                add(value, &mut states);
            }
        });
    }
    for name in handed_out(operation) {
        gather(answer, name, &mut states);
    }
    states
}

/// Adds the values of all members of this name, which is given with its quotes.
fn gather(text: &[u8], name: &Finder<'_>, states: &mut States) {
    let mut places: SmallVec<[usize; MAX_STATES]> = SmallVec::new();
    for at in name.find_iter(text) {
        if places.len() == MAX_STATES {
            places.remove(0);
        }
        places.push(at + name.needle().len());
    }
    for at in places.into_iter().rev() {
        if let Some(value) = from_value(text, at) {
            add(value, states);
        }
    }
}

/// Adds the value that a text begins with: a string, or the `id` of an object.
fn add(text: &[u8], states: &mut States) {
    match text.first() {
        Some(b'"') => add_string(leading_string(text).unwrap_or_default(), states),
        Some(b'{') => {
            // Where the look ends within the object there is an error, but what was found before stands.
            let _ = each_member(text.get(..MAX_OBJECT_BYTES).unwrap_or(text), |name, value| {
                if name == b"id" && value.first() == Some(&b'"') {
                    add_string(value, states);
                }
            });
        }
        _ => {}
    }
}

/// Some writers escape the slashes or the equals signs of base64: the same value has the same hash all the same.
fn add_string(literal: &[u8], states: &mut States) {
    let unescaped;
    let value = if memchr(b'\\', literal).is_some() {
        unescaped = string_value(literal).unwrap_or_default();
        unescaped.as_bytes()
    } else {
        literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default()
    };
    if value.is_empty() || states.len() == MAX_STATES {
        return;
    }
    let hash = hash(value);
    if !states.contains(&hash) {
        states.push(hash);
    }
}

fn hash(value: &[u8]) -> u64 {
    FixedState::default().hash_one(value)
}

#[cfg(test)]
mod tests;
