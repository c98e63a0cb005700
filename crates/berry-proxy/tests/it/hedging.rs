//! A second attempt beside a slow first one, where the model asks for it.

use std::time::Duration;

use crate::harness::{DIALECTS, Dialect};
use crate::ports::{FIRST, OK, SECOND, answer, chat, on_pipes};

fn hedged(share: &'static str) -> impl FnOnce(String) -> String {
    move |text| {
        let text = text.replace("request_timeout_seconds = 2", "request_timeout_seconds = 60");
        text.replace("[models.chat]\n", &format!("[models.chat]\nhedge = {{ after_ms = 500, max_share = {share} }}\n"))
    }
}

#[tokio::test(start_paused = true)]
async fn the_faster_of_two_attempts_answers_and_the_other_is_cancelled() {
    on_pipes(hedged("1.0"), async |mut gate| {
        let mut client = gate.client();
        chat(&mut client, "chat").await;
        let mut slow = gate.asked(FIRST).await;
        let mut fast = gate.asked(SECOND).await;
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
        let mut client = gate.client();
        chat(&mut client, "chat").await;
        let mut slow = gate.asked(FIRST).await;
        let _fast = gate.asked(SECOND).await;
        answer(&mut slow, OK).await;
        assert_eq!(client.response().await.field("berry-backend"), Some("first/gpt-first"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_leaves_the_other_one_its_chance() {
    on_pipes(hedged("1.0"), async |mut gate| {
        let mut client = gate.client();
        chat(&mut client, "chat").await;
        let mut slow = gate.asked(FIRST).await;
        let mut fast = gate.asked(SECOND).await;
        answer(&mut fast, "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        answer(&mut slow, OK).await;
        assert_eq!(client.response().await.field("berry-backend"), Some("first/gpt-first"));
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
        assert_eq!(DIALECTS[0], Dialect::OpenAi);
    })
    .await;
}
