//! How OpenAI's streams are read. There are three kinds: chat and completions come as pieces of their choices and end with
//! `[DONE]`; the Responses API has typed and numbered events; audio and images have typed ones and an end of their own.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;

use crate::events::{Closing, Form, Grammar, Mark, Piece, Says, Substance};
use crate::protocol::UNSTREAMED;
use crate::route::Operation;

pub(super) fn events(operation: Operation) -> &'static Grammar {
    match operation {
        Operation::ChatCompletions | Operation::Completions => &CHOICES,
        Operation::Responses => &RESPONSES,
        Operation::Audio | Operation::Images => &MEDIA,
        _ => &UNSTREAMED,
    }
}

/// Some vendors write an empty reason for none. `index` counts choices and tools: all are the first, in most streams.
static CHOICES: LazyLock<Grammar> = LazyLock::new(|| Grammar {
    form: Form::Pieces {
        marks: vec![
            Mark::new("\"error\"", &["null"]),
            Mark::new("\"finish_reason\"", &["null", "\"\""]),
            Mark::new("\"index\"", &["0"]),
        ],
        text: Finder::new("\"content\":\""),
        read: piece,
    },
    has_done: true,
    closing: Closing::IfFinished,
    number: None,
});

/// A failed response is told of by an event that ends its stream.
static RESPONSES: LazyLock<Grammar> = LazyLock::new(|| Grammar {
    form: Form::Typed(&[
        ("response.output_text.delta", Says::IfAny),
        ("response.created", Says::Quiet),
        ("response.queued", Says::Quiet),
        ("response.in_progress", Says::Quiet),
        ("response.output_item.added", Says::IfAny),
        ("response.content_part.added", Says::IfAny),
        ("response.reasoning_summary_part.added", Says::IfAny),
        ("keepalive", Says::Quiet),
        ("response.completed", Says::End),
        ("response.incomplete", Says::End),
        ("response.failed", Says::Failed),
        ("error", Says::Error),
    ]),
    has_done: false,
    closing: Closing::Bad,
    number: Some(Finder::new("\"sequence_number\"")),
});

static MEDIA: Grammar = Grammar {
    form: Form::Typed(&[
        ("speech.audio.done", Says::End),
        ("transcript.text.done", Says::End),
        ("image_generation.completed", Says::End),
        ("image_edit.completed", Says::End),
        ("error", Says::Error),
    ]),
    has_done: true,
    closing: Closing::Good,
    number: None,
};

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
}

/// Chat has a `delta`, completions have `text`; some vendors put a whole `message` into a chunk.
#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default)]
    delta: Substance,
    #[serde(default)]
    text: Substance,
    #[serde(default)]
    message: Substance,
    #[serde(default)]
    finish_reason: Substance,
}

fn piece(data: &[u8]) -> Option<Piece> {
    let chunk: Chunk = serde_json::from_slice(data).ok()?;
    let mut piece = Piece::default();
    for choice in chunk.choices.unwrap_or_default() {
        let has_content = choice.delta.0 || choice.text.0 || choice.message.0;
        piece.add(choice.index.unwrap_or(0), has_content, choice.finish_reason.0);
    }
    Some(piece)
}
