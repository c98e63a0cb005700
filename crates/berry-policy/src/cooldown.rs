//! Cooling down after a 429 or overload: the time until which a key and model are left alone. It is no failure and no part of
//! a backend's health.

use std::time::Duration;

use berry_vocab::Moment;

/// The shortest and the longest that a vendor's word is taken for.
const RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Until when something is left alone; at first, not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cooldown {
    until: Moment,
    why: Cooling,
}

/// What something cools down after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cooling {
    /// A rate limit: the account has had its share.
    #[default]
    RateLimit,
    /// Overload: nobody gets an answer there.
    Overload,
}

impl Cooldown {
    /// Leaves it alone for `wait` from now, at least 1 s and at most 1 h. A cooldown that ends later stands.
    pub fn extend(&mut self, why: Cooling, wait: Duration, now: Moment) {
        let until = now.after(wait.clamp(RANGE.0, RANGE.1));
        if until > self.until {
            *self = Self { until, why };
        }
    }

    /// What it cools down after, if it still does.
    pub fn why(&self, now: Moment) -> Option<Cooling> {
        self.until(now).map(|_| self.why)
    }

    /// The moment until which it cools down, if it still does.
    pub fn until(&self, now: Moment) -> Option<Moment> {
        (self.until > now).then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(second: u64) -> Moment {
        Moment::ZERO.after(seconds(second))
    }

    #[test]
    fn it_ends_at_the_named_moment() {
        let mut cooldown = Cooldown::default();
        assert_eq!(cooldown.until(at(0)), None);
        cooldown.extend(Cooling::RateLimit, seconds(20), at(10));
        assert_eq!(cooldown.until(at(29)), Some(at(30)));
        assert_eq!(cooldown.until(at(30)), None);
    }

    #[test]
    fn it_is_only_ever_extended() {
        let mut cooldown = Cooldown::default();
        cooldown.extend(Cooling::Overload, seconds(60), at(0));
        cooldown.extend(Cooling::RateLimit, seconds(19), at(1));
        assert_eq!((cooldown.until(at(2)), cooldown.why(at(2))), (Some(at(60)), Some(Cooling::Overload)));
        assert_eq!(cooldown.why(at(60)), None);
    }

    #[test]
    fn it_lasts_from_one_second_to_one_hour() {
        let mut cooldown = Cooldown::default();
        cooldown.extend(Cooling::RateLimit, seconds(0), at(5));
        assert_eq!(cooldown.until(at(5)), Some(at(6)));
        cooldown.extend(Cooling::RateLimit, seconds(1_000_000), at(5));
        assert_eq!(cooldown.until(at(5)), Some(at(3605)));
    }
}
