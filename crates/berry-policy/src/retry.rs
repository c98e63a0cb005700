//! How often one request may go where. First visits to other backends are free (the deadline bounds them); only *repeated*
//! visits are counted, once over the whole request with all its fallbacks, and once per backend.
//!
//! The retry budget over many requests ([`RetryBudget`]), and the deadline, are not decided here.
//!
//! [`RetryBudget`]: crate::RetryBudget

use std::time::Duration;

use berry_vocab::Dice;
use smallvec::SmallVec;

/// The first wait is below this; each later one below twice as much.
const BASE: Duration = Duration::from_millis(100);

/// No wait is longer.
const CAP: Duration = Duration::from_secs(5);

/// The backends that one request has visited, by their place among all that it may go to, those of its fallbacks too.
#[derive(Clone, Debug)]
pub struct Visits {
    max_retries: u32,
    attempts: u32,
    repeats: u32,
    /// Visits per backend; a backend beyond the end has none. Most models have few backends, so this lives on the stack.
    counts: SmallVec<[u32; 8]>,
    /// Backends that another visit cannot help.
    closed: SmallVec<[usize; 2]>,
}

impl Visits {
    /// No visits yet; `max_retries` repeated ones over the request.
    pub fn new(max_retries: u32) -> Self {
        Self { max_retries, attempts: 0, repeats: 0, counts: SmallVec::new(), closed: SmallVec::new() }
    }

    /// For a request whose backend is forced: it has nowhere else to go, so that its backend's own limit is the only one.
    pub fn forced() -> Self {
        Self::new(u32::MAX)
    }

    /// Whether going to backend `i` now would be the first time, and so free.
    pub fn first_visit(&self, i: usize) -> bool {
        self.count(i) == 0
    }

    /// Whether backend `i` has been visited.
    pub fn visited(&self, i: usize) -> bool {
        !self.first_visit(i)
    }

    /// Whether backend `i`, which has been visited, may be visited again. `internal_limit` is the provider's own
    /// `max_retries`, or else `max_internal_retries`.
    pub fn may_repeat(&self, i: usize, internal_limit: u32) -> bool {
        self.visited(i)
            && !self.closed.contains(&i)
            && self.repeats < self.max_retries
            && self.count(i) - 1 < internal_limit
    }

    /// Counts a visit to backend `i`.
    pub fn record(&mut self, i: usize) {
        self.attempts = self.attempts.saturating_add(1);
        self.repeats = self.repeats.saturating_add(u32::from(self.visited(i)));
        if self.counts.len() <= i {
            self.counts.resize(i + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(i) {
            *count += 1;
        }
    }

    /// Says that another visit to backend `i` cannot help: it refused the key, or does not know the model.
    pub fn close(&mut self, i: usize) {
        self.closed.push(i);
    }

    /// Says that there is no more time, or budget, for repeated visits.
    pub fn end_repeats(&mut self) {
        self.max_retries = self.repeats;
    }

    /// All visits of the request so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Visits of the request so far that were not the first to their backend.
    pub fn repeats(&self) -> u32 {
        self.repeats
    }

    fn count(&self, i: usize) -> u32 {
        self.counts.get(i).copied().unwrap_or(0)
    }
}

/// How long to wait before the same backend is visited again; `attempt` is 0 for the first repeated visit. Exponential with
/// full jitter: anything from nothing to the ceiling, so that requests that failed together do not return together.
pub fn backoff(attempt: u32, dice: &mut dyn Dice) -> Duration {
    let ceiling = BASE.saturating_mul(2u32.saturating_pow(attempt)).min(CAP);
    ceiling.mul_f64(dice.unit())
}

#[cfg(test)]
mod tests {
    use berry_vocab::SeededDice;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::cases;

    fn visits(max_retries: u32, path: &[usize]) -> Visits {
        let mut visits = Visits::new(max_retries);
        path.iter().for_each(|i| visits.record(*i));
        visits
    }

    #[test]
    fn first_visits_are_free() {
        let twelve = visits(0, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!((twelve.attempts(), twelve.repeats()), (12, 0));
        assert!(twelve.first_visit(12) && twelve.visited(11));
    }

    #[test]
    fn max_retries_bounds_repeated_visits_over_the_request() {
        assert!(visits(3, &[0, 1, 0, 1]).may_repeat(0, 10));
        assert!(!visits(3, &[0, 1, 0, 1, 0]).may_repeat(1, 10));
        assert!(!visits(0, &[0]).may_repeat(0, 10));
    }

    #[test]
    fn the_internal_limit_bounds_repeated_visits_to_one_backend() {
        assert!(visits(10, &[0, 0]).may_repeat(0, 2));
        assert!(!visits(10, &[0, 0, 0]).may_repeat(0, 2));
        assert!(visits(10, &[0, 0, 0, 1]).may_repeat(1, 2));
        assert!(visits(10, &[0, 0, 0]).may_repeat(0, 5), "a provider's own max_retries replaces it");
    }

    #[test]
    fn once_repeats_have_ended_first_visits_go_on() {
        let mut ended = visits(10, &[0, 1, 0]);
        ended.end_repeats();
        assert!(!ended.may_repeat(0, 10) && !ended.may_repeat(1, 10) && ended.first_visit(2));
    }

    #[test]
    fn a_closed_backend_is_not_repeated() {
        let mut closed = visits(10, &[0, 1]);
        closed.close(0);
        assert!(!closed.may_repeat(0, 10) && closed.may_repeat(1, 10));
    }

    #[test]
    fn what_was_never_visited_cannot_be_repeated() {
        assert!(!visits(3, &[1]).may_repeat(0, 2));
    }

    #[test]
    fn a_forced_backend_is_repeated_up_to_its_own_limit() {
        let mut forced = Visits::forced();
        forced.record(0);
        while forced.may_repeat(0, 2) {
            forced.record(0);
        }
        assert_eq!(forced.attempts(), 3);
    }

    #[test]
    fn waits_spread_from_nothing_to_a_ceiling_that_doubles_up_to_the_cap() {
        let mut dice = SeededDice::new(5);
        for (attempt, ceiling) in [(0, 100), (1, 200), (3, 800), (6, 5000), (u32::MAX, 5000)] {
            let waits: Vec<u128> = (0..1000).map(|_| backoff(attempt, &mut dice).as_millis()).collect();
            assert!(waits.iter().all(|w| *w <= ceiling), "{attempt}");
            assert!(
                waits.iter().any(|w| *w < ceiling / 10) && waits.iter().any(|w| *w > ceiling * 9 / 10),
                "{attempt}"
            );
        }
    }

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn no_path_exceeds_either_limit(
            (max_retries, internal_limit) in (0u32..6, 0u32..4),
            path in prop::collection::vec((0usize..12, any::<bool>()), 0..120),
        ) {
            let mut visits = Visits::new(max_retries);
            let (mut attempts, mut repeats, mut counts) = (0, 0, [0; 12]);
            for (i, close) in path {
                if visits.first_visit(i) || visits.may_repeat(i, internal_limit) {
                    visits.record(i);
                    attempts += 1;
                    repeats += u32::from(counts[i] > 0);
                    counts[i] += 1;
                }
                if close {
                    visits.close(i);
                    prop_assert!(!visits.may_repeat(i, u32::MAX));
                }
            }
            prop_assert!(counts.iter().all(|count| *count <= 1 + internal_limit));
            prop_assert!(repeats <= max_retries);
            prop_assert_eq!((visits.attempts(), visits.repeats()), (attempts, repeats));
        }

        #[test]
        fn a_wait_is_never_longer_than_its_ceiling_nor_than_five_seconds(attempt in any::<u32>(), seed in any::<u64>()) {
            let ceiling = BASE.saturating_mul(2u32.saturating_pow(attempt)).min(Duration::from_secs(5));
            prop_assert!(backoff(attempt, &mut SeededDice::new(seed)) <= ceiling);
        }
    }
}
