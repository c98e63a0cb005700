//! The path of a request to a backend: the base URL's prefix, the operation, for Gemini the model, and the client's query.

use std::borrow::Cow;

use berry_vocab::Protocol;

use crate::base_url::BaseUrl;
use crate::percent;
use crate::protocol::{Shape, spec};
use crate::route::{Call, Operation};

/// Path and query of the request to the backend. The client's query is passed on as it is, but for Gemini's `key`, which holds
/// the client's token.
pub fn upstream_path(base: &BaseUrl, call: &Call<'_>, model: &str, query: Option<&str>) -> String {
    let mut path = String::with_capacity(base.prefix().len() + call.suffix.len() + model.len() + 32);
    if let Some(whole) = base.whole_for(call.operation) {
        path.push_str(whole);
    } else if is_verb(call) {
        path.push_str(base.prefix());
        push_gemini_model(&mut path, model);
        path.push(':');
        path.push_str(call.suffix);
    } else {
        path.push_str(base.prefix());
        path.push_str(call.suffix);
    }
    let without_key = call.protocol == Protocol::Gemini;
    let kept = query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !(without_key && is_key(pair)));
    for (index, pair) in kept.enumerate() {
        path.push(if index == 0 { '?' } else { '&' });
        path.push_str(pair);
    }
    path
}

/// The path of the backend's list of models.
pub fn models_path(base: &BaseUrl) -> String {
    [base.prefix(), "/models"].concat()
}

/// The tokens in a query: the values of Gemini's `key` parameter, as many as there are.
pub fn key_parameters(query: &str) -> impl Iterator<Item = Cow<'_, str>> {
    query.split('&').filter(|pair| is_key(pair)).map(|pair| {
        let value = pair.split_once('=').map_or("", |(_, value)| value);
        percent::decode(value).unwrap_or(Cow::Borrowed(value))
    })
}

/// Whether a streamed answer comes as server-sent events: Gemini's is a JSON array unless the query has `alt=sse`
/// (ai.google.dev/api, "streamGenerateContent", 2026-11-25), and streamed sound may be bytes alone.
pub fn streams_events(operation: Operation, query: Option<&str>) -> bool {
    match operation {
        Operation::StreamGenerateContent => query.into_iter().flat_map(|q| q.split('&')).any(|pair| pair == "alt=sse"),
        Operation::Audio => false,
        _ => true,
    }
}

fn is_verb(call: &Call<'_>) -> bool {
    let mut routes = spec(call.protocol).routes.iter();
    routes.any(|route| route.operation == call.operation && matches!(route.shape, Shape::Verb(_)))
}

/// `/models/x`, or `/tunedModels/x` where the model is named so. Any further `/` is encoded, so that no model's name, which a
/// client may have chosen, can lead to another resource.
fn push_gemini_model(path: &mut String, model: &str) {
    let (collection, name) = match model.split_once('/') {
        Some((collection @ ("models" | "tunedModels"), name)) => (collection, name),
        _ => ("models", model),
    };
    path.push('/');
    path.push_str(collection);
    path.push('/');
    percent::encode_segment(name, path);
}

/// Whether a query's pair is named `key`, also where the name is written with escapes.
fn is_key(pair: &str) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    percent::decode(name).is_some_and(|name| name == "key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Matched, find};

    fn path(base: &str, protocol: Protocol, asked: &str, model: &str, query: Option<&str>) -> String {
        let Ok(Matched::Call(call)) = find("POST", asked) else { panic!("{asked} is a call") };
        upstream_path(&BaseUrl::parse(base, protocol).unwrap(), &call, model, query)
    }

    #[test]
    fn the_query_is_passed_on_without_the_clients_token() {
        let gemini =
            |query| path("https://g.example", Protocol::Gemini, "/v1/models/x:streamGenerateContent", "m", Some(query));
        for (query, passed) in [
            ("alt=sse&key=T", "?alt=sse"),
            ("key=T&alt=sse&$fields=a%20b&&", "?alt=sse&$fields=a%20b&&"),
            ("k%65y=T", ""),
            ("key", ""),
            ("monkey=1", "?monkey=1"),
        ] {
            assert_eq!(gemini(query), format!("/v1beta/models/m:streamGenerateContent{passed}"), "{query}");
        }
        assert_eq!(
            path("https://o.example", Protocol::OpenAi, "/v1/responses", "m", Some("key=a&include[]=b")),
            "/v1/responses?key=a&include[]=b"
        );
        assert_eq!(key_parameters("alt=sse&key=a%2Bb&k%65y=c&key").collect::<Vec<_>>(), ["a+b", "c", ""]);
    }

    #[test]
    fn what_is_streamed_comes_as_events_but_for_geminis_array_and_sound() {
        for (operation, query, comes_as_events) in [
            (Operation::ChatCompletions, None, true),
            (Operation::Messages, Some("beta=true"), true),
            (Operation::StreamGenerateContent, Some("key=T&alt=sse"), true),
            (Operation::StreamGenerateContent, Some("alt=json"), false),
            (Operation::StreamGenerateContent, None, false),
            (Operation::Audio, None, false),
        ] {
            assert_eq!(streams_events(operation, query), comes_as_events, "{operation:?} {query:?}");
        }
    }

    #[test]
    fn a_models_name_cannot_leave_its_place_in_the_path() {
        let gemini =
            |model| path("https://g.example", Protocol::Gemini, "/v1beta/models/x:generateContent", model, None);
        for (model, place) in [
            ("gemini-2.5-pro", "models/gemini-2.5-pro"),
            ("models/gemini-2.5-pro", "models/gemini-2.5-pro"),
            ("tunedModels/mine", "tunedModels/mine"),
            ("org/qwen:7b", "models/org%2Fqwen:7b"),
            ("models/../files/x", "models/..%2Ffiles%2Fx"),
            ("a?b#c d", "models/a%3Fb%23c%20d"),
            ("модель", "models/%D0%BC%D0%BE%D0%B4%D0%B5%D0%BB%D1%8C"),
        ] {
            assert_eq!(gemini(model), format!("/v1beta/{place}:generateContent"), "{model}");
        }
    }

    #[test]
    fn the_list_of_models_stands_beside_the_operations() {
        let base = |url, protocol| BaseUrl::parse(url, protocol).unwrap();
        assert_eq!(models_path(&base("https://h/api/v3", Protocol::OpenAi)), "/api/v3/models");
        assert_eq!(models_path(&base("https://h/v1/chat/completions", Protocol::OpenAi)), "/v1/models");
        assert_eq!(models_path(&base("https://h", Protocol::Gemini)), "/v1beta/models");
    }
}
