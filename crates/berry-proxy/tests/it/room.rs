//! How many requests there may be at once: at a provider, of a model, in the whole gateway, and in memory.

use std::time::Duration;

use berry_mock::{Gate, Script};
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::harness::{
    ALICE, Berry, Connection, Dialect, bearer, chat_body, fault, head, journal, request, stream_body, without_pools,
    without_retries,
};
use crate::ports::{self, FIRST, OK, PATH, SECOND, answer, assert_took, chat, on_pipes, seconds};

/// A stream that has begun, and goes on until its gate is opened.
async fn hold(berry: &Berry, model: &str) -> (Gate, Connection<TcpStream>) {
    let gate = Gate::new();
    let before = berry.first.journal().len();
    berry.first.script(Script::new().gate(&gate));
    let mut connection = berry.connect().await;
    connection.send(request("/v1/chat/completions", &[("x-api-key", ALICE)], &stream_body(model))).await;
    journal(&berry.first, |all| all.len() > before).await;
    gate.let_through(3);
    assert_eq!(connection.head().await.unwrap().0, 200);
    (gate, connection)
}

fn first_provider_takes_one(text: String) -> String {
    text.replace("[providers.first]\n", "[providers.first]\nmax_concurrent_requests = 1\n")
}

#[tokio::test]
async fn a_provider_that_is_full_gives_way_to_another() {
    let berry = Berry::with(first_provider_takes_one).await;
    let (_gate, _held) = hold(&berry, "single").await;
    assert_eq!(berry.chat("chat").await.field("berry-backend"), Some("second/gpt-second"));
    assert_eq!(berry.asked().0, 1);
}

#[tokio::test]
async fn a_request_that_finds_no_room_waits_shortly_and_is_then_told_when_to_come_again() {
    let berry = Berry::with(first_provider_takes_one).await;
    let (_gate, _held) = hold(&berry, "single").await;
    let answer = berry.chat("single").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    assert_eq!((answer.field("retry-after"), berry.asked().0), (Some("1"), 1));
}

#[tokio::test]
async fn a_place_that_is_freed_goes_to_the_one_who_waits() {
    let berry = Berry::with(first_provider_takes_one).await;
    let (gate, mut held) = hold(&berry, "single").await;
    let (answer, ()) = tokio::join!(berry.chat("single"), async {
        gate.open();
        while held.chunk().await.is_some_and(|chunk| !chunk.is_empty()) {}
    });
    assert_eq!((answer.status, berry.asked().0), (200, 2));
}

#[tokio::test]
async fn a_model_and_the_whole_gateway_have_limits_of_their_own() {
    for (table, line) in [("[models.single]\n", "max_concurrent_requests = 1\n"), ("[server]\n", "max_in_flight = 1\n")]
    {
        let berry = Berry::with(|text| text.replace(table, &format!("{table}{line}"))).await;
        let (gate, mut held) = hold(&berry, "single").await;
        let answer = berry.chat("single").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"), "{line}");
        assert!(answer.field("retry-after").is_some());
        assert_eq!(berry.get("/health/ready", &[]).await.status, 200, "pages are no calls");
        gate.open();
        while held.chunk().await.is_some_and(|chunk| !chunk.is_empty()) {}
        assert_eq!(berry.chat("single").await.status, 200, "{line}: the place is free again");
    }
}

/// A request that is under way at a provider: its client, and what the provider has of it.
async fn begun(gate: &mut ports::Gate, model: &str, port: u16) -> (Connection<DuplexStream>, DuplexStream) {
    let mut client = gate.client();
    chat(&mut client, model).await;
    let upstream = gate.asked(port).await;
    (client, upstream)
}

fn with_limits(limits: &'static [&'static str]) -> impl FnOnce(String) -> String {
    move |text| {
        let text = without_pools(text).replace("request_timeout_seconds = 2", "request_timeout_seconds = 60");
        let one = |text: String, table: &&str| text.replace(table, &format!("{table}max_concurrent_requests = 1\n"));
        limits.iter().fold(text, one)
    }
}

/// Each of these is answered at once, by another model of the file.
#[tokio::test(start_paused = true)]
async fn a_model_without_room_gives_way_to_its_fallbacks_at_once() {
    for limits in [&["[models.stands-in]\n"][..], &["[providers.second]\n"]] {
        on_pipes(with_limits(limits), async |mut gate| {
            let _held = begun(&mut gate, "stands-in", SECOND).await;
            let start = Instant::now();
            let (mut client, mut first) = begun(&mut gate, "stands-in", FIRST).await;
            assert_took(start, seconds(0));
            answer(&mut first, OK).await;
            assert_eq!(client.response().await.field("berry-backend"), Some("first/gpt-first"), "{limits:?}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_has_its_own_limit() {
    on_pipes(with_limits(&["[models.chat]\n"]), async |mut gate| {
        let _held = begun(&mut gate, "chat", FIRST).await;
        let (mut client, mut second) = begun(&mut gate, "stands-in", SECOND).await;
        answer(&mut second, "HTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\n{}").await;
        let start = Instant::now();
        assert_eq!(client.response().await.status, 404);
        assert_took(start, seconds(1));
        assert!(gate.opened.try_recv().is_err(), "it waits for a place, and finds none");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_takes_the_place_that_is_freed_first_at_whichever_backend() {
    for freed in [FIRST, SECOND] {
        on_pipes(with_limits(&["[providers.first]\n", "[providers.second]\n"]), async |mut gate| {
            let (_one, mut first) = begun(&mut gate, "single", FIRST).await;
            let (_other, mut second) = begun(&mut gate, "any-thing", SECOND).await;
            let mut waiting = gate.client();
            chat(&mut waiting, "chat").await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            answer(if freed == FIRST { &mut first } else { &mut second }, OK).await;
            let mut upstream = gate.asked(freed).await;
            answer(&mut upstream, OK).await;
            assert_eq!(waiting.response().await.status, 200);
        })
        .await;
    }
}

/// A body may take its time; a place that is empty meanwhile should not be kept from who could use it.
#[tokio::test]
async fn a_body_that_comes_slowly_keeps_nobody_out() {
    let berry = Berry::with(|text| text.replace("[server]\n", "[server]\nmax_in_flight = 1\n")).await;
    let (start, rest) = Dialect::OpenAi.body().split_at(5);
    let mut slow = berry.connect().await;
    slow.send(head("POST", PATH, &[("x-api-key", ALICE)], Some(start.len() + rest.len()))).await;
    slow.send(start).await;
    for _ in 0..3 {
        assert_eq!(berry.chat("single").await.status, 200);
    }
    slow.send(rest).await;
    assert_eq!(slow.response().await.status, 200);
}

/// The rate limit of the one ends before anything else is of use; that the other may not be asked again changes nothing.
#[tokio::test(start_paused = true)]
async fn a_used_up_retry_budget_does_not_hide_a_rate_limit_that_ends_soon() {
    let without_budget = |text: String| {
        let budget = "[settings]\nretry_budget_percent = 0\nretry_budget_per_second = 0\n";
        without_pools(text).replace("[settings]\n", budget)
    };
    on_pipes(without_budget, async |mut gate| {
        let (mut client, mut first) = begun(&mut gate, "chat", FIRST).await;
        answer(&mut first, "HTTP/1.1 429 No\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n").await;
        let mut second = gate.asked(SECOND).await;
        answer(&mut second, OK).await;
        assert_eq!(client.response().await.status, 200);
        let start = Instant::now();
        chat(&mut client, "chat").await;
        let mut second = gate.asked(SECOND).await;
        answer(&mut second, "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
        let mut first = gate.asked(FIRST).await;
        assert!((2..3).contains(&start.elapsed().as_secs()));
        answer(&mut first, OK).await;
        assert_eq!(client.response().await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn request_bodies_share_a_bound_of_memory() {
    let berry = Berry::with(|text| text.replace("[server]\n", "[server]\nmax_body_memory_bytes = 300000\n")).await;
    let body = |fill: usize| chat_body("single").replace("hi", &"x".repeat(fill));
    let fields = |token| [("authorization", token)];
    let token = bearer(ALICE);
    let (_, token) = token.as_field();
    berry.first.script(fault("hang"));
    let mut held = berry.connect().await;
    held.send(request("/v1/chat/completions", &fields(token), &body(200_000))).await;
    journal(&berry.first, |all| all.len() == 1).await;
    let answer = berry.post("/v1/chat/completions", &fields(token), &body(150_000)).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    assert_eq!(berry.post("/v1/chat/completions", &fields(token), &body(50_000)).await.status, 200);
    drop(held);
    journal(&berry.first, |all| all[0].cancelled).await;
    assert_eq!(berry.post("/v1/chat/completions", &fields(token), &body(150_000)).await.status, 200);
}

/// How many requests the first backend has in flight, and how many it may have.
async fn first_at_once(berry: &Berry) -> (u64, Option<u64>) {
    let health = berry.get("/health", &[bearer(crate::harness::ROOT).as_field()]).await.json();
    let backends = health["detail"]["backends"].as_array().unwrap().clone();
    let first = backends.iter().find(|backend| backend["model"] == "gpt-first").unwrap();
    (first["in_flight"].as_u64().unwrap(), first["at_once"].as_u64())
}

/// The limit falls for what the backend says of itself, not for what it says of one of several accounts, nor to a request
/// that was alone; and it rises as soon as answers begin, however long they last.
#[tokio::test]
async fn a_rate_limit_of_one_key_of_two_lowers_nothing() {
    let berry = Berry::with(|text| {
        let keys = "api_keys = [\"sk-one-0123456789\", \"sk-two-0123456789\"]";
        without_retries(text).replace("api_key = \"sk-first-0123456789\"", keys)
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(hold(&berry, "single").await);
    }
    berry.first.script(fault("429-r30"));
    assert_eq!(berry.chat("single").await.status, 200, "by the other key");
    assert_eq!(first_at_once(&berry).await, (4, None));
    berry.first.script(fault("429-r30"));
    assert_eq!(berry.chat("single").await.status, 429);
    assert_eq!(first_at_once(&berry).await, (4, Some(3)), "no key is left");
}

#[tokio::test]
async fn a_rate_limit_of_a_request_that_was_alone_lowers_nothing() {
    let berry = Berry::with(without_retries).await;
    berry.first.script(fault("429-r30"));
    assert_eq!(berry.chat("single").await.status, 429);
    assert_eq!(first_at_once(&berry).await, (0, None));
}

#[tokio::test]
async fn an_answer_that_begins_raises_a_lowered_limit() {
    let berry = Berry::with(without_retries).await;
    let mut held = vec![hold(&berry, "single").await];
    berry.first.script(fault("429-r1"));
    assert_eq!(berry.chat("single").await.status, 429);
    assert_eq!(first_at_once(&berry).await, (1, Some(1)));
    let (gate, mut connection) = held.pop().unwrap();
    gate.open();
    while connection.chunk().await.is_some_and(|chunk| !chunk.is_empty()) {}
    berry.clock.advance(Duration::from_secs(2));
    for _ in 0..2 {
        held.push(hold(&berry, "single").await);
        assert_eq!(first_at_once(&berry).await, (held.len() as u64, Some(2)));
    }
    berry.clock.advance(Duration::from_secs(8));
    held.push(hold(&berry, "single").await);
    assert_eq!(first_at_once(&berry).await.0, 3, "with the time one more");
}

#[tokio::test]
async fn a_rate_limit_lowers_how_many_requests_a_backend_gets_at_once() {
    let berry = Berry::with(without_retries).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(hold(&berry, "single").await);
    }
    berry.first.script(fault("429-r1"));
    assert_eq!(berry.chat("single").await.status, 429);
    assert_eq!(first_at_once(&berry).await, (4, Some(3)));
    berry.clock.advance(Duration::from_secs(2));
    assert_eq!(berry.chat("chat").await.field("berry-backend"), Some("second/gpt-second"));
}
