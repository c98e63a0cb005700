//! What has been taken of the limits in a time of one user, provider or model. All that it holds is a few dozen bytes, shared by
//! threads as it is.

use std::time::Duration;

use berry_config::RateLimit;
use berry_policy::{Quantity, Rate, WindowStanding};
use berry_vocab::Moment;

/// Requests and tokens that have been taken.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) requests: Rate,
    pub(crate) tokens: Rate,
}

/// A limit that would be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub(crate) quantity: Quantity,
    pub(crate) standing: WindowStanding,
}

impl Meter {
    /// Takes a request with its tokens, or neither.
    pub(crate) fn take(&self, limits: &RateLimit, tokens: u32, now: Moment) -> Result<(), Exceeded> {
        let exceeded = |quantity| move |standing| Exceeded { quantity, standing };
        self.requests.take(&limits.requests, 1, now).map_err(exceeded(Quantity::Requests))?;
        let taken = self.tokens.take(&limits.tokens, tokens, now);
        taken.map(drop).map_err(|standing| {
            self.requests.settle(&limits.requests, (1, 0), (now, now));
            exceeded(Quantity::Tokens)(standing)
        })
    }

    /// After what time a request with so many tokens may be taken; `None`: now.
    pub(crate) fn wait(&self, limits: &RateLimit, tokens: u32, now: Moment) -> Option<Duration> {
        let waits =
            [self.requests.refusing(&limits.requests, 1, now), self.tokens.refusing(&limits.tokens, tokens, now)];
        waits.into_iter().flatten().map(|standing| standing.wait).max()
    }
}

/// Whether anything in a time is limited.
pub(crate) fn is_metered(limits: &RateLimit) -> bool {
    !(limits.requests.is_empty() && limits.tokens.is_empty())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use berry_policy::WindowLimits;

    use super::*;

    #[test]
    fn a_request_whose_tokens_are_refused_takes_nothing() {
        let mut limits = RateLimit::default();
        limits.requests = WindowLimits { per_minute: NonZeroU32::new(2), ..WindowLimits::default() };
        limits.tokens = WindowLimits { per_day: NonZeroU32::new(100), ..WindowLimits::default() };
        let (meter, now) = (Meter::default(), Moment::ZERO);
        assert_eq!(meter.take(&limits, 80, now), Ok(()));
        assert_eq!(meter.take(&limits, 80, now).map_err(|it| it.quantity), Err(Quantity::Tokens));
        assert_eq!(meter.wait(&limits, 80, now), Some(Duration::from_secs(86_400 * 60 / 100)));
        assert_eq!(meter.take(&limits, 20, now), Ok(()));
        assert_eq!(meter.take(&limits, 0, now).map_err(|it| it.quantity), Err(Quantity::Requests));
        assert_eq!(meter.wait(&limits, 1, now), Some(Duration::from_secs(86_400 / 100)));
    }
}
