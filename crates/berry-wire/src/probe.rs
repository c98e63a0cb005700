//! What an active check asks a backend, and what the answer says: its list of models, or the smallest request that it can answer.
//!
//! Lists: developers.openai.com/api/reference (List models), platform.claude.com/docs/en/api/models-list (`limit` up to 1000,
//! `has_more`), ai.google.dev/api/models (`pageSize` up to 1000, `nextPageToken`); all seen November 2026.

use berry_vocab::Protocol;
use serde::Deserialize;
use serde_json::json;

use crate::base_url::BaseUrl;
use crate::route::{Call, Operation};
use crate::upstream::{models_path, upstream_path};

/// A request that tells how a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// Its body, JSON; empty for `GET`.
    pub body: Vec<u8>,
    /// What it asks for; `None`: a list of models.
    pub operation: Option<Operation>,
}

/// Asks for the list of models, as much of it as fits one page.
pub fn probe_models(base: &BaseUrl, protocol: Protocol) -> Probe {
    let page = match protocol {
        Protocol::OpenAi => "",
        Protocol::Anthropic => "?limit=1000",
        Protocol::Gemini => "?pageSize=1000",
    };
    Probe { method: "GET", path: models_path(base) + page, body: Vec::new(), operation: None }
}

/// Asks a model for one token.
pub fn probe_one_token(base: &BaseUrl, protocol: Protocol, model: &str) -> Probe {
    let message = json!([{"role": "user", "content": "ping"}]);
    let (operation, suffix, body) = match protocol {
        Protocol::OpenAi => {
            let body = json!({"model": model, "messages": message, "max_tokens": 1});
            (Operation::ChatCompletions, "/chat/completions", body)
        }
        Protocol::Anthropic => {
            (Operation::Messages, "/messages", json!({"model": model, "messages": message, "max_tokens": 1}))
        }
        Protocol::Gemini => {
            let contents = json!([{"role": "user", "parts": [{"text": "ping"}]}]);
            let body = json!({"contents": contents, "generationConfig": {"maxOutputTokens": 1}});
            (Operation::GenerateContent, "generateContent", body)
        }
    };
    let call = Call { protocol, operation, path_model: None, suffix };
    let path = upstream_path(base, &call, model, None);
    Probe { method: "POST", path, body: body.to_string().into_bytes(), operation: Some(operation) }
}

/// Whether a list of models names `model`; `None`: it cannot be said, since the list is no list or has further pages.
pub fn lists_model(protocol: Protocol, list: &[u8], model: &str) -> Option<bool> {
    let list: List<'_> = serde_json::from_slice(list).ok()?;
    if list.has_more || list.next_page_token.is_some_and(|token| !token.is_empty()) {
        return None;
    }
    let bare = |name: &str| name.strip_prefix("models/").unwrap_or(name).to_owned();
    match protocol {
        Protocol::Gemini => {
            let models = list.models?;
            Some(models.iter().any(|entry| entry.name.as_deref().map(bare) == Some(bare(model))))
        }
        Protocol::OpenAi | Protocol::Anthropic => {
            let data = list.data?;
            // Ollama lists a model with its tag, Gemini under OpenAI's paths with its kind; an alias like `claude-sonnet-4-5` is
            // listed under the name that it stands for now.
            let is_it = |id: &str| {
                bare(id) == bare(model)
                    || id.strip_suffix(":latest") == Some(model)
                    || (protocol == Protocol::Anthropic && is_alias(model, id))
            };
            Some(data.iter().any(|entry| entry.id.as_deref().is_some_and(is_it)))
        }
    }
}

/// Whether `id` is `model` with a date behind it.
fn is_alias(model: &str, id: &str) -> bool {
    let model = model.strip_suffix("-latest").unwrap_or(model);
    let date = id.strip_prefix(model).and_then(|rest| rest.strip_prefix('-'));
    date.is_some_and(|date| date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    #[serde(borrow)]
    data: Option<Vec<Entry<'a>>>,
    #[serde(borrow)]
    models: Option<Vec<Entry<'a>>>,
    #[serde(default, rename = "has_more")]
    has_more: bool,
    next_page_token: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Option<std::borrow::Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(protocol: Protocol) -> BaseUrl {
        BaseUrl::parse("https://h.example", protocol).unwrap()
    }

    #[test]
    fn each_protocol_is_asked_by_its_own_paths() {
        for (protocol, list, one) in [
            (Protocol::OpenAi, "/v1/models", "/v1/chat/completions"),
            (Protocol::Anthropic, "/v1/models?limit=1000", "/v1/messages"),
            (Protocol::Gemini, "/v1beta/models?pageSize=1000", "/v1beta/models/m:generateContent"),
        ] {
            assert_eq!(probe_models(&base(protocol), protocol).path, list);
            let probe = probe_one_token(&base(protocol), protocol, "m");
            assert_eq!((probe.method, &*probe.path), ("POST", one));
            assert!(serde_json::from_slice::<serde_json::Value>(&probe.body).is_ok());
        }
    }

    #[test]
    fn a_model_is_found_in_a_whole_list_and_nothing_is_said_of_part_of_one() {
        let openai = |list: &str, model| lists_model(Protocol::OpenAi, list.as_bytes(), model);
        let list = r#"{"object":"list","data":[{"id":"gpt-4o","object":"model"},{"id":"m/x"}]}"#;
        assert_eq!(openai(list, "gpt-4o"), Some(true));
        assert_eq!(openai(list, "gpt-5"), Some(false));
        let list = r#"{"data":[{"id":"llama3:latest"},{"id":"models/gemini-2.5-flash"}]}"#;
        assert_eq!((openai(list, "llama3"), openai(list, "gemini-2.5-flash")), (Some(true), Some(true)));
        assert_eq!(openai("<html>", "gpt-5"), None);
        assert_eq!(openai("{}", "gpt-5"), None);
        let claude = |list: &str, model| lists_model(Protocol::Anthropic, list.as_bytes(), model);
        let list = r#"{"data":[{"type":"model","id":"claude-sonnet-4-5-20250929"}],"has_more":false}"#;
        assert_eq!(claude(list, "claude-sonnet-4-5"), Some(true));
        assert_eq!(claude(list, "claude-sonnet-4"), Some(false));
        assert_eq!(claude(r#"{"data":[],"has_more":true}"#, "claude-sonnet-4"), None);
        let gemini = |list: &str, model| lists_model(Protocol::Gemini, list.as_bytes(), model);
        let list = r#"{"models":[{"name":"models/gemini-2.5-flash"}]}"#;
        assert_eq!(gemini(list, "gemini-2.5-flash"), Some(true));
        assert_eq!(gemini(r#"{"models":[],"nextPageToken":"x"}"#, "gemini-2.5-flash"), None);
    }
}
