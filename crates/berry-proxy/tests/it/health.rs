//! The breaker on a running gateway, the pages that tell of it, and the metrics.

use std::collections::HashMap;
use std::time::Duration;

use berry_mock::{Gate, Script};
use berry_proxy::Phase;

use crate::harness::{
    ALICE, Berry, Dialect, ROOT, Response, bearer, chat_body, fault, journal, request, stream_body, without_pools,
    without_retries,
};
use crate::ports::{FIRST, OK, answer, chat, on_pipes};

/// Without repeated visits and without pooled connections, so that each fault is seen once.
async fn start() -> Berry {
    Berry::with(|text| without_pools(without_retries(text))).await
}

/// Lets the first provider fail so often, and the second answer for it.
async fn fail_first(berry: &Berry, name: &str, times: usize) {
    for _ in 0..times {
        berry.first.script(fault(name));
        assert_eq!(berry.chat("chat").await.field("berry-backend"), Some("second/gpt-second"), "{name}");
    }
    assert_eq!(berry.first.scripts_left(), 0, "the first was asked each time");
}

/// Whether the next request goes to the first provider.
async fn asks_first(berry: &Berry) -> bool {
    let before = berry.asked().0;
    assert_eq!(berry.chat("chat").await.status, 200);
    berry.asked().0 > before
}

async fn detail(berry: &Berry, backend: &str) -> serde_json::Value {
    let health = berry.get("/health", &[bearer(ROOT).as_field()]).await.json();
    let all = health["detail"]["backends"].as_array().unwrap().clone();
    let is_it = |b: &serde_json::Value| format!("{}/{}", b["provider"].as_str().unwrap(), b["model"].as_str().unwrap());
    all.into_iter().find(|b| is_it(b) == backend).unwrap()
}

#[tokio::test]
async fn soft_failures_in_a_row_open_a_backend_at_the_threshold() {
    let berry = start().await;
    fail_first(&berry, "500", 2).await;
    assert!(asks_first(&berry).await, "a success between them begins the count anew");
    fail_first(&berry, "500", 3).await;
    assert_eq!(detail(&berry, "first/gpt-first").await["state"], "open");
    for _ in 0..5 {
        assert!(!asks_first(&berry).await, "an open one is skipped");
    }
}

#[tokio::test]
async fn an_open_backend_comes_back_by_the_ramp_after_its_time() {
    let berry = start().await;
    fail_first(&berry, "500", 3).await;
    berry.clock.advance(Duration::from_secs(59));
    assert!(!asks_first(&berry).await);
    berry.clock.advance(Duration::from_secs(2));
    assert_eq!(detail(&berry, "first/gpt-first").await["state"], "ramp");
    for _ in 0..5 {
        assert!(asks_first(&berry).await);
    }
    assert_eq!(detail(&berry, "first/gpt-first").await["state"], "healthy");
}

#[tokio::test]
async fn a_failure_on_the_ramp_opens_again_for_twice_as_long() {
    let berry = start().await;
    fail_first(&berry, "500", 3).await;
    berry.clock.advance(Duration::from_secs(61));
    fail_first(&berry, "502", 1).await;
    berry.clock.advance(Duration::from_secs(61));
    assert!(!asks_first(&berry).await);
    berry.clock.advance(Duration::from_secs(60));
    assert!(asks_first(&berry).await);
}

#[tokio::test]
async fn a_backend_on_the_ramp_gets_one_request_at_once() {
    let berry = start().await;
    fail_first(&berry, "500", 3).await;
    berry.clock.advance(Duration::from_secs(61));
    let gate = Gate::new();
    berry.first.script(Script::new().gate(&gate));
    let mut connection = berry.connect().await;
    connection.send(request("/v1/chat/completions", &[bearer(ALICE).as_field()], &chat_body("chat"))).await;
    journal(&berry.first, |all| all.len() == 4).await;
    assert!(!asks_first(&berry).await, "while it is at work");
    gate.open();
    assert_eq!(connection.response().await.status, 200);
    assert!(asks_first(&berry).await);
}

/// Else a stream of a minute would hold the only place of a backend that is well again, while everyone else is sent away.
#[tokio::test]
async fn a_stream_that_has_begun_counts_on_the_ramp() {
    let berry = start().await;
    for _ in 0..2 {
        berry.first.script(fault("drop"));
        berry.chat("single").await;
    }
    berry.clock.advance(Duration::from_secs(61));
    assert_eq!(detail(&berry, "first/gpt-first").await["state"], "ramp");
    let mut held = Vec::new();
    for turn in 1..=8 {
        let gate = Gate::new();
        berry.first.script(Script::new().gate(&gate));
        let mut connection = berry.connect().await;
        connection.send(request("/v1/chat/completions", &[bearer(ALICE).as_field()], &stream_body("single"))).await;
        journal(&berry.first, |all| all.len() == 2 + turn).await;
        gate.let_through(3);
        assert_eq!(connection.head().await.unwrap().0, 200, "{turn}");
        held.push((gate, connection));
    }
    assert_eq!(detail(&berry, "first/gpt-first").await["state"], "healthy");
}

/// Else requests that a backend swallowed before it was taken out would keep it out, once it is well, until they time out.
#[tokio::test(start_paused = true)]
async fn what_hangs_since_before_takes_no_place_on_the_ramp() {
    let change = |text: String| without_pools(without_retries(text)).replace("request_timeout_seconds = 2\n", "");
    on_pipes(change, async |mut gate| {
        let mut hung = Vec::new();
        for _ in 0..3 {
            let mut client = gate.client();
            chat(&mut client, "single").await;
            hung.push((gate.asked(FIRST).await, client));
        }
        for _ in 0..2 {
            let mut client = gate.client();
            chat(&mut client, "single").await;
            drop(gate.asked(FIRST).await);
            assert_eq!(client.response().await.status, 502);
        }
        tokio::time::sleep(Duration::from_secs(61)).await;
        for _ in 0..6 {
            let mut client = gate.client();
            chat(&mut client, "single").await;
            answer(&mut gate.asked(FIRST).await, OK).await;
            assert_eq!(client.response().await.status, 200);
        }
        // The others are answered as any are, and upset no count.
        for (mut upstream, mut client) in hung {
            answer(&mut upstream, OK).await;
            assert_eq!(client.response().await.status, 200);
        }
    })
    .await;
}

#[tokio::test]
async fn two_hard_failures_in_a_row_open_a_backend() {
    let berry = start().await;
    fail_first(&berry, "drop", 1).await;
    assert!(asks_first(&berry).await);
    fail_first(&berry, "drop", 2).await;
    assert!(!asks_first(&berry).await);
}

#[tokio::test]
async fn soft_failures_never_open_the_last_backend() {
    let berry = start().await;
    for _ in 0..10 {
        berry.first.script(fault("500"));
        assert_eq!(berry.chat("single").await.status, 502);
    }
    assert_eq!(berry.chat("single").await.status, 200);
    for _ in 0..10 {
        berry.first.script(fault("500"));
        berry.second.script(fault("500"));
        assert_eq!(berry.chat("chat").await.status, 502);
    }
    assert_eq!(berry.chat("chat").await.status, 200, "one of two stays");
}

#[tokio::test]
async fn soft_failures_in_flight_together_leave_one_backend() {
    let berry = start().await;
    let gate = Gate::new();
    for _ in 0..12 {
        berry.first.script(Script::new().json(500, "{}").gate(&gate));
        berry.second.script(Script::new().json(500, "{}").gate(&gate));
    }
    let mut clients = Vec::new();
    for _ in 0..24 {
        let mut client = berry.connect().await;
        client.send(request("/v1/chat/completions", &[bearer(ALICE).as_field()], &chat_body("turns"))).await;
        clients.push(client);
    }
    journal(&berry.first, |received| received.len() >= 12).await;
    gate.open();
    for client in &mut clients {
        client.response().await;
    }
    let mut states = Vec::new();
    for backend in ["first/gpt-first", "second/gpt-second"] {
        states.push(detail(&berry, backend).await["state"].as_str().unwrap().to_owned());
    }
    assert_eq!(states.iter().filter(|state| *state == "open").count(), 1, "{states:?}");
}

#[tokio::test]
async fn what_is_no_failure_of_the_backends_opens_nothing() {
    let berry = start().await;
    for name in ["400", "413", "422"] {
        for _ in 0..5 {
            berry.first.script(fault(name));
            berry.chat("chat").await;
        }
    }
    for _ in 0..5 {
        fail_first(&berry, "429-r1", 1).await;
        berry.clock.advance(Duration::from_millis(1100));
    }
    assert_eq!(detail(&berry, "first/gpt-first").await["state"], "healthy");
}

#[tokio::test]
async fn when_all_backends_are_gone_the_answer_is_no_backend_at_once_with_the_wait() {
    let berry = start().await;
    for _ in 0..2 {
        berry.first.script(fault("drop"));
        berry.second.script(fault("drop"));
        assert_eq!(berry.chat("chat").await.status, 502);
    }
    berry.clock.advance(Duration::from_secs(20));
    let answer = berry.chat("chat").await;
    Dialect::OpenAi.assert_told(&answer, "no_backend", "all are hard-open");
    assert_eq!((answer.field("retry-after"), berry.asked()), (Some("40"), (2, 2)));
    assert_eq!(answer.field("berry-attempts"), None);
}

#[tokio::test]
async fn health_is_told_in_short_to_all_and_in_detail_to_admins() {
    let berry = start().await;
    for fields in [&[][..], &[bearer(ALICE).as_field()], &[bearer("token-nobody-knows-12").as_field()]] {
        let answer = berry.get("/health", fields).await;
        assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("healthy")));
        assert!(answer.json().get("detail").is_none() && !answer.text().contains("first"), "{}", answer.text());
    }
    let answer = berry.get("/health", &[bearer(ROOT).as_field()]).await;
    assert!(answer.json()["detail"]["backends"].as_array().unwrap().len() > 5, "{}", answer.text());
    assert!(!answer.text().contains("127.0.0.1") && !answer.text().contains("sk-"), "no hosts, no keys");
}

#[tokio::test]
async fn health_is_503_when_no_model_can_be_served() {
    let change = |text: String| {
        let (before, _) = text.split_once("[models.chat]").unwrap();
        let (_, users) = text.split_once("[users.root]").unwrap();
        let users = users.replace("allowed_models = [\"chat\", \"tagged\"]\n", "");
        let one = "[models.one]\n[[models.one.backends]]\nprovider = \"first\"\nmodel = \"gpt-first\"\n";
        without_pools(without_retries(format!("{before}{one}[users.root]{users}")))
    };
    let berry = Berry::with(change).await;
    for _ in 0..2 {
        berry.first.script(fault("drop"));
        berry.chat("one").await;
    }
    let answer = berry.get("/health", &[]).await;
    assert_eq!((answer.status, answer.json()["status"].as_str()), (503, Some("unhealthy")));
    assert_eq!(berry.get("/health/live", &[]).await.status, 200);
    assert_eq!(berry.get("/health/ready", &[]).await.status, 200);
    berry.clock.advance(Duration::from_secs(61));
    assert_eq!(berry.get("/health", &[]).await.status, 200);
}

#[tokio::test]
async fn readiness_ends_when_the_gateway_is_leaving_while_requests_are_served_on() {
    let berry = start().await;
    assert_eq!(berry.get("/health/ready", &[]).await.status, 200);
    berry.gateway.advance(Phase::Leaving);
    assert_eq!(berry.get("/health/ready", &[]).await.status, 503);
    assert_eq!(berry.get("/health", &[]).await.status, 503);
    assert_eq!(berry.get("/health/live", &[]).await.status, 200);
    assert_eq!(berry.chat("chat").await.status, 200);
}

#[tokio::test]
async fn metrics_are_for_local_scrapers_and_admins() {
    let berry = start().await;
    let (root, alice) = (bearer(ROOT), bearer(ALICE));
    let proxied = ("x-forwarded-for", "1.2.3.4");
    for path in ["/metrics", "/prometheus"] {
        for (fields, status) in [
            (&[][..], 200),
            (&[alice.as_field()], 200),
            (&[root.as_field()], 200),
            (&[proxied], 401),
            (&[("forwarded", "for=1.2.3.4")], 401),
            (&[("x-real-ip", "1.2.3.4")], 401),
            (&[proxied, alice.as_field()], 403),
            (&[proxied, root.as_field()], 200),
        ] {
            let answer = berry.get(path, fields).await;
            assert_eq!(answer.status, status, "{path} {fields:?}: {}", answer.text());
        }
    }
    let answer = berry.get("/metrics", &[]).await;
    assert!(answer.field("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
}

/// The samples of an exposition by name and labels, after a check of its form.
fn samples(answer: &Response) -> HashMap<String, f64> {
    let (mut types, mut samples) = (HashMap::new(), HashMap::new());
    for line in answer.text().lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "told twice: {line}");
        } else if !line.starts_with("# HELP ") {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = key.split_once('{').unwrap();
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let is_typed = types.contains_key(name)
                || of_histogram.is_some_and(|base| types.get(base).is_some_and(|kind| kind == "histogram"));
            assert!(is_typed, "no type before {line}");
            assert!(labels.starts_with("service=\"berry-api\"") && labels.ends_with('}'), "{line}");
            assert!(samples.insert(key.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    samples
}

#[tokio::test]
async fn the_metrics_have_the_contracts_names_and_count_what_happened() {
    let berry = start().await;
    for _ in 0..3 {
        berry.chat("chat").await;
    }
    berry.first.script(fault("500"));
    berry.chat("chat").await;
    berry.get("/v1/nothing-\"odd", &[]).await;
    let gone = {
        berry.first.script(fault("hang"));
        let mut connection = berry.connect().await;
        connection.send(request("/v1/chat/completions", &[bearer(ALICE).as_field()], &chat_body("single"))).await;
        journal(&berry.first, |all| all.len() == 5).await;
        connection
    };
    let mut idle = berry.connect().await;
    idle.send("GET /health/live HTTP/1.1\r\nhost: b\r\n\r\n").await;
    idle.response().await;
    let text = samples(&berry.get("/metrics", &[]).await);
    let of = |key: &str| *text.get(key).unwrap_or_else(|| panic!("no {key} in {text:#?}"));
    let s = r#"service="berry-api""#;
    let chat = r#"route="/v1/chat/completions""#;
    assert_eq!(of(&format!("http_requests_total{{{s},method=\"POST\",{chat},status=\"200\"}}")), 4.0);
    assert_eq!(of(&format!("http_requests_total{{{s},method=\"GET\",route=\"other\",status=\"404\"}}")), 1.0);
    assert_eq!(of(&format!("http_request_duration_seconds_count{{{s},{chat}}}")), 4.0);
    assert_eq!(of(&format!("http_request_duration_seconds_bucket{{{s},{chat},le=\"600\"}}")), 4.0);
    assert!(of(&format!("active_connections{{{s}}}")) >= 2.0);
    let first = r#"provider="first",model="gpt-first""#;
    assert_eq!(of(&format!("backend_health_status{{{s},{first}}}")), 1.0);
    assert_eq!(of(&format!("berry_circuit_breaker_state{{{s},{first}}}")), 0.0);
    assert_eq!(of(&format!("berry_upstream_attempts_total{{{s},{first},outcome=\"success\"}}")), 3.0);
    assert_eq!(of(&format!("berry_upstream_attempts_total{{{s},{first},outcome=\"server_error\"}}")), 1.0);
    assert_eq!(of(&format!("berry_time_to_first_token_seconds_count{{{s},{first}}}")), 3.0);
    let selection = r#"model="chat",provider="first",backend_model="gpt-first",strategy="failover""#;
    assert_eq!(of(&format!("load_balancer_selections_total{{{s},{selection}}}")), 4.0);
    assert!(of(&format!("berry_overhead_seconds_count{{{s}}}")) >= 5.0);
    assert_eq!(of(&format!("berry_config_generation{{{s}}}")), 1.0);
    assert_eq!(of(&format!("berry_client_disconnects_total{{{s}}}")), 0.0);
    drop(gone);
    journal(&berry.first, |all| all[4].cancelled).await;
    let text = samples(&berry.get("/metrics", &[]).await);
    assert_eq!(text[&format!("berry_client_disconnects_total{{{s}}}")], 1.0);
}

#[tokio::test]
async fn the_metrics_tell_of_an_open_backend() {
    let berry = start().await;
    fail_first(&berry, "500", 3).await;
    let text = samples(&berry.get("/metrics", &[]).await);
    let labels = r#"{service="berry-api",provider="first",model="gpt-first"}"#;
    assert_eq!(text[&format!("backend_health_status{labels}")], 0.0);
    assert_eq!(text[&format!("berry_circuit_breaker_state{labels}")], 2.0);
}

#[tokio::test]
async fn the_index_says_what_this_is_and_where_to_look_next() {
    let berry = start().await;
    let answer = berry.get("/", &[]).await;
    assert_eq!((answer.status, answer.json()["name"].as_str()), (200, Some("berry")));
    assert!(answer.json()["version"].is_string() && answer.text().contains("/health"));
}
