//! Comments to a client whose stream has not begun (`stream_keepalive_seconds`).

use std::time::Duration;

use tokio::io::DuplexStream;

use crate::fragile::BREAK;
use crate::harness::{ALICE, Connection, Dialect, request, stream_body, without_retries};
use crate::ports::{FIRST, Gate, PATH, SECOND, STREAM, answer, on_pipes};

const COMMENT: &str = ": keepalive\n\n";
const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";

fn every_five_seconds(text: String) -> String {
    let text = without_retries(text).replace("request_timeout_seconds = 2", "request_timeout_seconds = 60");
    text.replace("[settings]\n", "[settings]\nstream_keepalive_seconds = 5\n")
}

async fn ask(client: &mut Connection<DuplexStream>) {
    client.send(request(PATH, &[("x-api-key", ALICE)], &stream_body("single"))).await;
}

/// A client that has heard the first comment, and its backend.
async fn kept_waiting(gate: &mut Gate) -> (Connection<DuplexStream>, DuplexStream) {
    let mut client = gate.client();
    ask(&mut client).await;
    let upstream = gate.asked(FIRST).await;
    assert_eq!(client.head().await.unwrap().0, 200);
    assert_eq!(client.chunk().await.unwrap(), COMMENT.as_bytes());
    (client, upstream)
}

/// An answer that comes whole.
fn whole(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn text(client: &mut Connection<DuplexStream>) -> String {
    String::from_utf8(client.chunk().await.unwrap()).unwrap()
}

async fn metrics(gate: &Gate) -> String {
    let mut client = gate.client();
    client.send("GET /metrics HTTP/1.1\r\nhost: b\r\n\r\n").await;
    client.response().await.text()
}

fn chunked(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_long_in_coming_is_kept_alive_and_then_comes_unchanged() {
    on_pipes(every_five_seconds, async |mut gate| {
        let mut client = gate.client();
        ask(&mut client).await;
        let mut upstream = gate.asked(FIRST).await;
        let (status, fields) = client.head().await.unwrap();
        assert_eq!(status, 200);
        let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        assert_eq!((field("content-type"), field("berry-backend")), (Some("text/event-stream"), None));
        for _ in 0..3 {
            assert_eq!(client.chunk().await.unwrap(), COMMENT.as_bytes());
        }
        let done = "data: [DONE]\n\n";
        answer(&mut upstream, &format!("{STREAM}{}{}0\r\n\r\n", chunked(CHUNK), chunked(done))).await;
        let mut rest = Vec::new();
        while let Some(chunk) = client.chunk().await.filter(|chunk| !chunk.is_empty()) {
            rest.extend(chunk);
        }
        assert_eq!(String::from_utf8(rest).unwrap(), format!("{CHUNK}{done}"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_goes_out_early_tells_a_limited_user_its_limit_too() {
    let limited = |text| every_five_seconds(text) + "\n[users.alice.rate_limit]\nrequests_per_hour = 10\n";
    on_pipes(limited, async |mut gate| {
        let mut client = gate.client();
        ask(&mut client).await;
        let _upstream = gate.asked(FIRST).await;
        let (_, fields) = client.head().await.unwrap();
        let told: Vec<_> = fields.iter().filter(|(name, _)| name.starts_with("x-ratelimit-")).collect();
        assert_eq!(told.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["10", "9", "6m0s"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_a_comment_is_told_within_the_stream() {
    on_pipes(every_five_seconds, async |mut gate| {
        let (mut client, mut upstream) = kept_waiting(&mut gate).await;
        answer(&mut upstream, whole("500 No", "{}")).await;
        let event = text(&mut client).await;
        assert!(event.starts_with("data: {\"error\":{") && event.contains("upstream_error"), "{event}");
        assert_eq!(client.chunk().await, Some(Vec::new()), "the stream ends cleanly");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backends_own_refusal_after_a_comment_keeps_its_words() {
    on_pipes(every_five_seconds, async |mut gate| {
        let (mut client, mut upstream) = kept_waiting(&mut gate).await;
        let body = "{\"error\":{\"message\":\"too long\",\"code\":\"context_length_exceeded\"}}";
        answer(&mut upstream, whole("400 No", body)).await;
        assert_eq!(text(&mut client).await, format!("data: {body}\n\n"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_comes_soon_has_its_own_head() {
    on_pipes(every_five_seconds, async |mut gate| {
        let mut client = gate.client();
        ask(&mut client).await;
        let mut upstream = gate.asked(FIRST).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        answer(&mut upstream, &format!("{STREAM}{}", chunked(CHUNK))).await;
        let (_, fields) = client.head().await.unwrap();
        assert!(fields.iter().any(|(name, value)| name == "berry-backend" && value == "first/gpt-first"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_it_is_kept_waiting_cancels_the_call() {
    on_pipes(every_five_seconds, async |mut gate| {
        let (client, mut upstream) = kept_waiting(&mut gate).await;
        drop(client);
        let mut left = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut upstream, &mut left).await.unwrap();
        assert!(left.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_whole_stream_after_a_comment_is_passed_whatever_its_type_says() {
    on_pipes(every_five_seconds, async |mut gate| {
        let (mut client, mut upstream) = kept_waiting(&mut gate).await;
        let stream = format!("{CHUNK}data: [DONE]\n\n");
        answer(&mut upstream, whole("200 OK", &stream)).await;
        assert_eq!(text(&mut client).await, stream);
        assert_eq!(client.chunk().await, Some(Vec::new()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn after_a_comment_an_answer_that_is_no_stream_is_another_backends_to_better() {
    on_pipes(every_five_seconds, async |mut gate| {
        for model in ["chat", "single"] {
            let mut client = gate.client();
            client.send(request(PATH, &[("x-api-key", ALICE)], &stream_body(model))).await;
            let mut first = gate.asked(FIRST).await;
            assert_eq!(client.head().await.unwrap().0, 200);
            assert_eq!(client.chunk().await.unwrap(), COMMENT.as_bytes());
            let body = r#"{"id":"x","choices":[{"message":{"content":"x"}}]}"#;
            answer(&mut first, whole("200 OK\r\nconnection: close", body)).await;
            if model == "chat" {
                let mut second = gate.asked(SECOND).await;
                answer(&mut second, format!("{STREAM}{}0\r\n\r\n", chunked(&format!("{CHUNK}data: [DONE]\n\n")))).await;
                assert!(text(&mut client).await.starts_with(CHUNK));
            } else {
                let event = text(&mut client).await;
                assert!(event.contains("upstream_bad_response"), "{event}");
            }
        }
        let metrics = metrics(&gate).await;
        let of_first: Vec<_> = metrics.lines().filter(|line| line.contains("provider=\"first\"")).collect();
        let is_counted = |line: &&&str| line.starts_with("berry_upstream_attempts_total") && line.ends_with(" 2");
        let counted: Vec<_> = of_first.iter().filter(is_counted).collect();
        assert!(
            matches!(counted[..], [line] if line.contains("model_error")),
            "no failure of its health: {of_first:#?}"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_goes_out_early_names_the_request_as_its_dialect_does() {
    on_pipes(every_five_seconds, async |mut gate| {
        let mut client = gate.client();
        let (path, body) = (Dialect::Anthropic.path(), Dialect::Anthropic.body());
        let body = body.replacen('{', "{\"stream\":true,", 1);
        client.send(request(path, &[("x-api-key", ALICE), ("x-request-id", "mine")], &body)).await;
        let _upstream = gate.asked(1003).await;
        let (_, fields) = client.head().await.unwrap();
        for name in ["x-request-id", "request-id"] {
            let told = fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
            assert_eq!(told, Some("mine"), "{name}");
        }
    })
    .await;
}

/// Gemini streams an array unless events are asked for: a comment would spoil it.
#[tokio::test(start_paused = true)]
async fn an_array_that_is_streamed_has_no_comments() {
    on_pipes(every_five_seconds, async |mut gate| {
        let mut client = gate.client();
        let path = "/v1beta/models/gemini:streamGenerateContent";
        client.send(request(path, &[("x-api-key", ALICE)], Dialect::Gemini.body())).await;
        let mut upstream = gate.asked(1004).await;
        tokio::time::sleep(Duration::from_secs(11)).await;
        let list = r#"[{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}]}]"#;
        answer(&mut upstream, whole("200 OK", list)).await;
        assert_eq!(client.response().await.text(), list);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_the_first_comment_is_told_by_its_status() {
    on_pipes(every_five_seconds, async |mut gate| {
        let mut client = gate.client();
        ask(&mut client).await;
        let _upstream = gate.asked(FIRST).await;
        gate.worker.cut();
        Dialect::OpenAi.assert_told(&client.response().await, "shutdown", "nothing has been told");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_after_a_comment_is_told_within_the_stream_and_counted_once() {
    on_pipes(every_five_seconds, async |mut gate| {
        let (mut client, mut upstream) = kept_waiting(&mut gate).await;
        answer(&mut upstream, BREAK).await;
        let event = text(&mut client).await;
        assert!(event.contains("\"code\":\"internal\""), "{event}");
        assert_eq!(client.chunk().await, Some(Vec::new()));
        drop(client);
        let metrics = metrics(&gate).await;
        assert!(metrics.contains("berry_panics_total{service=\"berry-api\"} 1\n"), "{metrics}");
        assert!(metrics.contains("berry_client_disconnects_total{service=\"berry-api\"} 0\n"), "{metrics}");
        let counted: Vec<_> = metrics.lines().filter(|line| line.contains(&format!("route=\"{PATH}\""))).collect();
        assert!(
            counted.iter().any(|line| line.starts_with("http_requests_total") && line.ends_with(" 1")),
            "{counted:#?}"
        );
    })
    .await;
}
