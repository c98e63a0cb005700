//! A user's limits: what they refuse and how that is told, what counts against them, and that they are kept.

use std::time::Duration;

use berry_mock::{Gate, Script};
use berry_proxy::report;
use serde_json::Value;

use crate::harness::{
    ALICE, BOB, Berry, DIALECTS, Dialect, ROOT, Response, bearer, chat_body, fault, head, journal, pair, request,
    snapshot, stream_body, without_retries,
};

/// Gives Alice these limits.
fn limited(limits: &str) -> impl FnOnce(String) -> String {
    let table = format!("\n[users.alice.rate_limit]\n{limits}\n");
    move |text| without_retries(text) + &table
}

/// What an answer says of the tightest limit: its amount, what remains, when it is whole again.
fn told(answer: &Response) -> [&str; 3] {
    ["limit", "remaining", "reset"]
        .map(|name| answer.field(&format!("x-ratelimit-{name}-requests")).unwrap_or_default())
}

fn wait(answer: &Response) -> u64 {
    answer.field("retry-after").unwrap().parse().unwrap()
}

/// Alice's row of the admin API for a limit.
fn usage(berry: &Berry, limit: &str) -> Value {
    let rows = report::rate_limit_usage(&berry.gateway, &berry.gateway.snapshot(), Some("alice"));
    rows[0]["limits"].as_array().unwrap().iter().find(|row| row["limit"] == limit).unwrap().clone()
}

#[tokio::test]
async fn a_used_up_limit_is_told_in_each_dialect_and_nobody_else_is_limited() {
    for dialect in DIALECTS {
        let berry = Berry::with(limited("requests_per_minute = 2")).await;
        let first = berry.ask(dialect).await;
        assert_eq!((first.status, told(&first)), (200, ["2", "1", "30s"]), "{dialect:?}");
        let second = berry.ask(dialect).await;
        assert_eq!((second.status, told(&second)), (200, ["2", "0", "1m0s"]), "{dialect:?}");
        let refused = berry.ask(dialect).await;
        dialect.assert_told(&refused, "rate_limited", "over its limit");
        assert_eq!(told(&refused)[..2], ["2", "0"], "{dialect:?}");
        assert!((30..=38).contains(&wait(&refused)), "{dialect:?}: {}", wait(&refused));
        assert_eq!(berry.provider(dialect).journal().len(), 2, "{dialect:?}");
        let other = berry.chat_as(BOB, "chat").await;
        assert_eq!((other.status, told(&other)), (200, ["", "", ""]), "{dialect:?}");
    }
}

#[tokio::test]
async fn who_comes_when_told_is_let_in() {
    let berry = Berry::with(limited("requests_per_minute = 2\nrequests_per_hour = 3")).await;
    assert_eq!([berry.chat("single").await.status, berry.chat("single").await.status], [200, 200]);
    let refused = berry.chat("single").await;
    berry.clock.advance(Duration::from_secs(wait(&refused)));
    let third = berry.chat("single").await;
    assert_eq!((third.status, told(&third)[0], told(&third)[1]), (200, "3", "0"), "the hour is the tighter one now");
    let refused = berry.chat("single").await;
    assert_eq!(refused.code(), "rate_limited");
    assert!((1100..=1500).contains(&wait(&refused)) && refused.text().contains("requests_per_hour"));
    berry.clock.advance(Duration::from_secs(wait(&refused)));
    assert_eq!(berry.chat("single").await.status, 200);
}

#[tokio::test]
async fn failed_requests_count_and_refused_ones_do_not() {
    let berry = Berry::with(limited("requests_per_minute = 3\nrequests_per_day = 100")).await;
    berry.first.script(Script::new().fault(fault("500")));
    assert_eq!(berry.chat("single").await.status, 502);
    assert_eq!(berry.chat("no-such-model").await.status, 404);
    assert_eq!(berry.post("/v1/chat/completions", &[bearer(ALICE).as_field()], "{").await.status, 400);
    for _ in 0..10 {
        assert_eq!(berry.chat("single").await.status, 429);
    }
    assert_eq!(
        (&usage(&berry, "requests_per_day")["used"], &usage(&berry, "requests_per_minute")["refused"]),
        (&3.into(), &10.into())
    );
    let text = report::metrics(&berry.gateway, &berry.gateway.snapshot());
    let counted = |limit: &str, count: u32| {
        text.contains(&format!(
            "berry_rate_limited_total{{service=\"berry-api\",user=\"alice\",limit=\"{limit}\"}} {count}\n"
        ))
    };
    assert!(counted("requests_per_minute", 10) && counted("requests_per_day", 0), "{text}");
    assert!(!text.contains("user=\"bob\""));
}

#[tokio::test]
async fn a_refused_request_costs_no_reading_of_its_body() {
    let berry = Berry::with(limited("requests_per_day = 1")).await;
    assert_eq!(berry.chat("single").await.status, 200);
    for expects in [&[][..], &[("expect", "100-continue")]] {
        let fields = [&[("x-api-key", ALICE)], expects].concat();
        let answer = berry.raw(head("POST", Dialect::OpenAi.path(), &fields, Some(500_000))).await;
        assert_eq!((answer.status, answer.field("connection")), (429, Some("close")));
    }
    let mut connection = berry.connect().await;
    let whole = request(Dialect::OpenAi.path(), &[("x-api-key", ALICE)], &chat_body("single"));
    for _ in 0..2 {
        connection.send(&whole).await;
        assert_eq!(connection.response().await.status, 429, "a connection is kept where nothing is left unread");
    }
}

#[tokio::test]
async fn requests_at_once_are_limited_and_a_place_is_freed_with_the_answers_end() {
    for limits in ["concurrent_requests = 1", "concurrent_requests = 1\nrequests_per_minute = 5"] {
        let berry = Berry::with(limited(limits)).await;
        let gate = Gate::new();
        berry.first.script(Script::new().gate(&gate));
        let mut held = berry.connect().await;
        held.send(request("/v1/chat/completions", &[("x-api-key", ALICE)], &stream_body("single"))).await;
        journal(&berry.first, |all| !all.is_empty()).await;
        for dialect in DIALECTS {
            let refused = berry.ask(dialect).await;
            dialect.assert_told(&refused, "concurrency_limited", limits);
            assert!((1..=2).contains(&wait(&refused)));
        }
        assert_eq!(
            (&usage(&berry, "concurrent_requests")["used"], &usage(&berry, "concurrent_requests")["refused"]),
            (&1.into(), &3.into())
        );
        assert_eq!(berry.chat_as(ROOT, "turns").await.status, 200);
        gate.open();
        assert!(held.response().await.complete);
        let next = berry.chat("single").await;
        assert_eq!(next.status, 200, "{}", next.text());
        if limits.contains("minute") {
            assert_eq!(told(&next)[..2], ["5", "3"], "what is refused for one limit is charged to none");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let berry = Berry::with(limited("concurrent_requests = 1")).await;
    let gate = Gate::new();
    berry.first.script(Script::new().gate(&gate));
    let mut held = berry.connect().await;
    held.send(request("/v1/chat/completions", &[("x-api-key", ALICE)], &stream_body("single"))).await;
    journal(&berry.first, |all| !all.is_empty()).await;
    drop(held);
    let freed = async {
        while usage(&berry, "concurrent_requests")["used"] != 0 {
            tokio::task::yield_now().await
        }
    };
    crate::harness::within(freed).await;
    assert_eq!(berry.chat("single").await.status, 200);
}

#[tokio::test]
async fn of_a_thousand_requests_on_a_hundred_connections_exactly_the_limit_is_let_in() {
    let berry = Berry::with(limited("requests_per_day = 137")).await;
    let ask_ten_times = async || {
        let (mut connection, mut let_in) = (berry.connect().await, 0);
        for _ in 0..10 {
            connection.send(request(Dialect::OpenAi.path(), &[("x-api-key", ALICE)], &chat_body("single"))).await;
            let_in += usize::from(connection.response().await.status == 200);
        }
        let_in
    };
    let all: Vec<_> = (0..100).map(|_| Box::pin(ask_ten_times())).collect();
    assert_eq!(join_all(all).await.iter().sum::<usize>(), 137);
    assert_eq!(berry.first.journal().len(), 137);
}

/// Runs all of them side by side.
async fn join_all<T>(futures: Vec<std::pin::Pin<Box<impl Future<Output = T>>>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Some(future), None)).collect();
    std::future::poll_fn(move |cx| {
        for (future, value) in &mut running {
            if let Some(std::task::Poll::Ready(done)) = future.as_mut().map(|future| future.as_mut().poll(cx)) {
                (*future, *value) = (None, Some(done));
            }
        }
        if running.iter().any(|(future, _)| future.is_some()) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(running.iter_mut().filter_map(|(_, value)| value.take()).collect())
    })
    .await
}

#[tokio::test]
async fn every_answer_to_a_limited_user_tells_its_limit_and_pages_do_not_count() {
    let berry = Berry::with(limited("requests_per_hour = 10")).await;
    let bearer = bearer(ALICE);
    for path in ["/v1/models", "/v1/models/chat", "/v1/models/none"] {
        assert_eq!(told(&berry.get(path, &[bearer.as_field()]).await), ["10", "10", "0s"], "{path}");
    }
    let streamed = berry.post("/v1/chat/completions", &[bearer.as_field()], &stream_body("single")).await;
    assert_eq!((streamed.status, told(&streamed)), (200, ["10", "9", "6m0s"]));
    assert_eq!(told(&berry.chat("no-such-model").await), ["10", "8", "12m0s"]);
    let unknown = berry.chat_as("token-that-nobody-has", "chat").await;
    assert_eq!((unknown.status, told(&unknown)), (401, ["", "", ""]));
}

#[tokio::test]
async fn what_is_used_up_is_kept_over_a_reload_and_judged_by_the_new_limits() {
    let berry = Berry::with(limited("requests_per_hour = 10")).await;
    for _ in 0..5 {
        assert_eq!(berry.chat("single").await.status, 200);
    }
    let urls = [&berry.first, &berry.second, &berry.claude, &berry.google].map(|mock| mock.url());
    let text = limited("requests_per_hour = 100")(pair(urls.each_ref().map(String::as_str)));
    let next = snapshot(&text, berry.gateway.live(), berry_proxy::ports::Clock::now(&*berry.clock));
    let rows = report::rate_limit_usage(&berry.gateway, &next, Some("alice"));
    assert_eq!((&rows[0]["limits"][0]["allowed"], &rows[0]["limits"][0]["used"]), (&100.into(), &50.into()));
    assert_eq!(report::rate_limit_usage(&berry.gateway, &next, Some("bob"))[0]["limits"], Value::Array(Vec::new()));
    assert!(report::rate_limit_usage(&berry.gateway, &next, Some("nobody")).is_empty());
}

#[tokio::test]
async fn a_limited_user_is_told_its_own_limit_and_not_the_accounts() {
    let forward = |text: String| {
        text.replace(
            "[providers.first]\n",
            "[providers.first]\nforward_response_headers = [\"X-RateLimit-Limit-Requests\", \"x-ratelimit-limit-tokens\"]\n",
        )
    };
    for (limits, shown) in [("requests_per_hour = 10", "10"), ("", "10000")] {
        let berry = Berry::with(|text| forward(limited(limits)(text))).await;
        berry.first.script(Script::new().header("x-ratelimit-limit-tokens", "7"));
        let answer = berry.chat("single").await;
        let told: Vec<_> = answer.fields.iter().filter(|(name, _)| name == "x-ratelimit-limit-requests").collect();
        assert_eq!((told.len(), told[0].1.as_str(), answer.field("x-ratelimit-limit-tokens")), (1, shown, Some("7")));
    }
}
