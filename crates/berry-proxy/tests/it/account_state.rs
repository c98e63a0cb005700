//! State that only one account knows finds the backend that made it (failure model, R7).

use std::time::Duration;

use berry_mock::{Mock, Script};
use tokio::io::DuplexStream;
use tokio::time::Instant;

use crate::harness::{ALICE, Berry, Connection, Response, fault, request, without_pools, without_retries};
use crate::ports::{FIRST, Gate, OK, answer, on_pipes};

const LOST: &str = r#"{"error":{"type":"invalid_request_error","code":"previous_response_not_found"}}"#;

async fn respond(berry: &Berry, more: &str) -> Response {
    let body = format!(r#"{{"model":"turns","input":"hi"{more}}}"#);
    berry.post("/v1/responses", &[("x-api-key", ALICE)], &body).await
}

fn response(id: &str) -> Script {
    Script::new().json(200, format!(r#"{{"id":"{id}","object":"response","status":"completed","output":[]}}"#))
}

/// Uses a script up that was not asked for.
async fn drain(mock: &Mock) {
    while mock.scripts_left() > 0 {
        let mut direct = Connection::over(tokio::net::TcpStream::connect(mock.addr()).await.unwrap());
        direct.send(request("/v1/responses", &[], r#"{"model":"m","input":""}"#)).await;
        direct.response().await;
    }
}

#[tokio::test]
async fn a_follow_up_goes_to_the_backend_that_made_what_it_refers_to() {
    let berry = Berry::start().await;
    let ids: Vec<String> = (0..3).map(|i| format!("resp_{i}")).collect();
    let mut made = Vec::new();
    for id in &ids {
        // Whichever backend's turn it is, it answers with this id.
        berry.first.script(response(id));
        berry.second.script(response(id));
        let answer = respond(&berry, "").await;
        made.push(answer.field("berry-backend").unwrap().to_owned());
        // The other one's script is used up, so that the next turn begins clean.
        let idle = if made.last().unwrap().starts_with("first") { &berry.second } else { &berry.first };
        drain(idle).await;
    }
    assert!(made.iter().any(|backend| backend != &made[0]), "the turns reach both: {made:?}");
    for (id, backend) in ids.iter().zip(&made) {
        for _ in 0..3 {
            let answer = respond(&berry, &format!(r#","previous_response_id":"{id}""#)).await;
            assert_eq!(answer.field("berry-backend"), Some(backend.as_str()), "{id}");
        }
    }
}

#[tokio::test]
async fn a_follow_up_of_an_unknown_answer_is_tried_as_any_other() {
    let berry = Berry::start().await;
    let answer = respond(&berry, r#","previous_response_id":"resp_unknown""#).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn what_a_stream_hands_out_is_remembered_too() {
    let berry = Berry::start().await;
    let events = |id: &str| {
        let created = format!(r#"{{"type":"response.created","sequence_number":0,"response":{{"id":"{id}"}}}}"#);
        let delta = r#"{"type":"response.output_text.delta","sequence_number":1,"delta":"x"}"#;
        let item = format!(
            r#"{{"type":"response.output_item.done","sequence_number":2,"item":{{"type":"reasoning","encrypted_content":"secret-of-{id}"}}}}"#
        );
        let done = format!(r#"{{"type":"response.completed","sequence_number":3,"response":{{"id":"{id}"}}}}"#);
        let all = [created, delta.to_owned(), item, done];
        Script::new().sse(all.map(|data| format!("data: {data}\n\n")).concat())
    };
    berry.first.script(events("resp_s"));
    berry.second.script(events("resp_s"));
    let made = respond(&berry, r#","stream":true"#).await.field("berry-backend").unwrap().to_owned();
    let input = r#","include":[{"type":"reasoning","encrypted_content":"secret-of-resp_s"}]"#;
    for _ in 0..3 {
        assert_eq!(respond(&berry, input).await.field("berry-backend"), Some(made.as_str()));
    }
}

/// A response of the first provider's, and a follow-up of it that has been sent.
async fn follow_up(gate: &mut Gate) -> (Connection<DuplexStream>, DuplexStream) {
    let mut client = gate.client();
    let body = |more: &str| format!(r#"{{"model":"turns","input":"hi"{more}}}"#);
    let made = r#"{"id":"resp_x","output":[]}"#;
    let made = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{made}", made.len());
    client.send(request("/v1/responses", &[("x-api-key", ALICE)], &body(""))).await;
    let mut first = gate.asked(FIRST).await;
    answer(&mut first, made).await;
    assert_eq!(client.response().await.field("berry-backend"), Some("first/gpt-first"));
    client.send(request("/v1/responses", &[("x-api-key", ALICE)], &body(r#","previous_response_id":"resp_x""#))).await;
    (client, first)
}

#[tokio::test(start_paused = true)]
async fn whoever_made_it_is_waited_for_while_it_cools_down() {
    on_pipes(without_pools, async |mut gate| {
        let (mut client, _) = follow_up(&mut gate).await;
        let mut limited = gate.asked(FIRST).await;
        let start = Instant::now();
        answer(&mut limited, "HTTP/1.1 429 No\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n").await;
        let mut again = gate.asked(FIRST).await;
        assert!((2..4).contains(&start.elapsed().as_secs()));
        answer(&mut again, OK).await;
        let told = client.response().await;
        assert_eq!((told.status, told.field("berry-attempts")), (200, Some("2")));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_made_it_is_asked_again_before_a_stranger_when_it_fails() {
    on_pipes(without_pools, async |mut gate| {
        let (mut client, _) = follow_up(&mut gate).await;
        let mut failing = gate.asked(FIRST).await;
        answer(&mut failing, "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
        let mut again = gate.asked(FIRST).await;
        answer(&mut again, OK).await;
        assert_eq!(client.response().await.status, 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_made_it_is_waited_for_while_it_has_no_room() {
    let one_at_once = |text: String| {
        without_pools(text).replace("[providers.first]\n", "[providers.first]\nmax_concurrent_requests = 1\n")
    };
    on_pipes(one_at_once, async |mut gate| {
        let (mut client, _) = follow_up(&mut gate).await;
        let mut busy = gate.asked(FIRST).await;
        let mut other = gate.client();
        let body = r#"{"model":"turns","input":"hi","previous_response_id":"resp_x"}"#;
        other.send(request("/v1/responses", &[("x-api-key", ALICE)], body)).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        answer(&mut busy, OK).await;
        assert_eq!(client.response().await.status, 200);
        let mut freed = gate.asked(FIRST).await;
        answer(&mut freed, OK).await;
        assert_eq!(other.response().await.status, 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_beside_a_request_that_one_account_alone_can_answer() {
    let hedged = |text: String| {
        let text = without_pools(text).replace("request_timeout_seconds = 2", "request_timeout_seconds = 60");
        text.replace("[models.turns]\n", "[models.turns]\nhedge = { after_ms = 500, max_share = 1.0 }\n")
    };
    on_pipes(hedged, async |mut gate| {
        let (mut client, _) = follow_up(&mut gate).await;
        let mut slow = gate.asked(FIRST).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(gate.opened.try_recv().is_err());
        answer(&mut slow, OK).await;
        assert_eq!(client.response().await.status, 200);
    })
    .await;
}

/// As after a restart: nothing is remembered, and any account may be the one.
#[tokio::test]
async fn what_is_refused_by_one_account_is_tried_with_all_others_where_its_maker_is_not_known() {
    for status in [400, 403, 404] {
        let berry = Berry::with(without_retries).await;
        for _ in 0..2 {
            berry.first.script(Script::new().json(status, LOST));
            let told = respond(&berry, r#","previous_response_id":"resp_unknown""#).await;
            assert_eq!((told.status, told.field("berry-backend")), (200, Some("second/gpt-second")), "{status}");
            drain(&berry.first).await;
        }
    }
}

#[tokio::test]
async fn what_every_account_refuses_is_told_as_it_was_refused() {
    let berry = Berry::with(without_retries).await;
    berry.first.script(Script::new().json(400, LOST));
    berry.second.script(Script::new().json(400, LOST));
    let told = respond(&berry, r#","previous_response_id":"resp_unknown""#).await;
    assert_eq!((told.status, told.field("berry-attempts")), (400, Some("2")));
    assert_eq!(told.text(), LOST);
}

#[tokio::test]
async fn state_is_not_said_to_be_gone_while_one_that_may_hold_it_fails_or_cannot_be_asked() {
    let berry = Berry::with(without_retries).await;
    let unknown = r#","previous_response_id":"resp_unknown""#;
    berry.first.script(Script::new().json(400, LOST));
    berry.second.script(fault("500"));
    assert_eq!(respond(&berry, unknown).await.status, 502);
    berry.first.script(fault("429-r60"));
    assert_eq!(respond(&berry, "").await.status, 200);
    if berry.first.scripts_left() > 0 {
        assert_eq!(respond(&berry, "").await.status, 200);
    }
    berry.second.script(Script::new().json(400, LOST));
    let told = respond(&berry, unknown).await;
    assert_eq!((told.status, told.code().as_str()), (429, "upstream_overloaded"));
}

#[tokio::test]
async fn state_of_another_account_is_no_fault_of_the_key_nor_of_the_backend() {
    let berry = Berry::with(without_retries).await;
    for _ in 0..4 {
        let refusal = r#"{"error":{"message":"You do not have access to this response, or it does not exist."}}"#;
        berry.first.script(Script::new().json(403, refusal));
        berry.second.script(Script::new().json(403, refusal));
        let told = respond(&berry, r#","previous_response_id":"resp_unknown""#).await;
        assert_eq!((told.status, told.code().as_str()), (502, "upstream_auth"));
    }
    for _ in 0..2 {
        assert_eq!(respond(&berry, "").await.field("berry-attempts"), Some("1"));
    }
    assert_eq!((berry.asked().0, berry.asked().1), (5, 5), "both go on");
}

#[tokio::test]
async fn each_account_of_a_provider_may_be_the_one() {
    let two_keys = |text: String| {
        let keys = "api_keys = [\"sk-one-0123456789\", \"sk-two-0123456789\"]";
        without_retries(text).replace("api_key = \"sk-first-0123456789\"", keys)
    };
    let berry = Berry::with(two_keys).await;
    berry.first.script(Script::new().json(404, LOST));
    let body = r#"{"model":"single","input":"hi","previous_response_id":"resp_unknown"}"#;
    let told = berry.post("/v1/responses", &[("x-api-key", ALICE)], body).await;
    assert_eq!((told.status, told.field("berry-attempts")), (200, Some("2")));
}

fn made(id: &str) -> Script {
    Script::new().json(200, format!(r#"{{"id":"{id}","object":"response","status":"completed","output":[]}}"#))
}

async fn ask_model(berry: &Berry, model: &str, more: &str) -> Response {
    let body = format!(r#"{{"model":"{model}","input":"hi"{more}}}"#);
    berry.post("/v1/responses", &[("x-api-key", ALICE)], &body).await
}

#[tokio::test]
async fn state_that_a_fallback_made_leads_to_the_fallback() {
    let berry = Berry::with(without_retries).await;
    berry.second.script(fault("500"));
    berry.first.script(made("resp_f"));
    assert_eq!(ask_model(&berry, "stands-in", "").await.field("berry-backend"), Some("first/gpt-first"));
    let told = ask_model(&berry, "stands-in", r#","previous_response_id":"resp_f""#).await;
    let seen = (told.status, told.field("berry-backend"), told.field("berry-attempts"));
    assert_eq!(seen, (200, Some("first/gpt-first"), Some("1")));
}

#[tokio::test]
async fn a_maker_that_is_out_is_tried_before_a_stranger_is() {
    let failover =
        |text: String| without_retries(text).replace("strategy = \"round_robin\"", "strategy = \"failover\"");
    let berry = Berry::with(failover).await;
    berry.first.script(made("resp_f"));
    assert_eq!(ask_model(&berry, "turns", "").await.field("berry-backend"), Some("first/gpt-first"));
    for _ in 0..3 {
        berry.first.script(fault("500"));
        ask_model(&berry, "turns", "").await;
    }
    assert_eq!(ask_model(&berry, "turns", "").await.field("berry-backend"), Some("second/gpt-second"), "it is out");
    let told = ask_model(&berry, "turns", r#","previous_response_id":"resp_f""#).await;
    assert_eq!((told.status, told.field("berry-backend")), (200, Some("first/gpt-first")));
}

#[tokio::test]
async fn a_fault_that_is_not_of_the_state_is_told_at_once() {
    let two_keys = |text: String| {
        let keys = "api_keys = [\"sk-one-0123456789\", \"sk-two-0123456789\"]";
        without_retries(text).replace("api_key = \"sk-first-0123456789\"", keys)
    };
    let berry = Berry::with(two_keys).await;
    let long = r#"{"error":{"type":"invalid_request_error","code":"context_length_exceeded","message":"too long"}}"#;
    berry.first.script(Script::new().json(400, long));
    let told = ask_model(&berry, "single", r#","include":[{"type":"reasoning","encrypted_content":"abc"}]"#).await;
    assert_eq!((told.status, told.text().as_str(), told.field("berry-attempts")), (400, long, Some("1")));
    // And one that is, once everybody was asked who is not put aside.
    berry.first.script(fault("401"));
    assert_eq!(ask_model(&berry, "single", "").await.status, 200);
    berry.first.script(Script::new().json(400, LOST));
    let told = ask_model(&berry, "single", r#","previous_response_id":"resp_unknown""#).await;
    assert_eq!((told.status, told.text().as_str()), (400, LOST));
}

#[tokio::test]
async fn a_key_that_gemini_refuses_is_refused_whatever_the_request_refers_to() {
    let berry = Berry::with(without_retries).await;
    let bad = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#;
    berry.google.script(Script::new().json(400, bad));
    let body = r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://video.example/x"}}]}]}"#;
    let told = berry.post("/v1beta/models/gemini:generateContent", &[("x-goog-api-key", ALICE)], body).await;
    assert_eq!(told.status, 502);
    assert!(!told.text().contains("API key not valid"), "{}", told.text());
}

#[tokio::test]
async fn while_its_maker_waits_out_a_rate_limit_a_request_is_told_so_each_time() {
    let two_keys = |text: String| {
        let keys = "api_keys = [\"sk-one-0123456789\", \"sk-two-0123456789\"]";
        text.replace("api_key = \"sk-first-0123456789\"", keys)
    };
    let berry = Berry::with(two_keys).await;
    berry.first.script(made("resp_a"));
    assert_eq!(ask_model(&berry, "single", "").await.status, 200);
    berry.first.script(fault("429-r60"));
    for when in ["it has just said so", "it is cooling down"] {
        let told = ask_model(&berry, "single", r#","previous_response_id":"resp_a""#).await;
        assert_eq!((told.status, told.field("retry-after")), (429, Some("60")), "{when}");
    }
}
