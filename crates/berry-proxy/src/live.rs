//! Live numbers: health, latency, requests in flight. They lie beside the snapshot, by identity, so that a reload loses none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use berry_policy::{Confidence, Cooldown, Health, HealthRules, OutcomeClass, SmartAi, State, ewma};
use berry_vocab::{BackendKey, ModelId, Moment};
use foldhash::HashMap;
use parking_lot::Mutex;

use crate::metrics::Histogram;

/// The rules by which outcomes change the numbers.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Of the breaker.
    pub health: HealthRules,
    /// Of the confidence.
    pub smart_ai: SmartAi,
}

/// All live numbers of the process.
#[derive(Debug, Default)]
pub struct Live {
    backends: Mutex<HashMap<BackendKey, Arc<BackendLive>>>,
    models: Mutex<HashMap<ModelId, Arc<AtomicU64>>>,
    selections: Mutex<HashMap<(ModelId, BackendKey), Arc<AtomicU64>>>,
}

/// The numbers of one backend.
#[derive(Debug)]
pub struct BackendLive {
    /// Requests in flight.
    in_flight: AtomicU32,
    /// Held for a few dozen nanoseconds, when a backend is considered and when an attempt ends.
    numbers: Mutex<Numbers>,
    outcomes: [AtomicU64; OUTCOMES.len()],
    pub(crate) first_token: Histogram,
}

#[derive(Debug)]
struct Numbers {
    health: Health,
    confidence: Confidence,
    cooldown: Cooldown,
    latency_us: Option<f64>,
    latency_at: Moment,
}

/// What choosing needs to know of a backend, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// State of its health.
    pub state: State,
    /// Until when a rate limit keeps it from being asked.
    pub cooling_until: Option<Moment>,
    /// Confidence in it, in [0, 1].
    pub confidence: f64,
    /// Smoothed time to the first byte, in microseconds.
    pub latency_us: Option<f64>,
    /// Requests in flight.
    pub in_flight: u32,
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

// === impl Live ===

impl Live {
    /// The numbers of a backend, new ones if it was never seen.
    pub fn backend(&self, key: &BackendKey, now: Moment, rules: &Rules) -> Arc<BackendLive> {
        let mut backends = self.backends.lock();
        backends.entry(key.clone()).or_insert_with(|| Arc::new(BackendLive::new(now, rules))).clone()
    }

    /// The turn counter of a model.
    pub fn turns(&self, model: &ModelId) -> Arc<AtomicU64> {
        self.models.lock().entry(model.clone()).or_default().clone()
    }

    /// How often a model's strategy chose a backend.
    pub fn selections(&self, model: &ModelId, backend: &BackendKey) -> Arc<AtomicU64> {
        self.selections.lock().entry((model.clone(), backend.clone())).or_default().clone()
    }
}

// === impl BackendLive ===

impl BackendLive {
    fn new(now: Moment, rules: &Rules) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            numbers: Mutex::new(Numbers {
                health: Health::new(),
                confidence: Confidence::new(now, &rules.smart_ai),
                cooldown: Cooldown::default(),
                latency_us: None,
                latency_at: now,
            }),
            outcomes: Default::default(),
            first_token: Histogram::of_requests(),
        }
    }

    /// What choosing needs to know of it.
    pub fn standing(&self, now: Moment, rules: &Rules) -> Standing {
        let numbers = self.numbers.lock();
        Standing {
            state: numbers.health.state(now),
            cooling_until: numbers.cooldown.until(now),
            confidence: numbers.confidence.value_at(now, &rules.smart_ai),
            latency_us: numbers.latency_us,
            in_flight: self.in_flight.load(Relaxed),
        }
    }

    pub(crate) fn enter(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Takes the time to a first byte into the smoothed latency.
    pub(crate) fn record_latency(&self, sample: Duration, now: Moment) {
        let mut numbers = self.numbers.lock();
        let since = now.since(numbers.latency_at);
        numbers.latency_us = Some(ewma(numbers.latency_us, sample.as_secs_f64() * 1e6, since));
        numbers.latency_at = now;
    }

    /// Takes an attempt's outcome into account. `may_open`: whether a soft failure may open this backend.
    pub(crate) fn record(&self, outcome: OutcomeClass, may_open: bool, now: Moment, rules: &Rules) {
        if let Some(count) = OUTCOMES.iter().position(|(class, _)| *class == outcome).and_then(|i| self.outcomes.get(i))
        {
            count.fetch_add(1, Relaxed);
        }
        let mut numbers = self.numbers.lock();
        numbers.confidence.record(outcome, now, &rules.smart_ai);
        match outcome.failure_kind() {
            Some(kind) => numbers.health.record_failure(kind, may_open, now, &rules.health),
            None if outcome == OutcomeClass::Success => numbers.health.record_success(now),
            None => {}
        }
    }

    /// Keeps it from being asked for `wait`.
    pub(crate) fn cool_down(&self, wait: Duration, now: Moment) {
        self.numbers.lock().cooldown.extend(wait, now);
    }

    /// Attempts by outcome, with the outcome's name.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        OUTCOMES.iter().zip(&self.outcomes).map(|((_, name), count)| (*name, count.load(Relaxed)))
    }
}
