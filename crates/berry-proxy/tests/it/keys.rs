//! Several accounts at one provider: they take turns, cool down and are put aside each by itself.

use std::time::Duration;

use berry_mock::Mock;
use tokio::time::Instant;

use crate::harness::{Berry, fault, without_pools, without_retries};
use crate::ports::{FIRST, answer, chat, on_pipes};

const KEYS: [&str; 2] = ["sk-one-0123456789", "sk-two-0123456789"];

async fn start() -> Berry {
    Berry::with(|text| {
        let keys = format!("api_keys = [\"{}\", \"{}\"]", KEYS[0], KEYS[1]);
        without_retries(text).replace("api_key = \"sk-first-0123456789\"", &keys)
    })
    .await
}

/// With which keys a provider was asked, by their numbers.
fn asked_with(mock: &Mock) -> Vec<usize> {
    let number = |header: &str| KEYS.iter().position(|key| header.ends_with(key)).unwrap();
    mock.journal().iter().map(|request| number(request.header("authorization").unwrap())).collect()
}

#[tokio::test]
async fn the_keys_of_a_provider_take_turns() {
    let berry = start().await;
    for _ in 0..4 {
        assert_eq!(berry.chat("single").await.status, 200);
    }
    let asked = asked_with(&berry.first);
    assert_eq!(asked.iter().filter(|key| **key == 0).count(), 2, "{asked:?}");
}

#[tokio::test]
async fn a_rate_limit_of_one_key_is_absorbed_by_another_and_cools_down_that_key_alone() {
    let berry = start().await;
    berry.first.script(fault("429-r30"));
    let answer = berry.chat("single").await;
    assert_eq!((answer.status, answer.field("berry-attempts")), (200, Some("2")));
    let limited = asked_with(&berry.first)[0];
    for _ in 0..4 {
        assert_eq!(berry.chat("single").await.status, 200);
    }
    assert!(!asked_with(&berry.first)[1..].contains(&limited));
    berry.clock.advance(Duration::from_secs(31));
    for _ in 0..2 {
        assert_eq!(berry.chat("single").await.status, 200);
    }
    assert!(asked_with(&berry.first)[6..].contains(&limited), "it comes back when its time is over");
}

#[tokio::test]
async fn a_refused_key_is_put_aside_for_every_model_and_never_told_to_the_client() {
    for name in ["401", "402", "403"] {
        let berry = start().await;
        berry.first.script(fault(name));
        let answer = berry.chat("single").await;
        assert_eq!((answer.status, answer.field("berry-attempts")), (200, Some("2")), "{name}");
        let refused = asked_with(&berry.first)[0];
        for model in ["single", "gpt-4o", "chat", "single"] {
            assert_eq!(berry.chat(model).await.status, 200);
        }
        assert!(!asked_with(&berry.first)[1..].contains(&refused), "{name}: {:?}", asked_with(&berry.first));
        berry.clock.advance(Duration::from_secs(301));
        for _ in 0..2 {
            assert_eq!(berry.chat("single").await.status, 200);
        }
        assert!(asked_with(&berry.first)[6..].contains(&refused), "{name}: it is tried again after a while");
    }
}

/// Else the keys of a provider in trouble would multiply its traffic, past the retry budget.
#[tokio::test]
async fn what_is_no_fault_of_the_key_makes_another_key_a_repeated_visit() {
    for name in ["500", "503", "529", "drop", "html"] {
        let berry = start().await;
        berry.first.script(fault(name));
        let answer = berry.chat("single").await;
        assert!(answer.status >= 500, "{name}: {}", answer.status);
        assert_eq!((answer.field("berry-attempts"), berry.asked().0), (Some("1"), 1), "{name}");
    }
}

#[tokio::test]
async fn when_every_key_is_limited_the_client_is_told_the_smallest_wait() {
    let berry = start().await;
    berry.first.script(fault("429-r40"));
    berry.first.script(fault("429-r20"));
    let answer = berry.chat("single").await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "upstream_overloaded"));
    assert_eq!((answer.field("retry-after"), berry.asked().0), (Some("20"), 2));
    let answer = berry.chat("single").await;
    assert_eq!((answer.status, berry.asked().0), (429, 2), "nobody is asked in vain");
}

#[tokio::test]
async fn the_last_key_that_is_refused_counts_against_its_backend() {
    let berry = start().await;
    for _ in 0..3 {
        berry.first.script(fault("401"));
    }
    let answer = berry.chat("single").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_auth"));
    assert_eq!(berry.asked().0, 2, "both keys were tried");
    assert_eq!(berry.chat("single").await.status, 502);
    assert_eq!(berry.asked().0, 3, "the last key goes on");
    let answer = berry.chat("single").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_backend"));
    assert_eq!(berry.asked().0, 3, "two refusals of it open the backend");
}

fn two_keys(text: String) -> String {
    let keys = format!("api_keys = [\"{}\", \"{}\"]", KEYS[0], KEYS[1]);
    text.replace("api_key = \"sk-first-0123456789\"", &keys)
}

/// Whatever the order in which one key is refused and the other one's attempt fails.
#[tokio::test]
async fn a_refused_key_does_not_keep_the_other_one_from_being_asked_again() {
    for faults in [["401", "500"], ["500", "401"]] {
        let berry = Berry::with(two_keys).await;
        faults.iter().for_each(|name| berry.first.script(fault(name)));
        let told = berry.chat("single").await;
        assert_eq!((told.status, told.field("berry-attempts")), (200, Some("3")), "{faults:?}: {}", told.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_soon_usable_again_is_waited_for() {
    let change = |text: String| without_pools(two_keys(without_retries(text)));
    on_pipes(change, async |mut gate| {
        let (mut one, mut other) = (gate.client(), gate.client());
        let mut ask = async |head: &str| {
            let mut upstream = gate.asked(FIRST).await;
            answer(&mut upstream, format!("HTTP/1.1 {head}\r\ncontent-length: 2\r\n\r\n{{}}")).await;
        };
        chat(&mut one, "single").await;
        ask("429 No\r\nretry-after: 2").await;
        ask("200 OK").await;
        assert_eq!(one.response().await.status, 200);
        let begun = Instant::now();
        chat(&mut other, "single").await;
        ask("401 No").await;
        ask("200 OK").await;
        assert_eq!(other.response().await.status, 200);
        assert!((2..=3).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    })
    .await;
}
