//! Backends that die and hang, one after the other, while many clients ask: whatever can be repaired is, and a stream that has
//! begun ends in one of two ways (failure model R2, U1, U2, U11, U13; P4).

use std::time::Duration;

use berry_bench::{Options, Report};
use rustix::process::Signal;

use crate::harness::{Folder, Running, berry};
use crate::load::{ask, by_length, clients, config, metric, tell};

/// What is done to a backend, every so often; it lasts for three turns, so that at most three of five are away.
const TURN: Duration = Duration::from_millis(500);
const LASTS: usize = 3;

/// Answers that take a while, so that some are under way when their backend goes.
const PACE: [&str; 8] = ["--journal", "0", "--ttfb", "10ms", "--rate", "200", "--chunks", "20"];

/// A simulated provider with a process and an address of its own.
struct Backend {
    listen: String,
    process: Option<Running>,
}

impl Backend {
    fn start() -> Self {
        let mut backend = Backend { listen: "127.0.0.1:0".to_owned(), process: None };
        backend.mend();
        backend
    }

    fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// The process ends at once, and all its connections with it.
    fn kill(&mut self) {
        self.process = None;
    }

    /// Connections are taken by the system, and nobody answers.
    fn hang(&self) {
        if let Some(process) = &self.process {
            process.signal(Signal::STOP);
        }
    }

    /// Goes on, or begins anew on the address that it had.
    fn mend(&mut self) {
        if let Some(process) = &self.process {
            return process.signal(Signal::CONT);
        }
        let process = Running::start(berry(&["mock", "--listen", &self.listen]).args(PACE));
        let line = process.stdout.line_with("simulated provider on ");
        self.listen = line.rsplit('/').next().unwrap().to_owned();
        self.process = Some(process);
    }
}

/// All but the first go and come back, in turn: every other time by dying, every other time by hanging.
fn disturb(backends: &mut [Backend], turn: usize) {
    let (_, ill) = backends.split_first_mut().unwrap();
    let count = ill.len();
    if let Some(past) = turn.checked_sub(LASTS) {
        ill[past % count].mend();
    }
    let next = &mut ill[turn % count];
    // Each one dies and hangs in turn, too.
    if (turn + turn / count).is_multiple_of(2) { next.kill() } else { next.hang() }
}

fn check(plain: &Report, streams: &Report) {
    let (answers, begun) = (plain.ok, streams.ok);
    tell(format!(
        "{answers} plain answers and {begun} streams in {:.1} s, of which {} ended with an error event",
        plain.seconds.max(streams.seconds),
        streams.broken_streams
    ));
    assert!(plain.errors.is_empty(), "before anything was sent: {:?}", plain.errors);
    assert!(streams.errors.is_empty(), "before anything was sent: {:?}", streams.errors);
    let ended = streams.ended_streams + streams.broken_streams;
    assert_eq!(
        ended, begun,
        "a stream has one end: {} whole, {} broken",
        streams.ended_streams, streams.broken_streams
    );
}

#[test]
fn backends_that_die_and_hang_fail_no_request_that_another_can_answer() {
    let requests: u64 = by_length(3_000, 100_000);
    let mut backends: Vec<Backend> = (0..5).map(|_| Backend::start()).collect();
    let urls: Vec<String> = backends.iter().map(Backend::url).collect();
    let settings = "request_timeout_seconds = 1\nstream_idle_timeout_seconds = 1\ncircuit_breaker_timeout_seconds = 1";
    let folder = Folder::with(&config(&urls, "gpt-4o-mini", "", settings));
    let gateway = Running::serve(&folder);
    let (address, _) = gateway.addresses();

    let streams = ask(&Options { stream: true, requests: Some(requests * 2 / 5), ..clients(&address, 64) });
    let plain = ask(&Options { requests: Some(requests * 3 / 5), ..clients(&address, 12) });
    let mut turn = 0;
    while !(plain.is_finished() && streams.is_finished()) {
        disturb(&mut backends, turn);
        turn += 1;
        std::thread::sleep(TURN);
    }
    let (plain, streams) = (plain.join().unwrap(), streams.join().unwrap());
    let attempts = metric(&address, "berry_upstream_attempts_total");
    tell(format!("{turn} times a backend was killed or stopped; {:.3} attempts a request", attempts / requests as f64));
    check(&plain, &streams);
    assert_eq!(plain.ok + streams.ok, requests);
    assert!(attempts >= requests as f64);
    backends.iter_mut().for_each(Backend::mend);
    assert_eq!(gateway.end(), Some(0));
}
