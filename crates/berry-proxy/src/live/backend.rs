//! The numbers of one backend, and what choosing sees of them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use berry_policy::{
    AdaptiveLimit, Confidence, Cooldown, Cooling, FailureKind, Health, KeyStanding, Latencies, OutcomeClass, State,
    ewma, key_soonest, pick_key,
};
use berry_vocab::Moment;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::live::{Accounts, Rules};
use crate::metrics::Histogram;

/// The numbers of one backend.
#[derive(Debug)]
pub struct BackendLive {
    /// Requests in flight.
    in_flight: AtomicU32,
    /// Those of them that were sent since it last opened and whose answer has not begun.
    unanswered: Unanswered,
    /// Held for a few dozen nanoseconds, when a backend is considered and when an attempt ends.
    figures: Mutex<Figures>,
    outcomes: [AtomicU64; OUTCOMES.len()],
    cancelled: AtomicU64,
    pub(crate) first_token: Histogram,
}

#[derive(Debug)]
struct Figures {
    health: Health,
    confidence: Confidence,
    limit: AdaptiveLimit,
    /// Cooldowns of this model by account.
    cooldowns: SmallVec<[(u64, Cooldown); 1]>,
    latency_us: Option<f64>,
    latency_at: Moment,
    latencies: Latencies,
    last_check: Option<CheckOutcome>,
}

/// A count of requests, and the age that they belong to, in one word: an opening begins a new one, in which there are none.
#[derive(Debug, Default)]
struct Unanswered(AtomicU64);

/// The time between two openings of a backend, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age(u64);

/// Of [`Unanswered`]: the lower half counts.
const COUNT_BITS: u32 = 32;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// What choosing needs to know of a backend, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// State of its health.
    pub state: State,
    /// Until when rate limits and refusals keep all its accounts from being asked with.
    pub cooling_until: Option<Moment>,
    /// Confidence in it, in [0, 1].
    pub confidence: f64,
    /// Smoothed time to the first byte, in microseconds.
    pub latency_us: Option<f64>,
    /// Requests in flight.
    pub in_flight: u32,
    /// Those of them that were sent since it last opened and whose answer has not begun. The ramp limits these alone: a stream
    /// that has begun proves something and may last for minutes, and what hangs since before proves nothing new.
    pub unanswered: u32,
    /// How many it may have in flight now, where a limit learned from overload or its provider's says so.
    pub at_once: Option<u32>,
}

/// What people want to know of a backend beside that.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// Failures since its last success.
    pub failures_in_a_row: u32,
    /// Mean time to the first byte, lately.
    pub mean: Option<Duration>,
    /// 95 % of them are below this.
    pub p95: Option<Duration>,
    /// The last active check: when, what, and whether it went well.
    pub last_check: Option<(Moment, &'static str, bool)>,
}

/// How an active check went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckOutcome {
    pub(crate) at: Moment,
    pub(crate) what: &'static str,
    pub(crate) went_well: bool,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) class: OutcomeClass,
    /// How it counts for the breaker.
    pub(crate) failure: Option<FailureKind>,
    /// After what and for how long the key is left alone, if the backend said that it is asked too much.
    pub(crate) cooldown: Option<(Cooling, Duration)>,
}

/// A change of state that people should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turned {
    pub(crate) from: State,
    pub(crate) to: State,
}

/// Outcomes of attempts, as the metric names them.
const OUTCOMES: [(OutcomeClass, &str); 8] = [
    (OutcomeClass::Success, "success"),
    (OutcomeClass::NetworkError, "network_error"),
    (OutcomeClass::AuthError, "auth_error"),
    (OutcomeClass::RateLimit, "rate_limit"),
    (OutcomeClass::ServerError, "server_error"),
    (OutcomeClass::ModelError, "model_error"),
    (OutcomeClass::Timeout, "timeout"),
    (OutcomeClass::ClientError, "client_error"),
];

// === impl Standing ===

impl Standing {
    /// Whether a strategy may choose it.
    pub fn is_eligible(&self) -> bool {
        self.is_able() && self.has_room()
    }

    /// Whether it could be asked if it had room.
    pub(crate) fn is_able(&self) -> bool {
        self.state.eligible() && self.cooling_until.is_none()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.at_once.is_none_or(|limit| self.in_flight < limit)
            && self.state.at_once().is_none_or(|limit| self.unanswered < limit)
    }
}

// === impl Ending ===

impl Ending {
    /// An ending that counts as its class does.
    pub(crate) fn of(class: OutcomeClass) -> Self {
        Self { class, failure: class.failure_kind(), cooldown: None }
    }
}

// === impl BackendLive ===

impl BackendLive {
    pub(super) fn new(now: Moment, rules: &Rules) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            unanswered: Unanswered::default(),
            figures: Mutex::new(Figures {
                health: Health::new(),
                confidence: Confidence::new(now, &rules.smart_ai),
                limit: AdaptiveLimit::default(),
                cooldowns: SmallVec::new(),
                latency_us: None,
                latency_at: now,
                latencies: Latencies::default(),
                last_check: None,
            }),
            outcomes: Default::default(),
            cancelled: AtomicU64::new(0),
            first_token: Histogram::of_requests(),
        }
    }

    /// What choosing needs to know of it. `is_adaptive`: whether its own limit, learned from overload, holds.
    pub(crate) fn standing(&self, accounts: &Accounts, is_adaptive: bool, now: Moment, rules: &Rules) -> Standing {
        let (in_flight, unanswered) = (self.in_flight.load(Relaxed), self.unanswered.count());
        let figures = self.figures.lock();
        Standing {
            state: figures.health.state(now),
            cooling_until: figures.cooling_until(accounts, now),
            confidence: figures.confidence.value_at(now, &rules.smart_ai),
            latency_us: figures.latency_us,
            in_flight,
            unanswered,
            at_once: if is_adaptive { figures.limit.limit(now) } else { None },
        }
    }

    /// The account whose turn it is, among those that may be asked with; those tried the least come first.
    pub(crate) fn pick_account(&self, accounts: &Accounts, tried: impl Fn(usize) -> u32, now: Moment) -> Option<usize> {
        if let [_] = accounts.hashes() {
            return Some(0);
        }
        let standings = self.figures.lock().key_standings(accounts, &tried, now);
        pick_key(&standings, accounts.next_turn())
    }

    /// Which accounts may be asked with.
    pub(crate) fn usable(&self, accounts: &Accounts, now: Moment) -> impl Iterator<Item = bool> {
        let standings = self.figures.lock().key_standings(accounts, &|_| 0, now);
        standings.into_iter().map(|key| key.cooling_until.is_none() && key.quarantined_until.is_none())
    }

    /// What keeps one account from being asked with; `None`: it is put aside.
    pub(crate) fn account(&self, accounts: &Accounts, account: usize, now: Moment) -> Option<Option<Moment>> {
        let standings = self.figures.lock().key_standings(accounts, &|_| 0, now);
        let key = standings.get(account).filter(|key| key.quarantined_until.is_none())?;
        Some(key.cooling_until)
    }

    /// A request is sent to it. The age is to be given back.
    pub(crate) fn enter(&self) -> Age {
        self.in_flight.fetch_add(1, Relaxed);
        self.unanswered.add()
    }

    /// A request is over. `unanswered`: its age, if its answer had not begun.
    pub(crate) fn leave(&self, unanswered: Option<Age>) {
        self.in_flight.fetch_sub(1, Relaxed);
        if let Some(age) = unanswered {
            self.unanswered.remove(age);
        }
    }

    /// The answer to a request has begun, `sample` after it was sent. On the ramp, and for the learned limit, that is the
    /// success: streams last for minutes, and a backend that begins them has proved itself.
    pub(crate) fn record_begun(&self, age: Age, sample: Duration, now: Moment) -> Option<Turned> {
        let in_flight = self.in_flight.load(Relaxed);
        self.unanswered.remove(age);
        self.first_token.record(sample);
        let mut figures = self.figures.lock();
        let since = now.since(figures.latency_at);
        figures.latency_us = Some(ewma(figures.latency_us, sample.as_secs_f64() * 1e6, since));
        figures.latency_at = now;
        figures.latencies.record(sample, now);
        figures.limit.on_success(in_flight, now);
        let from = figures.health.state(now);
        if let State::Ramp { .. } = from {
            figures.health.record_success(now);
        }
        self.turned(from, figures.health.state(now))
    }

    /// Takes an attempt's ending into account, after its cooldown. `may_open`: whether a soft failure may open this backend.
    pub(crate) fn record(
        &self,
        ending: Ending,
        may_open: bool,
        (accounts, now): (&Accounts, Moment),
        rules: &Rules,
    ) -> Option<Turned> {
        let place = OUTCOMES.iter().position(|(class, _)| *class == ending.class);
        if let Some(count) = place.and_then(|i| self.outcomes.get(i)) {
            count.fetch_add(1, Relaxed);
        }
        let in_flight = self.in_flight.load(Relaxed);
        let mut figures = self.figures.lock();
        let from = figures.health.state(now);
        figures.confidence.record(ending.class, now, &rules.smart_ai);
        match ending.failure {
            Some(kind) => figures.health.record_failure(kind, may_open, now, &rules.health),
            // On the ramp it counted when it began.
            None if ending.class == OutcomeClass::Success && !matches!(from, State::Ramp { .. }) => {
                figures.health.record_success(now);
            }
            None => {}
        }
        // One account's rate limit says nothing of what the others may have.
        let is_overload = match ending.cooldown {
            Some((Cooling::Overload, _)) => true,
            Some((Cooling::RateLimit, _)) => figures.cooling_until(accounts, now).is_some(),
            None => false,
        };
        if is_overload {
            figures.limit.on_overload(in_flight, now);
        }
        self.turned(from, figures.health.state(now))
    }

    /// What is worth telling of a change of state: steps within the ramp are not.
    fn turned(&self, from: State, to: State) -> Option<Turned> {
        if let State::Open { .. } = to
            && from != to
        {
            self.unanswered.begin_anew();
        }
        (std::mem::discriminant(&from) != std::mem::discriminant(&to)).then_some(Turned { from, to })
    }

    /// Counts an attempt that was given up for a reason that is not the backend's.
    pub(crate) fn record_cancelled(&self) {
        self.cancelled.fetch_add(1, Relaxed);
    }

    /// Takes an active check into account. `may_ramp`: whether its success lets an open backend prove itself; a failure counts
    /// as `failure` does.
    pub(crate) fn record_check(
        &self,
        check: CheckOutcome,
        (may_ramp, failure): (bool, Option<(FailureKind, bool)>),
        rules: &Rules,
    ) -> Option<Turned> {
        let mut figures = self.figures.lock();
        let from = figures.health.state(check.at);
        figures.last_check = Some(check);
        match failure {
            Some((kind, may_open)) => figures.health.record_check_failure(kind, may_open, check.at, &rules.health),
            None if check.went_well => figures.health.record_check_success(may_ramp, check.at),
            None => {}
        }
        self.turned(from, figures.health.state(check.at))
    }

    /// The state of its health.
    pub(crate) fn state(&self, now: Moment) -> State {
        self.figures.lock().health.state(now)
    }

    /// Keeps an account from being asked with for `wait`. Says whether it was not already.
    pub(crate) fn cool_down(&self, account: u64, (why, wait): (Cooling, Duration), now: Moment) -> bool {
        let mut figures = self.figures.lock();
        let known = figures.cooldowns.iter().position(|(hash, _)| *hash == account);
        let place = known.unwrap_or_else(|| {
            figures.cooldowns.push((account, Cooldown::default()));
            figures.cooldowns.len() - 1
        });
        let Some((_, cooldown)) = figures.cooldowns.get_mut(place) else {
            return false;
        };
        let is_new = cooldown.until(now).is_none();
        cooldown.extend(why, wait, now);
        is_new
    }

    /// What its accounts cool down after.
    pub(crate) fn cooling(&self, now: Moment) -> SmallVec<[Cooling; 1]> {
        self.figures.lock().cooldowns.iter().filter_map(|(_, cooldown)| cooldown.why(now)).collect()
    }

    /// The times to first bytes, lately.
    pub(crate) fn latencies(&self) -> Latencies {
        self.figures.lock().latencies.clone()
    }

    /// What people want to know of it.
    pub fn numbers(&self) -> Numbers {
        let figures = self.figures.lock();
        Numbers {
            failures_in_a_row: figures.health.failures_in_a_row(),
            mean: figures.latencies.mean(),
            p95: figures.latencies.quantile(0.95),
            last_check: figures.last_check.map(|check| (check.at, check.what, check.went_well)),
        }
    }

    /// Attempts by outcome, with the outcome's name.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let cancelled = ("cancelled", self.cancelled.load(Relaxed));
        OUTCOMES.iter().zip(&self.outcomes).map(|((_, name), count)| (*name, count.load(Relaxed))).chain([cancelled])
    }
}

impl Figures {
    fn cooling_until(&self, accounts: &Accounts, now: Moment) -> Option<Moment> {
        if let [only] = accounts.hashes() {
            return self.cooldown(*only, now);
        }
        let standings = self.key_standings(accounts, &|_| 0, now);
        let usable = |key: &KeyStanding| key.cooling_until.is_none() && key.quarantined_until.is_none();
        if standings.iter().any(usable) { None } else { key_soonest(&standings) }
    }

    fn key_standings(
        &self,
        accounts: &Accounts,
        tried: &dyn Fn(usize) -> u32,
        now: Moment,
    ) -> SmallVec<[KeyStanding; 2]> {
        let each = accounts.hashes().iter().zip(accounts.quarantined(now)).enumerate();
        let standing = |(i, (hash, quarantined_until)): (usize, (&u64, Option<Moment>))| KeyStanding {
            cooling_until: self.cooldown(*hash, now),
            quarantined_until,
            visits: tried(i),
        };
        each.map(standing).collect()
    }

    fn cooldown(&self, account: u64, now: Moment) -> Option<Moment> {
        self.cooldowns.iter().find(|(hash, _)| *hash == account)?.1.until(now)
    }
}

// === impl Unanswered ===

impl Unanswered {
    fn count(&self) -> u32 {
        (self.0.load(Relaxed) & COUNT) as u32
    }

    fn add(&self) -> Age {
        Age(self.0.fetch_add(1, Relaxed) >> COUNT_BITS)
    }

    /// Removes one of that age; of an age that is over there is none.
    fn remove(&self, Age(age): Age) {
        let removed = |packed: u64| (packed >> COUNT_BITS == age && packed & COUNT > 0).then(|| packed - 1);
        let _ = self.0.fetch_update(Relaxed, Relaxed, removed);
    }

    fn begin_anew(&self) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |packed| Some(((packed >> COUNT_BITS) + 1) << COUNT_BITS));
    }
}
