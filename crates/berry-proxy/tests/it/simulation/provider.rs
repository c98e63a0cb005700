//! A simulated provider's side of one connection: reads requests, and plays the answer that its schedule has for the moment.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use berry_vocab::{Dice, SeededDice};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::time::{sleep, timeout};

use super::answer::{Answer, End, answer};
use super::plan::{KEYS, Provider, below, one_of};
use super::record::{Attempt, Over};
use super::speech::question;
use super::world::World;

/// How many bytes a connection to a provider holds.
pub(super) fn room(world: &World, provider: Provider) -> usize {
    let dice = &mut dice(world, provider, world.scene.now());
    *one_of(&[256, 4096, 64 * 1024], dice)
}

fn dice(world: &World, provider: Provider, salt: u64) -> SeededDice {
    let mut dice = SeededDice::new(world.plan.seed ^ (provider as u64) << 48 ^ salt << 16);
    SeededDice::new(dice.roll())
}

/// Serves a connection until it ends. Setting `breaks` makes its end a break.
pub(super) async fn serve(world: Rc<World>, provider: Provider, stream: DuplexStream, breaks: Arc<AtomicBool>) {
    let (mut reads, mut writes) = tokio::io::split(stream);
    let mut has_served = false;
    let idle = Duration::from_millis(500 + below(&mut dice(&world, provider, world.scene.now()), 20_000));
    loop {
        let Ok(Some(text)) = timeout(idle, request(&mut reads)).await else {
            return;
        };
        let Some(ask) = question(&text) else {
            world.scene.record.borrow_mut().oddities.push(format!("p{provider} was asked {text:?}"));
            return;
        };
        let key = KEYS.iter().position(|key| text.contains(key));
        let (attempt, answer) = begin(&world, (provider, key), ask, has_served);
        has_served = true;
        let mut played = std::pin::pin!(play(&answer, &mut writes));
        let over = tokio::select! {
            biased;
            () = is_closed(&mut reads) => None,
            is_done = &mut played => is_done.then_some(answer.end),
        };
        let now = world.scene.now();
        let end = if over.is_some() { Over::Played(now) } else { Over::Cancelled(now) };
        world.scene.record.borrow_mut().over(attempt, end);
        match over {
            Some(End::Keep) => {}
            Some(End::Reset) => return breaks.store(true, SeqCst),
            Some(End::Close | End::Hang) | None => return,
        }
    }
}

/// Notes the request, and decides its answer.
fn begin(world: &World, (provider, key): (Provider, Option<usize>), ask: usize, is_reused: bool) -> (usize, Answer) {
    let now = world.scene.now();
    let fault = world.plan.fault(provider, now, key);
    let mut record = world.scene.record.borrow_mut();
    let number = record.attempts.len();
    let stream = record.asks.get(&ask).is_some_and(|ask| ask.question.stream);
    let dice = &mut dice(world, provider, number as u64);
    let answer = answer(fault, world.plan.speech, stream, &format!("p{provider}-q{ask}-a{number}"), dice);
    record.note(now, format_args!("q{ask} at p{provider}: {fault:?}"));
    let is_stale = is_reused && answer.end == End::Reset && answer.pieces.is_empty();
    if is_stale {
        record.note(now, format_args!("q{ask} met a stale connection"));
    }
    record.attempts.push(Attempt {
        ask,
        provider,
        fault,
        begun: now,
        is_stale,
        body: answer.body.clone(),
        is_framed: answer.is_framed,
        end: None,
    });
    (number, answer)
}

/// Plays an answer; `false`: the gateway takes no more of it.
async fn play(answer: &Answer, writes: &mut WriteHalf<DuplexStream>) -> bool {
    sleep(Duration::from_millis(answer.delay)).await;
    for (bytes, pause) in &answer.pieces {
        if writes.write_all(bytes).await.is_err() {
            return false;
        }
        if *pause > 0 {
            sleep(Duration::from_millis(*pause)).await;
        }
    }
    if answer.end == End::Hang {
        std::future::pending::<()>().await;
    }
    true
}

/// Waits until the gateway has closed its side.
async fn is_closed(reads: &mut ReadHalf<DuplexStream>) {
    while reads.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
}

/// The next request's text; `None`: the connection is over.
async fn request(reads: &mut ReadHalf<DuplexStream>) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Some(text);
            }
        }
        if reads.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
