//! Comments to a client whose stream has not begun (`stream_keepalive_seconds`).

use std::time::Duration;

use tokio::io::DuplexStream;

use crate::harness::{ALICE, Connection, request, stream_body, without_retries};
use crate::ports::{FIRST, PATH, STREAM, answer, on_pipes};

const COMMENT: &str = ": keepalive\n\n";
const CHUNK: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n";

fn every_five_seconds(text: String) -> String {
    let text = without_retries(text).replace("request_timeout_seconds = 2", "request_timeout_seconds = 60");
    text.replace("[settings]\n", "[settings]\nstream_keepalive_seconds = 5\n")
}

async fn ask(client: &mut Connection<DuplexStream>) {
    client.send(request(PATH, &[("x-api-key", ALICE)], &stream_body("single"))).await;
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
        let mut client = gate.client();
        ask(&mut client).await;
        let mut upstream = gate.asked(FIRST).await;
        assert_eq!(client.head().await.unwrap().0, 200);
        assert_eq!(client.chunk().await.unwrap(), COMMENT.as_bytes());
        answer(&mut upstream, "HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n{}").await;
        let event = String::from_utf8(client.chunk().await.unwrap()).unwrap();
        assert!(event.starts_with("data: {\"error\":{") && event.contains("upstream_error"), "{event}");
        assert_eq!(client.chunk().await, Some(Vec::new()), "the stream ends cleanly");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backends_own_refusal_after_a_comment_keeps_its_words() {
    on_pipes(every_five_seconds, async |mut gate| {
        let mut client = gate.client();
        ask(&mut client).await;
        let mut upstream = gate.asked(FIRST).await;
        assert_eq!(client.head().await.unwrap().0, 200);
        assert_eq!(client.chunk().await.unwrap(), COMMENT.as_bytes());
        let body = "{\"error\":{\"message\":\"too long\",\"code\":\"context_length_exceeded\"}}";
        let head = format!("HTTP/1.1 400 No\r\ncontent-length: {}\r\n\r\n", body.len());
        answer(&mut upstream, &(head + body)).await;
        assert_eq!(String::from_utf8(client.chunk().await.unwrap()).unwrap(), format!("data: {body}\n\n"));
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
        let mut client = gate.client();
        ask(&mut client).await;
        let mut upstream = gate.asked(FIRST).await;
        assert_eq!(client.head().await.unwrap().0, 200);
        drop(client);
        let mut left = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut upstream, &mut left).await.unwrap();
        assert!(left.is_empty());
    })
    .await;
}
