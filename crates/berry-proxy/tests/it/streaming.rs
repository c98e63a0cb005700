//! Streams: the same bytes, as early as they come, and an end that says how it went.

use std::time::Duration;

use berry_mock::{Gate, Recording, Script, named};

use crate::harness::{
    ALICE, Berry, Connection, DIALECTS, DONE, Dialect, Response, chunk, event, fault, head, journal, request,
    stream_body, within,
};

/// A stream that is asked for in a dialect: path, body, and the recording that answers it.
fn stream(dialect: Dialect) -> (&'static str, &'static str, &'static Recording) {
    let (path, body, vendor, name) = match dialect {
        Dialect::OpenAi => (
            "/v1/chat/completions",
            r#"{"model":"single","stream":true,"messages":[]}"#,
            berry_mock::Dialect::OpenAi,
            "chat-stream",
        ),
        Dialect::Anthropic => (
            "/v1/messages",
            r#"{"model":"claude","stream":true,"messages":[]}"#,
            berry_mock::Dialect::Anthropic,
            "messages-stream",
        ),
        Dialect::Gemini => (
            "/v1beta/models/gemini:streamGenerateContent?alt=sse",
            r#"{"contents":[]}"#,
            berry_mock::Dialect::Gemini,
            "stream",
        ),
    };
    let recording = berry_mock::RECORDINGS
        .iter()
        .find(|row| row.dialect == vendor && row.name == name && row.is_stream() && row.file.ends_with(".sse"));
    (path, body, recording.unwrap())
}

/// How many of that recording's events it takes until one says something.
pub(crate) fn opening(dialect: Dialect) -> usize {
    match dialect {
        Dialect::OpenAi => 2,
        Dialect::Anthropic => 4,
        Dialect::Gemini => 1,
    }
}

/// A connection on which a stream has been asked for.
async fn ask(berry: &Berry, dialect: Dialect) -> Connection {
    let (path, body, _) = stream(dialect);
    let mut connection = berry.connect().await;
    connection.send(request(path, &[("x-api-key", ALICE)], body)).await;
    connection
}

/// The answer of a backend that has this fault once its stream has begun to go to the client.
async fn begun(berry: &Berry, dialect: Dialect, name: &str) -> Response {
    let gate = Gate::new();
    berry.provider(dialect).script(Script::new().fault(fault(name)).gate(&gate));
    let mut connection = ask(berry, dialect).await;
    gate.let_through(opening(dialect));
    within(connection.stream.readable()).await.unwrap();
    gate.open();
    connection.response().await
}

#[tokio::test]
async fn a_stream_arrives_with_its_comments_event_names_and_line_ends() {
    let berry = Berry::start().await;
    for name in ["chat-stream-crlf", "chat-stream-comments", "chat-stream-odd"] {
        berry.first.script(Script::new().play(name));
        let answer = ask(&berry, Dialect::OpenAi).await.response().await;
        assert!(answer.complete && answer.body == named(berry_mock::Dialect::OpenAi, name).unwrap().body, "{name}");
    }
    for name in ["messages-stream-pings", "messages-thinking-stream"] {
        berry.claude.script(Script::new().play(name));
        let answer = ask(&berry, Dialect::Anthropic).await.response().await;
        assert!(answer.complete && answer.body == named(berry_mock::Dialect::Anthropic, name).unwrap().body, "{name}");
    }
}

#[tokio::test]
async fn each_event_arrives_before_the_next_has_left() {
    let berry = Berry::start().await;
    for dialect in DIALECTS {
        let (_, _, recording) = stream(dialect);
        let gate = Gate::new();
        berry.provider(dialect).script(Script::new().gate(&gate));
        let mut connection = ask(&berry, dialect).await;
        gate.let_through(opening(dialect));
        let (status, _) = connection.head().await.unwrap();
        assert_eq!(status, 200);
        let mut body = connection.chunk().await.unwrap();
        for _ in 0..2 {
            assert!(recording.body.starts_with(&body) && body.len() < recording.body.len());
            gate.let_through(1);
            body.extend(connection.chunk().await.unwrap());
        }
        assert!(!berry.provider(dialect).journal()[0].completed);
        gate.open();
        body.extend(connection.chunks(recording.body.len() - body.len()).await);
        assert!(body == recording.body, "{dialect:?}");
        assert_eq!(connection.chunk().await, Some(Vec::new()), "the stream ends cleanly");
    }
}

#[tokio::test]
async fn a_client_that_leaves_within_a_stream_cancels_the_request_upstream() {
    let berry = Berry::start().await;
    for dialect in DIALECTS {
        let gate = Gate::new();
        berry.provider(dialect).script(Script::new().gate(&gate));
        let mut connection = ask(&berry, dialect).await;
        gate.let_through(opening(dialect));
        connection.head().await.unwrap();
        drop(connection);
        journal(berry.provider(dialect), |all| all[0].cancelled).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_byte_cancels_the_request_upstream() {
    let berry = Berry::start().await;
    for dialect in DIALECTS {
        berry.provider(dialect).script(fault("hang"));
        let connection = ask(&berry, dialect).await;
        journal(berry.provider(dialect), |all| all.len() == 1).await;
        drop(connection);
        journal(berry.provider(dialect), |all| all[0].cancelled).await;
    }
    let mut connection = berry.connect().await;
    berry.first.script(fault("hang"));
    connection.send(request("/v1/chat/completions", &[("x-api-key", ALICE)], Dialect::OpenAi.body())).await;
    journal(&berry.first, |all| all.len() == 2).await;
    drop(connection);
    journal(&berry.first, |all| all[1].cancelled).await;
}

#[tokio::test]
async fn a_client_that_has_left_counts_against_no_backend() {
    let berry = Berry::start().await;
    for _ in 0..4 {
        let gate = Gate::new();
        berry.first.script(Script::new().gate(&gate));
        let mut connection = ask(&berry, Dialect::OpenAi).await;
        gate.let_through(opening(Dialect::OpenAi));
        connection.head().await.unwrap();
        drop(connection);
    }
    journal(&berry.first, |all| all.len() == 4 && all.iter().all(|request| request.cancelled)).await;
    assert_eq!(berry.chat("chat").await.field("berry-backend"), Some("first/gpt-first"));
}

#[tokio::test]
async fn a_stream_that_upstream_cuts_between_events_ends_with_the_dialects_error_event() {
    let berry = Berry::start().await;
    for (name, code) in [("truncate", "upstream_truncated"), ("reset", "upstream_disconnected")] {
        for dialect in DIALECTS {
            let (_, _, recording) = stream(dialect);
            let answer = begun(&berry, dialect, name).await;
            assert!(answer.complete, "{dialect:?} {name}: the end is clean");
            let text = answer.text();
            let same = text.bytes().zip(recording.body).take_while(|(a, b)| a == *b).count();
            assert!(same > 100, "{dialect:?} {name}: what had come before stays: {text}");
            let (before, last) = text.rsplit_once("data: ").unwrap();
            let data: serde_json::Value = serde_json::from_str(last).unwrap();
            match dialect {
                Dialect::OpenAi => assert_eq!(data["error"]["code"], code, "{last}"),
                Dialect::Anthropic => {
                    assert!(before.ends_with("\n\nevent: error\n"), "{text}");
                    assert_eq!((&data["type"], &data["error"]["type"]), (&"error".into(), &"api_error".into()));
                }
                Dialect::Gemini => assert_eq!(data["error"]["status"], "INTERNAL", "{last}"),
            }
            assert!(!text.contains("[DONE]") && !text.contains("message_stop"), "no end is invented: {text}");
        }
    }
}

#[tokio::test]
async fn an_error_event_of_the_backends_own_passes_unchanged() {
    let berry = Berry::start().await;
    for dialect in DIALECTS {
        let (_, _, recording) = stream(dialect);
        let name = |row: &&Recording| row.dialect == recording.dialect && row.name == "error-event";
        let event = berry_mock::RECORDINGS.iter().find(name).unwrap();
        let answer = begun(&berry, dialect, "errevent").await;
        let before = answer.body.strip_suffix(event.body).unwrap_or_else(|| panic!("{dialect:?}: {}", answer.text()));
        assert!(answer.complete && before.len() > 100 && recording.body.starts_with(before), "{dialect:?}");
    }
}

#[tokio::test]
async fn overload_that_is_told_within_a_stream_leaves_the_key_alone_for_a_moment() {
    let berry = Berry::start().await;
    let overload = "data: {\"error\":{\"message\":\"x\",\"type\":\"overloaded_error\",\"code\":529}}\n\n";
    berry.first.script(raw_stream(CHUNKED, chunk(&(event("x") + overload))));
    let answer = berry.post("/v1/chat/completions", &[("x-api-key", ALICE)], &stream_body("chat")).await;
    assert!(answer.complete && answer.text().ends_with(overload), "{}", answer.text());
    assert_eq!(berry.chat("chat").await.field("berry-backend"), Some("second/gpt-second"));
    berry.clock.advance(Duration::from_millis(1100));
    assert_eq!(berry.chat("chat").await.field("berry-backend"), Some("first/gpt-first"));
}

#[tokio::test]
async fn a_responses_stream_that_upstream_cuts_ends_with_its_own_kind_of_error_event() {
    let berry = Berry::start().await;
    berry.first.script(fault("truncate"));
    let body = r#"{"model":"single","stream":true,"input":"hi"}"#;
    let answer = berry.post("/v1/responses", &[("x-api-key", ALICE)], body).await;
    let text = answer.text();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(answer.complete && last.starts_with("event: error\ndata: {\"type\":\"error\","), "{last}");
    assert!(last.contains(r#""code":"upstream_truncated""#), "{last}");
}

/// An answer whose body ends as given, and then the connection.
fn raw_stream(framing: &str, body: impl AsRef<[u8]>) -> Script {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{framing}\r\n");
    Script::new().raw([head.as_bytes(), body.as_ref()].concat())
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n";

#[tokio::test]
async fn what_upstream_leaves_of_an_event_never_leaves_and_the_error_event_takes_its_place() {
    let berry = Berry::start().await;
    let whole = event("whole");
    let partial = whole.clone() + "data: {\"choices\":[{";
    let cut_chunk = chunk(&partial)[..partial.len()].to_vec();
    for (case, framing, body) in [
        ("between chunks", CHUNKED, chunk(&partial)),
        ("within a chunk", CHUNKED, cut_chunk),
        ("within a known length", "content-length: 500\r\n", partial.into_bytes()),
        ("after an event of a known length", "content-length: 500\r\n", whole.clone().into_bytes()),
    ] {
        berry.first.script(raw_stream(framing, body));
        let answer = ask(&berry, Dialect::OpenAi).await.response().await;
        let text = answer.text();
        assert!(answer.complete && answer.field("content-length").is_none(), "{case}: {text}");
        let error = text.strip_prefix(&whole).unwrap_or_else(|| panic!("{case}: {text}"));
        assert!(error.starts_with("data: {\"error\":{") && error.ends_with("}\n\n"), "{case}: {error}");
        assert!(error.contains("upstream_truncated") && !error.contains("[DONE]"), "{case}: {error}");
    }
}

#[tokio::test]
async fn an_event_too_large_to_hold_back_that_upstream_cuts_is_cut_and_never_ends_cleanly() {
    let berry = Berry::start().await;
    let large = event("whole") + &event(&"x".repeat(300_000))[..200_000];
    berry.first.script(raw_stream(CHUNKED, chunk(&large)));
    let answer = ask(&berry, Dialect::OpenAi).await.response().await;
    assert!(!answer.complete && large.starts_with(&answer.text()), "{}", answer.body.len());
}

#[tokio::test]
async fn a_stream_that_stops_without_its_own_end_is_a_truncated_one_however_well_its_connection_ends() {
    let berry = Berry::start().await;
    for dialect in DIALECTS {
        let answer = begun(&berry, dialect, "noend").await;
        let text = answer.text();
        assert!(answer.complete && text.trim_end().rsplit("\n\n").next().unwrap().contains("error"), "{text}");
        assert!(!text.contains("[DONE]") && !text.contains("message_stop"), "no end is invented: {text}");
    }
}

#[tokio::test]
async fn a_plain_answer_that_upstream_cuts_never_seems_whole() {
    let berry = Berry::without_retries().await;
    for name in ["truncate", "reset"] {
        berry.first.script(fault(name));
        let answer = berry.ask(Dialect::OpenAi).await;
        Dialect::OpenAi.assert_told(&answer, "upstream_truncated", name);
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 400000\r\n\r\n";
    berry.first.script(Script::new().raw(format!("{head}{{\"x\":\"{}", "y".repeat(300_000))));
    let answer = berry.ask(Dialect::OpenAi).await;
    assert!(answer.status == 200 && !answer.complete, "what is too large to hold is cut");
}

#[tokio::test]
async fn a_stream_that_ends_with_its_connection_is_a_whole_one() {
    let berry = Berry::start().await;
    let body = event("1") + DONE;
    berry.first.script(raw_stream("connection: close\r\n", &body));
    let answer = ask(&berry, Dialect::OpenAi).await.response().await;
    assert_eq!((answer.complete, answer.text()), (true, body));
}

#[tokio::test]
async fn nothing_is_retried_once_the_first_byte_has_gone_to_the_client() {
    let berry = Berry::start().await;
    berry.first.script(fault("truncate"));
    let body = r#"{"model":"chat","stream":true,"messages":[]}"#;
    let answer = berry.post("/v1/chat/completions", &[("x-api-key", ALICE)], body).await;
    assert_eq!((answer.status, answer.field("berry-attempts")), (200, Some("1")));
    assert_eq!(berry.asked(), (1, 0));
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_a_body_that_ends_with_its_connection() {
    let berry = Berry::start().await;
    let (path, body, recording) = stream(Dialect::OpenAi);
    for wish in ["", "connection: keep-alive\r\n"] {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.0\r\nx-api-key: {ALICE}\r\n{wish}content-length: {length}\r\n\r\n");
        let gate = Gate::new();
        berry.first.script(Script::new().gate(&gate));
        gate.let_through(opening(Dialect::OpenAi));
        let mut connection = berry.connect().await;
        connection.send(head + body).await;
        let (status, fields) = connection.head().await.unwrap();
        gate.open();
        let answer = Response { status, fields, body: connection.rest().await, complete: true };
        assert_eq!((answer.status, answer.field("transfer-encoding")), (200, None), "{}", answer.text());
        assert_eq!((answer.field("connection"), answer.field("content-length")), (Some("close"), None));
        assert!(answer.body == recording.body, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_slow_reader_gets_every_byte() {
    let berry = Berry::start().await;
    berry.first.script(fault("bigevent-6"));
    let mut connection = ask(&berry, Dialect::OpenAi).await;
    connection.head().await.unwrap();
    // Another request passes while this one's client reads nothing.
    assert_eq!(berry.ask(Dialect::Anthropic).await.status, 200);
    let (mut bytes, mut filler) = (0, 0);
    loop {
        let chunk = connection.chunk().await.expect("the stream was cut");
        if chunk.is_empty() {
            break;
        }
        bytes += chunk.len();
        filler += chunk.iter().filter(|&&byte| byte == b'x').count();
    }
    let (_, _, recording) = stream(Dialect::OpenAi);
    assert!(filler >= 6 << 20 && bytes > (6 << 20) + recording.body.len() / 2, "{bytes}, {filler}");
}

#[tokio::test]
async fn a_large_body_reaches_the_backend_whole_while_its_client_is_slow() {
    let berry = Berry::start().await;
    let body = format!(r#"{{"model":"single","x":"{}"}}"#, "y".repeat(900_000));
    let mut connection = berry.connect().await;
    connection.send(head("POST", "/v1/chat/completions", &[("x-api-key", ALICE)], Some(body.len()))).await;
    for piece in body.as_bytes().chunks(100_000) {
        connection.send(piece).await;
        assert_eq!(berry.get("/health/live", &[]).await.status, 200, "others are served meanwhile");
    }
    assert_eq!(connection.response().await.status, 200);
    assert_eq!(berry.first.journal()[0].text(), body.replace("single", "gpt-first"));
}
