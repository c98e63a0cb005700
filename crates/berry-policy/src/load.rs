//! Who waits when the gateway itself has more requests than it can work on at once: a short queue in which the newest is served
//! first, and whose oldest are told "overloaded".
//!
//! Newest first, because under a load that does not end, a fair queue makes every client wait until it gives up, and then works
//! for those that have gone. How many may be worked on at once is not decided here.

use std::collections::VecDeque;
use std::time::Duration;

use berry_vocab::Moment;

/// How long and how many may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRules {
    /// The longest that one waits.
    pub wait: Duration,
    /// The most that wait at once.
    pub places: usize,
}

/// Those who wait, the newest last.
#[derive(Clone, Debug)]
pub struct LoadQueue<T> {
    waiting: VecDeque<(Moment, T)>,
}

// === impl QueueRules ===

impl Default for QueueRules {
    fn default() -> Self {
        Self { wait: Duration::from_millis(100), places: 1024 }
    }
}

// === impl LoadQueue ===

impl<T> Default for LoadQueue<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<T> LoadQueue<T> {
    /// Lets one wait from now on. Where no place is free, the oldest makes room; it is returned, to be refused.
    pub fn join(&mut self, who: T, now: Moment, rules: &QueueRules) -> Option<T> {
        self.waiting.push_back((now.after(rules.wait), who));
        if self.waiting.len() > rules.places { self.pop_oldest() } else { None }
    }

    /// There is room to work: the newest, if its time is not over (then nobody's is that waited longer).
    pub fn serve(&mut self, now: Moment) -> Option<T> {
        self.waiting.pop_back_if(|(until, _)| *until > now).map(|(_, who)| who)
    }

    /// The oldest, if its time is over, to be refused. Ask until there is none.
    pub fn expired(&mut self, now: Moment) -> Option<T> {
        self.waiting.pop_front_if(|(until, _)| *until <= now).map(|(_, who)| who)
    }

    /// When the oldest one's time is over.
    pub fn next_expiry(&self) -> Option<Moment> {
        self.waiting.front().map(|(until, _)| *until)
    }

    /// Forgets those whose client has gone.
    pub fn keep(&mut self, still_there: impl Fn(&T) -> bool) {
        self.waiting.retain(|(_, who)| still_there(who));
    }

    fn pop_oldest(&mut self) -> Option<T> {
        self.waiting.pop_front().map(|(_, who)| who)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{at, cases};

    const RULES: QueueRules = QueueRules { wait: Duration::from_secs(10), places: 3 };

    /// A queue that one has joined each second, and who was turned away.
    fn joined(n: u64) -> (LoadQueue<u64>, Vec<u64>) {
        let mut queue = LoadQueue::default();
        let refused = (0..n).filter_map(|second| queue.join(second, at(second), &RULES)).collect();
        (queue, refused)
    }

    #[test]
    fn the_newest_is_served_first() {
        let (mut queue, _) = joined(3);
        assert_eq!([(); 4].map(|()| queue.serve(at(3))), [Some(2), Some(1), Some(0), None]);
    }

    #[test]
    fn where_no_place_is_free_the_oldest_is_refused() {
        let (mut queue, refused) = joined(5);
        assert_eq!((refused, queue.serve(at(5))), (vec![0, 1], Some(4)));
        let none = QueueRules { places: 0, ..RULES };
        assert_eq!(LoadQueue::default().join(7, at(0), &none), Some(7));
    }

    #[test]
    fn nobody_waits_longer_than_the_rules_say() {
        let (mut queue, _) = joined(3);
        assert_eq!((queue.next_expiry(), queue.expired(at(9))), (Some(at(10)), None));
        assert_eq!([(); 3].map(|()| queue.expired(at(11))), [Some(0), Some(1), None]);
        assert_eq!((queue.serve(at(12)), queue.expired(at(12)), queue.next_expiry()), (None, Some(2), None));
    }

    #[test]
    fn those_whose_client_has_gone_are_forgotten() {
        let (mut queue, _) = joined(3);
        queue.keep(|who| *who != 2);
        assert_eq!(queue.serve(at(3)), Some(1));
    }

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn each_leaves_once_served_in_time_or_refused(
            steps in prop::collection::vec((0u64..6, 0u8..3), 1..200),
        ) {
            let (mut queue, mut second, mut left) = (LoadQueue::default(), 0, Vec::new());
            for (who, (wait, what)) in steps.iter().enumerate() {
                second += wait;
                let now = at(second);
                match what {
                    0 => left.extend(queue.serve(now).inspect(|(_, joined)| assert!(second - joined < 10))),
                    1 => left.extend(queue.expired(now).inspect(|(_, joined)| assert!(second - joined >= 10))),
                    _ => left.extend(queue.join((who, second), now, &RULES)),
                }
                prop_assert!(queue.waiting.len() <= RULES.places);
            }
            left.extend(std::iter::from_fn(|| queue.pop_oldest()));
            left.sort_unstable();
            let joined = steps.iter().enumerate().filter(|(_, (_, what))| *what == 2).map(|(who, _)| who);
            prop_assert!(left.iter().map(|(who, _)| *who).eq(joined));
        }
    }
}
