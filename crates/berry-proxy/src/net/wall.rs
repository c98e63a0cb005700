//! Wall time that is never set back (failure model, NW5). It follows the system's clock, but where that is set back by more than
//! it is ever corrected by, it runs on as it did: what has expired stays so, and records keep their order. Nothing waits by it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

/// A larger step than this is no correction of a clock that went slightly wrong.
const JUMP_MILLIS: i64 = 10_000;

/// The wall time as it was last told.
#[derive(Debug)]
pub(super) struct Wall {
    /// Wall time minus monotonic time, in milliseconds.
    offset: AtomicI64,
    /// Whether the system's clock stands behind.
    is_ahead: AtomicBool,
}

/// What the system's clock has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    None,
    /// It was set forward by so many milliseconds: followed.
    Forward(i64),
    /// It was set back by so many: not followed.
    Back(i64),
}

impl Wall {
    /// Starts with what the system says.
    pub(super) fn new(system: u64, monotonic: u64) -> Self {
        Self { offset: AtomicI64::new(offset(system, monotonic)), is_ahead: AtomicBool::new(false) }
    }

    /// The wall time, from what the two clocks of the system say; and whether one has jumped since it was last asked for.
    pub(super) fn read(&self, system: u64, monotonic: u64) -> (u64, Step) {
        let (now, before) = (offset(system, monotonic), self.offset.load(Relaxed));
        let moved = now - before;
        let step = if moved < -JUMP_MILLIS {
            if self.is_ahead.swap(true, Relaxed) { Step::None } else { Step::Back(-moved) }
        } else {
            self.offset.store(now, Relaxed);
            self.is_ahead.store(false, Relaxed);
            if moved > JUMP_MILLIS { Step::Forward(moved) } else { Step::None }
        };
        let offset = if moved < -JUMP_MILLIS { before } else { now };
        (monotonic.saturating_add_signed(offset), step)
    }
}

fn offset(system: u64, monotonic: u64) -> i64 {
    system.cast_signed() - monotonic.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn it_follows_corrections_and_steps_forward_and_runs_on_where_the_clock_is_set_back() {
        let wall = Wall::new(100 * HOUR, 0);
        assert_eq!(wall.read(100 * HOUR + 1000, 1000), (100 * HOUR + 1000, Step::None));
        assert_eq!(wall.read(100 * HOUR + 900, 1100), (100 * HOUR + 900, Step::None), "a correction");
        assert_eq!(wall.read(101 * HOUR + 1100, 1300), (101 * HOUR + 1100, Step::Forward(1_000 * 3600)));
        let (back, step) = wall.read(100 * HOUR + 2000, 2200);
        assert_eq!((back, step), (101 * HOUR + 2000, Step::Back(1_000 * 3600)));
        assert_eq!(wall.read(100 * HOUR + 3000, 3200), (101 * HOUR + 3000, Step::None), "told once");
        assert_eq!(wall.read(101 * HOUR + 4000, 4200), (101 * HOUR + 4000, Step::None), "and followed again");
    }
}
