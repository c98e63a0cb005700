//! Anthropic's Messages API on the wire. Lists of models: platform.claude.com/docs/en/api/models-list (seen November 2026).

use berry_vocab::{Code, Failure, Protocol};
use serde::Serialize;

use super::{EventContext, Route, Shape, Spec, UNSTREAMED, common_status, sse, to_json};
use crate::events::{Closing, Form, Grammar, Says};
use crate::models::{ModelCard, rfc3339};
use crate::route::Operation;

pub(super) static SPEC: Spec = Spec {
    protocol: Protocol::Anthropic,
    versions: &["/v1"],
    routes: &[
        Route { operation: Operation::Messages, shape: Shape::Exact("/messages"), label: "/v1/messages" },
        Route {
            operation: Operation::CountTokens,
            shape: Shape::Exact("/messages/count_tokens"),
            label: "/v1/messages/count_tokens",
        },
    ],
    later: &["/messages/batches", "/complete", "/skills"],
    later_verbs: &[],
    credential: ("x-api-key", ""),
    default_headers: &[("anthropic-version", "2023-06-01")],
    status,
    error,
    event,
    events,
    list,
    card,
};

/// Anthropic has statuses of its own for overload and for billing.
fn status(failure: &Failure) -> u16 {
    match failure.code() {
        Code::BudgetExceeded => 402,
        Code::UpstreamOverloaded if failure.is_overload() => 529,
        _ => common_status(failure),
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    r#type: &'a str,
    error: Body<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    message: &'a str,
}

fn error(failure: &Failure, request_id: &str) -> Vec<u8> {
    let r#type = if failure.is_overload() { "overloaded_error" } else { failure.code().anthropic_type() };
    to_json(&Envelope { r#type: "error", error: Body { r#type, message: failure.message() }, request_id })
}

fn event(failure: &Failure, context: EventContext<'_>) -> Vec<u8> {
    sse(Some("error"), &error(failure, context.request_id))
}

/// A tool's block begins with its name, a block of text or thoughts with nothing.
static EVENTS: Grammar = Grammar {
    form: Form::Typed(&[
        ("content_block_delta", Says::IfAny),
        ("content_block_start", Says::IfAny),
        ("content_block_stop", Says::Quiet),
        ("ping", Says::Quiet),
        ("message_start", Says::Quiet),
        ("message_delta", Says::IfAny),
        ("message_stop", Says::End),
        ("error", Says::Error),
    ]),
    has_done: false,
    closing: Closing::Bad,
    number: None,
};

fn events(operation: Operation) -> &'static Grammar {
    if operation == Operation::Messages { &EVENTS } else { &UNSTREAMED }
}

#[derive(Serialize)]
struct List<'a> {
    data: Vec<Card<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Card<'a> {
    r#type: &'a str,
    id: &'a str,
    display_name: &'a str,
    created_at: String,
}

impl<'a> Card<'a> {
    fn of(model: &ModelCard<'a>) -> Self {
        Card { r#type: "model", id: model.id, display_name: model.id, created_at: rfc3339(model.created) }
    }
}

fn list(models: &[ModelCard<'_>]) -> Vec<u8> {
    to_json(&List {
        data: models.iter().map(Card::of).collect(),
        has_more: false,
        first_id: models.first().map(|model| model.id),
        last_id: models.last().map(|model| model.id),
    })
}

fn card(model: &ModelCard<'_>) -> Vec<u8> {
    to_json(&Card::of(model))
}
