//! What a strategy sees: an eligible backend's numbers, and the circumstances of one choice.

use berry_vocab::Dice;

use crate::smart_ai::SmartAi;

/// An eligible backend, as numbers. Candidates stand in the file's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The configured weight.
    pub weight: f64,
    /// The configured priority; lower first.
    pub priority: u8,
    /// Whether it is tagged `premium`.
    pub premium: bool,
    /// The blended price in USD per million tokens, where it is known.
    pub price: Option<f64>,
    /// The weight factor of its health state: 1, or less in the recovery ramp.
    pub ramp: f64,
    /// The confidence in it, decayed to now.
    pub confidence: f64,
    /// The smoothed time to its first byte, where it has been measured.
    pub latency_us: Option<f64>,
    /// Requests that it is working on.
    pub in_flight: u32,
    /// A stable hash of its provider and model.
    pub identity: u64,
}

/// The circumstances of one choice.
pub struct Turn<'a> {
    /// The model's turn counter, one more for each choice.
    pub turn: u64,
    /// Randomness.
    pub dice: &'a mut dyn Dice,
    /// A hash of what should meet the same backend again, such as a conversation's prefix.
    pub affinity: Option<u64>,
    /// The settings of `smart_ai`.
    pub smart_ai: &'a SmartAi,
}

/// How long a request would wait, as far as that is known. The variants' order is the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) enum Wait {
    /// Nobody has measured it and nobody is at it: a look is worth more than a guess.
    Unmeasured,
    /// Latency × (in flight + 1), in microseconds.
    Measured(f64),
    /// Unmeasured, but somebody is at it: so many. Sending everyone there until it answers would bet all on a stranger.
    BeingMeasured(u32),
}

// === impl Candidate ===

impl Candidate {
    /// The weight that traffic uses, whatever was put in: `weight × ramp`, finite and not negative.
    pub(super) fn effective_weight(&self) -> f64 {
        finite(self.weight * self.ramp)
    }

    /// How long a request would wait here.
    pub(super) fn wait(&self) -> Wait {
        match self.latency_us {
            Some(latency) => Wait::Measured(finite(latency) * (f64::from(self.in_flight) + 1.0)),
            None if self.in_flight == 0 => Wait::Unmeasured,
            None => Wait::BeingMeasured(self.in_flight),
        }
    }
}

/// The number itself, where it can be reckoned with.
#[expect(clippy::manual_clamp, reason = "`max` turns NaN into 0, `clamp` would keep it")]
pub(super) fn finite(number: f64) -> f64 {
    number.max(0.0).min(1e100)
}
