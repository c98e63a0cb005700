//! Each fault does what its row in the table says.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod harness;

use berry_mock::{FAULTS, Fault, Gate, Mock, Options, Script, named};
use harness::{ask, chat, contains, drain, faulty, find, mock, parse, post, read_until};
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const CHAT: &str = "chat";
const STREAM: &str = "chat-stream";

fn recorded(name: &str) -> &'static [u8] {
    named(berry_mock::Dialect::OpenAi, name).unwrap().body
}

#[tokio::test]
async fn a_status_comes_with_the_dialects_body_and_its_wait() {
    let mock = mock().await;
    for (model, status, field, value) in [
        ("mock-500", 500, "retry-after", None),
        ("mock-401", 401, "retry-after", None),
        ("mock-503", 503, "retry-after", Some("1")),
        ("mock-429-r5", 429, "retry-after", Some("5")),
        ("mock-429-r0", 429, "retry-after", None),
        ("mock-429-rm250", 429, "retry-after-ms", Some("250")),
        ("mock-429-rr7", 429, "x-ratelimit-reset-requests", Some("7s")),
        ("mock-418", 418, "retry-after", None),
    ] {
        let answer = ask(&mock, &chat(model, true)).await.parse();
        assert_eq!((answer.status, answer.field(field)), (status, value), "{model}");
        assert!(answer.whole && answer.text().starts_with("{\n  \"error\""), "{model}");
    }
    let date = ask(&mock, &chat("mock-429-rd60", false)).await.parse();
    assert!(date.field("retry-after").unwrap().ends_with(" GMT"));
    let body = ask(&mock, &post("/v1/messages", r#"{"model":"mock-529"}"#)).await.parse();
    assert!(body.status == 529 && body.text().contains("overloaded_error"));
    let body = ask(&mock, &post("/v1beta/models/mock-429:generateContent", "{}")).await.parse();
    assert!(body.status == 429 && body.text().contains("RESOURCE_EXHAUSTED"));
}

#[tokio::test]
async fn a_percentage_is_deterministic_and_exact() {
    let mut runs = Vec::new();
    for seed in [0, 0, 50] {
        let fault = Some(Fault::parse("500-p30").unwrap());
        let mock = Mock::start(Options { fault, seed, ..Options::default() }).await.unwrap();
        let mut statuses = Vec::new();
        for _ in 0..100 {
            statuses.push(ask(&mock, &chat("m", false)).await.parse().status);
        }
        assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 30);
        assert_eq!(mock.stats().faults, 30);
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn hang_never_answers_and_sees_the_client_leave() {
    let mock = faulty("hang").await;
    let mut stream = TcpStream::connect(mock.addr()).await.unwrap();
    stream.write_all(chat("m", true).as_bytes()).await.unwrap();
    mock.wait_for(|journal| journal.len() == 1).await;
    assert_eq!(mock.stats().active, 1);
    drop(stream);
    let journal = mock.wait_for(|journal| journal[0].cancelled).await;
    assert!(!journal[0].completed);
    assert_eq!((mock.stats().active, mock.stats().cancelled), (0, 1));
}

#[tokio::test]
async fn drop_resets_before_any_byte() {
    let answer = ask(&mock().await, &chat("mock-drop", false)).await;
    assert_eq!((answer.bytes.len(), answer.error), (0, Some(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn stale_answers_the_first_request_of_a_connection_and_resets_at_the_next() {
    let mock = faulty("stale").await;
    for _ in 0..2 {
        let mut stream = TcpStream::connect(mock.addr()).await.unwrap();
        stream.write_all(chat("m", false).as_bytes()).await.unwrap();
        let whole = recorded(CHAT);
        read_until(&mut stream, |bytes| bytes.ends_with(whole)).await;
        stream.write_all(chat("m", false).as_bytes()).await.unwrap();
        let answer = drain(&mut stream).await;
        assert_eq!((answer.bytes.len(), answer.error), (0, Some(ErrorKind::ConnectionReset)));
    }
}

#[tokio::test]
async fn reset_and_truncate_break_off_half_way() {
    let mock = mock().await;
    for (fault, error) in [("reset", Some(ErrorKind::ConnectionReset)), ("truncate", None)] {
        for (stream, name) in [(false, CHAT), (true, STREAM)] {
            let answer = ask(&mock, &chat(&format!("mock-{fault}"), stream)).await;
            assert_eq!(answer.error, error, "{fault} {name}");
            let parsed = answer.parse();
            let (body, whole) = (parsed.body, recorded(name));
            assert!(!parsed.whole && parsed.status == 200);
            assert!(body.len() > whole.len() / 3 && body.len() < whole.len() * 2 / 3 && whole.starts_with(&body));
        }
    }
    let journal = mock.journal();
    assert!(journal.iter().all(|request| !request.completed && !request.cancelled));
}

#[tokio::test]
async fn noend_is_good_http_without_the_events_end() {
    let mock = mock().await;
    let answer = ask(&mock, &chat("mock-noend", true)).await.parse();
    assert!(answer.whole && !answer.text().contains("[DONE]") && answer.body.len() > 1000);
    let answer = ask(&mock, &chat("mock-noend", false)).await.parse();
    assert!(answer.whole && answer.body.len() == recorded(CHAT).len() / 2);
}

#[tokio::test]
async fn stall_sends_half_and_then_nothing() {
    let mock = mock().await;
    let mut stream = TcpStream::connect(mock.addr()).await.unwrap();
    stream.write_all(chat("mock-stall", true).as_bytes()).await.unwrap();
    let seen = read_until(&mut stream, |bytes| bytes.len() > recorded(STREAM).len() / 2).await;
    assert!(!contains(&seen, b"[DONE]"));
    let more = tokio::time::timeout(Duration::from_millis(20), drain(&mut stream)).await;
    assert!(more.is_err(), "it went on, or closed");
    drop(stream);
    mock.wait_for(|journal| journal[0].cancelled).await;
}

#[tokio::test]
async fn slow_delays_the_head_and_gap_the_body() {
    let mock = mock().await;
    let start = Instant::now();
    assert_eq!(ask(&mock, &chat("mock-slow-30", false)).await.parse().status, 200);
    assert!(start.elapsed() >= Duration::from_millis(30));
    let mut stream = TcpStream::connect(mock.addr()).await.unwrap();
    stream.write_all(chat("mock-gap-600000", false).as_bytes()).await.unwrap();
    let seen = read_until(&mut stream, |bytes| contains(bytes, b"\r\n\r\n")).await;
    assert!(seen.ends_with(b"\r\n\r\n"), "the body came with the head");
}

#[tokio::test]
async fn malformed_is_whole_http_with_broken_json() {
    let mock = mock().await;
    let answer = ask(&mock, &chat("mock-malformed", false)).await.parse();
    assert!(answer.whole && serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
    let answer = ask(&mock, &chat("mock-malformed", true)).await.parse();
    let text = answer.text();
    let data = || text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let broken = data().filter(|data| serde_json::from_str::<serde_json::Value>(data).is_err()).count();
    assert!(answer.whole && broken == 1 && text.ends_with("[DONE]\n\n"));
}

#[tokio::test]
async fn huge_and_bigevent_are_as_big_as_said_and_stay_json() {
    let mock = mock().await;
    let answer = ask(&mock, &chat("mock-huge-2", false)).await.parse();
    assert!(answer.whole && answer.body.len() == recorded(CHAT).len() + (2 << 20));
    serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap();
    let answer = ask(&mock, &chat("mock-huge-1", true)).await.parse();
    assert!(answer.whole && answer.body.len() > 1 << 20 && answer.body.len() < 2 << 20);
    let answer = ask(&mock, &chat("mock-bigevent-1", true)).await.parse();
    let longest = answer.text().lines().map(str::len).max().unwrap();
    assert!(answer.whole && longest > 1 << 20);
    assert_eq!(answer.body.len(), recorded(STREAM).len() + (1 << 20));
}

#[tokio::test]
async fn error_events_come_half_way_or_first_in_the_dialect() {
    let mock = mock().await;
    for (path, sign) in [
        ("/v1/chat/completions", "data: {\"error\":{"),
        ("/v1/responses", "event: error\ndata: {\"type\":\"error\""),
        ("/v1/messages", "event: error\ndata: {\"type\":\"error\""),
    ] {
        let late = ask(&mock, &post(path, r#"{"model":"mock-errevent","stream":true}"#)).await.parse();
        assert!(late.whole && late.text().find(sign).unwrap() > 1000, "{path}");
        let first = ask(&mock, &post(path, r#"{"model":"mock-firsterr","stream":true}"#)).await.parse();
        assert!(first.whole && first.status == 200 && first.text().starts_with(sign), "{path}");
    }
    let late = ask(&mock, &post("/v1beta/models/mock-errevent:streamGenerateContent?alt=sse", "{}")).await.parse();
    assert!(late.text().find("data: {\"error\":{\"code\":503").unwrap() > 500);
}

#[tokio::test]
async fn answers_that_are_none() {
    let mock = mock().await;
    let error = ask(&mock, &chat("mock-error200", true)).await.parse();
    assert!(error.status == 200 && error.text().starts_with("{\n  \"error\""));
    let html = ask(&mock, &chat("mock-html", true)).await.parse();
    assert_eq!((html.status, html.field("content-type")), (200, Some("text/html; charset=utf-8")));
    for stream in [false, true] {
        let empty = ask(&mock, &chat("mock-empty", stream)).await.parse();
        assert!(empty.status == 200 && empty.whole && empty.body.is_empty());
    }
    let none = ask(&mock, &chat("mock-204", false)).await.parse();
    assert!(none.status == 204 && none.field("content-length").is_none() && none.body.is_empty());
    let elsewhere = ask(&mock, &chat("mock-302", false)).await.parse();
    assert!(elsewhere.status == 302 && elsewhere.field("location").is_some());
}

#[tokio::test]
async fn heads_that_are_none_or_too_many() {
    let mock = mock().await;
    assert!(ask(&mock, &chat("mock-bighead", false)).await.parse().head.len() > 1 << 20);
    assert!(!ask(&mock, &chat("mock-badhead", false)).await.text().starts_with("HTTP/"));
    let hints = ask(&mock, &chat("mock-1xx", false)).await;
    assert_eq!(hints.text().matches("HTTP/1.1 103").count(), 3);
    let at = find(&hints.bytes, b"HTTP/1.1 200").unwrap();
    assert!(parse(&hints.bytes[at..]).body == recorded(CHAT));
    let two = ask(&mock, &chat("mock-dupcl", false)).await.text();
    let lengths: Vec<&str> = two.lines().filter(|line| line.starts_with("content-length")).collect();
    assert!(lengths.len() == 2 && lengths[0] != lengths[1]);
}

#[tokio::test]
async fn framings_that_are_unusual() {
    let mock = mock().await;
    let open = ask(&mock, &chat("mock-nolen", true)).await.parse();
    assert!(open.field("transfer-encoding").is_none() && open.field("content-length").is_none());
    assert!(open.body == recorded(STREAM));
    let split = ask(&mock, &chat("mock-split", true)).await;
    assert!(split.parse().body == recorded(STREAM));
    assert!(contains(&split.bytes, b"1\r\nd\r\n1\r\na\r\n1\r\nt\r\n1\r\na\r\n"));
    let extra = ask(&mock, &chat("mock-extra", false)).await.parse();
    assert!(extra.body == recorded(CHAT) && extra.rest.ends_with(b"not asked"));
    let old = ask(&mock, &chat("m", true).replace("HTTP/1.1", "HTTP/1.0")).await.parse();
    assert!(old.field("transfer-encoding").is_none() && old.body == recorded(STREAM));
}

#[tokio::test]
async fn early_answers_before_the_body_has_been_read() {
    for by_name in [true, false] {
        let mock = if by_name { mock().await } else { faulty("early").await };
        let mut stream = TcpStream::connect(mock.addr()).await.unwrap();
        let head = "POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n";
        let start = if by_name { r#"{"model":"mock-early","#.to_owned() } else { String::new() };
        stream.write_all(format!("{head}{start}").as_bytes()).await.unwrap();
        let answer = drain(&mut stream).await;
        assert!(answer.error.is_none() && answer.parse().body == recorded(CHAT));
        assert!(mock.journal()[0].body.is_empty());
    }
}

#[tokio::test]
async fn ok_overrules_the_fault_of_the_options() {
    let mock = faulty("500").await;
    assert_eq!(ask(&mock, &chat("m", false)).await.parse().status, 500);
    assert_eq!(ask(&mock, &chat("mock-ok", false)).await.parse().status, 200);
}

#[tokio::test]
async fn every_fault_can_be_played_over_a_stream_and_a_plain_answer() {
    let mock = mock().await;
    for row in FAULTS.iter().filter(|row| !matches!(row.name, "hang" | "stall" | "slow" | "gap" | "huge")) {
        for stream in [false, true] {
            let answer = ask(&mock, &chat(&format!("mock-{}", row.name), stream)).await;
            assert!(!answer.bytes.is_empty() || row.name == "drop", "{}", row.name);
        }
    }
}

#[tokio::test]
async fn a_gate_lets_one_event_out_at_a_time() {
    let mock = mock().await;
    let gate = Gate::new();
    mock.script(Script::new().gate(&gate));
    let mut stream = TcpStream::connect(mock.addr()).await.unwrap();
    stream.write_all(chat("m", true).as_bytes()).await.unwrap();
    let head = read_until(&mut stream, |bytes| contains(bytes, b"\r\n\r\n")).await;
    assert!(head.ends_with(b"\r\n\r\n"));
    for _ in 0..2 {
        gate.let_through(1);
        let event = read_until(&mut stream, |bytes| bytes.ends_with(b"\n\n\r\n")).await;
        assert_eq!(event.windows(6).filter(|window| window == b"data: ").count(), 1);
    }
    gate.open();
    read_until(&mut stream, |bytes| contains(bytes, b"[DONE]")).await;
}
