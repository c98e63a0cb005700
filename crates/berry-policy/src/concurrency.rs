//! An adaptive limit of requests at once for a backend that says "too many" (429, overload): lowered at once by a share, raised
//! again one by one (additive increase, multiplicative decrease) as answers begin and time passes, and lifted when nobody needs
//! it. Time counts because what is in flight may last for minutes: a few long streams would hold all places of a low limit.
//!
//! It never looks at latency: a model's answers take as long as they are, and a long one is no sign of load. Until when a key
//! is left alone after a 429 is [`Cooldown`]'s affair; this is about how many return together after that.
//!
//! [`Cooldown`]: crate::Cooldown

use std::time::Duration;

use berry_vocab::Moment;

/// What is left of the requests in flight after an overload.
const DECREASE: f64 = 0.7;

/// Overloads within this time of a decrease say nothing about it: they answer requests that were sent before. A refusal takes
/// no model's time, so that all of a burst have come by then.
const ONE_BURST: Duration = Duration::from_secs(1);

/// In so much time without an overload there may be one more.
const ONE_MORE: Duration = Duration::from_secs(10);

/// A limit that was neither lowered nor in use for so long is lifted.
const IDLE: Duration = Duration::from_secs(300);

/// The limit of one backend; at first there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdaptiveLimit {
    /// At least 1 where there is one. The fraction is what successes have put together of the next whole one.
    limit: Option<f64>,
    lowered_at: Moment,
    /// When the limit was last seen to matter.
    used_at: Moment,
}

impl AdaptiveLimit {
    /// How many requests the backend may have at once, where that is limited. Never 0.
    pub fn limit(&self, now: Moment) -> Option<u32> {
        // The cast rounds down and saturates.
        self.value(now).map(|limit| limit as u32)
    }

    fn value(&self, now: Moment) -> Option<f64> {
        self.limit.map(|limit| limit + (now.since(self.lowered_at).as_secs_f64() / ONE_MORE.as_secs_f64()).floor())
    }

    /// The backend said that it is overloaded. `in_flight` counts the refused request in; one that was alone says nothing of how
    /// many there may be.
    pub fn on_overload(&mut self, in_flight: u32, now: Moment) {
        let is_known = self.limit.is_some() && now.since(self.lowered_at) < ONE_BURST;
        if is_known || in_flight <= 1 {
            return;
        }
        // From what it really had: a limit far above that could be lowered many times without any effect.
        let had = self.value(now).unwrap_or(f64::INFINITY).min(f64::from(in_flight));
        self.limit = Some((had * DECREASE).max(1.0));
        self.lowered_at = self.lowered_at.max(now);
        self.used_at = self.used_at.max(now);
    }

    /// The backend took a request, as its answer has begun. `in_flight` counts that in.
    pub fn on_success(&mut self, in_flight: u32, now: Moment) {
        let (Some(base), Some(limit)) = (self.limit, self.value(now)) else { return };
        if now.since(self.used_at) >= IDLE {
            self.limit = None;
        } else if f64::from(in_flight) >= limit / 2.0 {
            // With less in flight, success does not show that more would do.
            self.limit = Some(base + 1.0 / limit);
            self.used_at = self.used_at.max(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{at, cases, wait};

    /// A limit that one overload with so many in flight has made at second 0.
    fn lowered(in_flight: u32) -> AdaptiveLimit {
        let mut limit = AdaptiveLimit::default();
        limit.on_overload(in_flight, at(0));
        limit
    }

    #[test]
    fn there_is_no_limit_until_the_first_overload() {
        let mut limit = AdaptiveLimit::default();
        limit.on_success(1000, at(0));
        assert_eq!(limit.limit(at(0)), None);
    }

    #[test]
    fn an_overload_leaves_seven_tenths_of_what_was_in_flight_and_never_none() {
        assert_eq!([100, 10, 3, 2].map(|n| lowered(n).limit(at(0))), [Some(70), Some(7), Some(2), Some(1)]);
    }

    #[test]
    fn a_refusal_of_a_request_that_was_alone_limits_nothing() {
        assert_eq!([1, 0].map(|n| lowered(n).limit(at(0))), [None, None]);
        let mut limit = lowered(10);
        limit.on_overload(1, at(5));
        assert_eq!(limit.limit(at(5)), Some(7));
    }

    #[test]
    fn a_burst_of_overloads_counts_once() {
        let mut limit = lowered(100);
        (0..99).for_each(|i| limit.on_overload(100 - i, at(0)));
        assert_eq!(limit.limit(at(0)), Some(70));
        limit.on_overload(70, at(1));
        assert_eq!(limit.limit(at(1)), Some(49));
    }

    #[test]
    fn an_overload_below_the_limit_lowers_it_to_what_was_in_flight() {
        let mut limit = lowered(100);
        limit.on_overload(10, at(5));
        assert_eq!(limit.limit(at(5)), Some(7));
    }

    #[test]
    fn about_as_many_successes_as_the_limit_raise_it_by_one() {
        let mut limit = lowered(100);
        (0..71).for_each(|_| limit.on_success(70, at(1)));
        assert_eq!(limit.limit(at(1)), Some(71));
    }

    #[test]
    fn successes_do_not_raise_a_limit_that_is_not_in_use() {
        let mut limit = lowered(100);
        (0..1000).for_each(|_| limit.on_success(34, at(1)));
        assert_eq!(limit.limit(at(1)), Some(70));
    }

    #[test]
    fn a_limit_that_nobody_needed_for_five_minutes_is_lifted() {
        let mut limit = lowered(100);
        limit.on_success(20, at(299));
        assert!(limit.limit(at(299)).is_some());
        limit.on_success(20, at(300));
        assert_eq!(limit.limit(at(300)), None);
    }

    #[test]
    fn a_limit_in_use_is_raised_and_not_lifted() {
        let mut limit = lowered(10);
        (1..=1000).for_each(|second| limit.on_success(limit.limit(at(second)).unwrap(), at(second)));
        assert!(limit.limit(at(1000)).is_some_and(|limit| limit > 40));
    }

    #[test]
    fn each_ten_seconds_without_an_overload_make_room_for_one_more() {
        let mut limit = lowered(10);
        assert_eq!([9, 10, 35].map(|second| limit.limit(at(second))), [Some(7), Some(8), Some(10)]);
        limit.on_overload(100, at(36));
        assert_eq!([36, 46].map(|second| limit.limit(at(second))), [Some(7), Some(8)]);
    }

    /// Ten seconds each, since the beginning.
    fn tens(now: Moment) -> f64 {
        now.since(at(0)).as_secs_f64() / 10.0
    }

    proptest! {
        #![proptest_config(cases(100))]

        #[test]
        fn a_limit_stays_between_one_and_twice_what_was_ever_in_flight(
            steps in prop::collection::vec((wait(), any::<bool>(), prop_oneof![0u32..200, any::<u32>()]), 1..200),
        ) {
            let (mut limit, mut now, mut most) = (AdaptiveLimit::default(), at(0), 1.0f64);
            for (wait, overload, in_flight) in steps {
                now = now.after(wait);
                most = most.max(f64::from(in_flight));
                let before = limit.limit(now);
                if overload {
                    limit.on_overload(in_flight, now);
                    prop_assert!(limit.limit(now) <= before.or(Some(u32::MAX)), "an overload never raises it");
                } else {
                    limit.on_success(in_flight, now);
                }
                prop_assert!(limit.limit(now).is_none_or(|limit| limit >= 1 && f64::from(limit) <= 2.0 * most + 1.0 + tens(now)));
            }
        }

        #[test]
        fn whatever_happened_steady_success_lifts_it(
            steps in prop::collection::vec((0u64..900, any::<bool>(), 0u32..200), 1..50),
            demand in 1u32..20,
        ) {
            let (mut limit, mut second) = (AdaptiveLimit::default(), 0);
            for (wait, overload, in_flight) in steps {
                second += wait;
                if overload { limit.on_overload(in_flight, at(second)) } else { limit.on_success(in_flight, at(second)) }
            }
            for later in 0..3000 {
                limit.on_success(demand.min(limit.limit(at(second + later)).unwrap_or(demand)), at(second + later));
            }
            prop_assert_eq!(limit.limit(at(second + 3000)), None);
        }
    }
}
