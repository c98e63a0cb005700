//! Every line of the states table, as a promise.

use super::*;
use crate::testing::at;
use FailureKind::{Hard, Soft};

const RULES: HealthRules = HealthRules { failure_threshold: 5, open_time: Duration::from_secs(60) };

/// A backend after some failures at second 0.
fn failed(kinds: &[FailureKind]) -> Health {
    let mut health = Health::new();
    kinds.iter().for_each(|kind| health.record_failure(*kind, true, at(0), &RULES));
    health
}

fn open(seconds: u64, hard: bool) -> State {
    State::Open { until: at(seconds), hard }
}

#[test]
fn a_new_backend_is_healthy_with_its_full_weight_and_no_limit() {
    let state = Health::new().state(at(0));
    assert_eq!(state, State::Healthy);
    assert!(state.eligible() && state.weight_factor() == 1.0 && state.at_once().is_none());
}

#[test]
fn two_hard_failures_in_a_row_open_it() {
    assert_eq!(failed(&[Hard]).state(at(0)), State::Healthy);
    assert_eq!(failed(&[Hard, Soft, Hard]).state(at(0)), State::Healthy);
    assert_eq!(failed(&[Hard, Hard]).state(at(0)), open(60, true));
}

#[test]
fn a_success_between_them_starts_the_row_again() {
    let mut health = failed(&[Soft, Soft, Soft, Hard]);
    health.record_success(at(1));
    health.record_failure(Hard, true, at(2), &RULES);
    assert_eq!(health.state(at(2)), State::Healthy);
}

#[test]
fn as_many_soft_failures_in_a_row_as_the_threshold_open_it() {
    assert_eq!(failed(&[Soft; 4]).state(at(0)), State::Healthy);
    assert_eq!(failed(&[Soft; 5]).state(at(0)), open(60, false));
}

#[test]
fn half_of_at_least_twenty_failing_within_a_minute_open_it() {
    let mut health = Health::new();
    for second in 0..9 {
        health.record_success(at(second));
        health.record_failure(Soft, true, at(second), &RULES);
    }
    health.record_success(at(9));
    assert_eq!(health.state(at(9)), State::Healthy, "19 are not enough");
    health.record_failure(Soft, true, at(9), &RULES);
    assert_eq!(health.state(at(9)), open(69, false));
}

#[test]
fn less_than_half_or_spread_over_more_than_a_minute_does_not_open_it() {
    let (mut mostly_good, mut slow) = (Health::new(), Health::new());
    for i in 0..200 {
        mostly_good.record_success(at(i / 10));
        mostly_good.record_success(at(i / 10));
        mostly_good.record_failure(Soft, true, at(i / 10), &RULES);
        slow.record_success(at(i * 10));
        slow.record_failure(Soft, true, at(i * 10), &RULES);
    }
    assert_eq!(mostly_good.state(at(20)), State::Healthy);
    assert_eq!(slow.state(at(2000)), State::Healthy);
}

#[test]
fn an_open_one_gets_nothing_until_its_time_is_over() {
    let health = failed(&[Hard, Hard]);
    let state = health.state(at(59));
    assert!(!state.eligible() && state.weight_factor() == 0.0 && state.at_once() == Some(0));
    assert_eq!(health.next_change(at(59)), Some(at(60)));
    assert_eq!(health.state(at(60)), State::Ramp { successes: 0 });
    assert_eq!(health.next_change(at(60)), None);
}

#[test]
fn the_ramp_widens_after_one_and_three_successes_and_ends_after_five() {
    let mut health = failed(&[Hard, Hard]);
    let mut steps = Vec::new();
    for _ in 0..6 {
        let state = health.state(at(60));
        assert!(state.eligible());
        steps.push((state.weight_factor(), state.at_once()));
        health.record_success(at(60));
    }
    let (first, second, third) = ((0.1, Some(1)), (0.3, Some(2)), (0.5, Some(4)));
    assert_eq!(steps, [first, second, second, third, third, (1.0, None)]);
}

#[test]
fn a_failure_in_the_ramp_opens_it_again_for_twice_as_long_up_to_five_minutes() {
    let mut health = failed(&[Hard, Hard]);
    let mut now = 60;
    for seconds in [120, 240, 300, 300] {
        health.record_success(at(now));
        health.record_failure(Soft, true, at(now), &RULES);
        assert_eq!(health.state(at(now)), open(now + seconds, false));
        now += seconds;
    }
}

#[test]
fn a_longer_open_time_than_five_minutes_is_honoured() {
    let rules = HealthRules { open_time: Duration::from_secs(900), ..RULES };
    let mut health = Health::new();
    (0..2).for_each(|_| health.record_failure(Hard, true, at(0), &rules));
    assert_eq!(health.next_change(at(0)), Some(at(900)));
    health.record_failure(Hard, true, at(900), &rules);
    assert_eq!(health.next_change(at(900)), Some(at(1800)));
}

#[test]
fn reaching_healthy_forgets_how_often_it_opened() {
    let mut health = failed(&[Hard, Hard]);
    health.record_failure(Hard, true, at(60), &RULES);
    (0..5).for_each(|_| health.record_success(at(180)));
    (0..2).for_each(|_| health.record_failure(Hard, true, at(180), &RULES));
    assert_eq!(health.state(at(180)), open(240, true));
}

#[test]
fn an_active_check_leads_from_open_to_the_ramp_and_no_further() {
    let mut health = failed(&[Soft; 5]);
    (0..9).for_each(|_| health.record_check_success(true, at(1)));
    assert_eq!(health.state(at(1)), State::Ramp { successes: 0 });
}

/// Else a backend without traffic would be taken out by two lost connections that lie an hour apart.
#[test]
fn a_good_check_takes_back_what_checks_said_before() {
    let mut health = failed(&[Soft; 2]);
    for second in 1..100 {
        health.record_check_failure(Hard, true, at(60 * second), &RULES);
        assert_eq!(health.failures_in_a_row(), 3);
        health.record_check_success(false, at(60 * second + 30));
        assert_eq!((health.failures_in_a_row(), health.state(at(60 * second + 30))), (2, State::Healthy));
    }
    (0..2).for_each(|_| health.record_check_failure(Hard, true, at(9000), &RULES));
    assert!(!health.state(at(9000)).eligible());
    health.record_check_success(false, at(9000));
    assert!(!health.state(at(9000)).eligible(), "what may not lead to the ramp does not");
}

#[test]
fn an_active_check_does_not_hide_failures_of_traffic() {
    let mut health = failed(&[Soft; 4]);
    health.record_check_success(true, at(0));
    health.record_failure(Soft, true, at(0), &RULES);
    assert!(!health.state(at(0)).eligible());
}

#[test]
fn stragglers_neither_close_nor_prolong_an_open_one() {
    let mut health = failed(&[Soft; 5]);
    health.record_success(at(1));
    health.record_failure(Soft, true, at(2), &RULES);
    assert_eq!(health.state(at(2)), open(60, false));
}

#[test]
fn an_open_one_that_is_found_gone_becomes_hard_open() {
    let mut health = failed(&[Soft; 5]);
    (0..2).for_each(|_| health.record_failure(Hard, true, at(2), &RULES));
    assert_eq!(health.state(at(2)), open(60, true));
}

#[test]
fn soft_failures_do_not_open_it_when_they_may_not_but_hard_ones_do() {
    let mut health = Health::new();
    (0..100).for_each(|_| health.record_failure(Soft, false, at(0), &RULES));
    assert_eq!(health.state(at(0)), State::Healthy);
    (0..2).for_each(|_| health.record_failure(Hard, false, at(0), &RULES));
    assert_eq!(health.state(at(0)), open(60, true));
    health.record_failure(Soft, false, at(60), &RULES);
    assert_eq!(health.state(at(60)), State::Ramp { successes: 0 });
}

#[test]
fn soft_failures_open_at_most_half_of_a_models_backends_and_never_the_last() {
    let most = |total| (0..total).take_while(|open| may_open_soft(*open, total)).count();
    assert_eq!([1, 2, 3, 4, 5, 10].map(most), [0, 1, 1, 2, 2, 5]);
}

#[test]
fn panic_tries_the_soft_open_one_that_is_due_soonest() {
    let states = [open(9, false), open(3, true), open(5, false), open(5, false)];
    assert_eq!(panic_pick(states.into_iter()), Some(2));
    assert_eq!(panic_pick([open(9, true), open(3, true)].into_iter()), None);
    assert_eq!(panic_pick(std::iter::empty()), None);
}
