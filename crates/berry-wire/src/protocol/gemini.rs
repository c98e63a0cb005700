//! Google's Gemini API on the wire: errors in the form of google.rpc.Status, models as named resources.

use std::sync::LazyLock;

use berry_vocab::{Failure, Protocol};
use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

use super::{EventContext, Route, Shape, Spec, UNSTREAMED, common_status, sse, to_json};
use crate::events::{Closing, Form, Grammar, Mark, Piece, Substance};
use crate::models::ModelCard;
use crate::route::Operation;

pub(super) static SPEC: Spec = Spec {
    protocol: Protocol::Gemini,
    versions: &["/v1beta", "/v1"],
    routes: &[
        verb(Operation::GenerateContent, "generateContent", "/v1beta/models/{model}:generateContent"),
        verb(Operation::StreamGenerateContent, "streamGenerateContent", "/v1beta/models/{model}:streamGenerateContent"),
        verb(Operation::GeminiCountTokens, "countTokens", "/v1beta/models/{model}:countTokens"),
        verb(Operation::EmbedContent, "embedContent", "/v1beta/models/{model}:embedContent"),
        verb(Operation::BatchEmbedContents, "batchEmbedContents", "/v1beta/models/{model}:batchEmbedContents"),
    ],
    later: &[
        "/files",
        "/cachedContents",
        "/tunedModels",
        "/corpora",
        "/batches",
        "/operations",
        "/interactions",
        "/fileSearchStores",
    ],
    later_verbs: &[
        "batchGenerateContent",
        "asyncBatchEmbedContent",
        "predict",
        "predictLongRunning",
        "bidiGenerateContent",
    ],
    credential: ("x-goog-api-key", ""),
    default_headers: &[],
    status: common_status,
    error,
    event,
    events,
    list,
    card,
};

const fn verb(operation: Operation, verb: &'static str, label: &'static str) -> Route {
    Route { operation, shape: Shape::Verb(verb), label }
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    code: u16,
    message: &'a str,
    status: &'a str,
}

fn error(failure: &Failure, _request_id: &str) -> Vec<u8> {
    let status = if failure.is_overload() { "UNAVAILABLE" } else { failure.code().gemini_status() };
    to_json(&Envelope { error: Body { code: common_status(failure), message: failure.message(), status } })
}

fn event(failure: &Failure, context: EventContext<'_>) -> Vec<u8> {
    sse(None, &error(failure, context.request_id))
}

static EVENTS: LazyLock<Grammar> = LazyLock::new(|| Grammar {
    form: Form::Pieces {
        marks: vec![
            Mark::new("\"error\"", &["null"]),
            Mark::new("\"finishReason\"", &["null"]),
            Mark::new("\"blockReason\"", &["null"]),
        ],
        text: Finder::new("\"text\":\""),
        read: piece,
    },
    has_done: false,
    closing: Closing::IfFinished,
    number: None,
});

fn events(operation: Operation) -> &'static Grammar {
    if operation == Operation::StreamGenerateContent { &EVENTS } else { &UNSTREAMED }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk {
    #[serde(default)]
    candidates: Option<Vec<Candidate>>,
    #[serde(default)]
    prompt_feedback: Option<PromptFeedback>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    #[serde(default)]
    content: Substance,
    #[serde(default)]
    finish_reason: Substance,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    #[serde(default)]
    block_reason: Substance,
}

/// One reason finishes the whole: candidates are counted as one, and a prompt that is refused is an answer without any.
fn piece(data: &[u8]) -> Option<Piece> {
    let chunk: Chunk = serde_json::from_slice(data).ok()?;
    let mut piece = Piece::default();
    for candidate in chunk.candidates.unwrap_or_default() {
        piece.add(0, candidate.content.0, candidate.finish_reason.0);
    }
    if let Some(feedback) = chunk.prompt_feedback {
        piece.add(0, false, feedback.block_reason.0);
    }
    Some(piece)
}

#[derive(Serialize)]
struct List<'a> {
    models: Vec<Card<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Card<'a> {
    name: String,
    base_model_id: &'a str,
    version: &'a str,
    display_name: &'a str,
    supported_generation_methods: Vec<&'static str>,
}

impl<'a> Card<'a> {
    /// Token limits are left out: Berry does not know them, and a wrong limit makes clients cut their prompts.
    fn of(model: &ModelCard<'a>) -> Self {
        let methods = SPEC.routes.iter().filter_map(|route| match route.shape {
            Shape::Verb(verb) => Some(verb),
            Shape::Exact(_) | Shape::Family(_) => None,
        });
        Card {
            name: format!("models/{}", model.id),
            base_model_id: model.id,
            version: "001",
            display_name: model.id,
            supported_generation_methods: methods.collect(),
        }
    }
}

fn list(models: &[ModelCard<'_>]) -> Vec<u8> {
    to_json(&List { models: models.iter().map(Card::of).collect() })
}

fn card(model: &ModelCard<'_>) -> Vec<u8> {
    to_json(&Card::of(model))
}
