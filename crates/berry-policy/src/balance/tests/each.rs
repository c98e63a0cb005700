//! What each strategy chooses, and that traffic follows.

use super::{Candidate, Strategy, assert_follows, assert_shares, choose, weighted, with};

fn by_key(candidates: &[Candidate], keys: u64) -> Vec<usize> {
    choose(Strategy::Affinity, candidates, (0..keys).map(|key| (0, Some(key))))
}

#[test]
fn weighted_random_follows_the_weights_and_the_ramp() {
    let mut candidates = weighted(&[6.0, 3.0, 10.0]);
    candidates[2].ramp = 0.1;
    for strategy in [Strategy::WeightedRandom, Strategy::WeightedFailover, Strategy::SmartWeightedFailover] {
        assert_shares(strategy, &candidates, &[0.6, 0.3, 0.1]);
    }
}

#[test]
fn random_is_even_whatever_the_weights() {
    assert_shares(Strategy::Random, &weighted(&[9.0, 1.0, 5.0, 0.1]), &[0.25; 4]);
}

#[test]
fn least_latency_takes_the_shortest_wait_with_in_flight_counted() {
    let candidates = with(&[(300.0, 0), (100.0, 3), (100.0, 1)], |c, (latency, in_flight)| {
        (c.latency_us, c.in_flight) = (Some(latency), in_flight);
    });
    assert_shares(Strategy::LeastLatency, &candidates, &[0.0, 0.0, 1.0]);
}

#[test]
fn least_latency_tries_an_unmeasured_one_first_but_not_with_everyone_at_once() {
    let latency = |values: &[(Option<f64>, u32)]| with(values, |c, (l, n)| (c.latency_us, c.in_flight) = (l, n));
    let unmeasured = latency(&[(Some(1.0), 0), (None, 0), (None, 0)]);
    assert_shares(Strategy::LeastLatency, &unmeasured, &[0.0, 0.5, 0.5]);
    let being_measured = latency(&[(Some(1.0), 9), (None, 1), (None, 1)]);
    assert_shares(Strategy::LeastLatency, &being_measured, &[1.0, 0.0, 0.0]);
    let all_new = latency(&[(None, 3), (None, 1), (None, 2)]);
    assert_shares(Strategy::LeastLatency, &all_new, &[0.0, 1.0, 0.0]);
}

#[test]
fn failover_takes_the_lowest_priority_and_of_equals_the_first_in_the_file() {
    let candidates = with(&[3, 1, 1, 0, 0], |c, priority| c.priority = priority);
    assert_shares(Strategy::Failover, &candidates, &[0.0, 0.0, 0.0, 1.0, 0.0]);
    assert_shares(Strategy::Failover, &candidates[..3], &[0.0, 1.0, 0.0]);
}

#[test]
fn smart_ai_weighs_by_the_root_of_confidence_and_explores_by_weight() {
    let candidates = with(&[0.81, 0.09], |c, confidence| c.confidence = confidence);
    assert_shares(Strategy::SmartAi, &candidates, &[0.8 * 0.75 + 0.2 * 0.5, 0.8 * 0.25 + 0.2 * 0.5]);
}

#[test]
fn smart_ai_prefers_a_proven_one_that_is_not_premium() {
    let candidates = with(&[true, false], |c, premium| (c.premium, c.confidence) = (premium, 1.0));
    assert_shares(Strategy::SmartAi, &candidates, &[0.8 / 2.1 + 0.1, 0.8 * 1.1 / 2.1 + 0.1]);
}

#[test]
fn smart_ai_scales_by_the_ramp() {
    let candidates = with(&[1.0, 0.1], |c, ramp| c.ramp = ramp);
    assert_shares(Strategy::SmartAi, &candidates, &[1.0 / 1.1, 0.1 / 1.1]);
}

#[test]
fn smart_ai_without_any_confidence_goes_by_weight() {
    let mut candidates = weighted(&[3.0, 1.0]);
    candidates.iter_mut().for_each(|c| c.confidence = 0.0);
    assert_shares(Strategy::SmartAi, &candidates, &[0.75, 0.25]);
}

#[test]
fn least_busy_takes_the_fewest_in_flight_and_of_equals_one_by_weight() {
    let candidates = with(&[(2, 1.0), (1, 3.0), (1, 1.0)], |c, (n, weight)| (c.in_flight, c.weight) = (n, weight));
    assert_shares(Strategy::LeastBusy, &candidates, &[0.0, 0.75, 0.25]);
}

#[test]
fn p2c_never_takes_the_worst_and_an_unmeasured_one_wins() {
    let candidates = with(&[Some(100.0), Some(200.0), None, Some(900.0)], |c, latency| c.latency_us = latency);
    assert_shares(Strategy::P2c, &candidates, &[2.0 / 6.0, 1.0 / 6.0, 3.0 / 6.0, 0.0]);
    assert_shares(Strategy::P2c, &candidates[..1], &[1.0]);
}

#[test]
fn least_cost_takes_the_lowest_price_then_the_unpriced_then_the_unpriced_premium() {
    let priced =
        |values: &[(Option<f64>, bool)]| with(values, |c, (price, premium)| (c.price, c.premium) = (price, premium));
    let all = priced(&[(None, true), (None, false), (Some(9.0), true), (Some(2.0), false), (Some(2.0), true)]);
    assert_shares(Strategy::LeastCost, &all, &[0.0, 0.0, 0.0, 0.5, 0.5]);
    assert_shares(Strategy::LeastCost, &all[..3], &[0.0, 0.0, 1.0]);
    assert_shares(Strategy::LeastCost, &all[..2], &[0.0, 1.0]);
}

#[test]
fn affinity_spreads_keys_by_weight_and_sends_each_to_the_same_backend() {
    let candidates = weighted(&[1.0, 2.0, 5.0]);
    let first = by_key(&candidates, 10_000);
    assert_eq!(first, by_key(&candidates, 10_000));
    assert_follows(&first, &[0.125, 0.25, 0.625], "keys");
}

#[test]
fn affinity_moves_only_the_keys_of_a_backend_that_left() {
    let candidates = weighted(&[1.0, 1.0, 1.0, 1.0]);
    let (before, after) = (by_key(&candidates, 1000), by_key(&candidates[..3], 1000));
    assert!(before.iter().zip(&after).all(|(b, a)| b == a || *b == 3));
}

#[test]
fn affinity_passes_over_a_backend_that_is_much_busier_than_its_part() {
    let mut candidates = weighted(&[1.0, 1.0]);
    (candidates[0].in_flight, candidates[1].in_flight) = (6, 4);
    assert!(by_key(&candidates, 1000).contains(&0), "6 ≤ 1.25 × 5 + 1");
    candidates[0].in_flight = 12;
    assert!(!by_key(&candidates, 1000).contains(&0), "12 > 1.25 × 8 + 1");
}

#[test]
fn affinity_without_a_key_goes_by_weight() {
    assert_shares(Strategy::Affinity, &weighted(&[3.0, 1.0]), &[0.75, 0.25]);
}
