//! How long a backend takes to its first token, as a distribution that forgets: 48 counters, each for times a third longer than
//! those of the one before. It says when a hedge is due, and what the dashboard shows; [`ewma`] is what balancing goes by.
//!
//! A quantile needs the order of the times and not their sum, so that counters are the smallest thing that will do. The middle
//! of a counter is at most 16 % away from any time that it counts.
//!
//! [`ewma`]: crate::ewma

use std::time::Duration;

use berry_vocab::Moment;

const COUNTERS: usize = 48;

/// Where the first counter begins; it counts shorter times too, as the last one counts longer ones (above 11 min).
const SHORTEST_MS: f64 = 1.0;

/// Each counter's times reach so much farther than those of the one before.
const GROWTH: f64 = 1.33;

/// What one time weighs at first, so that halving it fades it and does not drop it. A power of two.
const WEIGHT: u32 = 1 << 10;

/// A quantile of fewer times than this would be one of them.
const ENOUGH: u32 = 20;

/// With so many times, all are halved: a busy backend's estimate goes by its last few thousand.
const MANY: u32 = 4096;

/// After so long, all are halved: a quiet backend's estimate goes by the last quarter of an hour.
const AGE: Duration = Duration::from_secs(300);

/// The times of one backend, the newer ones weighing more.
#[derive(Clone, Debug)]
pub struct Latencies {
    counters: [u32; COUNTERS],
    total: u32,
    halved_at: Moment,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counters: [0; COUNTERS], total: 0, halved_at: Moment::ZERO }
    }
}

impl Latencies {
    /// Counts a time that was measured now.
    pub fn record(&mut self, took: Duration, now: Moment) {
        self.forget(now);
        if let Some(counter) = self.counters.get_mut(place(took)) {
            *counter += WEIGHT;
            self.total += WEIGHT;
        }
    }

    /// The mean, to 16 %; `None` while nothing is known.
    pub fn mean(&self) -> Option<Duration> {
        let sum: f64 = self.counters.iter().zip(0..).map(|(count, place)| f64::from(*count) * middle_ms(place)).sum();
        (self.total > 0).then(|| milliseconds(sum / f64::from(self.total)))
    }

    /// The time that a share `q` of the requests stays within, to 16 %; `None` while fewer than 20 are remembered.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        if self.total < ENOUGH * WEIGHT {
            return None;
        }
        let rank = (q.min(1.0) * f64::from(self.total)).max(1.0);
        let mut below = 0;
        let reaches = |count: &u32| {
            below += count;
            f64::from(below) >= rank
        };
        self.counters.iter().position(reaches).map(|place| milliseconds(middle_ms(place as i32)))
    }

    fn forget(&mut self, now: Moment) {
        let ages = now.since(self.halved_at).as_nanos() / AGE.as_nanos();
        let halvings = match u32::try_from(ages).unwrap_or(u32::MAX) {
            0 => u32::from(self.total >= MANY * WEIGHT),
            ages => ages.min(u32::BITS - 1),
        };
        if halvings > 0 {
            self.counters.iter_mut().for_each(|counter| *counter >>= halvings);
            self.total = self.counters.iter().sum();
            self.halved_at = self.halved_at.max(now);
        }
    }
}

/// The counter for a time.
fn place(took: Duration) -> usize {
    let steps = (took.as_secs_f64() * 1000.0 / SHORTEST_MS).ln() / GROWTH.ln();
    // The cast makes 0 of what is negative, so of all times below the shortest.
    (steps as usize).min(COUNTERS - 1)
}

/// The geometric middle of a counter's times.
fn middle_ms(place: i32) -> f64 {
    SHORTEST_MS * GROWTH.powi(place) * GROWTH.sqrt()
}

fn milliseconds(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1000.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{at, cases, wait};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn recorded(times: impl IntoIterator<Item = Duration>) -> Latencies {
        let mut latencies = Latencies::default();
        times.into_iter().for_each(|took| latencies.record(took, at(0)));
        latencies
    }

    fn is_near(estimate: Option<Duration>, truth: Duration) -> bool {
        estimate.is_some_and(|estimate| (estimate.as_secs_f64() / truth.as_secs_f64() - 1.0).abs() < 0.2)
    }

    #[test]
    fn it_takes_no_more_than_256_bytes() {
        assert!(size_of::<Latencies>() <= 256);
    }

    #[test]
    fn there_is_no_mean_of_nothing_and_no_quantile_of_a_few() {
        assert_eq!(recorded([]).mean(), None);
        assert!(is_near(recorded([ms(300)]).mean(), ms(300)));
        assert_eq!(recorded([ms(300); 19]).quantile(0.95), None);
        assert!(is_near(recorded([ms(300); 20]).quantile(0.95), ms(300)));
    }

    #[test]
    fn one_slow_request_in_ten_is_seen_by_p95_and_not_by_the_median() {
        let latencies = recorded((0..100).map(|i| if i % 10 == 0 { ms(9000) } else { ms(400) }));
        assert!(is_near(latencies.quantile(0.5), ms(400)) && is_near(latencies.quantile(0.95), ms(9000)));
        assert!(is_near(latencies.mean(), ms(1260)));
    }

    #[test]
    fn what_is_too_short_or_too_long_to_tell_is_counted_at_the_ends() {
        assert!(recorded([Duration::ZERO; 20]).quantile(0.5).is_some_and(|p50| p50 < ms(2)));
        assert!(recorded([Duration::MAX; 20]).quantile(0.5).is_some_and(|p50| p50 > ms(600_000)));
    }

    #[test]
    fn a_busy_backend_that_has_slowed_down_is_believed_within_a_few_thousand_requests() {
        let mut latencies = recorded(std::iter::repeat_n(ms(200), 50_000));
        (0..6000).for_each(|_| latencies.record(ms(2000), at(0)));
        assert!(is_near(latencies.quantile(0.5), ms(2000)));
    }

    #[test]
    fn old_times_fade_in_quarters_of_an_hour_and_are_gone_after_a_day() {
        let mut latencies = recorded([ms(200); 40]);
        [300, 301].iter().for_each(|second| latencies.record(ms(200), at(*second)));
        assert!(latencies.quantile(0.5).is_some(), "22 are left of them");
        latencies.record(ms(200), at(900));
        assert_eq!(latencies.quantile(0.5), None, "5.5 and 1 are left of them");
        latencies.record(ms(9000), at(90_000));
        assert!(is_near(latencies.mean(), ms(9000)));
    }

    proptest! {
        #![proptest_config(cases(100))]

        #[test]
        fn quantiles_are_within_a_fifth_of_the_truth(
            micros in prop::collection::vec(1_100u64..600_000_000, 20..1000),
            q in 0.01..1.0f64,
        ) {
            let mut times: Vec<Duration> = micros.into_iter().map(Duration::from_micros).collect();
            let latencies = recorded(times.iter().copied());
            times.sort();
            let truth = times[(q * times.len() as f64).ceil() as usize - 1];
            prop_assert!(is_near(latencies.quantile(q), truth), "{:?} for {truth:?}", latencies.quantile(q));
            let mean = times.iter().sum::<Duration>() / times.len() as u32;
            prop_assert!(is_near(latencies.mean(), mean), "{:?} for {mean:?}", latencies.mean());
        }

        #[test]
        fn no_history_overflows_it_and_quantiles_keep_their_order(
            steps in prop::collection::vec((wait(), wait(), 1usize..3000), 1..30),
            q in any::<f64>(),
        ) {
            let (mut latencies, mut now) = (Latencies::default(), at(0));
            for (wait, took, times) in steps {
                now = now.after(wait);
                (0..times).for_each(|_| latencies.record(took, now));
                prop_assert!(latencies.total <= (MANY + 1) * WEIGHT);
                prop_assert_eq!(latencies.quantile(q).is_some(), latencies.quantile(0.5).is_some());
                prop_assert!(latencies.quantile(0.5) <= latencies.quantile(0.95));
            }
        }
    }
}
