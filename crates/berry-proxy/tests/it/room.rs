//! How many requests there may be at once: at a provider, of a model, in the whole gateway, and in memory.

use std::time::Duration;

use berry_mock::{Gate, Script};
use tokio::net::TcpStream;

use crate::harness::{
    ALICE, Berry, Connection, bearer, chat_body, fault, journal, request, stream_body, without_retries,
};

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

#[tokio::test]
async fn a_rate_limit_lowers_how_many_requests_a_backend_gets_at_once() {
    let berry = Berry::with(without_retries).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(hold(&berry, "single").await);
    }
    berry.first.script(fault("429-r1"));
    assert_eq!(berry.chat("single").await.status, 429);
    let health = berry.get("/health", &[bearer(crate::harness::ROOT).as_field()]).await.json();
    let backends = health["detail"]["backends"].as_array().unwrap().clone();
    let first = backends.iter().find(|backend| backend["model"] == "gpt-first").unwrap();
    assert_eq!((&first["in_flight"], &first["at_once"]), (&4.into(), &3.into()), "{first}");
    berry.clock.advance(Duration::from_secs(2));
    assert_eq!(berry.chat("chat").await.field("berry-backend"), Some("second/gpt-second"));
}
