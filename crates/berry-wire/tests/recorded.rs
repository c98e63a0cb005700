//! Bodies as the vendors' SDKs write them, each with what is asked in it. A file without a row, or a row without a file, fails.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use berry_wire::{Asked, Matched, find, read};
use bytes::Bytes;
use serde_json::Value;

/// File, path that it is sent to, model, whether it streams, and how often the body names the model where Berry edits it.
const BODIES: &[(&str, &str, &str, bool, usize)] = &[
    ("anthropic_python_thinking_cache", "/v1/messages", "claude-sonnet-4-5-20250929", true, 1),
    ("anthropic_typescript_count_tokens", "/v1/messages/count_tokens", "claude-opus-4-1", false, 1),
    ("curl_chat_by_hand", "/v1/chat/completions", "deepseek-chat", false, 1),
    (
        "gemini_python_batch_embed",
        "/v1beta/models/gemini-embedding-001:batchEmbedContents",
        "gemini-embedding-001",
        false,
        2,
    ),
    (
        "gemini_python_generate_content",
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
        "gemini-2.5-pro",
        true,
        0,
    ),
    ("openai_node_chat_simple", "/v1/chat/completions", "gpt-4.1-mini", false, 1),
    ("openai_node_responses_stream", "/v1/responses", "o4-mini", true, 1),
    ("openai_python_chat_non_ascii", "/v1/chat/completions", "модель-7b", true, 1),
    ("openai_python_chat_tools_images", "/v1/chat/completions", "gpt-4o-2024-11-20", true, 1),
    ("openai_python_embeddings", "/v1/embeddings", "text-embedding-3-small", false, 1),
    ("requests_chat_escaped", "/v1/chat/completions", "moonshot-v1-8k", false, 1),
];

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

fn body(name: &str) -> String {
    std::fs::read_to_string(directory().join(name).with_extension("json")).unwrap()
}

fn ask(path: &str, body: &str) -> Asked {
    let Ok(Matched::Call(call)) = find("POST", path) else { panic!("{path} is a call") };
    read(&call, Some("application/json"), body.as_bytes()).unwrap_or_else(|failure| panic!("{path}: {failure}"))
}

#[test]
fn every_recorded_body_has_its_row_and_every_row_its_body() {
    let files: BTreeSet<String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let rows: BTreeSet<String> = BODIES.iter().map(|(name, ..)| format!("{name}.json")).collect();
    assert_eq!(files, rows);
}

#[test]
fn recorded_bodies_are_read_as_their_senders_meant_them() {
    for &(name, path, model, stream, _) in BODIES {
        let asked = ask(path, &body(name));
        assert_eq!((asked.model.as_str(), asked.stream, asked.backend.as_deref()), (model, stream, None), "{name}");
    }
}

#[test]
fn recorded_bodies_change_in_the_models_value_alone() {
    for &(name, path, model, _, times) in BODIES {
        let body = body(name);
        let asked = ask(path, &body);
        let edited = asked.edited(&Bytes::copy_from_slice(body.as_bytes()), "another/模型\"x");
        // In these bodies, the model's name stands nowhere else.
        assert_eq!(body.matches(model).count(), times, "{name}");
        let expected = body.replace(model, r#"another/模型\"x"#);
        assert_eq!(String::from_utf8(edited.to_vec()).unwrap(), expected, "{name}");
        assert!(serde_json::from_slice::<Value>(&edited.to_vec()).is_ok(), "{name}");
        assert_eq!(asked.edited(&Bytes::copy_from_slice(body.as_bytes()), model).to_vec(), body.as_bytes(), "{name}");
    }
}

#[test]
fn recorded_bodies_lose_the_control_field_wherever_it_stands() {
    for &(name, path, model, ..) in BODIES {
        let body = body(name);
        let (open, close) = (body.find('{').unwrap() + 1, body.rfind('}').unwrap());
        let first = format!("{}\"backend\":\"cheap\",{}", &body[..open], &body[open..]);
        let last = format!("{},\"backend\":\"cheap\"{}", &body[..close], &body[close..]);
        for forced in [first, last] {
            let asked = ask(path, &forced);
            assert_eq!(asked.backend.as_deref(), Some("cheap"), "{name}");
            assert_eq!(asked.edited(&Bytes::from(forced), model).to_vec(), body.as_bytes(), "{name}");
        }
    }
}
