//! Time as an argument: a point on a monotonic clock, as nanoseconds since an origin that the clock's owner chose.

use std::time::Duration;

/// A point in monotonic time. Fits an atomic, and tests can write one down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The clock's origin.
    pub const ZERO: Moment = Moment(0);

    /// The moment that lies `nanos` nanoseconds after the clock's origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Moment(nanos)
    }

    /// Nanoseconds since the clock's origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `later` after this one, at most the last one that can be written (584 years).
    pub fn after(self, later: Duration) -> Self {
        Moment(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long before this moment `earlier` was; zero if it was not.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_never_lies_before_zero_nor_beyond_the_end() {
        let one = Moment::ZERO.after(Duration::from_secs(1));
        assert_eq!(one.since(Moment::ZERO), Duration::from_secs(1));
        assert_eq!(Moment::ZERO.since(one), Duration::ZERO);
        assert_eq!(one.after(Duration::MAX).as_nanos(), u64::MAX);
    }
}
