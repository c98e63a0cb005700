//! OpenAI's HTTP API on the wire. How its streams are read stands in `openai/stream.rs`. In a Responses stream an error is a `ResponseErrorEvent`, whose five fields are all required.

mod stream;

use berry_vocab::{Code, Failure, Protocol};
use serde::Serialize;

use super::{EventContext, Route, Shape, Spec, common_status, sse, to_json};
use crate::models::ModelCard;
use crate::route::Operation;

pub(super) static SPEC: Spec = Spec {
    protocol: Protocol::OpenAi,
    versions: &["/v1"],
    routes: ROUTES,
    later: &[
        "/responses",
        "/chat/completions",
        "/files",
        "/uploads",
        "/batches",
        "/assistants",
        "/threads",
        "/conversations",
        "/containers",
        "/vector_stores",
        "/realtime",
        "/fine_tuning",
        "/evals",
        "/videos",
        "/organization",
    ],
    later_verbs: &[],
    credential: ("authorization", "Bearer "),
    default_headers: &[],
    status: common_status,
    error,
    event,
    events: stream::events,
    list,
    card,
};

const ROUTES: &[Route] = &[
    exact(Operation::ChatCompletions, "/chat/completions", "/v1/chat/completions"),
    exact(Operation::Completions, "/completions", "/v1/completions"),
    exact(Operation::Responses, "/responses", "/v1/responses"),
    exact(Operation::Embeddings, "/embeddings", "/v1/embeddings"),
    exact(Operation::Moderations, "/moderations", "/v1/moderations"),
    exact(Operation::Rerank, "/rerank", "/v1/rerank"),
    Route { operation: Operation::Images, shape: Shape::Family("/images/"), label: "/v1/images/*" },
    Route { operation: Operation::Audio, shape: Shape::Family("/audio/"), label: "/v1/audio/*" },
];

const fn exact(operation: Operation, path: &'static str, label: &'static str) -> Route {
    Route { operation, shape: Shape::Exact(path), label }
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

/// The Responses API tells of an error in a stream in a shape of its own.
#[derive(Serialize)]
struct ResponsesEvent<'a> {
    r#type: &'a str,
    code: &'a str,
    message: &'a str,
    param: Option<&'a str>,
    sequence_number: u64,
}

fn error(failure: &Failure, _request_id: &str) -> Vec<u8> {
    let r#type = if failure.is_overload() { "server_error" } else { failure.code().openai_type() };
    let body = Body { message: failure.message(), r#type, param: failure.at_param(), code: code(failure) };
    to_json(&Envelope { error: body })
}

/// SDKs stop retrying on `insufficient_quota`, so a used-up budget says it in both places.
fn code(failure: &Failure) -> &'static str {
    if failure.code() == Code::BudgetExceeded { "insufficient_quota" } else { failure.code().as_str() }
}

fn event(failure: &Failure, context: EventContext<'_>) -> Vec<u8> {
    if context.operation != Operation::Responses {
        return sse(None, &error(failure, context.request_id));
    }
    let event = ResponsesEvent {
        r#type: "error",
        code: code(failure),
        message: failure.message(),
        param: failure.at_param(),
        sequence_number: context.sequence,
    };
    sse(Some("error"), &to_json(&event))
}

#[derive(Serialize)]
struct List<'a> {
    object: &'a str,
    data: Vec<Card<'a>>,
}

#[derive(Serialize)]
struct Card<'a> {
    id: &'a str,
    object: &'a str,
    created: i64,
    owned_by: &'a str,
}

impl<'a> Card<'a> {
    fn of(model: &ModelCard<'a>) -> Self {
        Card { id: model.id, object: "model", created: model.created, owned_by: "berry" }
    }
}

fn list(models: &[ModelCard<'_>]) -> Vec<u8> {
    to_json(&List { object: "list", data: models.iter().map(Card::of).collect() })
}

fn card(model: &ModelCard<'_>) -> Vec<u8> {
    to_json(&Card::of(model))
}
