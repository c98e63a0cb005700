//! Confidence in a backend, from 0 to 1: what `smart_ai` has learned from outcomes, fading toward "don't know" (0.5) while
//! nothing new is learned.

use std::time::Duration;

use berry_vocab::Moment;

use crate::outcome::OutcomeClass;
use crate::smart_ai::SmartAi;

/// What confidence drifts toward when a backend is idle.
const NEUTRAL: f64 = 0.5;

const HOUR: u64 = 3600;

/// After so long without an outcome, so much of the distance from [`NEUTRAL`] is left. The longest time first.
const DECAY: [(Duration, f64); 4] = [
    (Duration::from_secs(72 * HOUR), 0.7),
    (Duration::from_secs(24 * HOUR), 0.8),
    (Duration::from_secs(7 * HOUR), 0.9),
    (Duration::from_secs(2 * HOUR), 0.95),
];

/// A confidence and when it was last changed by an outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confidence {
    value: f64,
    at: Moment,
}

impl Confidence {
    /// The confidence in a backend that nobody has used yet.
    pub fn new(now: Moment, rules: &SmartAi) -> Self {
        Self { value: rules.initial_confidence, at: now }
    }

    /// Learns from an outcome. A client's own mistake teaches nothing.
    pub fn record(&mut self, outcome: OutcomeClass, now: Moment, rules: &SmartAi) {
        if let Some(change) = change(outcome, rules) {
            self.value = bounded(self.value_at(now, rules) + change, rules);
            self.at = now;
        }
    }

    /// The confidence now: never below `min_confidence`, never above 1.
    pub fn value_at(&self, now: Moment, rules: &SmartAi) -> f64 {
        let left = if rules.enable_time_decay { left_after(now.since(self.at)) } else { 1.0 };
        let value = if left < 1.0 { NEUTRAL + (self.value - NEUTRAL) * left } else { self.value };
        bounded(value, rules)
    }
}

fn left_after(idle: Duration) -> f64 {
    DECAY.iter().find(|(after, _)| idle >= *after).map_or(1.0, |(_, left)| *left)
}

fn change(outcome: OutcomeClass, rules: &SmartAi) -> Option<f64> {
    match outcome {
        OutcomeClass::Success => Some(rules.success_boost),
        OutcomeClass::NetworkError => Some(-rules.network_error_penalty),
        OutcomeClass::AuthError => Some(-rules.auth_error_penalty),
        OutcomeClass::RateLimit => Some(-rules.rate_limit_penalty),
        OutcomeClass::ServerError => Some(-rules.server_error_penalty),
        OutcomeClass::ModelError => Some(-rules.model_error_penalty),
        OutcomeClass::Timeout => Some(-rules.timeout_penalty),
        OutcomeClass::ClientError => None,
    }
}

/// Not `f64::clamp`, which panics on bounds that are the wrong way round.
fn bounded(value: f64, rules: &SmartAi) -> f64 {
    value.max(rules.min_confidence).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Moment = Moment::ZERO;

    fn confidence(value: f64) -> Confidence {
        Confidence { value, at: CALM }
    }

    fn after(outcomes: &[OutcomeClass]) -> f64 {
        let rules = SmartAi::default();
        let mut confidence = Confidence::new(CALM, &rules);
        outcomes.iter().for_each(|o| confidence.record(*o, CALM, &rules));
        confidence.value_at(CALM, &rules)
    }

    #[test]
    fn each_class_of_outcome_changes_it_by_its_own_amount() {
        use OutcomeClass::*;
        let expected = [
            (Success, 0.9),
            (NetworkError, 0.5),
            (AuthError, 0.05),
            (RateLimit, 0.7),
            (ServerError, 0.6),
            (ModelError, 0.5),
            (Timeout, 0.6),
            (ClientError, 0.8),
        ];
        for (outcome, value) in expected {
            assert!((after(&[outcome]) - value).abs() < 1e-9, "{outcome:?}");
        }
    }

    #[test]
    fn it_stays_between_min_confidence_and_one() {
        assert_eq!(after(&[OutcomeClass::Success; 9]), 1.0);
        assert_eq!(after(&[OutcomeClass::AuthError; 9]), 0.05);
    }

    #[test]
    fn idle_time_draws_it_toward_one_half_from_both_sides() {
        let rules = SmartAi::default();
        for (hours, left) in [(0, 1.0), (1, 1.0), (2, 0.95), (6, 0.95), (7, 0.9), (24, 0.8), (72, 0.7), (9999, 0.7)] {
            let now = CALM.after(Duration::from_secs(hours * HOUR));
            assert!((confidence(0.9).value_at(now, &rules) - (0.5 + 0.4 * left)).abs() < 1e-9, "{hours} h");
            assert!((confidence(0.1).value_at(now, &rules) - (0.5 - 0.4 * left)).abs() < 1e-9, "{hours} h");
        }
    }

    #[test]
    fn without_time_decay_it_stays_as_it_was() {
        let rules = SmartAi { enable_time_decay: false, ..SmartAi::default() };
        assert_eq!(confidence(0.9).value_at(CALM.after(Duration::from_secs(99 * HOUR)), &rules), 0.9);
    }

    #[test]
    fn a_clients_mistake_does_not_count_as_news() {
        let rules = SmartAi::default();
        let mut idle = confidence(0.9);
        idle.record(OutcomeClass::ClientError, CALM.after(Duration::from_secs(HOUR)), &rules);
        assert!(idle.value_at(CALM.after(Duration::from_secs(2 * HOUR)), &rules) < 0.9);
    }
}
