//! Several accounts at one provider: they take turns, cool down and are put aside each by itself.

use std::time::Duration;

use berry_mock::Mock;

use crate::harness::{Berry, fault, without_retries};

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
