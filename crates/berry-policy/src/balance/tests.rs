//! What every strategy promises, and what each one does.

use std::collections::HashSet;

use berry_vocab::SeededDice;
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use super::{Candidate, Strategy, Turn};
use crate::smart_ai::SmartAi;
use crate::testing::cases;

mod each;
mod round_robin;

/// A candidate about which nothing is special.
fn plain(identity: u64) -> Candidate {
    Candidate {
        weight: 1.0,
        priority: 0,
        premium: false,
        price: None,
        ramp: 1.0,
        confidence: 0.8,
        latency_us: Some(1000.0),
        in_flight: 0,
        identity,
    }
}

/// Candidates that differ in one thing.
fn with<T: Copy>(values: &[T], set: fn(&mut Candidate, T)) -> Vec<Candidate> {
    let make = |(i, value): (usize, &T)| {
        let mut candidate = plain(i as u64);
        set(&mut candidate, *value);
        candidate
    };
    values.iter().enumerate().map(make).collect()
}

fn weighted(weights: &[f64]) -> Vec<Candidate> {
    with(weights, |c, weight| c.weight = weight)
}

/// What a strategy picks for these turns and affinity keys.
fn choose(strategy: Strategy, candidates: &[Candidate], turns: impl Iterator<Item = (u64, Option<u64>)>) -> Vec<usize> {
    let (mut dice, smart_ai) = (SeededDice::new(11), SmartAi::default());
    let pick = |(turn, affinity)| {
        let mut turn = Turn { turn, dice: &mut dice, affinity, smart_ai: &smart_ai };
        strategy.pick(candidates, &mut turn).unwrap()
    };
    turns.map(pick).collect()
}

/// What it picks for turns 0, 1, 2, … without an affinity key.
fn picks(strategy: Strategy, candidates: &[Candidate], turns: u64) -> Vec<usize> {
    choose(strategy, candidates, (0..turns).map(|turn| (turn, None)))
}

fn counts(picks: &[usize], n: usize) -> Vec<f64> {
    (0..n).map(|i| picks.iter().filter(|p| **p == i).count() as f64).collect()
}

/// That the picks are what a draw by these shares gives: χ² within five standard deviations of what chance allows, and none
/// where the share is 0.
fn assert_follows(picks: &[usize], shares: &[f64], what: &str) {
    let mut chi_square = 0.0;
    for (count, share) in counts(picks, shares.len()).iter().zip(shares) {
        let expected = share * picks.len() as f64;
        assert!(expected > 0.0 || *count == 0.0, "{what}: {picks:?} {shares:?}");
        chi_square += if expected > 0.0 { (count - expected).powi(2) / expected } else { 0.0 };
    }
    let freedom = shares.len() as f64;
    assert!(chi_square < freedom + 5.0 * (2.0 * freedom).sqrt(), "{what}: χ² {chi_square}, {shares:?}");
}

fn assert_shares(strategy: Strategy, candidates: &[Candidate], expected: &[f64]) {
    let shares = strategy.weights(candidates, &SmartAi::default());
    let close = shares.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(close && shares.len() == expected.len(), "{}: {shares:?}, not {expected:?}", strategy.name());
    assert_follows(&picks(strategy, candidates, 10_000), &shares, strategy.name());
}

// === all of them ===

#[test]
fn every_strategy_has_one_row_and_is_found_by_its_name() {
    let mut seen = HashSet::new();
    for row in Strategy::all() {
        assert!(seen.insert(row.strategy) && !row.doc.is_empty());
        assert_eq!(Strategy::from_name(row.name), Some(row.strategy));
        assert_eq!(row.strategy.name(), row.name);
    }
    assert_eq!(Strategy::from_name("fastest"), None);
    assert_eq!(Strategy::default().name(), "weighted_random");
}

#[test]
fn no_candidates_no_pick() {
    let (mut dice, smart_ai) = (SeededDice::new(1), SmartAi::default());
    for row in Strategy::all() {
        let mut turn = Turn { turn: 5, dice: &mut dice, affinity: Some(1), smart_ai: &smart_ai };
        assert_eq!(row.strategy.pick(&[], &mut turn), None, "{}", row.name);
        assert!(row.strategy.weights(&[], &smart_ai).is_empty());
    }
}

#[test]
fn traffic_follows_the_shares_that_are_shown() {
    let mixed: Vec<Candidate> = (0..7u32)
        .map(|i| Candidate {
            weight: f64::from(i % 3 + 1),
            priority: (i % 2) as u8,
            premium: i % 4 == 0,
            price: (i % 3 != 0).then_some(f64::from(i % 2)),
            ramp: if i == 6 { 0.3 } else { 1.0 },
            confidence: 0.3 + 0.1 * f64::from(i),
            latency_us: Some(f64::from(i % 5 + 1)),
            in_flight: i % 3,
            identity: u64::from(i),
        })
        .collect();
    for row in Strategy::all() {
        let shares = row.strategy.weights(&mixed, &SmartAi::default());
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{}", row.name);
        assert_follows(&picks(row.strategy, &mixed, 10_000), &shares, row.name);
    }
}

fn arbitrary_number() -> impl Generator<Value = f64> {
    prop_oneof![
        0.01..100.0f64,
        Just(1.0),
        Just(1e-9),
        Just(5e-324),
        Just(0.0),
        Just(-1.0),
        Just(f64::MAX),
        Just(f64::NAN),
        Just(f64::INFINITY),
    ]
}

fn arbitrary_candidate() -> impl Generator<Value = Candidate> {
    let number = arbitrary_number;
    let flags = (any::<u8>(), any::<bool>(), any::<u32>(), any::<u64>());
    let optional = (prop::option::of(number()), prop::option::of(number()));
    (number(), number(), number(), flags, optional).prop_map(
        |(weight, ramp, confidence, (priority, premium, in_flight, identity), (price, latency_us))| Candidate {
            weight,
            priority,
            premium,
            price,
            ramp,
            confidence,
            latency_us,
            in_flight,
            identity,
        },
    )
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_pick_is_always_one_of_the_candidates(
        candidates in prop::collection::vec(arbitrary_candidate(), 1..40),
        (turn, seed, affinity) in (any::<u64>(), any::<u64>(), any::<Option<u64>>()),
    ) {
        let (mut dice, smart_ai) = (SeededDice::new(seed), SmartAi::default());
        for row in Strategy::all() {
            let mut turn = Turn { turn, dice: &mut dice, affinity, smart_ai: &smart_ai };
            let pick = row.strategy.pick(&candidates, &mut turn);
            prop_assert!(pick.is_some_and(|i| i < candidates.len()), "{}: {:?}", row.name, pick);
            let shares = row.strategy.weights(&candidates, &smart_ai);
            prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{}: {:?}", row.name, shares);
        }
    }
}
