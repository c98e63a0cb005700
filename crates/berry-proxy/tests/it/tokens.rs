//! Limits of tokens: taken by an estimate, settled by what the backend says, and told as limits are.

use berry_mock::{Gate, Script};
use berry_proxy::report;

use crate::harness::{
    ALICE, Berry, DONE, Dialect, Response, bearer, chat_body, event, fault, journal, request, stream_body,
    without_retries,
};

const DAY: u64 = 100_000;
const CHAT: &str = "/v1/chat/completions";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":12,\"total_tokens\":42}}\n\n";

/// Gives Alice so many tokens a day, and further limits.
fn limited(limits: &str) -> impl FnOnce(String) -> String {
    let table = format!("\n[users.alice.rate_limit]\ntokens_per_day = {DAY}\n{limits}\n");
    move |text| without_retries(text) + &table
}

/// How much of a limit of Alice's is used.
fn used(berry: &Berry, limit: &str) -> u64 {
    let rows = report::rate_limit_usage(&berry.gateway, &berry.gateway.snapshot(), Some("alice"));
    let row = rows[0]["limits"].as_array().unwrap().iter().find(|row| row["limit"] == limit).unwrap().clone();
    row["used"].as_u64().unwrap()
}

/// The same, once the request that is over has been settled.
async fn settled(berry: &Berry, expected: u64) {
    for _ in 0..500 {
        if used(berry, "tokens_per_day") == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{} used instead of {expected}", used(berry, "tokens_per_day"));
}

async fn stream(berry: &Berry) -> Response {
    berry.post(CHAT, &[bearer(ALICE).as_field()], &stream_body("single")).await
}

#[tokio::test]
async fn a_plain_answers_usage_takes_the_place_of_the_estimate() {
    let berry = Berry::with(limited("")).await;
    let body = r#"{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":30,"completion_tokens":12}}"#;
    berry.first.script(Script::new().json(200, body));
    let answer = berry.chat("single").await;
    assert_eq!(answer.text(), body);
    let remaining: u64 = answer.field("x-ratelimit-remaining-tokens").unwrap().parse().unwrap();
    assert_eq!(answer.field("x-ratelimit-limit-tokens"), Some(DAY.to_string().as_str()));
    assert!((DAY - 1100..DAY - 1000).contains(&remaining), "a thousand of an answer, and the request: {remaining}");
    settled(&berry, 42).await;
    let answer = berry.post("/v1/chat/completions", &[bearer(ALICE).as_field()], &chat_body("single")).await;
    let remaining: u64 = answer.field("x-ratelimit-remaining-tokens").unwrap().parse().unwrap();
    assert!((DAY - 100..DAY - 42).contains(&remaining), "by now it is known what answers are like: {remaining}");
}

#[tokio::test]
async fn every_dialects_usage_counts_plain_and_streamed() {
    let streams = [
        ("/v1/chat/completions", r#"{"model":"chat","stream":true,"messages":[]}"#),
        ("/v1/messages", r#"{"model":"claude","stream":true,"max_tokens":9,"messages":[]}"#),
        ("/v1beta/models/gemini:streamGenerateContent?alt=sse", r#"{"contents":[]}"#),
        ("/v1beta/models/gemini:streamGenerateContent", r#"{"contents":[]}"#),
    ];
    let plain = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini].map(|dialect| (dialect.path(), dialect.body()));
    for (path, body) in streams.into_iter().chain(plain) {
        let berry = Berry::with(limited("")).await;
        let answer = berry.post(path, &[("x-api-key", ALICE)], body).await;
        assert_eq!(answer.status, 200, "{path}");
        let text = answer.text();
        let number = |name: &str| {
            let at = text.rfind(&format!("\"{name}\":")).map(|at| at + name.len() + 3)?;
            let digits: String = text[at..].trim_start().chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u64>().ok()
        };
        let input = number("prompt_tokens").or(number("input_tokens")).or(number("promptTokenCount"));
        let output = number("completion_tokens").or(number("output_tokens")).or(number("candidatesTokenCount"));
        let thoughts = number("thoughtsTokenCount").unwrap_or(0);
        let cached =
            number("cache_read_input_tokens").unwrap_or(0) + number("cache_creation_input_tokens").unwrap_or(0);
        if let (Some(input), Some(output)) = (input, output) {
            settled(&berry, input + output + thoughts + cached).await;
        } else {
            // Of OpenAI's stream the client did not ask for usage, and the recording has none.
            assert!(path.ends_with("completions") && body.contains("stream"), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn usage_is_asked_for_and_what_that_brings_is_left_out_however_it_comes() {
    for pieces in [1, 3] {
        let berry = Berry::with(limited("")).await;
        let events = [event("a"), event("b"), USAGE.to_owned(), DONE.to_owned()];
        let gate = Gate::new();
        berry.first.script(Script::new().sse(events.concat()).gate(&gate));
        if pieces == 1 {
            gate.open();
        }
        let mut connection = berry.connect().await;
        connection.send(request(CHAT, &[bearer(ALICE).as_field()], &stream_body("single"))).await;
        journal(&berry.first, |all| all.len() == 1).await;
        gate.let_through(1);
        gate.open();
        let answer = connection.response().await;
        assert_eq!(answer.text(), [event("a"), event("b"), DONE.to_owned()].concat());
        let asked = berry.first.journal().remove(0).body;
        assert!(asked.starts_with(br#"{"stream_options":{"include_usage":true},"messages""#), "{asked:?}");
        settled(&berry, 42).await;
    }
}

#[tokio::test]
async fn who_asked_for_usage_gets_it() {
    let berry = Berry::with(limited("")).await;
    let events = [event("a"), USAGE.to_owned(), DONE.to_owned()].concat();
    berry.first.script(Script::new().sse(events.clone()));
    let body = r#"{"model":"single","stream":true,"messages":[],"stream_options":{"include_usage":true}}"#;
    let answer = berry.post(CHAT, &[bearer(ALICE).as_field()], body).await;
    assert_eq!(answer.text(), events);
    settled(&berry, 42).await;
}

#[tokio::test]
async fn usage_is_asked_for_whom_the_configuration_says() {
    for (ask, has_limit, is_asked) in
        [("limited", true, true), ("limited", false, false), ("always", false, true), ("never", true, false)]
    {
        let berry = Berry::with(|text| {
            let text = text.replace("[settings]\n", &format!("[settings]\nask_usage = \"{ask}\"\n"));
            if has_limit { limited("")(text) } else { text }
        })
        .await;
        let events = [event("a"), if is_asked { USAGE.to_owned() } else { String::new() }, DONE.to_owned()].concat();
        berry.first.script(Script::new().sse(events));
        assert_eq!(stream(&berry).await.text(), [event("a"), DONE.to_owned()].concat(), "{ask} {has_limit}");
        let asked = String::from_utf8(berry.first.journal().remove(0).body.to_vec()).unwrap();
        assert_eq!(asked.contains("include_usage"), is_asked, "{ask} {has_limit}: {asked}");
    }
}

#[tokio::test]
async fn a_stream_without_usage_counts_by_its_events() {
    let berry = Berry::with(limited("")).await;
    berry.first.script(Script::new().sse([event("a").repeat(70), DONE.to_owned()].concat()));
    assert_eq!(stream(&berry).await.status, 200);
    let input = u64::from(berry_wire::estimate_tokens(stream_body("single").as_bytes()));
    settled(&berry, input + 71).await;
}

#[tokio::test]
async fn a_client_that_leaves_has_used_what_came() {
    let berry = Berry::with(limited("")).await;
    let gate = Gate::new();
    berry.first.script(Script::new().sse([event("a").repeat(70), DONE.to_owned()].concat()).gate(&gate));
    let mut connection = berry.connect().await;
    connection.send(request(CHAT, &[bearer(ALICE).as_field()], &stream_body("single"))).await;
    journal(&berry.first, |all| all.len() == 1).await;
    gate.let_through(1);
    assert_eq!(connection.head().await.unwrap().0, 200);
    assert!(used(&berry, "tokens_per_day") > 1000, "what is under way holds its estimate");
    drop(connection);
    let input = u64::from(berry_wire::estimate_tokens(stream_body("single").as_bytes()));
    for _ in 0..500 {
        let used = used(&berry, "tokens_per_day");
        if (input + 1..=input + 71).contains(&used) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{}", used(&berry, "tokens_per_day"));
}

/// Anthropic tells of one token when a message begins, and of all when it ends.
#[tokio::test]
async fn what_is_told_at_the_beginning_is_not_taken_for_all_where_a_stream_breaks_off() {
    let berry = Berry::with(limited("")).await;
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":30,\"output_tokens\":1}}}\n\n";
    let delta = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}\n\n";
    berry.claude.script(Script::new().sse(format!("{start}{}", delta.repeat(99))));
    let body = r#"{"model":"claude","stream":true,"max_tokens":900,"messages":[]}"#;
    let answer = berry.post("/v1/messages", &[("x-api-key", ALICE)], body).await;
    assert!(answer.text().contains("event: error"), "{}", answer.text());
    settled(&berry, 30 + 100).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_has_used_its_request() {
    let berry = Berry::with(limited("")).await;
    berry.first.script(Script::new().gate(&Gate::new()));
    let mut connection = berry.connect().await;
    connection.send(request(CHAT, &[bearer(ALICE).as_field()], &stream_body("single"))).await;
    journal(&berry.first, |all| all.len() == 1).await;
    drop(connection);
    settled(&berry, u64::from(berry_wire::estimate_tokens(stream_body("single").as_bytes()))).await;
}

#[tokio::test]
async fn a_request_without_an_answer_has_used_no_tokens() {
    let berry = Berry::with(limited("requests_per_day = 10")).await;
    berry.first.script(fault("500"));
    assert_eq!(berry.chat("single").await.status, 502);
    settled(&berry, 0).await;
    assert_eq!(used(&berry, "requests_per_day"), 1, "failed requests count");
}

#[tokio::test]
async fn who_is_over_its_tokens_is_told_when_to_come_again_and_counts_as_no_request() {
    let words = "word ".repeat(900);
    let body = format!(r#"{{"model":"single","stream":true,"messages":[{{"content":"{words}"}}]}}"#);
    let limit = format!("tokens_per_minute = {}", berry_wire::estimate_tokens(body.as_bytes()) + 1000);
    for dialect in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
        let berry = Berry::with(limited(&format!("{limit}\nrequests_per_day = 10"))).await;
        let gate = Gate::new();
        berry.first.script(Script::new().gate(&gate));
        // One that is under way has its estimate.
        let mut held = berry.connect().await;
        held.send(request(CHAT, &[bearer(ALICE).as_field()], &body)).await;
        journal(&berry.first, |all| all.len() == 1).await;
        let before = berry.provider(dialect).journal().len();
        let refused = berry.ask(dialect).await;
        dialect.assert_told(&refused, "rate_limited", "its tokens are used up");
        assert!(refused.text().contains(&limit), "{}", refused.text());
        let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=45).contains(&wait), "{wait}");
        assert_eq!(refused.field("x-ratelimit-remaining-tokens"), Some("0"), "{dialect:?}");
        assert_eq!(berry.provider(dialect).journal().len(), before);
        assert_eq!(used(&berry, "requests_per_day"), 1, "{dialect:?}");
        gate.open();
    }
}

#[tokio::test]
async fn a_long_plain_answers_usage_is_found_at_its_end() {
    let berry = Berry::with(limited("")).await;
    let floats = "0.123456789,".repeat(40_000);
    let body = format!(r#"{{"data":[{{"embedding":[{floats}0]}}],"usage":{{"prompt_tokens":77,"total_tokens":77}}}}"#);
    berry.first.script(Script::new().json(200, body.clone()));
    let answer = berry.post("/v1/embeddings", &[bearer(ALICE).as_field()], r#"{"model":"single","input":"x"}"#).await;
    assert_eq!(answer.body.len(), body.len());
    settled(&berry, 77).await;
}

fn with_table(table: &'static str) -> impl FnOnce(String) -> String {
    move |text| format!("{}\n{table}\n", without_retries(text))
}

#[tokio::test]
async fn a_provider_that_has_had_its_share_gives_way_to_another() {
    for limit in ["requests_per_minute = 1", "tokens_per_minute = 10"] {
        let table = format!("\n[providers.first.rate_limit]\n{limit}\n");
        let berry = Berry::with(move |text| without_retries(text) + &table).await;
        assert_eq!(berry.chat("chat").await.field("berry-backend"), Some("first/gpt-first"), "{limit}");
        let answer = berry.chat("chat").await;
        assert_eq!(
            (answer.field("berry-backend"), answer.field("berry-attempts")),
            (Some("second/gpt-second"), Some("1"))
        );
        let refused = berry.chat("single").await;
        Dialect::OpenAi.assert_told(&refused, "rate_limited", limit);
        let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=400).contains(&wait), "{limit}: {wait}");
        berry.clock.advance(std::time::Duration::from_secs(wait));
        assert_eq!(berry.chat("single").await.status, 200, "{limit}");
    }
}

#[tokio::test]
async fn a_model_that_has_had_its_share_gives_way_to_its_fallbacks() {
    let berry = Berry::with(with_table("[models.stands-in.rate_limit]\nrequests_per_minute = 1")).await;
    assert_eq!(berry.chat("stands-in").await.field("berry-backend"), Some("second/gpt-small"));
    assert_eq!(berry.chat("stands-in").await.field("berry-backend"), Some("first/gpt-first"));
    let berry = Berry::with(with_table("[models.single.rate_limit]\ntokens_per_day = 100")).await;
    assert_eq!(berry.chat("single").await.status, 200);
    let refused = berry.chat("single").await;
    Dialect::OpenAi.assert_told(&refused, "rate_limited", "its limit is used up");
    assert!(refused.text().contains("rate_limit") && refused.field("retry-after").is_some(), "{}", refused.text());
}
