//! Whether calls fail under a new configuration that did not fail under the one before: the question behind going back by
//! itself. Much evidence is asked for on both sides, since going back for nothing is a failure too.

use std::collections::VecDeque;
use std::time::Duration;

use berry_vocab::Moment;

/// How far back the time before is looked at, and how long a new configuration is watched.
const WINDOW: Duration = Duration::from_secs(60);

/// Fewer calls say nothing, neither before nor after.
const LEAST_CALLS: u64 = 50;

/// By so much of all calls more must fail than before …
const LEAST_RISE: f64 = 0.2;

/// … and so many times as many.
const LEAST_FACTOR: f64 = 3.0;

/// Calls since the start: how many have ended, and how many of these failed for no fault of the client's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// All that have ended.
    pub ended: u64,
    /// Of these, those that failed.
    pub failed: u64,
}

/// The calls of the last minute, from figures that only grow.
#[derive(Clone, Debug, Default)]
pub struct RecentCalls {
    noted: VecDeque<(Moment, Calls)>,
}

/// A new configuration under watch.
#[derive(Clone, Copy, Debug)]
pub struct Probation {
    began: Moment,
    /// The calls of the time before.
    before: Calls,
    /// The figures when it began.
    start: Calls,
}

/// How a probation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It goes on.
    Open,
    /// It is over, and nothing speaks against the new configuration.
    Passed,
    /// Far more calls fail than before.
    Failed {
        /// Calls of the time before.
        before: Calls,
        /// Calls since.
        since: Calls,
    },
}

// === impl Calls ===

impl Calls {
    fn after(self, earlier: Calls) -> Self {
        Self { ended: self.ended.saturating_sub(earlier.ended), failed: self.failed.saturating_sub(earlier.failed) }
    }

    fn share(self) -> f64 {
        if self.ended == 0 { 0.0 } else { self.failed as f64 / self.ended as f64 }
    }
}

// === impl RecentCalls ===

impl RecentCalls {
    /// Notes the figures of now. Often, such as once a second.
    pub fn note(&mut self, now: Moment, calls: Calls) {
        self.noted.push_back((now, calls));
        // One that is older than the window stays, as its beginning.
        while self.noted.get(1).is_some_and(|(moment, _)| now.since(*moment) >= WINDOW) {
            self.noted.pop_front();
        }
    }

    /// The calls of the last minute.
    fn within_window(&self, calls: Calls) -> Calls {
        self.noted.front().map_or(Calls::default(), |(_, earliest)| calls.after(*earliest))
    }
}

// === impl Probation ===

impl Probation {
    /// For a configuration that comes into force now, after what was seen of late. `None`: too little was, to compare with.
    pub fn begin(now: Moment, recent: &RecentCalls, calls: Calls) -> Option<Self> {
        let before = recent.within_window(calls);
        (before.ended >= LEAST_CALLS).then_some(Self { began: now, before, start: calls })
    }

    /// The same watch for a further configuration that came while it was open: what was good is still what was before.
    #[must_use]
    pub fn anew(self, now: Moment, calls: Calls) -> Self {
        Self { began: now, start: calls, ..self }
    }

    /// How it stands by the figures of now.
    pub fn standing(&self, now: Moment, calls: Calls) -> Standing {
        let (before, since) = (self.before, calls.after(self.start));
        let rose = since.share() >= before.share() + LEAST_RISE && since.share() >= before.share() * LEAST_FACTOR;
        if since.ended >= LEAST_CALLS && rose {
            Standing::Failed { before, since }
        } else if now.since(self.began) >= WINDOW {
            Standing::Passed
        } else {
            Standing::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::ZERO.after(Duration::from_secs(seconds))
    }

    fn calls(ended: u64, failed: u64) -> Calls {
        Calls { ended, failed }
    }

    /// After a minute with so many calls, `began` at second 100.
    fn probation(before: Calls) -> Option<Probation> {
        let mut recent = RecentCalls::default();
        recent.note(at(40), calls(1000, 500));
        Probation::begin(at(100), &recent, calls(1000 + before.ended, 500 + before.failed))
    }

    fn standing(before: Calls, since: Calls, second: u64) -> Option<Standing> {
        let now = calls(1000 + before.ended + since.ended, 500 + before.failed + since.failed);
        probation(before).map(|probation| probation.standing(at(second), now))
    }

    #[test]
    fn a_jump_of_failures_is_seen_as_soon_as_there_are_enough_calls() {
        assert_eq!(standing(calls(100, 1), calls(49, 49), 103), Some(Standing::Open));
        let failed = Standing::Failed { before: calls(100, 1), since: calls(50, 50) };
        assert_eq!(standing(calls(100, 1), calls(50, 50), 103), Some(failed));
    }

    #[test]
    fn what_failed_before_too_or_fails_little_more_passes() {
        for (before, since) in [
            (calls(100, 50), calls(100, 100)),
            (calls(100, 0), calls(100, 19)),
            (calls(100, 15), calls(100, 40)),
            (calls(100, 0), calls(49, 49)),
            (calls(100, 0), calls(0, 0)),
        ] {
            assert_eq!(standing(before, since, 159), Some(Standing::Open), "{before:?} {since:?}");
            assert_eq!(standing(before, since, 160), Some(Standing::Passed), "{before:?} {since:?}");
        }
    }

    #[test]
    fn with_little_to_compare_with_nothing_is_judged() {
        assert!(probation(calls(49, 0)).is_none());
        assert!(Probation::begin(at(1), &RecentCalls::default(), calls(1000, 0)).is_none());
    }

    #[test]
    fn only_the_last_minute_counts_as_before() {
        let mut recent = RecentCalls::default();
        for second in 0..=300 {
            recent.note(at(second), calls(second * 10, if second < 200 { second * 10 } else { 2000 }));
        }
        assert!(recent.noted.len() <= 62);
        assert_eq!(recent.within_window(calls(3000, 2000)), calls(600, 0));
    }

    #[test]
    fn a_second_change_within_the_watch_is_compared_with_what_was_good() {
        let probation = probation(calls(100, 0)).unwrap();
        let second = probation.anew(at(130), calls(1200, 580));
        assert_eq!(second.standing(at(170), calls(1240, 620)), Standing::Open);
        let failed = Standing::Failed { before: calls(100, 0), since: calls(60, 60) };
        assert_eq!(second.standing(at(171), calls(1260, 640)), failed);
        assert_eq!(second.standing(at(190), calls(1260, 580)), Standing::Passed);
    }

    proptest! {
        #[test]
        fn nothing_fails_that_did_not_get_worse(ended in 50_u64..10_000, more in 50_u64..10_000, failed in 0_u64..50) {
            let before = calls(ended, failed);
            let since = calls(more, (before.share() * more as f64).floor() as u64);
            let standing = standing(before, since, 100);
            prop_assert_eq!(standing, Some(Standing::Open));
        }
    }
}
