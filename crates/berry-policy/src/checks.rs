//! When a backend is due for an active check, which one, and what its success proves. Making the check, and recording what came
//! of it, are the caller's affair.
//!
//! | billing | models list | one token |
//! |---|---|---|
//! | per token | every `interval`, in every state | every `recovery_interval` while open |
//! | per request | every `lightweight_interval` | never: it would cost as much as the biggest request |
//!
//! Every wait is thrown by dice: backends, or gateways that were started together, must not check together.

use std::time::Duration;

use berry_vocab::{Dice, Moment};

use crate::health::State;

/// A wait is at least so much of its interval, and at most as much more than it as this is less.
const SHORTEST_WAIT: f64 = 0.9;

/// What a backend's provider charges for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Billing {
    /// Tokens: a request for one costs next to nothing.
    #[default]
    PerToken,
    /// Requests: the smallest costs as much as the biggest.
    PerRequest,
}

/// A request of Berry's own, to learn about health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// The list of models: free; shows that the provider can be reached and takes the key.
    Models,
    /// A chat that ends after one token: shows that the model answers.
    OneToken,
}

/// How often a backend is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckRules {
    /// What its provider charges for.
    pub billing: Billing,
    /// From one models list to the next, billed per token.
    pub interval: Duration,
    /// From one request for one token to the next, while the backend is open.
    pub recovery_interval: Duration,
    /// From one models list to the next, billed per request.
    pub lightweight_interval: Duration,
}

/// When the checks of one backend are due. It is made anew when its rules change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckSchedule {
    models: Moment,
    one_token: Option<Moment>,
}

// === impl CheckRules ===

impl CheckRules {
    fn models(&self) -> Duration {
        match self.billing {
            Billing::PerToken => self.interval,
            Billing::PerRequest => self.lightweight_interval,
        }
    }

    fn one_token(&self) -> Option<Duration> {
        (self.billing == Billing::PerToken).then_some(self.recovery_interval)
    }
}

// === impl CheckSchedule ===

impl CheckSchedule {
    /// The first check of each kind comes at random within one interval.
    pub fn new(now: Moment, rules: &CheckRules, dice: &mut dyn Dice) -> Self {
        let mut first = |interval: Duration| now.after(scaled(interval, dice.unit()));
        Self { models: first(rules.models()), one_token: rules.one_token().map(first) }
    }

    /// The check that is due, if one is; the next of its kind is planned from now on. Ask until there is none, one after the
    /// other: two may be due at once, the one that proves more first.
    ///
    /// Moments for one token come around in every state and pass unused while the backend is not open. So it needs no word of
    /// when a backend opened, and backends that opened together are still checked at different moments: each for the first
    /// time within one recovery interval. One whose open time is over before that proves itself on real traffic.
    pub fn due(&mut self, now: Moment, state: State, rules: &CheckRules, dice: &mut dyn Dice) -> Option<Check> {
        let mut next =
            |interval: Duration| now.after(scaled(interval, SHORTEST_WAIT + dice.unit() * 2.0 * (1.0 - SHORTEST_WAIT)));
        if self.one_token.is_some_and(|due| due <= now) {
            self.one_token = rules.one_token().map(&mut next);
            if !state.eligible() {
                return Some(Check::OneToken);
            }
        }
        let is_due = self.models <= now;
        if is_due {
            self.models = next(rules.models());
        }
        is_due.then_some(Check::Models)
    }

    /// When to ask again: nothing is due before.
    pub fn next(&self) -> Moment {
        self.one_token.map_or(self.models, |one_token| one_token.min(self.models))
    }
}

/// Whether the success of a check lets a backend in this state into the ramp.
///
/// A list of models proves that a backend is there again, which is all that a hard-open one had to prove; it says nothing about
/// the chats that made another one soft-open. Where each real request is paid for, only the open time leads out.
pub fn leads_to_ramp(check: Check, state: State, billing: Billing) -> bool {
    match (billing, state, check) {
        (Billing::PerToken, State::Open { .. }, Check::OneToken) => true,
        (Billing::PerToken, State::Open { hard, .. }, Check::Models) => hard,
        (Billing::PerToken, State::Healthy | State::Ramp { .. }, _) | (Billing::PerRequest, ..) => false,
    }
}

/// A share of an interval; the whole of it where that is beyond all measure.
fn scaled(interval: Duration, share: f64) -> Duration {
    Duration::try_from_secs_f64(interval.as_secs_f64() * share).unwrap_or(interval)
}

#[cfg(test)]
mod tests {
    use berry_vocab::SeededDice;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{at, cases, wait};

    const SOFT: State = State::Open { until: Moment::from_nanos(u64::MAX), hard: false };
    const HARD: State = State::Open { until: Moment::from_nanos(u64::MAX), hard: true };
    const RAMP: State = State::Ramp { successes: 2 };

    fn rules(billing: Billing) -> CheckRules {
        CheckRules {
            billing,
            interval: Duration::from_secs(30),
            recovery_interval: Duration::from_secs(120),
            lightweight_interval: Duration::from_secs(600),
        }
    }

    /// The seconds of an hour at which each kind of check is made, asked once a second.
    fn an_hour(state: State, billing: Billing) -> (Vec<u64>, Vec<u64>) {
        let (rules, mut dice) = (rules(billing), SeededDice::new(3));
        let mut schedule = CheckSchedule::new(at(0), &rules, &mut dice);
        let (mut models, mut one_token) = (Vec::new(), Vec::new());
        for second in 0..3600 {
            while let Some(check) = schedule.due(at(second), state, &rules, &mut dice) {
                if check == Check::Models { models.push(second) } else { one_token.push(second) }
            }
        }
        (models, one_token)
    }

    /// Whether the first comes within the interval, and the others about that much later, but never in step.
    fn is_every(interval: u64, seconds: &[u64]) -> bool {
        let gaps: Vec<u64> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let range = interval * 9 / 10..=interval * 11 / 10 + 1;
        seconds[0] <= interval && gaps.iter().all(|gap| range.contains(gap)) && gaps.iter().any(|gap| *gap != gaps[0])
    }

    #[test]
    fn billed_per_token_the_list_is_read_in_every_state_and_one_token_asked_for_while_open() {
        for state in [SOFT, HARD] {
            let (models, one_token) = an_hour(state, Billing::PerToken);
            assert!(is_every(30, &models) && is_every(120, &one_token), "{models:?} {one_token:?}");
        }
        for state in [State::Healthy, RAMP] {
            let (models, one_token) = an_hour(state, Billing::PerToken);
            assert!(is_every(30, &models) && one_token.is_empty(), "{models:?}");
        }
    }

    #[test]
    fn billed_per_request_nothing_that_costs_is_ever_sent() {
        for state in [State::Healthy, RAMP, SOFT, HARD] {
            let (models, one_token) = an_hour(state, Billing::PerRequest);
            assert!(is_every(600, &models) && one_token.is_empty(), "{models:?}");
        }
    }

    #[test]
    fn moments_that_passed_while_healthy_are_not_made_up_for() {
        let (rules, mut dice) = (rules(Billing::PerToken), SeededDice::new(1));
        let mut schedule = CheckSchedule::new(at(0), &rules, &mut dice);
        while schedule.due(at(500), State::Healthy, &rules, &mut dice).is_some() {}
        assert_eq!(schedule.due(at(501), HARD, &rules, &mut dice), None);
    }

    #[test]
    fn backends_that_begin_together_are_not_checked_together() {
        let (rules, mut dice) = (rules(Billing::PerToken), SeededDice::new(7));
        let mut per_second = [0; 31];
        for _ in 0..3000 {
            let next = CheckSchedule::new(at(0), &rules, &mut dice).models;
            per_second[next.since(at(0)).as_secs() as usize] += 1;
        }
        assert!(per_second[..30].iter().all(|n| (50..200).contains(n)), "{per_second:?}");
    }

    #[test]
    fn what_a_success_proves_depends_on_the_check_the_state_and_the_billing() {
        use Billing::{PerRequest, PerToken};
        use Check::{Models, OneToken};
        let proofs = [(OneToken, SOFT, PerToken), (OneToken, HARD, PerToken), (Models, HARD, PerToken)];
        for check in [Models, OneToken] {
            for state in [State::Healthy, SOFT, HARD, RAMP] {
                for billing in [PerToken, PerRequest] {
                    let row = (check, state, billing);
                    assert_eq!(leads_to_ramp(check, state, billing), proofs.contains(&row), "{row:?}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn nothing_is_due_before_the_next_moment_and_asking_ends(
            seed in any::<u64>(),
            (interval, recovery_interval, lightweight_interval) in (1u64..4000, 1u64..4000, 1u64..4000),
            per_request in any::<bool>(),
            steps in prop::collection::vec((wait(), prop::sample::select(vec![State::Healthy, SOFT, HARD, RAMP])), 1..50),
        ) {
            let seconds = Duration::from_secs;
            let rules = CheckRules {
                billing: if per_request { Billing::PerRequest } else { Billing::PerToken },
                interval: seconds(interval),
                recovery_interval: seconds(recovery_interval),
                lightweight_interval: seconds(lightweight_interval),
            };
            let (mut dice, mut now) = (SeededDice::new(seed), at(0));
            let mut schedule = CheckSchedule::new(now, &rules, &mut dice);
            for (wait, state) in steps {
                now = now.after(wait);
                let may = schedule.next() <= now;
                let made: Vec<Check> =
                    (0..3).map_while(|_| schedule.due(now, state, &rules, &mut dice)).collect();
                prop_assert!(made.len() <= 2 && (may || made.is_empty()), "{made:?}");
                prop_assert!(schedule.next() > now);
            }
        }
    }
}
