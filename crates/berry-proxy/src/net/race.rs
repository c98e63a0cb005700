//! Connecting to a host with several addresses in the way of RFC 8305 ("happy eyeballs"): an address that swallows packets
//! costs a quarter of a second and not the whole time limit.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// How long one attempt has to itself (RFC 8305, section 5: 250 ms is recommended).
const HEAD_START: Duration = Duration::from_millis(250);

/// The addresses with both families by turns, that of the first in front: the resolver has sorted them by RFC 6724.
pub(super) fn interleave(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut addresses = addresses.into_iter().peekable();
    let is_ipv4 = addresses.peek().is_some_and(IpAddr::is_ipv4);
    let (like_first, others): (Vec<_>, Vec<_>) = addresses.partition(|address| address.is_ipv4() == is_ipv4);
    let (mut like_first, mut others) = (like_first.into_iter(), others.into_iter());
    let mut order = Vec::new();
    loop {
        let pair = [like_first.next(), others.next()];
        if pair == [None, None] {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

/// Begins one attempt after the other, the next one when the one before has failed or had its head start. The first success
/// wins, and ends the others. `None`: all failed.
pub(super) async fn first<A, T, F>(candidates: impl IntoIterator<Item = A>, begin: impl Fn(A) -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let mut waiting = candidates.into_iter();
    let mut running = Vec::new();
    loop {
        let next = waiting.next();
        let all_run = next.is_none();
        running.extend(next.map(|candidate| Box::pin(begin(candidate))));
        if running.is_empty() {
            return None;
        }
        let won = match all_run {
            true => any(&mut running).await,
            false => tokio::time::timeout(HEAD_START, any(&mut running)).await.unwrap_or_default(),
        };
        if won.is_some() {
            return won;
        }
    }
}

/// Waits until one of the attempts has ended, and takes it out.
async fn any<T>(running: &mut Vec<Pin<Box<impl Future<Output = T>>>>) -> T {
    poll_fn(|cx| {
        for place in 0..running.len() {
            if let Some(Poll::Ready(outcome)) = running.get_mut(place).map(|attempt| attempt.as_mut().poll(cx)) {
                drop(running.swap_remove(place));
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Attempts as (milliseconds, outcome); says which won, and after how long.
    async fn run(attempts: &[(u64, bool)]) -> (Option<usize>, u64) {
        let start = Instant::now();
        let begin = |place: usize| async move {
            sleep(Duration::from_millis(attempts[place].0)).await;
            attempts[place].1.then_some(place)
        };
        let won = first(0..attempts.len(), begin).await;
        (won, start.elapsed().as_millis() as u64)
    }

    const NEVER: u64 = 1_000_000;

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_costs_a_quarter_of_a_second() {
        assert_eq!(run(&[(NEVER, true), (10, true)]).await, (Some(1), 260));
        assert_eq!(run(&[(NEVER, true), (NEVER, true), (10, true)]).await, (Some(2), 510));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_refuses_costs_nothing() {
        assert_eq!(run(&[(1, false), (1, false), (5, true)]).await, (Some(2), 7));
        assert_eq!(run(&[(1, false), (2, false)]).await, (None, 3));
        assert_eq!(run(&[]).await, (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_still_wins_when_the_others_fail() {
        assert_eq!(run(&[(600, true), (10, false), (NEVER, false)]).await, (Some(0), 600));
        assert_eq!(run(&[(5, true), (1, true)]).await, (Some(0), 5), "the second is not even begun");
    }

    #[test]
    fn families_take_turns_and_the_first_keeps_its_place() {
        let order = |texts: &[&str]| -> Vec<String> {
            interleave(texts.iter().map(|text| text.parse().unwrap())).iter().map(IpAddr::to_string).collect()
        };
        assert_eq!(order(&["::1", "::2", "::3", "1.1.1.1"]), ["::1", "1.1.1.1", "::2", "::3"]);
        assert_eq!(order(&["1.1.1.1", "::1", "::2"]), ["1.1.1.1", "::1", "::2"]);
        assert_eq!(order(&["1.1.1.1", "1.1.1.2"]), ["1.1.1.1", "1.1.1.2"]);
        assert!(order(&[]).is_empty());
    }
}
