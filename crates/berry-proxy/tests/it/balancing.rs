//! Each strategy on a running gateway: who answers real requests, in which order or share, and that the report of shares says so.

use std::time::Duration;

use berry_mock::{Gate, Script};

use crate::harness::{ALICE, Berry, bearer, chat_body, fault, journal, request, without_retries};

/// The model `turns` (weights 2 to 1) with another strategy, and something added to each of its two backends.
fn strategy(name: &str, first: &str, second: &str) -> impl FnOnce(String) -> String {
    let [name, first, second] = [name, first, second].map(str::to_owned);
    move |text| {
        let (before, after) = text.split_once("strategy = \"round_robin\"").unwrap();
        let after = after.replacen("weight = 2.0\n", &format!("weight = 2.0\n{first}\n"), 1);
        let after = after.replacen("model = \"gpt-second\"\n", &format!("model = \"gpt-second\"\n{second}\n"), 1);
        format!("{before}strategy = \"{name}\"{after}")
    }
}

/// Who answered `count` requests, one after the other.
async fn answered(berry: &Berry, count: usize) -> String {
    let mut order = String::new();
    for _ in 0..count {
        let answer = berry.chat("turns").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        order.push_str(&answer.field("berry-backend").unwrap()[..1]);
    }
    order
}

fn firsts(order: &str) -> usize {
    order.matches('f').count()
}

/// The shares that the report gives the two backends, and how often each was chosen.
fn reported(berry: &Berry) -> ([f64; 2], [u64; 2]) {
    let report = berry_proxy::report::weights(&berry.gateway, &berry.gateway.snapshot());
    let model = report["data"].as_array().unwrap().iter().find(|model| model["model"] == "turns").unwrap();
    let of = |i: usize, key: &str| model["backends"][i][key].clone();
    ([0, 1].map(|i| of(i, "share").as_f64().unwrap()), [0, 1].map(|i| of(i, "selections").as_u64().unwrap()))
}

#[tokio::test]
async fn round_robin_takes_turns_by_weight_exactly() {
    let berry = Berry::start().await;
    let order = answered(&berry, 60).await;
    assert_eq!(firsts(&order), 40);
    for turn in order.as_bytes().chunks(3) {
        assert_eq!(turn.iter().filter(|&&b| b == b'f').count(), 2, "{order}");
    }
    let (shares, selections) = reported(&berry);
    assert!((shares[0] - 2.0 / 3.0).abs() < 1e-9 && (shares[1] - 1.0 / 3.0).abs() < 1e-9, "{shares:?}");
    assert_eq!(selections, [40, 20]);
}

#[tokio::test]
async fn a_backend_that_fails_takes_its_own_turns_and_not_the_others() {
    let change = |text: String| {
        without_retries(text)
            .replace("weight = 2.0", "weight = 1.0")
            .replace("gpt-first", "mock-500")
            .replace("failure_threshold = 3", "failure_threshold = 99")
    };
    let berry = Berry::with(change).await;
    // Fewer than the 20 that the breaker's window wants.
    assert_eq!(firsts(&answered(&berry, 16).await), 0);
    assert_eq!(berry.asked(), (8, 16));
}

#[tokio::test]
async fn failover_asks_the_lowest_priority_number_while_it_is_eligible() {
    let berry = Berry::with(strategy("failover", "priority = 3", "priority = 1")).await;
    assert_eq!(firsts(&answered(&berry, 60).await), 0);
    assert_eq!(reported(&berry), ([0.0, 1.0], [0, 60]));
    berry.second.script(fault("429-r60"));
    assert_eq!(firsts(&answered(&berry, 5).await), 5);
    assert_eq!(reported(&berry).0, [1.0, 0.0], "the report sees the cooldown too");
    berry.clock.advance(Duration::from_secs(61));
    assert_eq!(firsts(&answered(&berry, 5).await), 0);
}

#[tokio::test]
async fn the_random_strategies_keep_to_the_shares_that_the_report_gives() {
    for name in ["weighted_random", "random", "weighted_failover", "smart_weighted_failover", "smart_ai"] {
        let berry = Berry::with(strategy(name, "", "")).await;
        let before = reported(&berry).0[0];
        let expected = if name == "random" { 0.5 } else { 2.0 / 3.0 };
        assert!((before - expected).abs() < 1e-9, "{name}: {before}");
        let first = firsts(&answered(&berry, 240).await) as f64 / 240.0;
        // The dice are seeded, so this is no matter of luck.
        assert!((first - before).abs() < 0.1, "{name}: {first} instead of {before}");
        let (_, selections) = reported(&berry);
        assert_eq!(selections.iter().sum::<u64>(), 240, "{name}");
    }
}

#[tokio::test]
async fn least_latency_and_p2c_keep_to_the_quick_one_once_both_are_measured() {
    for name in ["least_latency", "p2c"] {
        let berry = Berry::with(strategy(name, "", "")).await;
        berry.first.script(Script::new().ttfb(Duration::from_millis(250)));
        let order = answered(&berry, 60).await;
        assert_eq!(firsts(&order), 1, "{name}: the slow one is tried once: {order}");
    }
}

#[tokio::test]
async fn least_cost_asks_the_cheap_one() {
    let berry = Berry::with(strategy(
        "least_cost",
        "input_price = 3.0\noutput_price = 15.0",
        "input_price = 0.1\noutput_price = 0.4",
    ))
    .await;
    assert_eq!(firsts(&answered(&berry, 60).await), 0);
    assert_eq!(reported(&berry).0, [0.0, 1.0]);
}

#[tokio::test]
async fn least_busy_avoids_the_one_that_is_at_work() {
    let berry = Berry::with(strategy("least_busy", "", "")).await;
    // Whichever of the two gets the next request, its answer waits.
    let gates = [Gate::new(), Gate::new()];
    berry.first.script(Script::new().gate(&gates[0]));
    berry.second.script(Script::new().gate(&gates[1]));
    let mut connection = berry.connect().await;
    connection.send(request("/v1/chat/completions", &[bearer(ALICE).as_field()], &chat_body("turns"))).await;
    let is_first = tokio::select! {
        _ = journal(&berry.first, |all| all.len() == 1) => true,
        _ = journal(&berry.second, |all| all.len() == 1) => false,
    };
    gates[usize::from(is_first)].open();
    let order = answered(&berry, 60).await;
    assert_eq!(firsts(&order), if is_first { 0 } else { 60 }, "{order}");
    gates[usize::from(!is_first)].open();
    assert_eq!(connection.response().await.status, 200);
}

#[tokio::test]
async fn affinity_keeps_a_conversation_at_one_backend_while_it_grows() {
    let berry = Berry::with(strategy("affinity", "", "")).await;
    let mut all = String::new();
    for conversation in 0..20 {
        let mut first = None;
        for turn in 0..4 {
            let later = r#",{"role":"user","content":"more"}"#.repeat(turn);
            let body = format!(
                r#"{{"model":"turns","messages":[{{"role":"system","content":"talk {conversation}"}}{later}]}}"#
            );
            let answer = berry.post("/v1/chat/completions", &[bearer(ALICE).as_field()], &body).await;
            let backend = answer.field("berry-backend").unwrap().to_owned();
            assert_eq!(*first.get_or_insert(backend.clone()), backend, "conversation {conversation}, turn {turn}");
        }
        all.push_str(&first.unwrap()[..1]);
    }
    assert!((3..=17).contains(&firsts(&all)), "conversations are spread: {all}");
}

#[tokio::test]
async fn affinity_yields_to_failure() {
    let berry = Berry::with(strategy("affinity", "", "")).await;
    let own = answered(&berry, 1).await;
    let (mock, other) = if own == "f" { (&berry.first, "s") } else { (&berry.second, "f") };
    mock.script(fault("500"));
    assert_eq!(answered(&berry, 1).await, other);
    assert_eq!(answered(&berry, 3).await, own.repeat(3), "and comes back");
}
