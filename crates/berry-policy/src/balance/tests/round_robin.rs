//! Order and smoothness of `round_robin`.

use proptest::prelude::*;

use super::{Candidate, SmartAi, Strategy, choose, counts, weighted};
use crate::testing::cases;

fn round_robin_from(candidates: &[Candidate], first: u64, turns: u64) -> Vec<usize> {
    choose(Strategy::RoundRobin, candidates, (first..first + turns).map(|turn| (turn, None)))
}

/// The farthest that each candidate's running count strays from its share.
fn stray(picks: &[usize], shares: &[f64]) -> Vec<f64> {
    let (mut counts, mut farthest) = (vec![0.0; shares.len()], vec![0.0f64; shares.len()]);
    for (turn, pick) in picks.iter().enumerate() {
        counts[*pick] += 1.0;
        for (i, share) in shares.iter().enumerate() {
            farthest[i] = farthest[i].max((counts[i] - share * (turn + 1) as f64).abs());
        }
    }
    farthest
}

#[test]
fn round_robin_goes_strictly_in_turn_among_equals() {
    let late = 3 * 1_000_000_000;
    for (n, first) in [(1, 0), (3, 0), (7, 7000), (3, late), (300, 0)] {
        let in_turn: Vec<usize> = (0..1000).map(|t| t % n).collect();
        assert_eq!(round_robin_from(&weighted(&vec![0.7; n]), first, 1000), in_turn, "{n}");
    }
}

#[test]
fn round_robin_spreads_a_heavy_ones_turns() {
    let order = |weights: &[f64]| round_robin_from(&weighted(weights), 0, weights.iter().sum::<f64>() as u64);
    assert_eq!(order(&[2.0, 1.0, 1.0]), [0, 1, 0, 2]);
    assert_eq!(order(&[5.0, 1.0, 1.0]), [0, 0, 0, 1, 0, 0, 2]);
    let mut heavy_and_many = vec![1.0; 100];
    heavy_and_many[0] = 100.0;
    let strays =
        stray(&order(&heavy_and_many), &Strategy::RoundRobin.weights(&weighted(&heavy_and_many), &SmartAi::default()));
    assert!(strays.iter().all(|s| *s <= 1.0), "{strays:?}");
}

#[test]
fn round_robin_lets_the_ramp_scale_a_weight() {
    let mut candidates = weighted(&[1.0, 1.0]);
    candidates[1].ramp = 0.1;
    let picks = round_robin_from(&candidates, 0, 1100);
    assert_eq!(counts(&picks, 2), [1000.0, 100.0]);
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn round_robin_honours_integer_weights_exactly_over_any_period(
        weights in prop::collection::vec(1u32..30, 1..20),
        periods in 0u64..1000,
    ) {
        let candidates = weighted(&weights.iter().map(|w| f64::from(*w)).collect::<Vec<_>>());
        let period = u64::from(weights.iter().sum::<u32>());
        let picks = round_robin_from(&candidates, periods * period, period);
        let exact: Vec<f64> = candidates.iter().map(|c| c.weight).collect();
        prop_assert_eq!(counts(&picks, weights.len()), exact);
    }

    #[test]
    fn round_robin_strays_little_from_each_share_at_any_time(
        weights in prop::collection::vec(1u32..30, 1..20),
    ) {
        let candidates = weighted(&weights.iter().map(|w| f64::from(*w)).collect::<Vec<_>>());
        let shares = Strategy::RoundRobin.weights(&candidates, &SmartAi::default());
        let stray = stray(&round_robin_from(&candidates, 0, 300), &shares);
        // A line strays less than 1 by time, and time less than n / 2 from the turn.
        let bounds = shares.iter().map(|share| 1.0 + share * weights.len() as f64 / 2.0);
        for (stray, bound) in stray.iter().zip(bounds) {
            prop_assert!(*stray <= bound + 1e-9, "{} > {}", stray, bound);
        }
    }
}
