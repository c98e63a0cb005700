//! A second attempt beside a slow first one, where the model asks for it.

use std::time::Duration;

use tokio::io::DuplexStream;

use crate::harness::{Connection, FORCER, request, without_pools, without_retries};
use crate::ports::{FIRST, Gate, OK, PATH, SECOND, answer, assert_took, chat, on_pipes};

const REFUSAL: &str = "HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{\"error\":{}}";

fn hedged(share: &'static str) -> impl FnOnce(String) -> String {
    move |text| {
        let text = text.replace("request_timeout_seconds = 2", "request_timeout_seconds = 60");
        text.replace("[models.chat]\n", &format!("[models.chat]\nhedge = {{ after_ms = 500, max_share = {share} }}\n"))
    }
}

/// A client, and the two backends that its request has gone to.
async fn both_asked(gate: &mut Gate) -> (Connection<DuplexStream>, DuplexStream, DuplexStream) {
    let mut client = gate.client();
    chat(&mut client, "chat").await;
    let first = gate.asked(FIRST).await;
    let second = gate.asked(SECOND).await;
    (client, first, second)
}

#[tokio::test(start_paused = true)]
async fn the_faster_of_two_attempts_answers_and_the_other_is_cancelled() {
    on_pipes(hedged("1.0"), async |mut gate| {
        let (mut client, mut slow, mut fast) = both_asked(&mut gate).await;
        answer(&mut fast, OK).await;
        let response = client.response().await;
        assert_eq!((response.status, response.field("berry-backend")), (200, Some("second/gpt-second")));
        assert_eq!(response.field("berry-attempts"), Some("2"));
        let mut left = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut slow, &mut left).await.unwrap();
        assert!(left.is_empty(), "the loser's connection ends");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_may_still_win() {
    on_pipes(hedged("1.0"), async |mut gate| {
        let (mut client, mut slow, _fast) = both_asked(&mut gate).await;
        answer(&mut slow, OK).await;
        assert_eq!(client.response().await.field("berry-backend"), Some("first/gpt-first"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_leaves_the_other_one_its_chance() {
    on_pipes(hedged("1.0"), async |mut gate| {
        let (mut client, mut slow, mut fast) = both_asked(&mut gate).await;
        answer(&mut fast, "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        answer(&mut slow, OK).await;
        assert_eq!(client.response().await.field("berry-backend"), Some("first/gpt-first"));
    })
    .await;
}

/// What one backend finds wrong with a request another may take: the bigger context, the newer API. So a refusal that comes
/// first is not the answer while the other attempt may still have one, whichever of them it is.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_one_attempt_does_not_hide_the_answer_of_the_other() {
    for first_refuses in [false, true] {
        on_pipes(hedged("1.0"), async |mut gate| {
            let (mut client, mut first, mut second) = both_asked(&mut gate).await;
            let (refuses, answers, name) = match first_refuses {
                true => (&mut first, &mut second, "second/gpt-second"),
                false => (&mut second, &mut first, "first/gpt-first"),
            };
            answer(refuses, REFUSAL).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            answer(answers, OK).await;
            let response = client.response().await;
            assert_eq!((response.status, response.field("berry-backend")), (200, Some(name)));
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_refusal_is_the_answer_where_the_other_attempt_has_none() {
    for first_refuses in [false, true] {
        on_pipes(hedged("1.0"), async |mut gate| {
            let (mut client, mut first, mut second) = both_asked(&mut gate).await;
            let (refuses, fails, name) = match first_refuses {
                true => (&mut first, &mut second, "first/gpt-first"),
                false => (&mut second, &mut first, "second/gpt-second"),
            };
            answer(refuses, REFUSAL).await;
            answer(fails, "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
            let response = client.response().await;
            assert_eq!((response.status, response.field("berry-backend")), (400, Some(name)));
            assert_eq!(response.body, b"{\"error\":{}}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_took_too_long_is_cancelled_while_the_other_goes_on() {
    on_pipes(hedged("1.0"), async |mut gate| {
        let begun = tokio::time::Instant::now();
        let (mut client, mut silent, mut slow) = both_asked(&mut gate).await;
        let (beginning, rest) = OK.split_at(OK.len() - 5);
        answer(&mut slow, beginning).await;
        tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut Vec::new()).await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 60, "its own time, and not the other one's");
        answer(&mut slow, rest).await;
        assert_eq!(client.response().await.field("berry-backend"), Some("second/gpt-second"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_waits_for_the_other_attempt_a_moment_and_no_longer() {
    on_pipes(hedged("1.0"), async |mut gate| {
        let (mut client, mut silent, mut second) = both_asked(&mut gate).await;
        let begun = tokio::time::Instant::now();
        answer(&mut second, REFUSAL).await;
        assert_eq!(client.response().await.status, 400);
        assert_took(begun, Duration::from_secs(2));
        let read = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut Vec::new()).await;
        assert_eq!(read.unwrap(), 0, "the other one is cancelled");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_out_gets_no_second_attempt() {
    let change = |text: String| hedged("1.0")(without_pools(without_retries(text)));
    on_pipes(change, async |mut gate| {
        for _ in 0..3 {
            let mut client = gate.client();
            let fields = [("x-api-key", FORCER), ("berry-backend", "second")];
            client.send(request(PATH, &fields, r#"{"model":"chat"}"#)).await;
            let mut second = gate.asked(SECOND).await;
            answer(&mut second, "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
            while let Ok(Ok((_, mut again))) =
                tokio::time::timeout(Duration::from_secs(9), async { gate.opened.recv().await.ok_or(()) }).await
            {
                answer(&mut again, "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
            }
            assert_eq!(client.response().await.status, 502);
        }
        let mut client = gate.client();
        chat(&mut client, "chat").await;
        let mut first = gate.asked(FIRST).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(gate.opened.try_recv().is_err(), "the second is out");
        answer(&mut first, OK).await;
        assert_eq!(client.response().await.status, 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_hedged_than_their_share() {
    on_pipes(hedged("0.1"), async |mut gate| {
        let mut seconds = 0;
        for _ in 0..40 {
            let mut client = gate.client();
            chat(&mut client, "chat").await;
            let mut slow = gate.asked(FIRST).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Ok((port, _)) = gate.opened.try_recv() {
                assert_eq!(port, SECOND);
                seconds += 1;
            }
            answer(&mut slow, &OK.replace("HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nconnection: close\r\n")).await;
            assert_eq!(client.response().await.status, 200);
        }
        assert!((1..=4).contains(&seconds), "{seconds} of 40");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_model_that_does_not_ask_for_it_gets_no_second_attempt() {
    let slow = |text: String| text.replace("request_timeout_seconds = 2", "request_timeout_seconds = 60");
    on_pipes(slow, async |mut gate| {
        let mut client = gate.client();
        chat(&mut client, "chat").await;
        let mut upstream = gate.asked(FIRST).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(gate.opened.try_recv().is_err());
        answer(&mut upstream, OK).await;
        assert_eq!(client.response().await.status, 200);
    })
    .await;
}
