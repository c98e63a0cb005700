//! How long it takes to verify a log of a million records. `cargo bench -p berry-store --bench verify`

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark: a panic is how it fails, and it prints")]

use std::sync::Arc;
use std::time::Instant;

use berry_store::DataDirectory;
use berry_store::audit::{Actor, AuditLog, Demands, Event, Who, verify};

const RECORDS: u64 = 1_000_000;

/// 2026-11-25T12:00:00Z
const NOON: u64 = 1_795_608_000_000;

fn main() {
    let place = tempfile::tempdir().unwrap();
    let data = Arc::new(DataDirectory::open(place.path()).unwrap());
    let (log, keeper) = AuditLog::start(&data, Arc::new(|| NOON)).unwrap();
    let began = Instant::now();
    for number in 0..RECORDS {
        let event = Event {
            unix_millis: NOON + number,
            who: Who {
                actor: Actor::User(format!("user-{}", number % 100)),
                ip: Some([10, 1, 2, 3].into()),
                request_id: Some("0199c6f0-7c1a-7e3b-9f52-0d6c4f1f2a3b".to_owned()),
            },
            action: "request".into(),
            resource: "/v1/chat/completions gpt-4o-mini".to_owned(),
            result: "answered".into(),
            diff: None,
        };
        // Faster than the writer: every so many it is waited for.
        match number % 5000 {
            0 => log.record(event).unwrap(),
            _ => log.note(event),
        }
    }
    drop(keeper);
    let (written, lost) = (began.elapsed(), log.standing().lost);
    let began = Instant::now();
    let report = verify(place.path(), &Demands::default()).unwrap();
    let took = began.elapsed();
    assert!(report.holds() && report.records >= RECORDS && lost == 0, "{report:?}");
    println!(
        "{} records in {} files with {} checkpoints: written in {written:.2?}, verified in {took:.2?}",
        report.records, report.files, report.checkpoints
    );
}
