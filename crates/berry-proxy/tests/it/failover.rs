//! What goes wrong at one backend is made good by another, as often as the configuration says; what cannot be made good is told
//! in the contract's words.

use std::time::Duration;

use berry_mock::{Gate, Mock, Script};

use crate::harness::{
    ALICE, BOB, Berry, DIALECTS, Dialect, ROOT, bearer, chat_body, fault, journal, request, without_pools,
    without_retries,
};

/// An address at which nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";

/// The first provider is not there.
fn without_first(text: String) -> String {
    let (before, after) = text.split_once("base_url = \"http://").unwrap();
    let (_, after) = after.split_once('"').unwrap();
    format!("{before}base_url = \"{NOBODY}\"{after}")
}

/// Both backends of `chat` fail with this fault of the mock's, each time.
fn both_fail(text: String, name: &str) -> String {
    let name = format!("mock-{name}");
    text.replace("gpt-first", &name)
        .replace("gpt-second", &name)
        .replace("failure_threshold = 3", "failure_threshold = 99")
}

#[tokio::test]
async fn the_next_backend_answers_for_one_that_fails_before_its_first_byte() {
    let berry = Berry::with(without_pools).await;
    for name in [
        "500", "502", "503", "504", "529", "429", "401", "402", "403", "drop", "badhead", "empty", "204", "302",
        "dupcl", "bighead", "html",
    ] {
        berry.first.script(fault(name));
        let (first, second) = berry.asked();
        let answer = berry.chat("chat").await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert_eq!(answer.field("berry-backend"), Some("second/gpt-second"), "{name}");
        assert_eq!(answer.field("berry-attempts"), Some("2"), "{name}");
        assert_eq!(berry.asked(), (first + 1, second + 1), "{name}");
        // Past every cooldown, and well again.
        berry.clock.advance(Duration::from_secs(400));
        for _ in 0..5 {
            assert_eq!(berry.chat("single").await.status, 200, "{name}");
        }
    }
}

#[tokio::test]
async fn the_next_backend_answers_for_one_that_is_not_there() {
    let berry = Berry::with(without_first).await;
    let answer = berry.chat("chat").await;
    assert_eq!((answer.status, answer.field("berry-attempts")), (200, Some("2")));
    assert_eq!(answer.field("berry-backend"), Some("second/gpt-second"));
}

#[tokio::test]
async fn the_next_backend_gets_the_same_request_with_its_own_model() {
    let berry = Berry::start().await;
    berry.first.script(fault("503"));
    let body = "{\"model\": \"chat\" ,\"seed\":1e2}";
    assert_eq!(berry.post("/v1/chat/completions", &[("x-api-key", ALICE)], body).await.status, 200);
    assert_eq!(berry.first.journal()[0].text(), body.replace("chat", "gpt-first"));
    assert_eq!(berry.second.journal()[0].text(), body.replace("chat", "gpt-second"));
}

#[tokio::test]
async fn a_failure_that_none_can_make_good_is_told_by_its_code_in_every_dialect() {
    let berry = Berry::with(|text| without_retries(without_pools(text))).await;
    for (name, code) in [
        ("500", "upstream_error"),
        ("502", "upstream_error"),
        ("401", "upstream_auth"),
        ("402", "upstream_auth"),
        ("403", "upstream_auth"),
        ("drop", "upstream_disconnected"),
        ("429-r7", "upstream_overloaded"),
        ("badhead", "upstream_bad_response"),
        ("dupcl", "upstream_bad_response"),
        ("bighead", "upstream_bad_response"),
        ("empty", "upstream_bad_response"),
        ("204", "upstream_bad_response"),
        ("302", "upstream_bad_response"),
        ("html", "upstream_bad_response"),
    ] {
        for dialect in DIALECTS {
            berry.provider(dialect).script(fault(name));
            let answer = berry.ask(dialect).await;
            dialect.assert_told(&answer, code, name);
            assert_eq!(answer.field("berry-attempts"), Some("1"), "{name}");
            if name == "429-r7" {
                assert_eq!(answer.field("retry-after"), Some("7"));
                berry.clock.advance(Duration::from_secs(8));
            }
            assert_eq!(berry.ask(dialect).await.status, 200, "{name}: the next request is served");
        }
    }
}

#[tokio::test]
async fn overload_is_told_apart_from_a_rate_limit() {
    let berry = Berry::without_retries().await;
    for (dialect, status, kind) in [
        (Dialect::OpenAi, 503, "server_error"),
        (Dialect::Anthropic, 529, "overloaded_error"),
        (Dialect::Gemini, 503, "UNAVAILABLE"),
    ] {
        berry.provider(dialect).script(fault("529-r30"));
        for when in ["it has just said so", "it is cooling down"] {
            let answer = berry.ask(dialect).await;
            assert_eq!(answer.status, status, "{dialect:?}: {when}");
            assert!(answer.text().contains(kind), "{dialect:?}: {when}: {}", answer.text());
            assert_eq!(answer.field("retry-after"), Some("30"), "{dialect:?}: {when}");
        }
    }
}

#[tokio::test]
async fn a_rate_limit_anywhere_is_worth_more_to_the_client_than_overload() {
    let berry = Berry::without_retries().await;
    berry.first.script(fault("529-r30"));
    berry.second.script(fault("429-r40"));
    for when in ["both have just said so", "both are cooling down"] {
        let answer = berry.chat("chat").await;
        Dialect::OpenAi.assert_told(&answer, "upstream_overloaded", when);
        assert_eq!((answer.status, answer.field("retry-after")), (429, Some("30")), "{when}");
    }
    berry.clock.advance(Duration::from_secs(41));
    berry.first.script(fault("529-r30"));
    berry.second.script(fault("500"));
    assert_eq!(berry.chat("chat").await.code(), "upstream_error", "what is told as 502 comes before a 503");
}

/// The second is out for longer than the first's rate limit lasts, of whose keys another is good.
#[tokio::test]
async fn a_wait_that_a_backend_named_never_grows() {
    let berry = Berry::with(|text| {
        let keys = "api_keys = [\"sk-one-0123456789\", \"sk-two-0123456789\"]";
        without_retries(text).replace("api_key = \"sk-first-0123456789\"", keys)
    })
    .await;
    for _ in 0..2 {
        berry.second.script(fault("drop"));
        berry.first.script(fault("500"));
        berry.chat("chat").await;
    }
    berry.first.script(fault("429-r20"));
    berry.first.script(fault("500"));
    let answer = berry.chat("chat").await;
    Dialect::OpenAi.assert_told(&answer, "upstream_overloaded", "a wait is worth more than a 502");
    assert_eq!(answer.field("retry-after"), Some("20"));
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_told_as_upstream_connect_then_as_no_backend() {
    let berry = Berry::with(|text| without_retries(without_first(text))).await;
    for code in ["upstream_connect", "upstream_connect", "no_backend"] {
        let answer = berry.chat("single").await;
        Dialect::OpenAi.assert_told(&answer, code, "nobody listens");
        assert!(!answer.text().contains(":1"), "no host is told: {}", answer.text());
    }
}

#[tokio::test]
async fn a_rate_limited_backend_is_left_alone_until_the_named_time() {
    let berry = Berry::start().await;
    berry.first.script(fault("429-r5"));
    berry.chat("chat").await;
    assert_eq!(berry.asked(), (1, 1));
    assert_eq!(berry.chat("chat").await.field("berry-attempts"), Some("1"), "it is not asked again");
    berry.clock.advance(Duration::from_millis(4500));
    berry.chat("chat").await;
    assert_eq!(berry.asked(), (1, 3));
    berry.clock.advance(Duration::from_millis(1000));
    assert_eq!(berry.chat("chat").await.field("berry-backend"), Some("first/gpt-first"));
}

#[tokio::test]
async fn when_all_wait_out_rate_limits_the_client_gets_429_with_the_smallest_wait() {
    let berry = Berry::start().await;
    berry.first.script(fault("429-r40"));
    berry.second.script(fault("429-r20"));
    let answer = berry.chat("chat").await;
    Dialect::OpenAi.assert_told(&answer, "upstream_overloaded", "both have just said so");
    assert_eq!((answer.field("retry-after"), berry.asked()), (Some("20"), (1, 1)));
    berry.clock.advance(Duration::from_secs(10));
    let answer = berry.chat("chat").await;
    Dialect::OpenAi.assert_told(&answer, "upstream_overloaded", "both are cooling down");
    assert_eq!((answer.field("retry-after"), berry.asked()), (Some("10"), (1, 1)), "none is asked");
}

#[tokio::test]
async fn the_clients_next_step_decides_which_of_several_failures_is_told() {
    let berry = Berry::without_retries().await;
    berry.first.script(fault("429-r9"));
    berry.second.script(fault("500"));
    let answer = berry.chat("chat").await;
    Dialect::OpenAi.assert_told(&answer, "upstream_overloaded", "a wait is worth more than a 502");
    assert_eq!(answer.field("retry-after"), Some("9"));
    berry.clock.advance(Duration::from_secs(10));
    berry.first.script(Script::new().json(404, r#"{"error":"no such model"}"#));
    berry.second.script(fault("500"));
    let answer = berry.chat("chat").await;
    assert_eq!((answer.status, answer.text().as_str()), (404, r#"{"error":"no such model"}"#));
}

#[tokio::test]
async fn a_client_error_is_no_reason_to_ask_another_but_an_unknown_model_is() {
    let berry = Berry::start().await;
    for status in [400, 413, 422] {
        berry.first.script(Script::new().json(status, "{}"));
        let answer = berry.chat("chat").await;
        assert_eq!((answer.status, answer.field("berry-attempts")), (status, Some("1")));
    }
    assert_eq!(berry.second.journal().len(), 0);
    berry.first.script(fault("404"));
    let answer = berry.chat("chat").await;
    assert_eq!((answer.status, answer.field("berry-attempts")), (200, Some("2")));
}

#[tokio::test]
async fn repeated_visits_are_bounded_over_the_request_and_on_each_backend() {
    for (settings, first, second) in [
        ("", 3, 2),
        ("max_retries = 0", 1, 1),
        ("max_internal_retries = 0", 1, 1),
        ("max_retries = 10\nmax_internal_retries = 1", 2, 2),
        ("max_retries = 1", 2, 1),
    ] {
        let change =
            |text: String| both_fail(text, "500").replace("[settings]\n", &format!("[settings]\n{settings}\n"));
        let berry = Berry::with(change).await;
        let answer = berry.chat("chat").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_error"));
        assert_eq!(berry.asked(), (first, second), "{settings}");
        assert_eq!(answer.field("berry-attempts"), Some(&*(first + second).to_string()), "{settings}");
    }
}

#[tokio::test]
async fn a_providers_own_max_retries_takes_the_place_of_the_internal_one() {
    let change = |text: String| {
        both_fail(text, "500")
            .replace("[settings]\n", "[settings]\nmax_retries = 10\n")
            .replace("[providers.first]\n", "[providers.first]\nmax_retries = 0\n")
            .replace("[providers.second]\n", "[providers.second]\nmax_retries = 3\n")
    };
    let berry = Berry::with(change).await;
    assert_eq!(berry.chat("chat").await.status, 502);
    assert_eq!(berry.asked(), (1, 4));
}

#[tokio::test]
async fn a_forced_backend_is_repeated_and_no_other_is_asked() {
    let berry = Berry::with(|text| without_retries(both_fail(text, "500"))).await;
    let fields = [("authorization", &*format!("Bearer {ROOT}")), ("berry-backend", "second")];
    let answer = berry.post("/v1/chat/completions", &fields, &chat_body("chat")).await;
    assert_eq!((answer.status, answer.field("berry-attempts")), (502, Some("3")));
    assert_eq!(berry.asked(), (0, 3));
}

#[tokio::test]
async fn a_forced_backend_that_is_disabled_is_told_as_no_backend() {
    let berry = Berry::start().await;
    let fields = [("authorization", &*format!("Bearer {ROOT}")), ("berry-backend", "off")];
    let answer = berry.post("/v1/chat/completions", &fields, &chat_body("chat")).await;
    Dialect::OpenAi.assert_told(&answer, "no_backend", "disabled");
    assert_eq!(berry.asked(), (0, 0));
}

#[tokio::test]
async fn fallbacks_answer_in_order_when_no_backend_of_the_model_could() {
    let change =
        |text: String| without_retries(text).replace(r#"fallbacks = ["chat"]"#, r#"fallbacks = ["gpt-4o", "chat"]"#);
    let berry = Berry::with(change).await;
    berry.second.script(fault("500"));
    let answer = berry.chat("stands-in").await;
    assert_eq!((answer.status, answer.field("berry-backend")), (200, Some("first/gpt-4o")));
    berry.second.script(fault("500"));
    berry.first.script(fault("500"));
    let answer = berry.chat("stands-in").await;
    assert_eq!((answer.status, answer.field("berry-backend")), (200, Some("first/gpt-first")));
    assert_eq!(answer.field("berry-attempts"), Some("3"));
}

#[tokio::test]
async fn a_fallback_that_the_user_may_not_use_is_passed_over() {
    let change = |text: String| without_retries(text).replace(r#"["chat", "tagged"]"#, r#"["stands-in"]"#);
    let berry = Berry::with(change).await;
    berry.second.script(fault("500"));
    let answer = berry.chat_as(BOB, "stands-in").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_error"));
    assert_eq!(berry.asked(), (0, 1));
}

/// Asks, and expects an answer at the first attempt.
async fn ask_once(berry: &Berry, case: &str) {
    let answer = berry.chat("single").await;
    assert_eq!((answer.status, answer.field("berry-attempts")), (200, Some("1")), "{case}: {}", answer.text());
}

#[tokio::test]
async fn a_pooled_connection_that_the_provider_has_closed_is_never_noticed() {
    let berry = Berry::start().await;
    for _ in 0..5 {
        ask_once(&berry, "before").await;
        berry.first.close_idle();
        ask_once(&berry, "after a close").await;
    }
}

#[tokio::test]
async fn a_pooled_connection_that_breaks_when_it_is_used_costs_no_attempt() {
    let berry = Berry::with(|text| without_retries(text.replace("gpt-first", "mock-stale"))).await;
    for _ in 0..5 {
        ask_once(&berry, "each connection serves once").await;
    }
    assert_eq!(berry.first.stats().connections, 5);
    assert_eq!(berry.chat("chat").await.field("berry-backend"), Some("first/mock-stale"));
}

#[tokio::test]
async fn connections_to_providers_are_reused() {
    let berry = Berry::start().await;
    for _ in 0..20 {
        ask_once(&berry, "one after the other").await;
    }
    assert_eq!(berry.first.stats().connections, 1);
    berry.clock.advance(Duration::from_secs(61));
    ask_once(&berry, "after the idle time").await;
    assert_eq!(berry.first.stats().connections, 2, "a connection is kept idle for 60 s");
}

#[tokio::test]
async fn a_connection_with_unasked_bytes_on_it_is_not_reused() {
    let berry = Berry::start().await;
    for name in ["extra", "early", "nolen"] {
        let before = berry.first.stats().connections;
        berry.first.script(fault(name));
        ask_once(&berry, name).await;
        ask_once(&berry, name).await;
        assert!(berry.first.stats().connections > before, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_has_gone_out_reaches_the_client() {
    let berry = Berry::start().await;
    let body = format!(r#"{{"model":"single","x":"{}"}}"#, "y".repeat(900_000));
    for _ in 0..3 {
        berry.first.script(Script::new().fault(fault("early")));
        let answer = berry.post("/v1/chat/completions", &[("x-api-key", ALICE)], &body).await;
        assert_eq!((answer.status, answer.field("berry-attempts")), (200, Some("1")), "{}", answer.text());
        assert!(answer.complete);
        ask_once(&berry, "after it").await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_a_backend_is_tried_ends_the_search() {
    let berry = Berry::start().await;
    berry.first.script(fault("hang"));
    let mut connection = berry.connect().await;
    connection.send(request("/v1/chat/completions", &[bearer(ALICE).as_field()], &chat_body("chat"))).await;
    journal(&berry.first, |all| all.len() == 1).await;
    drop(connection);
    journal(&berry.first, |all| all[0].cancelled).await;
    assert_eq!(berry.chat("single").await.status, 200);
    assert_eq!(berry.second.journal().len(), 0);
}

#[tokio::test]
async fn concurrent_requests_do_not_wait_for_each_other() {
    let berry = Berry::start().await;
    let gate = Gate::new();
    let held = |mock: &Mock| mock.script(Script::new().gate(&gate));
    let mut connections = Vec::new();
    for _ in 0..30 {
        held(&berry.first);
        let mut connection = berry.connect().await;
        connection.send(request("/v1/chat/completions", &[bearer(ALICE).as_field()], &chat_body("single"))).await;
        connections.push(connection);
    }
    journal(&berry.first, |all| all.len() == 30).await;
    assert_eq!(berry.ask(Dialect::Anthropic).await.status, 200);
    gate.open();
    for mut connection in connections {
        assert_eq!(connection.response().await.status, 200);
    }
}

#[tokio::test]
async fn a_backend_that_refuses_its_key_or_does_not_know_the_model_is_asked_once() {
    for (status, told) in [("401", 502), ("402", 502), ("403", 502), ("404", 404)] {
        // A key that was refused twice opens its backend.
        let berry = Berry::start().await;
        (0..4).for_each(|_| berry.first.script(fault(status)));
        assert_eq!(berry.chat("single").await.status, told, "{status}");
        assert_eq!(berry.asked(), (1, 0), "{status}");
    }
}

#[tokio::test]
async fn an_unknown_model_moves_on_however_the_error_arrives() {
    let berry = Berry::start().await;
    let gate = Gate::new();
    gate.open();
    let chunked = "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
                   1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
    berry.first.script(Script::new().raw(chunked).gate(&gate));
    let answer = berry.chat("chat").await;
    assert_eq!((answer.status, answer.field("berry-backend")), (200, Some("second/gpt-second")));
}

/// A client that asks for too much, or for what a provider does not have, must not be able to take its backend out; nor an
/// answer that says so at length.
#[tokio::test]
async fn what_is_the_clients_own_fault_is_no_failure_in_whatever_form_it_is_said() {
    let berry = Berry::without_retries().await;
    let page = "<html>413</html>".to_owned();
    let long = format!(r#"{{"detail":"{}"}}"#, "x".repeat(2_000_000));
    for body in [page, long] {
        for status in [400, 413, 422] {
            berry.first.script(Script::new().answer(status, "text/html", body.clone()));
            let told = berry.chat("single").await;
            assert_eq!((told.status, told.code().as_str()), (status, "invalid_request"));
            assert!(told.text().contains(&format!("status {status}")), "{}", told.text());
        }
        for _ in 0..4 {
            berry.first.script(Script::new().answer(404, "text/html", body.clone()));
            assert_eq!(berry.chat("single").await.status, 502);
        }
    }
    assert_eq!((berry.chat("single").await.status, berry.asked().0), (200, 15), "the backend is healthy");
}

#[tokio::test]
async fn a_page_for_people_never_reaches_a_client_whatever_its_status() {
    let berry = Berry::without_retries().await;
    for (status, told) in [(400, 400), (404, 502), (407, 502)] {
        let page = "<html>nginx at secret-host.internal</html>";
        berry.first.script(Script::new().answer(status, "text/html", page));
        let answer = berry.chat("single").await;
        assert_eq!(answer.status, told, "{status}");
        assert!(!answer.text().contains("secret-host"), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_response_without_output_is_an_answer_and_a_bare_end_is_none() {
    let berry = Berry::without_retries().await;
    let created = "data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n";
    let incomplete =
        "data: {\"type\":\"response.incomplete\",\"response\":{\"id\":\"r\",\"model\":\"m\",\"output\":[]}}\n\n";
    let body = r#"{"model":"single","input":"hi","stream":true}"#;
    let whole = format!("{created}{incomplete}");
    berry.first.script(Script::new().sse(whole.clone()));
    let told = berry.post("/v1/responses", &[("x-api-key", ALICE)], body).await;
    assert_eq!((told.status, told.text()), (200, whole));
    berry.first.script(Script::new().sse("data: [DONE]\n\n"));
    let body = chat_body("single").replace('{', "{\"stream\":true,");
    let told = berry.post("/v1/chat/completions", &[("x-api-key", ALICE)], &body).await;
    assert_eq!((told.status, told.code().as_str()), (502, "upstream_bad_response"));
}

/// Vendors flag prompts within a 200, or as a response that failed: no client should take a backend out by what it writes.
#[tokio::test]
async fn a_prompt_that_is_refused_within_a_stream_is_no_failure_of_the_backend() {
    let berry = Berry::without_retries().await;
    let created = "data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n";
    let delta = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n";
    let failed = "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"invalid_prompt\"}}}\n\n";
    let body = r#"{"model":"single","input":"hi","stream":true}"#;
    for _ in 0..4 {
        berry.first.script(Script::new().sse(format!("{created}{failed}")));
        assert_eq!(berry.post("/v1/responses", &[("x-api-key", ALICE)], body).await.status, 502);
        let gate = Gate::new();
        let whole = format!("{created}{delta}{failed}");
        berry.first.script(Script::new().sse(whole.clone()).gate(&gate));
        gate.let_through(2);
        let mut connection = berry.connect().await;
        connection.send(request("/v1/responses", &[("x-api-key", ALICE)], body)).await;
        assert_eq!(connection.head().await.unwrap().0, 200);
        gate.open();
        assert_eq!(connection.chunks(whole.len()).await, whole.as_bytes());
        assert_eq!(connection.chunk().await, Some(Vec::new()), "the stream ends cleanly");
    }
    let health = berry.get("/health", &[bearer(ROOT).as_field()]).await.json();
    let backends = health["detail"]["backends"].as_array().unwrap().clone();
    let first = backends.iter().find(|backend| backend["model"] == "gpt-first").unwrap();
    assert_eq!((&first["state"], &first["consecutive_failures"]), (&"healthy".into(), &0.into()), "{first}");
}
