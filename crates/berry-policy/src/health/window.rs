//! Outcomes of the last minute, in six slots of ten seconds: 56 bytes a backend, no list of events.

use berry_vocab::Moment;

const SLOTS: u64 = 6;
const SLOT_NANOS: u64 = 10_000_000_000;

/// Fewer outcomes than this say nothing about a rate.
const ENOUGH: u32 = 20;

/// Successes and failures of the last 50 to 60 seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    slots: [Slot; SLOTS as usize],
    /// The newest slot's number, counted from the clock's origin.
    newest: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    all: u32,
    failed: u32,
}

impl Window {
    pub(super) fn add_success(&mut self, now: Moment) {
        self.add(now, 0);
    }

    pub(super) fn add_failure(&mut self, now: Moment) {
        self.add(now, 1);
    }

    /// Whether at least half of at least 20 outcomes failed.
    pub(super) fn is_half_failures(&mut self, now: Moment) -> bool {
        self.forget(now);
        let sum = |of: fn(&Slot) -> u32| self.slots.iter().map(of).fold(0, u32::saturating_add);
        let (all, failed) = (sum(|slot| slot.all), sum(|slot| slot.failed));
        all >= ENOUGH && failed >= all.div_ceil(2)
    }

    fn add(&mut self, now: Moment, failed: u32) {
        self.forget(now);
        if let Some(slot) = self.slots.get_mut((self.newest % SLOTS) as usize) {
            slot.all = slot.all.saturating_add(1);
            slot.failed = slot.failed.saturating_add(failed);
        }
    }

    /// Empties the slots that lie between the newest and now's. A clock read before another thread's is not set back.
    fn forget(&mut self, now: Moment) {
        let current = now.as_nanos() / SLOT_NANOS;
        let first = self.newest.saturating_add(1).max(current.saturating_sub(SLOTS - 1));
        for number in first..=current {
            if let Some(slot) = self.slots.get_mut((number % SLOTS) as usize) {
                *slot = Slot::default();
            }
        }
        self.newest = self.newest.max(current);
    }
}
