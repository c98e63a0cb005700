//! One backend's health as named states: healthy → open → ramp → healthy. The table stands in the configuration's reference;
//! each of its lines has a test here.
//!
//! It is fed by outcomes of real traffic and, while open, by active checks. It is not about rate limits ([`Cooldown`] is),
//! and it does not know the model's other backends: whether a soft failure may open this one is the caller's word
//! ([`may_open_soft`]).
//!
//! [`Cooldown`]: crate::Cooldown

use std::time::Duration;

use berry_vocab::Moment;

use crate::outcome::FailureKind;

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
mod window;

use window::Window;

/// Hard failures in a row that open a backend.
const HARD_IN_A_ROW: u32 = 2;

/// Successes that a backend needs to climb the whole ramp.
const RAMP_SUCCESSES: u8 = 5;

/// The open time doubles no further than to this.
const LONGEST_OPEN: Duration = Duration::from_secs(300);

/// The settings of the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthRules {
    /// Failures in a row that open a backend.
    pub failure_threshold: u32,
    /// How long it is open the first time. Doubles up to 5 min (or stays, if it is longer) while it keeps failing.
    pub open_time: Duration,
}

/// What a backend may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is known against it.
    Healthy,
    /// It gets no traffic.
    Open {
        /// When it may try again.
        until: Moment,
        /// Whether it seems not to be there at all.
        hard: bool,
    },
    /// It proves itself with a little traffic.
    Ramp {
        /// Successes since it left `Open`.
        successes: u8,
    },
}

/// The health of one backend. A new one is healthy.
#[derive(Clone, Debug)]
pub struct Health {
    state: State,
    failures_in_a_row: u32,
    hard_in_a_row: u32,
    /// Of the failures in a row, those of active checks.
    by_checks: u32,
    /// How often it has opened since it was last healthy.
    openings: u32,
    window: Window,
}

// === impl State ===

impl State {
    /// Whether a strategy may choose it.
    pub fn eligible(self) -> bool {
        !matches!(self, State::Open { .. })
    }

    /// What its weight is multiplied by.
    pub fn weight_factor(self) -> f64 {
        match self {
            State::Healthy => 1.0,
            State::Open { .. } => 0.0,
            State::Ramp { successes: 0 } => 0.1,
            State::Ramp { successes: 1..3 } => 0.3,
            State::Ramp { .. } => 0.5,
        }
    }

    /// How many requests it may have at once, where its state limits them.
    pub fn at_once(self) -> Option<u32> {
        match self {
            State::Healthy => None,
            State::Open { .. } => Some(0),
            State::Ramp { successes: 0 } => Some(1),
            State::Ramp { successes: 1..3 } => Some(2),
            State::Ramp { .. } => Some(4),
        }
    }
}

// === impl Health ===

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// A backend that nobody has used yet.
    pub fn new() -> Self {
        Self {
            state: State::Healthy,
            failures_in_a_row: 0,
            hard_in_a_row: 0,
            by_checks: 0,
            openings: 0,
            window: Window::default(),
        }
    }

    /// The state now. An open time that is over has become a ramp.
    pub fn state(&self, now: Moment) -> State {
        match self.state {
            State::Open { until, .. } if until <= now => State::Ramp { successes: 0 },
            state => state,
        }
    }

    /// Failures since the last success.
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }

    /// When the state changes by time alone, if it will.
    pub fn next_change(&self, now: Moment) -> Option<Moment> {
        match self.state(now) {
            State::Open { until, .. } => Some(until),
            State::Healthy | State::Ramp { .. } => None,
        }
    }

    /// A request was answered.
    ///
    /// An open backend stays open: a straggler from before says nothing about now, and if it led into the ramp, the next
    /// straggler's failure would double the open time.
    pub fn record_success(&mut self, now: Moment) {
        self.state = self.state(now);
        match self.state {
            State::Healthy => self.window.add_success(now),
            State::Open { .. } => return,
            State::Ramp { successes } if successes + 1 < RAMP_SUCCESSES => {
                self.state = State::Ramp { successes: successes + 1 };
            }
            State::Ramp { .. } => *self = Self::new(),
        }
        self.failures_in_a_row = 0;
        self.hard_in_a_row = 0;
        self.by_checks = 0;
    }

    /// An active check failed.
    pub fn record_check_failure(&mut self, kind: FailureKind, may_open: bool, now: Moment, rules: &HealthRules) {
        self.by_checks = self.by_checks.saturating_add(1);
        self.record_failure(kind, may_open, now, rules);
    }

    /// A request failed. `may_open` is [`may_open_soft`]'s answer; hard failures open regardless.
    pub fn record_failure(&mut self, kind: FailureKind, may_open: bool, now: Moment, rules: &HealthRules) {
        self.state = self.state(now);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.hard_in_a_row = if kind == FailureKind::Hard { self.hard_in_a_row.saturating_add(1) } else { 0 };
        match self.state {
            State::Healthy => self.fail_healthy(may_open, now, rules),
            State::Open { until, hard } => {
                self.state = State::Open { until, hard: hard || self.hard_in_a_row >= HARD_IN_A_ROW };
            }
            State::Ramp { .. } if kind == FailureKind::Hard || may_open => {
                self.open(kind == FailureKind::Hard, now, rules);
            }
            State::Ramp { .. } => self.state = State::Ramp { successes: 0 },
        }
    }

    /// An active check succeeded. `may_ramp`: whether it lets an open backend prove itself on real traffic. In any other state
    /// a check takes back what other checks have said, and that nobody is there; the rest traffic tells better.
    pub fn record_check_success(&mut self, may_ramp: bool, now: Moment) {
        match self.state(now) {
            State::Open { .. } if may_ramp => self.state = State::Ramp { successes: 0 },
            State::Open { .. } => {}
            State::Healthy | State::Ramp { .. } => {
                self.failures_in_a_row = self.failures_in_a_row.saturating_sub(self.by_checks);
                self.by_checks = 0;
                self.hard_in_a_row = 0;
            }
        }
    }

    fn fail_healthy(&mut self, may_open: bool, now: Moment, rules: &HealthRules) {
        self.window.add_failure(now);
        let hard = self.hard_in_a_row >= HARD_IN_A_ROW;
        let soft = self.failures_in_a_row >= rules.failure_threshold || self.window.is_half_failures(now);
        if hard || (soft && may_open) {
            self.open(hard, now, rules);
        }
    }

    fn open(&mut self, hard: bool, now: Moment, rules: &HealthRules) {
        let doubled = rules.open_time.saturating_mul(2u32.saturating_pow(self.openings));
        let open_time = doubled.min(LONGEST_OPEN.max(rules.open_time));
        self.openings = self.openings.saturating_add(1);
        self.window = Window::default();
        self.state = State::Open { until: now.after(open_time), hard };
    }
}

/// Whether a soft failure may open one more backend of a model that has `total`, of which `open` are open already: at most
/// half are ever opened so, and never the last one.
pub fn may_open_soft(open: usize, total: usize) -> bool {
    open.saturating_add(1).saturating_mul(2) <= total
}

/// When nothing is eligible: the soft-open backend that is due soonest, to be tried once. `None` if all are hard-open.
pub fn panic_pick(states: impl Iterator<Item = State>) -> Option<usize> {
    let due = |(i, state)| match state {
        State::Open { until, hard: false } => Some((until, i)),
        State::Open { hard: true, .. } | State::Healthy | State::Ramp { .. } => None,
    };
    states.enumerate().filter_map(due).min().map(|(_, i)| i)
}
