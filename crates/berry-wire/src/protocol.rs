//! The protocols, one row each. What a protocol is on the wire stands in its own file; everything else here asks the row.

mod anthropic;
mod gemini;
mod openai;

use berry_vocab::{Failure, Protocol};
use serde::Serialize;

use crate::events::{Closing, Form, Grammar, Says};
use crate::models::ModelCard;
use crate::route::Operation;

/// What one protocol is on the wire.
pub(crate) struct Spec {
    /// Which protocol this is.
    pub(crate) protocol: Protocol,
    /// The version prefixes under which clients find its routes; the first is the one appended to a base URL.
    pub(crate) versions: &'static [&'static str],
    /// Its routes.
    pub(crate) routes: &'static [Route],
    /// Paths, below the version, of its API that Berry does not serve yet. Each also stands for what lies below it.
    pub(crate) later: &'static [&'static str],
    /// Verbs after a model's name that Berry does not serve yet.
    pub(crate) later_verbs: &'static [&'static str],
    /// The header that carries a key, and what stands before the key in it.
    pub(crate) credential: (&'static str, &'static str),
    /// Headers that a backend needs where the client sent none of that name.
    pub(crate) default_headers: &'static [(&'static str, &'static str)],
    /// The status of an answer with this failure.
    pub(crate) status: fn(&Failure) -> u16,
    /// The body of an answer with this failure: failure, request id.
    pub(crate) error: fn(&Failure, &str) -> Vec<u8>,
    /// The event that ends a stream with this failure.
    pub(crate) event: fn(&Failure, EventContext<'_>) -> Vec<u8>,
    /// How the streams of its operations are read.
    pub(crate) events: fn(Operation) -> &'static Grammar,
    /// The list of models.
    pub(crate) list: fn(&[ModelCard<'_>]) -> Vec<u8>,
    /// One model.
    pub(crate) card: fn(&ModelCard<'_>) -> Vec<u8>,
}

/// One route of a protocol.
pub(crate) struct Route {
    pub(crate) operation: Operation,
    pub(crate) shape: Shape,
    /// The route's name in metrics and logs, which no client can widen.
    pub(crate) label: &'static str,
}

/// How a route's path, below the version, is recognised.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// Exactly this path.
    Exact(&'static str),
    /// One plain segment below this prefix.
    Family(&'static str),
    /// `/models/{model}:` and this verb.
    Verb(&'static str),
}

/// What an error event needs to know of its stream.
pub(crate) struct EventContext<'a> {
    pub(crate) operation: Operation,
    pub(crate) request_id: &'a str,
    pub(crate) sequence: u64,
}

/// All protocols.
pub(crate) static SPECS: [&Spec; 3] = [&openai::SPEC, &anthropic::SPEC, &gemini::SPEC];

/// How a stream is read that no vendor documents: its clean end is a good one.
pub(crate) static UNSTREAMED: Grammar =
    Grammar { form: Form::Typed(&[("error", Says::Error)]), has_done: true, closing: Closing::Good, number: None };

/// The row of a protocol.
pub(crate) fn spec(protocol: Protocol) -> &'static Spec {
    match protocol {
        Protocol::OpenAi => &openai::SPEC,
        Protocol::Anthropic => &anthropic::SPEC,
        Protocol::Gemini => &gemini::SPEC,
    }
}

/// The status that most failures have in every dialect.
pub(crate) fn common_status(failure: &Failure) -> u16 {
    if failure.is_overload() { 503 } else { failure.code().status() }
}

/// JSON text of values whose serialisation cannot fail: structs of strings and numbers.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// A server-sent event. The data is JSON text on one line.
pub(crate) fn sse(name: Option<&str>, data: &[u8]) -> Vec<u8> {
    let mut event = Vec::with_capacity(data.len() + 32);
    if let Some(name) = name {
        event.extend_from_slice(b"event: ");
        event.extend_from_slice(name.as_bytes());
        event.push(b'\n');
    }
    event.extend_from_slice(b"data: ");
    event.extend_from_slice(data);
    event.extend_from_slice(b"\n\n");
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_has_its_row_and_every_operation_exactly_one_route() {
        for (protocol, row) in Protocol::ALL.into_iter().zip(SPECS) {
            assert_eq!((row.protocol, spec(protocol).protocol), (protocol, protocol));
        }
        for operation in Operation::all() {
            let rows: Vec<_> = SPECS
                .iter()
                .flat_map(|spec| spec.routes.iter().map(move |route| (spec.protocol, route)))
                .filter(|(_, route)| route.operation == *operation)
                .collect();
            assert_eq!(rows.len(), 1, "{operation:?}");
            assert_eq!(rows[0].0, operation.protocol(), "{operation:?}");
            assert_eq!(rows[0].1.label, operation.label(), "{operation:?}");
        }
    }
}
