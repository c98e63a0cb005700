//! What the log says.

use serde_json::Value;

use crate::harness::{Folder, Running, berry, chat, config, get, receive};

const MODELS: &[(&str, &str)] = &[("good", "gpt-4o-mini"), ("bad", "mock-500")];

#[test]
fn every_request_leaves_one_line_of_text() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with(&config(&url, MODELS, ""));
    let running = Running::serve(&folder);
    let (data, _) = running.addresses();
    let answer = receive(chat(&data, "good", "true"));
    let id = answer.header("x-request-id").unwrap().to_owned();
    let line = running.stderr.line_with(&id);
    for part in [
        "INFO",
        "user_id=alice",
        "model=good",
        "backend=mock/gpt-4o-mini",
        "attempts=1",
        "status=200",
        "duration_ms=",
        "ttfb_ms=",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let log = running.stderr.clone();
    assert_eq!(running.end(), Some(0));
    assert_eq!(log.text().matches(&id).count(), 1, "{}", log.text());
}

#[test]
fn the_log_as_json_is_an_object_a_line_with_the_same_fields() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with(&config(&url, MODELS, "[telemetry]\nlog_format = \"json\""));
    let mut running = Running::serve(&folder);
    let (data, _) = running.addresses();
    let answer = receive(chat(&data, "bad", "false"));
    assert_eq!(answer.status, 502, "{answer:?}");
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.status(), Some(0));
    running.stderr.line_with("drained");
    let lines: Vec<Value> = running.stderr.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_request: Vec<&Value> = lines.iter().filter(|line| line["target"] == "berry::request").collect();
    assert_eq!(of_request.len(), 1, "{lines:?}");
    let line = of_request[0];
    assert_eq!(line["request_id"].as_str(), answer.header("x-request-id"));
    assert_eq!((&line["user_id"], &line["model"], &line["status"]), (&"alice".into(), &"bad".into(), &502.into()));
    assert!(line["attempts"].as_u64().unwrap() > 1, "{line}");
    assert!(line["duration_ms"].is_number() && line["timestamp"].is_string());
}

#[test]
fn what_a_client_sends_cannot_forge_a_line() {
    let folder = Folder::with(&config("http://127.0.0.1:9", MODELS, "[telemetry]\nlog_level = \"debug\""));
    let running = Running::serve(&folder);
    let (data, _) = running.addresses();
    receive(chat(&data, "x\\r\\n2026-01-01T00:00:00Z ERROR forged", "false"));
    get(&data, "/v1/%0d%0aforged", None);
    let log = running.stderr.clone();
    assert_eq!(running.end(), Some(0));
    assert!(log.text().lines().all(|line| line.starts_with("20") && !line.starts_with("2026-01-01")), "{}", log.text());
}

#[test]
fn the_level_of_the_file_holds_unless_rust_log_says_otherwise() {
    let text = config("http://127.0.0.1:9", MODELS, "[telemetry]\nlog_level = \"warn\"");
    let folder = Folder::with(&text);
    let arguments = ["serve", "--config", &folder.config_text()];
    let running = Running::start(berry(&arguments).env("RUST_LOG", "warn,berry=info"));
    running.addresses();
    assert_eq!(running.end(), Some(0));

    // A filter that is not understood is told, and the file's level holds.
    let running = Running::start(berry(&arguments).env("RUST_LOG", "berry=loud"));
    running.stderr.line_with("RUST_LOG");
    let log = running.stderr.clone();
    assert_eq!(running.end(), Some(0));
    assert!(!log.text().contains("INFO"), "{}", log.text());
}
