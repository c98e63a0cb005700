//! More requests than there is room for: those that are let in are answered, the others are told at once to come again, and
//! when the storm is over, so is its effect (failure model P3, P4).

use std::time::Duration;

use berry_bench::{Options, Report};

use crate::harness::{Folder, Running};
use crate::load::{ask, by_length, clients, config, is_long, tell};

/// How many requests may be in flight, and what each takes: so the gateway's limit is the capacity, and not the machine's.
const PLACES: usize = 50;
const SERVICE: &str = "100ms";
/// How long a client waits after it has been refused: many times sooner than it is told to, as impatient ones do.
const PAUSE: Duration = Duration::from_millis(50);

/// A provider with a fixed time of service, and a gateway in front of it.
fn start(server: &str) -> (Running, Running, Folder) {
    let (mock, url) = Running::mock(&["--journal", "0", "--ttfb", SERVICE]);
    let folder = Folder::with(&config(&[url], "gpt-4o-mini", server, ""));
    let gateway = Running::serve(&folder);
    (mock, gateway, folder)
}

/// All that was not answered was refused, with a word on when to come again.
fn only_refused(report: &Report) {
    assert_eq!(report.failed(), report.errors.get("http_503").copied().unwrap_or_default(), "{:?}", report.errors);
    assert_eq!(report.failed(), report.refusals, "each says when to come again");
}

#[test]
fn five_times_the_load_is_answered_as_well_as_one_and_the_rest_is_refused_at_once() {
    let (_mock, gateway, _folder) = start(&format!("max_in_flight = {PLACES}"));
    let (address, _) = gateway.addresses();
    let run = |clients_at_once, seconds| {
        let duration = Duration::from_secs(seconds);
        let options = Options { duration, pause: Some(PAUSE), ..clients(&address, clients_at_once) };
        let report = ask(&options).join().unwrap();
        only_refused(&report);
        report
    };
    let peak = run(PLACES, by_length(1, 10));
    let storm = run(PLACES * 9, by_length(2, 60));
    let after = run(PLACES, by_length(1, 10));
    assert_eq!((peak.failed(), after.failed()), (0, 0), "nobody is refused who has a place");
    assert!(storm.ok > 0 && storm.refusals > 0);

    let offered = (storm.ok + storm.failed()) as f64 / storm.seconds / peak.rps;
    let [goodput, recovered] = [storm.rps / peak.rps, after.rps / peak.rps];
    let refused = storm.refusal_us.unwrap();
    let [p50, p99] = [refused.p50, refused.p99].map(|micros| micros / 1000.0);
    tell(format!("peak {:.0} answers a second; {offered:.1} times that offered for {:.0} s", peak.rps, storm.seconds));
    tell(format!("goodput {goodput:.3} of the peak, and {recovered:.3} in the ten seconds after it"));
    tell(format!("{} refused with 503 and retry-after, in {p50:.1} ms (p50), {p99:.1} ms (p99)", storm.refusals));
    if is_long() {
        assert!(offered >= 5.0 && goodput >= 0.9 && recovered >= 0.95);
    }
}

#[test]
fn bodies_beyond_the_memory_for_them_are_refused_and_the_others_answered() {
    let (_mock, gateway, _folder) = start("max_body_bytes = \"1MiB\"\nmax_body_memory_bytes = \"4MiB\"");
    let (address, _) = gateway.addresses();
    let options = Options {
        size: 900_000,
        requests: Some(by_length(60, 2_000)),
        pause: Some(PAUSE),
        ..clients(&address, by_length(20, 200))
    };
    let report = ask(&options).join().unwrap();
    only_refused(&report);
    tell(format!("{} bodies of 900 kB answered, {} refused, memory for four", report.ok, report.refusals));
    assert!(report.ok >= 4 && report.refusals > 0, "{report}");
    let after = ask(&Options { requests: Some(3), ..options }).join().unwrap();
    assert!(after.ok > 0, "what has been answered gives its memory back: {after}");
}
