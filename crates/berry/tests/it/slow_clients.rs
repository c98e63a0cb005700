//! Thousands of clients that say nothing, write byte by byte or hardly read: those beside them are served as before, and the
//! gateway keeps no more for each than it has promised (failure model C10, C11).

use std::thread::JoinHandle;
use std::time::Duration;

use berry_bench::{Options, Percentiles, Slow, slow};

use crate::harness::{Folder, Running};
use crate::load::{ask, by_length, clients, config, is_long, metric, on_a_thread, resident_bytes, tell};

/// What is kept for a stream whose client does not read, at most.
const BUFFERS: u64 = 256 << 10;

/// How many are slow in which way; what is read slowly is far more than all buffers between here and there.
fn crowd() -> [(Slow, usize, &'static str); 3] {
    let (many, few) = by_length((40, 20), (2_000, 1_000));
    [(Slow::Silent, many, "m"), (Slow::Writing, many, "m"), (Slow::Reading, few, "mock-huge-8")]
}

/// A gateway, and two providers: what fills the slow ones' buffers is not to keep the quick ones waiting.
struct Gateway {
    _mocks: [Running; 2],
    running: Running,
    address: String,
    _folder: Folder,
}

impl Gateway {
    fn start() -> Self {
        let [(quick, quick_url), (large, large_url)] = [(); 2].map(|()| Running::mock(&["--journal", "0"]));
        let mut text = config(&[quick_url], "gpt-4o-mini", "", "");
        text +=
            &format!("[providers.large]\nbase_url = \"{large_url}/v1\"\napi_key = \"sk-of-a-simulated-provider\"\n");
        text += "[models.mock-huge-8]\nbackends = [{ provider = \"large\", model = \"mock-huge-8\" }]\n";
        let folder = Folder::with(&text);
        let running = Running::serve(&folder);
        let (address, _) = running.addresses();
        Gateway { _mocks: [quick, large], running, address, _folder: folder }
    }

    /// These clients come, over two seconds, and stay for so long.
    fn invite(&self, way: Slow, count: usize, model: &str, seconds: u64) -> JoinHandle<u64> {
        let options = Options {
            duration: Duration::from_secs(seconds),
            ramp: Duration::from_secs(2),
            stream: way == Slow::Reading,
            model: model.to_owned(),
            ..clients(&self.address, count)
        };
        on_a_thread(&options, move |plan| slow(plan, way))
    }

    /// What a few quick clients see.
    fn quick(&self) -> Percentiles {
        let bound = by_length(
            Options { requests: Some(300), ..clients(&self.address, 2) },
            Options { duration: Duration::from_secs(4), ..clients(&self.address, 2) },
        );
        let report = ask(&bound).join().unwrap();
        assert_eq!(report.failed(), 0, "{report}");
        report.latency_us.unwrap()
    }
}

#[test]
fn slow_clients_cost_those_beside_them_nothing() {
    let gateway = Gateway::start();
    gateway.quick();
    let mut ratios = Vec::new();
    // In turns, for what else runs on the machine changes.
    for _ in 0..by_length(1, 3) {
        let without = gateway.quick();
        let crowd = crowd().map(|(way, count, model)| gateway.invite(way, count, model, by_length(2, 45)));
        // Until the system's own buffers are full, which are megabytes for each that hardly reads: that is work, not slowness.
        std::thread::sleep(Duration::from_secs(by_length(1, 38)));
        let connections = metric(&gateway.address, "active_connections");
        let with = gateway.quick();
        let made: u64 = crowd.into_iter().map(|clients| clients.join().unwrap()).sum();
        tell(format!(
            "p50 {:.0} µs and p99 {:.0} µs without, {:.0} µs and {:.0} µs with {connections} connections ({made} made)",
            without.p50, without.p99, with.p50, with.p99
        ));
        ratios.push(with.p99 / without.p99);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    tell(format!(
        "p99 {median:.2} times what it is without (median; {:.2} to {:.2})",
        ratios[0],
        ratios[ratios.len() - 1]
    ));
    assert!(!is_long() || median <= 1.5);
}

#[test]
fn a_client_that_does_not_read_costs_no_more_than_its_buffers() {
    let gateway = Gateway::start();
    gateway.quick();
    let (way, count, model) = crowd()[2];
    let before = resident_bytes(&gateway.running);
    let crowd = gateway.invite(way, count, model, by_length(2, 10));
    std::thread::sleep(Duration::from_secs(by_length(2, 8)));
    let grown = resident_bytes(&gateway.running).saturating_sub(before);
    let each = grown / count as u64;
    crowd.join().unwrap();
    tell(format!("{} KiB of memory for each of {count} streams that are hardly read", each >> 10));
    assert!(each <= BUFFERS, "{each} bytes for each");
    gateway.quick();
}
