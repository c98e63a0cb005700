//! Method and path to what is meant by them. Bodies are not looked at here, and queries are cut off before.

use berry_vocab::{Code, Failure, Protocol};

use crate::protocol::{Route, SPECS, Shape, Spec};

/// What one path and method mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched<'p> {
    /// A call that a backend answers.
    Call(Call<'p>),
    /// The list of models.
    ListModels {
        /// The path was Gemini's, `/v1beta/models`.
        beta: bool,
    },
    /// One model.
    GetModel {
        /// Its name, still percent-encoded as in the path.
        id: &'p str,
        /// The path was Gemini's, `/v1beta/models/{id}`.
        beta: bool,
    },
}

/// A call that a backend answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'p> {
    /// The protocol that the client speaks.
    pub protocol: Protocol,
    /// What is asked for.
    pub operation: Operation,
    /// The model in the path (Gemini), still percent-encoded.
    pub path_model: Option<&'p str>,
    /// What follows the version: `/chat/completions`, `/images/edits`; for Gemini the verb, `generateContent`.
    pub suffix: &'p str,
}

macro_rules! operations {
    ($( $(#[$doc:meta])* $name:ident: $protocol:ident, )*) => {
        /// What a call asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Operation { $( $(#[$doc])* $name, )* }

        impl Operation {
            /// All operations.
            pub fn all() -> &'static [Operation] {
                &[$(Operation::$name),*]
            }

            /// The protocol that it belongs to.
            pub fn protocol(self) -> Protocol {
                match self { $(Operation::$name => Protocol::$protocol,)* }
            }
        }
    };
}

operations! {
    /// OpenAI chat completions.
    ChatCompletions: OpenAi,
    /// OpenAI completions (the older, plain ones).
    Completions: OpenAi,
    /// OpenAI responses.
    Responses: OpenAi,
    /// OpenAI embeddings.
    Embeddings: OpenAi,
    /// OpenAI moderations.
    Moderations: OpenAi,
    /// OpenAI images: generations, edits, variations.
    Images: OpenAi,
    /// OpenAI audio: speech, transcriptions, translations.
    Audio: OpenAi,
    /// Reranking, as the OpenAI-like vendors have it.
    Rerank: OpenAi,
    /// Anthropic messages.
    Messages: Anthropic,
    /// Anthropic's count of a message's tokens.
    CountTokens: Anthropic,
    /// Gemini's plain answer.
    GenerateContent: Gemini,
    /// Gemini's streamed answer.
    StreamGenerateContent: Gemini,
    /// Gemini's count of a request's tokens.
    GeminiCountTokens: Gemini,
    /// One Gemini embedding.
    EmbedContent: Gemini,
    /// Many Gemini embeddings.
    BatchEmbedContents: Gemini,
}

/// Why a path and method mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// No such path.
    NotFound {
        /// It is a path of a vendor's API that Berry does not serve yet.
        known_later: bool,
    },
    /// The path is known, the method is not.
    MethodNotAllowed {
        /// The value of the `allow` header.
        allow: &'static str,
    },
}

/// What a path and method mean. The path is without its query.
pub fn find<'p>(method: &str, path: &'p str) -> Result<Matched<'p>, Miss> {
    let (beta, rest) =
        below_version(path).ok_or(Miss::NotFound { known_later: path.starts_with("/upload/v1beta/") })?;
    if rest == "/models" {
        return only(method, "GET", Matched::ListModels { beta });
    }
    if let Some(model) = rest.strip_prefix("/models/") {
        return find_model(method, model, beta);
    }
    let version = if beta { "/v1beta" } else { "/v1" };
    let specs = || SPECS.iter().filter(move |spec| spec.versions.contains(&version));
    for spec in specs() {
        if let Some(route) = spec.routes.iter().find(|route| route.is_at(rest)) {
            return only(method, "POST", Matched::Call(call(spec, route, None, rest)));
        }
    }
    Err(Miss::NotFound { known_later: specs().any(|spec| spec.later.iter().any(|later| is_below(rest, later))) })
}

/// In whose dialect a failure is told on a path that may match nothing.
pub fn dialect_of_path(path: &str) -> Protocol {
    let Some((beta, rest)) = below_version(path) else {
        return if path.starts_with("/upload/v1beta/") { Protocol::Gemini } else { Protocol::OpenAi };
    };
    let verb = rest.strip_prefix("/models/").and_then(|model| model.rsplit_once(':')).map(|(_, verb)| verb);
    if beta || verb.is_some_and(|verb| verb_route(verb).is_some() || is_later_verb(verb)) {
        Protocol::Gemini
    } else if is_below(rest, "/messages") {
        Protocol::Anthropic
    } else {
        Protocol::OpenAi
    }
}

// === impl Operation ===

impl Operation {
    /// Its name in metrics and logs: a path without anything that a client chose.
    pub fn label(self) -> &'static str {
        let mut routes = SPECS.iter().flat_map(|spec| spec.routes);
        routes.find(|route| route.operation == self).map_or("", |route| route.label)
    }
}

// === impl Miss ===

impl Miss {
    /// What the client is told.
    pub fn failure(&self) -> Failure {
        match self {
            Miss::NotFound { known_later: true } => Failure::new(
                Code::RouteNotFound,
                "Berry does not serve this part of the API yet; call the provider itself for it",
            ),
            Miss::NotFound { known_later: false } => Failure::new(
                Code::RouteNotFound,
                "nothing is served at this path; API paths begin with /v1 or /v1beta, so check the client's base URL \
                 (OpenAI clients want it with /v1 at its end, Anthropic and Gemini clients without)",
            ),
            Miss::MethodNotAllowed { allow } => {
                Failure::new(Code::MethodNotAllowed, format!("this path takes no such method; use {allow}"))
            }
        }
    }
}

// === impl Route ===

impl Route {
    fn is_at(&self, rest: &str) -> bool {
        match self.shape {
            Shape::Exact(path) => path == rest,
            Shape::Family(prefix) => rest.strip_prefix(prefix).is_some_and(is_plain_segment),
            Shape::Verb(_) => false,
        }
    }
}

/// Splits `/v1beta/x` and `/v1/x` into whether it is the beta and `/x`.
fn below_version(path: &str) -> Option<(bool, &str)> {
    let (beta, rest) = match path.strip_prefix("/v1beta") {
        Some(rest) => (true, rest),
        None => (false, path.strip_prefix("/v1")?),
    };
    rest.starts_with('/').then_some((beta, rest))
}

/// `/models/{model}` and `/models/{model}:{verb}`. A model's name may hold `/` and `:`, so the verb is what follows the last
/// colon, if it is one that Gemini has.
fn find_model<'p>(method: &str, model: &'p str, beta: bool) -> Result<Matched<'p>, Miss> {
    if let Some((name, verb)) = model.rsplit_once(':').filter(|(name, _)| !name.is_empty()) {
        if let Some((spec, route)) = verb_route(verb) {
            return only(method, "POST", Matched::Call(call(spec, route, Some(name), verb)));
        }
        if is_later_verb(verb) {
            return Err(Miss::NotFound { known_later: true });
        }
        if method == "POST" {
            return Err(Miss::NotFound { known_later: false });
        }
    }
    if model.is_empty() {
        return Err(Miss::NotFound { known_later: false });
    }
    only(method, "GET", Matched::GetModel { id: model, beta })
}

fn call<'p>(spec: &Spec, route: &Route, path_model: Option<&'p str>, suffix: &'p str) -> Call<'p> {
    Call { protocol: spec.protocol, operation: route.operation, path_model, suffix }
}

fn only<'p>(method: &str, allow: &'static str, matched: Matched<'p>) -> Result<Matched<'p>, Miss> {
    if method == allow { Ok(matched) } else { Err(Miss::MethodNotAllowed { allow }) }
}

fn verb_route(verb: &str) -> Option<(&'static Spec, &'static Route)> {
    let mut routes = SPECS.iter().flat_map(|spec| spec.routes.iter().map(move |route| (*spec, route)));
    routes.find(|(_, route)| matches!(route.shape, Shape::Verb(known) if known == verb))
}

fn is_later_verb(verb: &str) -> bool {
    SPECS.iter().any(|spec| spec.later_verbs.contains(&verb))
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A segment that cannot climb out of its folder, whatever a backend makes of dots and escapes.
fn is_plain_segment(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(path: &str) -> Option<(Protocol, Operation, Option<&str>, &str)> {
        match find("POST", path) {
            Ok(Matched::Call(call)) => Some((call.protocol, call.operation, call.path_model, call.suffix)),
            _ => None,
        }
    }

    #[test]
    fn every_route_of_the_contract_is_found() {
        use Operation::*;
        for (path, operation) in [
            ("/v1/chat/completions", ChatCompletions),
            ("/v1/completions", Completions),
            ("/v1/responses", Responses),
            ("/v1/embeddings", Embeddings),
            ("/v1/moderations", Moderations),
            ("/v1/images/generations", Images),
            ("/v1/images/edits", Images),
            ("/v1/images/variations", Images),
            ("/v1/audio/speech", Audio),
            ("/v1/audio/transcriptions", Audio),
            ("/v1/audio/translations", Audio),
            ("/v1/rerank", Rerank),
            ("/v1/messages", Messages),
            ("/v1/messages/count_tokens", CountTokens),
        ] {
            assert_eq!(post(path), Some((operation.protocol(), operation, None, &path[3..])), "{path}");
            assert_eq!(find("GET", path), Err(Miss::MethodNotAllowed { allow: "POST" }), "{path}");
        }
        for (verb, operation) in [
            ("generateContent", GenerateContent),
            ("streamGenerateContent", StreamGenerateContent),
            ("countTokens", GeminiCountTokens),
            ("embedContent", EmbedContent),
            ("batchEmbedContents", BatchEmbedContents),
        ] {
            for version in ["/v1beta", "/v1"] {
                let path = format!("{version}/models/gemini-2.5-pro:{verb}");
                assert_eq!(post(&path), Some((Protocol::Gemini, operation, Some("gemini-2.5-pro"), verb)), "{path}");
                assert_eq!(find("PUT", &path), Err(Miss::MethodNotAllowed { allow: "POST" }), "{path}");
            }
        }
    }

    #[test]
    fn models_are_listed_and_got_under_both_versions() {
        assert_eq!(find("GET", "/v1/models"), Ok(Matched::ListModels { beta: false }));
        assert_eq!(find("GET", "/v1beta/models"), Ok(Matched::ListModels { beta: true }));
        assert_eq!(find("GET", "/v1/models/gpt-4o"), Ok(Matched::GetModel { id: "gpt-4o", beta: false }));
        assert_eq!(find("GET", "/v1beta/models/a/b"), Ok(Matched::GetModel { id: "a/b", beta: true }));
        assert_eq!(find("GET", "/v1/models/qwen:7b"), Ok(Matched::GetModel { id: "qwen:7b", beta: false }));
        assert_eq!(find("POST", "/v1/models"), Err(Miss::MethodNotAllowed { allow: "GET" }));
        assert_eq!(find("DELETE", "/v1/models/x"), Err(Miss::MethodNotAllowed { allow: "GET" }));
    }

    #[test]
    fn a_models_name_in_the_path_may_hold_slashes_and_colons() {
        let (_, _, model, _) = post("/v1beta/models/org/qwen:7b:generateContent").unwrap();
        assert_eq!(model, Some("org/qwen:7b"));
    }

    #[test]
    fn what_is_not_served_yet_is_told_from_what_does_not_exist() {
        for path in [
            "/v1/responses/resp_1",
            "/v1/chat/completions/chatcmpl_1",
            "/v1/files",
            "/v1/batches/b",
            "/v1/assistants",
            "/v1/threads/t/runs",
            "/v1/vector_stores",
            "/v1/realtime",
            "/v1/fine_tuning/jobs",
            "/v1/messages/batches",
            "/v1beta/files",
            "/v1beta/cachedContents/c",
            "/v1beta/tunedModels/t:generateContent",
            "/v1beta/models/x:batchGenerateContent",
            "/upload/v1beta/files",
        ] {
            assert_eq!(find("POST", path), Err(Miss::NotFound { known_later: true }), "{path}");
        }
        for path in [
            "/",
            "",
            "/v1",
            "/v1/",
            "/v2/chat/completions",
            "/chat/completions",
            "/v1/v1/chat/completions",
            "/v1/chat/completions/../x/",
            "/v1beta/chat/completions",
            "/v1/images/",
            "/v1/images/../files",
            "/v1/images/a/b",
            "/v1/images/%2e%2e",
            "/v1/models/",
            "/v1/models/:generateContent/",
            "/v1/models/x:fly",
            "/v1betamodels",
            "/v1/filesystem",
        ] {
            let known_later = path.starts_with("/v1/chat/completions/");
            match find("POST", path) {
                Err(Miss::NotFound { known_later: later }) => assert_eq!(later, known_later, "{path}"),
                other => assert!(path.ends_with('/') && other.is_err(), "{path}: {other:?}"),
            }
        }
        assert!(Miss::NotFound { known_later: true }.failure().message().contains("yet"));
        assert_eq!(Miss::MethodNotAllowed { allow: "GET" }.failure().code(), Code::MethodNotAllowed);
    }

    #[test]
    fn errors_speak_the_dialect_that_the_path_looks_like() {
        for (path, protocol) in [
            ("/v1/messages", Protocol::Anthropic),
            ("/v1/messages/batches", Protocol::Anthropic),
            ("/v1beta/nothing", Protocol::Gemini),
            ("/v1beta/models", Protocol::Gemini),
            ("/v1/models/x:generateContent", Protocol::Gemini),
            ("/v1/models/qwen:7b", Protocol::OpenAi),
            ("/v1/models", Protocol::OpenAi),
            ("/v1/nothing", Protocol::OpenAi),
            ("/", Protocol::OpenAi),
            ("", Protocol::OpenAi),
        ] {
            assert_eq!(dialect_of_path(path), protocol, "{path}");
        }
    }
}
