//! What holds of the table of states whatever happens, in whatever order, at whatever times.

use proptest::prelude::*;

use super::*;
use crate::outcome::OutcomeClass::{self, *};
use crate::testing::{at, cases, wait};

/// Something that happens to a backend, so long after what happened before.
#[derive(Clone, Copy, Debug)]
enum Event {
    Outcome(OutcomeClass),
    CheckSucceeds,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    wait: Duration,
    event: Event,
    may_open: bool,
    /// So much earlier another thread read the clock.
    late_by: Duration,
}

/// How traffic and checks feed a backend's health.
fn apply(health: &mut Health, step: Step, now: Moment, rules: &HealthRules) {
    match step.event {
        Event::CheckSucceeds => health.record_check_success(true, now),
        Event::Outcome(Success) => health.record_success(now),
        Event::Outcome(outcome) => {
            if let Some(kind) = outcome.failure_kind() {
                health.record_failure(kind, step.may_open, now, rules);
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = || {
        prop::sample::select(vec![
            Success,
            NetworkError,
            ServerError,
            Timeout,
            AuthError,
            RateLimit,
            ModelError,
            ClientError,
        ])
    };
    let event = prop_oneof![8 => outcome().prop_map(Event::Outcome), 1 => Just(Event::CheckSucceeds)];
    // Time mostly stands nearly still, or rows and windows would never fill.
    let wait = prop_oneof![3 => (0u64..50).prop_map(Duration::from_millis), 1 => wait()];
    let late_by = prop_oneof![4 => Just(Duration::ZERO), 1 => (0u64..100).prop_map(Duration::from_secs)];
    (wait, event, any::<bool>(), late_by).prop_map(|(wait, event, may_open, late_by)| Step {
        wait,
        event,
        may_open,
        late_by,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..120)
}

fn rules() -> impl Strategy<Value = HealthRules> {
    (1u32..8, prop_oneof![4 => 1u64..900, 1 => Just(u64::MAX)])
        .prop_map(|(failure_threshold, open)| HealthRules { failure_threshold, open_time: Duration::from_secs(open) })
}

/// A backend after all that, and the moment at which it stands.
fn after(steps: &[Step], rules: &HealthRules) -> (Health, Moment) {
    let (mut health, mut now) = (Health::new(), at(0));
    for step in steps {
        now = now.after(step.wait);
        apply(&mut health, *step, earlier(now, step.late_by), rules);
    }
    (health, now)
}

fn earlier(now: Moment, by: Duration) -> Moment {
    at(0).after(now.since(at(0).after(by)))
}

/// The same, left alone until an open time is over; `None` where that is forever.
fn in_ramp(steps: &[Step], rules: &HealthRules) -> Option<(Health, Moment)> {
    let (mut health, now) = after(steps, rules);
    (0..2).for_each(|_| health.record_failure(FailureKind::Hard, false, now, rules));
    let until = health.next_change(now).filter(|until| *until < at(u64::MAX))?;
    Some((health, until))
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn an_open_one_is_not_eligible_and_open_for_five_minutes_at_most_or_as_long_as_configured(
        steps in steps(),
        rules in rules(),
    ) {
        let (mut health, mut now) = (Health::new(), at(0));
        for step in steps {
            now = now.after(step.wait);
            apply(&mut health, step, earlier(now, step.late_by), &rules);
            let state = health.state(now);
            prop_assert_eq!(state.eligible(), state.at_once() != Some(0));
            prop_assert_eq!(state.eligible(), state.weight_factor() > 0.0);
            prop_assert_eq!(state.eligible(), health.next_change(now).is_none());
            if let State::Open { until, .. } = state {
                prop_assert!(until > now && until.since(now) <= LONGEST_OPEN.max(rules.open_time));
                prop_assert!(health.state(until).eligible());
            }
        }
    }

    #[test]
    fn five_successes_lead_up_the_ramp_whatever_was_before(steps in steps(), rules in rules()) {
        if let Some((mut health, now)) = in_ramp(&steps, &rules) {
            for _ in 0..RAMP_SUCCESSES {
                prop_assert!(health.state(now) != State::Healthy);
                health.record_success(now);
            }
            prop_assert_eq!(health.state(now), State::Healthy);
        }
    }

    #[test]
    fn a_failure_in_the_ramp_opens_it_for_at_least_as_long_as_configured(
        steps in steps(),
        rules in rules(),
        successes in 0..RAMP_SUCCESSES,
        hard in any::<bool>(),
    ) {
        if let Some((mut health, now)) = in_ramp(&steps, &rules) {
            (0..successes).for_each(|_| health.record_success(now));
            let kind = if hard { FailureKind::Hard } else { FailureKind::Soft };
            health.record_failure(kind, !hard, now, &rules);
            let State::Open { until, hard: is_hard } = health.state(now) else {
                return Err(TestCaseError::fail(format!("{health:?}")));
            };
            prop_assert_eq!(is_hard, hard);
            prop_assert!(until >= now.after(rules.open_time));
        }
    }

    #[test]
    fn what_is_not_the_backends_failure_changes_nothing(steps in steps(), rules in rules()) {
        let innocent = |step: &Step| {
            matches!(step.event, Event::Outcome(ClientError | RateLimit | ModelError | AuthError))
        };
        let (mut with, mut without, mut now) = (Health::new(), Health::new(), at(0));
        for step in steps {
            now = now.after(step.wait);
            let when = earlier(now, step.late_by);
            apply(&mut with, step, when, &rules);
            if !innocent(&step) {
                apply(&mut without, step, when, &rules);
            }
            prop_assert_eq!(with.state(now), without.state(now));
        }
    }

    #[test]
    fn soft_failures_open_nothing_where_they_may_not(steps in steps(), rules in rules()) {
        let mut health = Health::new();
        let mut now = at(0);
        for step in steps {
            now = now.after(step.wait);
            if !matches!(step.event, Event::Outcome(NetworkError)) {
                apply(&mut health, Step { may_open: false, ..step }, now, &rules);
            }
            prop_assert_eq!(health.state(now), State::Healthy);
        }
    }
}
