//! Active checks: when they are made, what they ask, and what they do to a backend's health.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use berry_proxy::checks::test_provider;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use crate::harness::{ROOT, bearer, head, without_pools, without_retries};
use crate::ports::{FIRST, Gate, SECOND, chat, on_pipes};

/// What providers were asked: port, and the request's first line.
type Asked = Rc<RefCell<Vec<(u16, String)>>>;

const LIST: &str =
    r#"{"object":"list","data":[{"id":"gpt-first"},{"id":"gpt-second"},{"id":"gpt-4o"},{"id":"gpt-small"}]}"#;

/// Plays the providers: `answer` says what a request is answered with, by port and first line; `None` hangs.
fn play(
    opened: UnboundedReceiver<(u16, DuplexStream)>,
    answer: impl Fn(u16, &str) -> Option<(u16, String)> + 'static,
) -> Asked {
    let asked = Asked::default();
    let (mut opened, noted, answer) = (opened, asked.clone(), Rc::new(answer));
    tokio::task::spawn_local(async move {
        while let Some((port, stream)) = opened.recv().await {
            tokio::task::spawn_local(serve(port, stream, noted.clone(), answer.clone()));
        }
    });
    asked
}

async fn serve(
    port: u16,
    mut stream: DuplexStream,
    asked: Asked,
    answer: Rc<impl Fn(u16, &str) -> Option<(u16, String)>>,
) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") && !read.ends_with(b"}") {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let text = String::from_utf8(read).unwrap();
    let line = text.lines().next().unwrap().to_owned();
    asked.borrow_mut().push((port, line.clone()));
    match answer(port, &line) {
        None => sleep(Duration::from_secs(100_000)).await,
        Some((status, body)) => {
            let wait = if status == 429 { "retry-after: 3600\r\n" } else { "" };
            let head =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{wait}content-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    }
}

fn good(_: u16, line: &str) -> Option<(u16, String)> {
    Some((200, if line.starts_with("GET") { LIST.to_owned() } else { "{}".to_owned() }))
}

/// How often a provider was asked for something.
fn count(asked: &Asked, port: u16, start: &str) -> usize {
    asked.borrow().iter().filter(|(of, line)| *of == port && line.starts_with(start)).count()
}

fn take_opened(gate: &mut Gate) -> UnboundedReceiver<(u16, DuplexStream)> {
    std::mem::replace(&mut gate.opened, tokio::sync::mpsc::unbounded_channel().1)
}

/// A backend's detail, as an admin sees it.
async fn detail(gate: &Gate, backend: (&str, &str)) -> serde_json::Value {
    let mut client = gate.client();
    client.send(head("GET", "/health", &[bearer(ROOT).as_field()], None)).await;
    let health = client.response().await.json();
    let all = health["detail"]["backends"].as_array().unwrap().clone();
    all.into_iter().find(|b| b["provider"] == backend.0 && b["model"] == backend.1).unwrap()
}

/// Lets the first provider fail a few chats, so that its backend opens.
async fn open_first(gate: &Gate) {
    for _ in 0..3 {
        let mut client = gate.client();
        chat(&mut client, "chat").await;
        assert_eq!(client.response().await.field("berry-backend"), Some("second/gpt-second"));
    }
    assert_eq!(detail(gate, ("first", "gpt-first")).await["state"], "open");
}

fn without_own_recovery(text: String) -> String {
    let text = without_pools(without_retries(text));
    text.replace("circuit_breaker_timeout_seconds = 60", "circuit_breaker_timeout_seconds = 80000")
}

#[tokio::test(start_paused = true)]
async fn every_provider_is_asked_for_its_models_at_its_interval_once_for_all_its_backends() {
    on_pipes(without_pools, async |mut gate| {
        let asked = play(take_opened(&mut gate), good);
        tokio::task::spawn_local(berry_proxy::checks::run(gate.worker.clone()));
        sleep(Duration::from_secs(600)).await;
        for port in [FIRST, SECOND, 1003, 1004] {
            let lists = count(&asked, port, "GET");
            assert!((15..=30).contains(&lists), "{port}: {lists} lists in 20 intervals");
            assert_eq!(count(&asked, port, "POST"), 0, "nobody is open");
        }
        let lines: Vec<String> = asked.borrow().iter().map(|(_, line)| line.clone()).collect();
        for line in [
            "GET /v1/models HTTP/1.1",
            "GET /v1/models?limit=1000 HTTP/1.1",
            "GET /v1beta/models?pageSize=1000 HTTP/1.1",
        ] {
            assert!(lines.iter().any(|l| l == line), "{line}");
        }
        let first = detail(&gate, ("first", "gpt-first")).await;
        assert_eq!((&first["last_check"]["ok"], &first["requests"]), (&true.into(), &0.into()), "{first}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_open_backend_is_asked_for_one_token_and_its_answer_leads_into_the_ramp() {
    on_pipes(without_own_recovery, async |mut gate| {
        let fails = Rc::new(RefCell::new(true));
        let failing = fails.clone();
        let asked = play(take_opened(&mut gate), move |port, line| match port {
            FIRST if line.starts_with("POST") && *failing.borrow() => Some((500, "{}".to_owned())),
            _ => good(port, line),
        });
        open_first(&gate).await;
        tokio::task::spawn_local(berry_proxy::checks::run(gate.worker.clone()));
        sleep(Duration::from_secs(300)).await;
        let tokens = count(&asked, FIRST, "POST") - 3;
        assert!((2..=3).contains(&tokens), "{tokens} in 300 s, at 120 s each");
        assert_eq!(
            detail(&gate, ("first", "gpt-first")).await["state"],
            "open",
            "a list of models proves nothing here"
        );
        *fails.borrow_mut() = false;
        sleep(Duration::from_secs(140)).await;
        assert_eq!(detail(&gate, ("first", "gpt-first")).await["state"], "ramp");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_billed_by_request_is_never_probed_with_one() {
    let per_request = |text: String| {
        without_own_recovery(text)
            .replace("model = \"gpt-first\"\n", "model = \"gpt-first\"\nbilling_mode = \"per_request\"\n")
    };
    on_pipes(per_request, async |mut gate| {
        let asked = play(take_opened(&mut gate), |port, line| match port {
            FIRST if line.starts_with("POST") => Some((500, "{}".to_owned())),
            _ => good(port, line),
        });
        open_first(&gate).await;
        tokio::task::spawn_local(berry_proxy::checks::run(gate.worker.clone()));
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(count(&asked, FIRST, "POST"), 3, "but for the clients' own requests");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn checks_take_out_a_provider_that_hangs_before_any_client_meets_it() {
    on_pipes(without_pools, async |mut gate| {
        let _asked = play(take_opened(&mut gate), |port, line| if port == FIRST { None } else { good(port, line) });
        tokio::task::spawn_local(berry_proxy::checks::run(gate.worker.clone()));
        sleep(Duration::from_secs(300)).await;
        let first = detail(&gate, ("first", "gpt-first")).await;
        assert_eq!((&first["state"], &first["last_check"]["ok"]), (&"open".into(), &false.into()), "{first}");
        let mut client = gate.client();
        chat(&mut client, "chat").await;
        let answer = client.response().await;
        assert_eq!(
            (answer.field("berry-backend"), answer.field("berry-attempts")),
            (Some("second/gpt-second"), Some("1"))
        );
    })
    .await;
}

/// Many servers have a list that is slow, empty, or short of a model that they serve, or answer it with a page; whether they
/// serve is for traffic to find out.
#[tokio::test(start_paused = true)]
async fn a_bad_list_of_models_takes_no_backend_out_and_is_shown() {
    for list in [(500, "{}"), (200, "<html>"), (200, ""), (200, r#"{"data":[{"id":"another"}]}"#)] {
        on_pipes(without_pools, async |mut gate| {
            let _asked = play(take_opened(&mut gate), move |port, line| match port {
                FIRST => Some((list.0, list.1.to_owned())),
                _ => good(port, line),
            });
            tokio::task::spawn_local(berry_proxy::checks::run(gate.worker.clone()));
            sleep(Duration::from_secs(600)).await;
            let first = detail(&gate, ("first", "gpt-first")).await;
            assert_eq!((&first["state"], &first["last_check"]["ok"]), (&"healthy".into(), &false.into()), "{list:?}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_answers_a_token_with_nothing_proves_nothing() {
    for answer in ["", "<html>", r#"{"error":{"code":500}}"#] {
        on_pipes(without_own_recovery, async |mut gate| {
            let fails = Rc::new(RefCell::new(true));
            let failing = fails.clone();
            let _asked = play(take_opened(&mut gate), move |port, line| match port {
                FIRST if line.starts_with("POST") && *failing.borrow() => Some((500, "{}".to_owned())),
                FIRST if line.starts_with("POST") => Some((200, answer.to_owned())),
                _ => good(port, line),
            });
            open_first(&gate).await;
            *fails.borrow_mut() = false;
            tokio::task::spawn_local(berry_proxy::checks::run(gate.worker.clone()));
            sleep(Duration::from_secs(600)).await;
            assert_eq!(detail(&gate, ("first", "gpt-first")).await["state"], "open", "{answer}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_can_be_tried_by_hand_without_any_effect_on_its_health() {
    on_pipes(without_pools, async |mut gate| {
        let _asked = play(take_opened(&mut gate), |port, line| match port {
            FIRST => Some((401, "{}".to_owned())),
            SECOND => Some((200, r#"{"data":[{"id":"gpt-small"}]}"#.to_owned())),
            _ => good(port, line),
        });
        let first = test_provider(&gate.worker, "first").await.unwrap();
        assert_eq!((first.went_well, first.status), (false, Some(401)));
        assert!(first.message.contains("refuses the key"), "{}", first.message);
        let second = test_provider(&gate.worker, "second").await.unwrap();
        assert_eq!((second.went_well, second.missing_models), (false, vec!["gpt-second".to_owned()]));
        assert_eq!(test_provider(&gate.worker, "nobody").await, None);
        assert_eq!(detail(&gate, ("first", "gpt-first")).await["state"], "healthy");
    })
    .await;
}

/// Vendors limit their lists apart from their chats.
#[tokio::test(start_paused = true)]
async fn a_list_that_is_rate_limited_keeps_no_chat_from_its_backend() {
    on_pipes(without_pools, async |mut gate| {
        let limited = |_, line: &str| match line.starts_with("GET") {
            true => Some((429, "{}".to_owned())),
            false => Some((200, "{}".to_owned())),
        };
        let asked = play(take_opened(&mut gate), limited);
        tokio::task::spawn_local(berry_proxy::checks::run(gate.worker.clone()));
        sleep(Duration::from_secs(90)).await;
        assert!(count(&asked, FIRST, "GET") > 1);
        let mut client = gate.client();
        chat(&mut client, "chat").await;
        assert_eq!(client.response().await.field("berry-backend"), Some("first/gpt-first"));
    })
    .await;
}
