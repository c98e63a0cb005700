//! A bucket of allowance: events put fractions in, and what is to be allowed takes whole amounts out. The budgets of retries and
//! of hedges are made of it.
//!
//! It does not know time: whoever earns by time puts in what the time was worth.

/// So much may be missing, as a share of what is taken: rounding must not cost an allowance (ten times 0.1 is a whole one).
const HAIR: f64 = 1e-9;

/// What is saved. Never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bucket {
    level: f64,
}

impl Bucket {
    /// A bucket that is as full as its first cap allows.
    pub(crate) const FULL: Self = Self { level: f64::INFINITY };

    /// Puts `amount` in. What is above `cap` runs over, also if it was in before.
    pub(crate) fn add(&mut self, amount: f64, cap: f64) {
        // `f64::max` and `min` prefer the number to a NaN, so that neither rules nor a cost can poison the level.
        self.level = (self.level + amount.max(0.0)).min(cap.max(0.0));
    }

    /// Whether `amount` is there.
    pub(crate) fn holds(&self, amount: f64) -> bool {
        self.level >= amount * (1.0 - HAIR)
    }

    /// Takes `amount` out; what was not there is not owed.
    pub(crate) fn take(&mut self, amount: f64) {
        self.level = (self.level - amount).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tenths_are_a_whole_one() {
        let mut bucket = Bucket::default();
        (0..9).for_each(|_| bucket.add(0.1, 5.0));
        assert!(!bucket.holds(1.0));
        bucket.add(0.1, 5.0);
        assert!(bucket.holds(1.0));
    }

    #[test]
    fn what_is_above_the_cap_runs_over() {
        let mut bucket = Bucket::FULL;
        bucket.add(0.0, 3.0);
        assert!(bucket.holds(3.0) && !bucket.holds(3.1));
        bucket.add(0.0, 1.0);
        assert!(!bucket.holds(1.1), "a cap that was lowered holds for what was saved before");
    }

    #[test]
    fn no_number_can_poison_it() {
        let mut bucket = Bucket::default();
        [f64::NAN, -1.0, f64::NEG_INFINITY].iter().for_each(|odd| bucket.add(*odd, 9.0));
        assert_eq!(bucket, Bucket::default());
        bucket.add(1.0, f64::NAN);
        bucket.take(5.0);
        assert_eq!(bucket, Bucket::default());
    }
}
