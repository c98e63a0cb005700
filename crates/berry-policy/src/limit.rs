//! Limits in a time: how many requests, or tokens, there may be in a minute, an hour and a day, and how long to wait where that is
//! used up. The algorithm is GCRA (ITU-T I.371, the "virtual scheduling" form): what a window remembers is one moment, the one at which
//! all that was taken will have been given back, so that three windows are 24 bytes and nothing has to run at their ends.
//!
//! The whole amount of a limit may be taken at once; it then comes back evenly. So no span of time sees more than the whole amount
//! and what came back meanwhile.
//!
//! What is only known in the end, as tokens are, is taken by an estimate and settled then: what was too much comes back, what was
//! too little is owed, and whoever comes next waits until that has come back too.
//!
//! Unlike its neighbours this state is shared by threads as it is, without a lock around it: it stands on the path of every request
//! of a limited user.

use std::cmp::Reverse;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use berry_vocab::Moment;
use smallvec::SmallVec;

/// How many times the whole amount of a window may be owed by settlements: a vendor's wrong number locks nobody out for long.
const MOST_OWED: u64 = 10;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Requests.
    Requests,
    /// Tokens, in and out.
    Tokens,
}

/// A span of time that something is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
}

/// How much there may be in each window; `None`: any amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowLimits {
    /// In a minute.
    pub per_minute: Option<NonZeroU32>,
    /// In an hour.
    pub per_hour: Option<NonZeroU32>,
    /// In a day.
    pub per_day: Option<NonZeroU32>,
}

/// What has been taken. It is told the limits each time, so that changed ones hold from the next request on; of a window, the share
/// that is used up stays.
#[derive(Debug, Default)]
pub struct Rate {
    /// By window: the moment, in nanoseconds, at which all has been given back.
    whole_again: [AtomicU64; Window::ALL.len()],
}

/// How a limited window stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowStanding {
    /// Which one it is.
    pub window: Window,
    /// How much it allows.
    pub limit: u32,
    /// How much could be taken now.
    pub remaining: u32,
    /// When all of it could, if nothing were taken until then.
    pub reset: Duration,
    /// After what time the amount that was asked for could, else one; zero: now.
    pub wait: Duration,
}

/// The limited windows, shortest first.
pub type WindowStandings = SmallVec<[WindowStanding; Window::ALL.len()]>;

/// One window's limit, in nanoseconds.
#[derive(Clone, Copy)]
struct Pace {
    window: Window,
    limit: u32,
    /// The time in which one of the limit's units comes back.
    interval: u64,
}

// === impl Window ===

impl Window {
    /// All of them, shortest first.
    pub const ALL: [Window; 3] = [Window::Minute, Window::Hour, Window::Day];

    /// The name of a limit of that quantity in it, as the configuration has it.
    pub fn limit_name(self, quantity: Quantity) -> &'static str {
        match (quantity, self) {
            (Quantity::Requests, Window::Minute) => "requests_per_minute",
            (Quantity::Requests, Window::Hour) => "requests_per_hour",
            (Quantity::Requests, Window::Day) => "requests_per_day",
            (Quantity::Tokens, Window::Minute) => "tokens_per_minute",
            (Quantity::Tokens, Window::Hour) => "tokens_per_hour",
            (Quantity::Tokens, Window::Day) => "tokens_per_day",
        }
    }

    const fn seconds(self) -> u64 {
        match self {
            Window::Minute => 60,
            Window::Hour => 3600,
            Window::Day => 86_400,
        }
    }
}

// === impl WindowLimits ===

impl WindowLimits {
    /// The limit of a window.
    pub fn of(&self, window: Window) -> Option<NonZeroU32> {
        match window {
            Window::Minute => self.per_minute,
            Window::Hour => self.per_hour,
            Window::Day => self.per_day,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        Window::ALL.iter().all(|&window| self.of(window).is_none())
    }
}

// === impl Rate ===

impl Rate {
    /// Takes an amount out of every limited window, or out of none. What is told is how the tightest one stands then; `None`:
    /// nothing is limited. Of a window that is smaller than the amount it takes the whole.
    ///
    /// # Errors
    /// The window that makes wait for longest.
    pub fn take(
        &self,
        limits: &WindowLimits,
        amount: u32,
        now: Moment,
    ) -> Result<Option<WindowStanding>, WindowStanding> {
        if limits.is_empty() {
            return Ok(None);
        }
        loop {
            // Looked at before anything is written: a flood of requests that are refused writes nothing.
            if let Some(refusing) = self.refusing(limits, amount, now) {
                return Err(refusing);
            }
            if let Some(standings) = self.try_take(limits, amount, now) {
                return Ok(tightest(&standings));
            }
        }
    }

    /// The window that would refuse an amount now, and make wait for longest.
    pub fn refusing(&self, limits: &WindowLimits, amount: u32, now: Moment) -> Option<WindowStanding> {
        let standings =
            self.paced(limits).map(|(pace, whole_again)| pace.standing(whole_again.load(SeqCst), amount, now));
        standings.max_by_key(|standing| standing.wait).filter(|standing| !standing.wait.is_zero())
    }

    /// Puts what was used in the place of what was taken at `since`: what was too much comes back, as far as time has not given
    /// it back already; what was too little is owed.
    pub fn settle(&self, limits: &WindowLimits, (taken, used): (u32, u32), (since, now): (Moment, Moment)) {
        let passed = now.as_nanos().saturating_sub(since.as_nanos());
        for (pace, whole_again) in self.paced(limits) {
            let (taken, used) = (pace.span(taken), pace.interval.saturating_mul(u64::from(used)));
            let most = now.as_nanos().saturating_add(pace.whole().saturating_mul(MOST_OWED));
            let settled = |before: u64| match used.checked_sub(taken) {
                Some(more) => before.max(now.as_nanos()).saturating_add(more).min(before.max(most)),
                None => before.saturating_sub((taken - used).saturating_sub(passed)),
            };
            let _ = whole_again.fetch_update(SeqCst, SeqCst, |before| Some(settled(before)));
        }
    }

    /// How each limited window stands.
    pub fn standings(&self, limits: &WindowLimits, now: Moment) -> WindowStandings {
        self.paced(limits).map(|(pace, whole_again)| pace.standing(whole_again.load(SeqCst), 1, now)).collect()
    }

    /// How the window stands that will be used up first.
    pub fn tightest(&self, limits: &WindowLimits, now: Moment) -> Option<WindowStanding> {
        tightest(&self.standings(limits, now))
    }

    /// Takes an amount from window after window; where another thread was quicker, what was taken is given back.
    ///
    /// Nobody is refused for what is given back: that happens only where a later window was used up, and that refuses as well.
    fn try_take(&self, limits: &WindowLimits, amount: u32, now: Moment) -> Option<WindowStandings> {
        let mut taken = WindowStandings::new();
        for (pace, whole_again) in self.paced(limits) {
            match whole_again.fetch_update(SeqCst, SeqCst, |before| pace.after(before, amount, now)) {
                // What it became, and not what it is by now: of a burst each is told its own number.
                Ok(before) => taken.push(pace.standing(pace.after(before, amount, now).unwrap_or(before), 1, now)),
                Err(_) => {
                    for (pace, whole_again) in self.paced(limits).take(taken.len()) {
                        whole_again.fetch_sub(pace.span(amount), SeqCst);
                    }
                    return None;
                }
            }
        }
        Some(taken)
    }

    fn paced(&self, limits: &WindowLimits) -> impl Iterator<Item = (Pace, &AtomicU64)> {
        let limits = *limits;
        Window::ALL.into_iter().zip(&self.whole_again).filter_map(move |(window, whole_again)| {
            let limit = limits.of(window)?;
            Some((Pace::new(window, limit), whole_again))
        })
    }
}

fn tightest(standings: &[WindowStanding]) -> Option<WindowStanding> {
    standings.iter().copied().min_by_key(|standing| (standing.remaining, Reverse(standing.reset)))
}

// === impl Pace ===

impl Pace {
    fn new(window: Window, limit: NonZeroU32) -> Self {
        // Rounded up: never more than the limit, and less by no more than a nanosecond for each request.
        let interval = (window.seconds() * 1_000_000_000).div_ceil(u64::from(limit.get()));
        Self { window, limit: limit.get(), interval }
    }

    /// The time in which the whole amount comes back.
    fn whole(self) -> u64 {
        self.interval * u64::from(self.limit)
    }

    /// The time in which an amount comes back; of one that is larger than the whole, the whole.
    fn span(self, amount: u32) -> u64 {
        self.interval * u64::from(amount.min(self.limit))
    }

    /// What the state becomes with so much more, if that is allowed.
    fn after(self, whole_again: u64, amount: u32, now: Moment) -> Option<u64> {
        let next = whole_again.max(now.as_nanos()).saturating_add(self.span(amount));
        (next - now.as_nanos() <= self.whole()).then_some(next)
    }

    fn standing(self, whole_again: u64, amount: u32, now: Moment) -> WindowStanding {
        let owed = whole_again.saturating_sub(now.as_nanos());
        let remaining = self.whole().saturating_sub(owed) / self.interval;
        WindowStanding {
            window: self.window,
            limit: self.limit,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset: Duration::from_nanos(owed),
            wait: Duration::from_nanos(owed.saturating_add(self.span(amount)).saturating_sub(self.whole())),
        }
    }
}

#[cfg(test)]
mod tests;
