//! Nanoseconds per selection, for every strategy and 3, 30 and 300 candidates of mixed weights.

use std::hint::black_box;

use berry_policy::{Candidate, SmartAi, Strategy, Turn};
use berry_vocab::SeededDice;
use criterion::{BenchmarkId, Criterion};

fn candidates(n: u32) -> Vec<Candidate> {
    let make = |i: u32| Candidate {
        weight: f64::from(i * 7 % 10 + 1),
        priority: (i * 3 % 5) as u8,
        premium: i.is_multiple_of(4),
        price: Some(f64::from(i * 11 % 17)),
        ramp: if i % 10 == 9 { 0.3 } else { 1.0 },
        confidence: f64::from(i * 13 % 20 + 1) / 20.0,
        latency_us: Some(f64::from(i * 31 % 97 + 100) * 1000.0),
        in_flight: i * 5 % 8,
        identity: u64::from(i),
    };
    (0..n).map(make).collect()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let smart_ai = SmartAi::default();
    for n in [3, 30, 300] {
        let candidates = candidates(n);
        let mut group = criterion.benchmark_group("select");
        for row in Strategy::all() {
            let (mut dice, mut turn) = (SeededDice::new(1), 0);
            group.bench_function(BenchmarkId::new(row.name, n), |bencher| {
                bencher.iter(|| {
                    turn += 1;
                    let mut turn = Turn { turn, dice: &mut dice, affinity: Some(turn), smart_ai: &smart_ai };
                    row.strategy.pick(black_box(&candidates), &mut turn)
                });
            });
        }
    }
    criterion.final_summary();
}
