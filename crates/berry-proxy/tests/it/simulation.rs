//! The assembled gateway in simulated worlds: pipes in memory, a clock that takes no time, and providers and clients whose
//! every misfortune is drawn from a seed. One seed is one world, and replays to the last byte.
//!
//! `scripts/simulate.sh N [FIRST]` runs more of them. What must hold of each stands in `simulation/promises.rs`, and the end of
//! a run below; what a seed draws, in `simulation/plan.rs`. Active checks are off: they would be traffic that nobody asked for.

mod answer;
mod client;
mod fault;
mod plan;
mod promises;
mod provider;
mod record;
mod speech;
mod world;

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{sleep, sleep_until};

use plan::{ALL_BACK, Client, Plan, RECOVERED};
use record::{Ended, Record};
use world::World;

/// How many worlds the tests run; a script asks for more.
const WORLDS: u64 = 200;

/// Requests within which every backend must have had one, in the end. `smart_ai` gives one that it trusts the least, on the first
/// step of its ramp, a hundredth of the traffic.
const UNTIL_ALL: usize = 2_000;

/// What came of a seed.
struct Outcome {
    broken: Vec<String>,
    record: Record,
}

#[test]
fn every_world_keeps_every_promise() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (count, first) = (number("BERRY_SIM_SEEDS").unwrap_or(WORLDS), number("BERRY_SIM_FIRST").unwrap_or(1));
    let (next, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let run_some = || {
        loop {
            let seed = next.fetch_add(1, SeqCst);
            if seed >= first + count {
                break;
            }
            let outcome = run(seed);
            if !outcome.broken.is_empty() {
                failed.lock().unwrap().push((seed, outcome));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(run_some)));
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", tell(failed, count));
}

#[test]
fn a_seed_replays_to_the_same_world() {
    for seed in [3, 4, 5] {
        let (first, second) = (run(seed), run(seed));
        assert!(first.record.trace.lines().count() > 300, "{}", first.record.trace);
        assert_eq!(first.record.trace, second.record.trace, "seed {seed}");
    }
    assert_ne!(run(3).record.trace, run(4).record.trace);
}

#[test]
fn the_worlds_hold_every_misfortune() {
    let mut missing = vec![
        // What providers do.
        "no connection: Refuse",
        "no connection: Blackhole",
        ": Some(ResetFirst)",
        ": Some(SlowHead)",
        ": Some(Status(400))",
        ": Some(Status(401))",
        ": Some(Status(403))",
        ": Some(Status(429))",
        ": Some(Status(500))",
        ": Some(Status(502))",
        ": Some(Status(503))",
        ": Some(Status(529))",
        ": Some(Wait(429",
        ": Some(Wait(503",
        ": Some(Page)",
        ": Some(Empty)",
        ": Some(ErrorIn200)",
        ": Some(Garbage)",
        ": Some(ErrorFirst)",
        ": Some(ErrorLater)",
        ": Some(ResetWithin)",
        ": Some(Truncate)",
        ": Some(Stall)",
        ": Some(Surplus)",
        // What comes of it.
        "a stale connection",
        "Cancelled",
        "Left(None)",
        "Left(Some(",
        "told 400",
        "told 502",
        "told 503",
        "told 504",
        "after Some(\"4\")",
        // How streams end.
        "theirs",
        "upstream_timeout",
        "upstream_truncated",
        "upstream_disconnected",
        "[DONE]\\n\\n\"",
        "message_stop\\\"}\\n\\n\"",
    ];
    for seed in 1..=WORLDS {
        let record = run(seed).record;
        missing.retain(|what| !record.trace.contains(what));
        if missing.is_empty() {
            return;
        }
    }
    panic!("no world of the tests has {missing:?}");
}

/// What is said of the seeds that failed.
fn tell(mut failed: Vec<(u64, Outcome)>, count: u64) -> String {
    failed.sort_by_key(|(seed, _)| *seed);
    let mut text = format!("{} of {count} worlds broke a promise\n", failed.len());
    for (seed, outcome) in failed.iter().take(5) {
        if count == 1 {
            text += &outcome.record.trace;
        }
        let _ = writeln!(text, "seed {seed}, to replay: scripts/simulate.sh 1 {seed}");
        for what in outcome.broken.iter().take(5) {
            let _ = writeln!(text, "  {what}");
        }
    }
    let seeds: Vec<String> = failed.iter().map(|(seed, _)| seed.to_string()).collect();
    text + &seeds.join(" ")
}

/// Runs the world of a seed.
fn run(seed: u64) -> Outcome {
    let live = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, live(Plan::new(seed)))
    };
    catch_unwind(AssertUnwindSafe(live))
        .unwrap_or_else(|_| Outcome { broken: vec!["a panic in the simulation".to_owned()], record: Record::default() })
}

/// Lives through a plan, and judges what was seen.
async fn live(plan: Plan) -> Outcome {
    let world = World::new(plan);
    let sweeper = world.worker.clone();
    let sweeping = spawn_local(async move { sweeper.sweep().await });
    let mut broken = Vec::new();
    let clients: Vec<_> =
        world.plan.clients.iter().map(|client| spawn_local(client::play(world.clone(), client.clone()))).collect();
    let mut served = Vec::new();
    for (id, client) in clients.into_iter().enumerate() {
        match client.await {
            Ok(connection) => served.push(connection),
            Err(error) => broken.push(format!("q{id}: its client hung or panicked: {error}")),
        }
    }
    served.extend(recover(&world, &mut broken).await);
    // Longer than any connection may stay idle.
    sleep(Duration::from_secs(40)).await;
    sweeping.abort();
    broken.extend(left_over(&world, &served));
    let record = world.scene.record.take();
    broken.extend(promises::broken(&world.plan, &record));
    Outcome { broken, record }
}

/// The time when all is well: a few requests, and then as many as it takes until every backend has had one.
async fn recover(world: &Rc<World>, broken: &mut Vec<String>) -> Vec<JoinHandle<()>> {
    let scene = &world.scene;
    let mut served = Vec::new();
    let mut id = 1_000;
    let mut ask = async || {
        let client = Client::calm(id, scene.now());
        id += 1;
        served.push(client::play(world.clone(), client).await);
    };
    sleep_until(scene.instant(RECOVERED)).await;
    while scene.now() < ALL_BACK && world.plan.steady.is_some() {
        ask().await;
        sleep(Duration::from_secs(8)).await;
    }
    sleep_until(scene.instant(ALL_BACK)).await;
    let report = berry_proxy::report::health(&world.gateway, &world.gateway.snapshot());
    let out = report.backends.iter().filter(|backend| !backend.is_eligible());
    broken.extend(out.map(|backend| format!("{} is still left out: {:?}", backend.provider, backend.standing)));
    let unseen = || {
        let record = scene.record.borrow();
        let seen = |provider| record.attempts.iter().any(|it| it.provider == provider && it.begun >= RECOVERED);
        (0..world.plan.providers()).find(|provider| !seen(*provider))
    };
    for _ in 0..UNTIL_ALL {
        ask().await;
        if !world.plan.spreads() || unseen().is_none() {
            return served;
        }
    }
    broken.extend(unseen().map(|provider| format!("p{provider} gets no traffic again")));
    served
}

/// What should be nowhere, once every client has gone.
fn left_over(world: &World, served: &[JoinHandle<()>]) -> Vec<String> {
    let mut left = Vec::new();
    let pipes = world.scene.pipes.load(SeqCst);
    let connections = served.iter().filter(|connection| !connection.is_finished()).count();
    if pipes + connections > 0 {
        left.push(format!("left open: {pipes} connections to providers, {connections} of clients"));
    }
    let snapshot = world.gateway.snapshot();
    let mut counted = 0;
    for backend in berry_proxy::report::health(&world.gateway, &snapshot).backends {
        counted += backend.outcomes.iter().map(|(_, count)| *count as usize).sum::<usize>();
        if backend.standing.in_flight > 0 {
            left.push(format!("{} has {} in flight", backend.provider, backend.standing.in_flight));
        }
    }
    let metrics = berry_proxy::report::metrics(&world.gateway, &snapshot);
    let panics = metrics.lines().find(|line| line.starts_with("berry_panics_total"));
    if !panics.is_some_and(|line| line.ends_with(" 0")) {
        left.push(format!("{panics:?}"));
    }
    let record = world.scene.record.borrow();
    // What a client that left had begun may never have reached its provider.
    let seen = record.attempts.iter().filter(|attempt| !attempt.is_stale).count() + world.scene.unmade.get();
    let gone = record.asks.values().filter(|ask| matches!(ask.ended, Ended::Left(..))).count();
    if !(seen..=seen + gone).contains(&counted) {
        left.push(format!("providers saw {seen} attempts, the gateway counted {counted}"));
    }
    left
}
