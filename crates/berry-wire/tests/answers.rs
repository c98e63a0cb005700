//! The recorded answers of the simulated provider, judged: what is good passes, and what tells of an error is understood.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::path::{Path, PathBuf};

use berry_vocab::Protocol;
use berry_wire::Complaint::{self, Auth, Client, Model, Overloaded, Quota, RateLimit, Server, Timeout};
use berry_wire::{Operation, complaint, of_error_object, plain_fault};

/// The beginnings of the names of plain answers, and what was asked for. The first that fits counts.
const PLAIN: &[(&str, Operation)] = &[
    ("anthropic/count-tokens", Operation::CountTokens),
    ("anthropic/messages", Operation::Messages),
    ("gemini/batch-embed", Operation::BatchEmbedContents),
    ("gemini/count-tokens", Operation::GeminiCountTokens),
    ("gemini/embed", Operation::EmbedContent),
    ("gemini/generate", Operation::GenerateContent),
    ("gemini/stream", Operation::StreamGenerateContent),
    ("openai/chat", Operation::ChatCompletions),
    ("openai/completions", Operation::Completions),
    ("openai/embeddings", Operation::Embeddings),
    ("openai/images", Operation::Images),
    ("openai/moderations", Operation::Moderations),
    ("openai/rerank", Operation::Rerank),
    ("openai/responses", Operation::Responses),
    ("openai/speech", Operation::Audio),
    ("openai/transcriptions", Operation::Audio),
    ("openai/translations", Operation::Audio),
];

/// Errors with their statuses, and what they complain of.
const ERRORS: &[(&str, u16, Complaint)] = &[
    ("anthropic/error-400", 400, Client),
    ("anthropic/error-401", 401, Auth),
    ("anthropic/error-402", 402, Quota),
    ("anthropic/error-403", 403, Auth),
    ("anthropic/error-404", 404, Model),
    ("anthropic/error-413", 413, Client),
    ("anthropic/error-429", 429, RateLimit),
    ("anthropic/error-500", 500, Server),
    ("anthropic/error-504", 504, Timeout),
    ("anthropic/error-529", 529, Overloaded),
    ("gemini/error-400", 400, Client),
    ("gemini/error-401", 401, Auth),
    ("gemini/error-403", 403, Auth),
    ("gemini/error-404", 404, Model),
    ("gemini/error-413", 413, Client),
    ("gemini/error-429", 429, RateLimit),
    ("gemini/error-500", 500, Server),
    ("gemini/error-503", 503, Overloaded),
    ("gemini/error-504", 504, Timeout),
    ("gemini/error-key", 400, Auth),
    ("gemini/error-retryinfo", 429, RateLimit),
    ("openai/error-400", 400, Client),
    ("openai/error-401", 401, Auth),
    ("openai/error-402", 402, Quota),
    ("openai/error-403", 403, Auth),
    ("openai/error-404", 404, Model),
    ("openai/error-413", 413, Client),
    ("openai/error-422", 422, Client),
    ("openai/error-429", 429, RateLimit),
    ("openai/error-500", 500, Server),
    ("openai/error-503", 503, Overloaded),
    ("openai/error-quota", 429, Quota),
];

/// Streams whose last event tells of an error.
const EVENTS: &[(&str, Complaint)] = &[
    ("anthropic/error-event", Overloaded),
    ("gemini/error-event", Overloaded),
    ("openai/error-event", Server),
    ("openai/responses-error-event", Server),
    ("openai/responses-stream-failed", Server),
];

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../berry-mock/recorded")
}

fn protocol(name: &str) -> Protocol {
    match name.split('/').next() {
        Some("openai") => Protocol::OpenAi,
        Some("anthropic") => Protocol::Anthropic,
        Some("gemini") => Protocol::Gemini,
        _ => panic!("{name} is of no protocol"),
    }
}

/// All plain recordings by name, without their extension.
fn plain_files() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for directory in ["openai", "anthropic", "gemini"] {
        for entry in std::fs::read_dir(recorded().join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension != "sse") {
                let name = format!("{directory}/{}", path.file_stem().unwrap().to_str().unwrap());
                files.push((name, std::fs::read(path).unwrap()));
            }
        }
    }
    files
}

#[test]
fn recorded_answers_are_good_and_recorded_errors_are_not() {
    for (name, body) in plain_files() {
        // Lists of models are asked for by Berry itself, and are none of the operations.
        if name.contains("/model") {
            continue;
        }
        if let Some((_, operation)) = PLAIN.iter().find(|(start, _)| name.starts_with(start)) {
            assert_eq!(plain_fault(*operation, &body), None, "{name}");
        } else {
            let (_, status, expected) =
                ERRORS.iter().find(|(row, ..)| *row == name).unwrap_or_else(|| panic!("{name} has no row"));
            assert_eq!(complaint(protocol(&name), *status, &body), *expected, "{name}");
        }
    }
}

#[test]
fn recorded_errors_in_an_answer_with_a_good_status_are_faults() {
    for (name, _, expected) in ERRORS {
        let body = std::fs::read(recorded().join(name).with_extension("json")).unwrap();
        let operation = match protocol(name) {
            Protocol::OpenAi => Operation::ChatCompletions,
            Protocol::Anthropic => Operation::Messages,
            Protocol::Gemini => Operation::GenerateContent,
        };
        let fault = plain_fault(operation, &body);
        assert!(fault.is_some(), "{name}");
        // OpenAI's words alone say less than its statuses do.
        if protocol(name) != Protocol::OpenAi {
            assert_eq!(fault, Some(berry_wire::PlainFault::Told(*expected)), "{name}");
        }
    }
}

#[test]
fn recorded_error_events_are_understood_without_a_status() {
    for (name, expected) in EVENTS {
        let stream = std::fs::read_to_string(recorded().join(name).with_extension("sse")).unwrap();
        let data = stream.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
        assert_eq!(of_error_object(protocol(name), data.as_bytes()), *expected, "{name}");
    }
}
