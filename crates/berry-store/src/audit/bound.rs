//! How many refusals of a kind are recorded one by one: a few at once, then one a second. The rest are counted, and the count is
//! recorded. No state grows with who is refused, so that a flood costs next to nothing (failure model, P7).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const AT_ONCE: u64 = 30;

const EVERY_MILLIS: u64 = 1000;

/// Of one kind.
#[derive(Debug, Default)]
pub(super) struct Bound {
    /// When the last one that was let through has been paid for, in milliseconds since 1970.
    paid: AtomicU64,
    more: AtomicU64,
}

impl Bound {
    /// Whether one at this time is recorded by itself; else it is counted.
    pub(super) fn admit(&self, unix_millis: u64) -> bool {
        let pay = |paid: u64| {
            let paid = paid.max(unix_millis);
            // A clock that was put back by more than the burst starts anew.
            let owed = paid - unix_millis;
            let paid = if owed > 2 * AT_ONCE * EVERY_MILLIS { unix_millis } else { paid };
            (paid - unix_millis < AT_ONCE * EVERY_MILLIS).then_some(paid + EVERY_MILLIS)
        };
        let is_admitted = self.paid.fetch_update(Relaxed, Relaxed, pay).is_ok();
        if !is_admitted {
            self.more.fetch_add(1, Relaxed);
        }
        is_admitted
    }

    /// How many were counted since this was asked last.
    pub(super) fn take_more(&self) -> u64 {
        if self.more.load(Relaxed) == 0 { 0 } else { self.more.swap(0, Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_a_few_records_and_a_count() {
        let bound = Bound::default();
        let admitted = (0..100_000).filter(|at| bound.admit(1_000_000 + at / 10)).count();
        assert_eq!(admitted, 30 + 10, "over ten seconds");
        assert_eq!((bound.take_more(), bound.take_more()), (100_000 - 40, 0));
        assert!(bound.admit(1_030_000) && bound.admit(500), "a clock that is put back lets through again");
    }
}
