//! What the gateway can say of itself: the health of models and backends, the shares that strategies give, all metrics. One
//! source for the data listener, the admin listener and the log.

mod audit;
mod limits;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use berry_policy::State;
use berry_vocab::Moment;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::live::{Numbers, Standing};
use crate::metrics::Exposition;
use crate::snapshot::{Model, Snapshot, Target};
use crate::station::choose;

pub use audit::audit;
pub use limits::rate_limit_usage;

/// The health of everything that is configured.
pub struct HealthReport {
    /// Enabled models.
    pub models: Vec<ModelHealth>,
    /// Backends of enabled models, each once.
    pub backends: Vec<BackendHealth>,
}

/// Whether a model can be served.
pub struct ModelHealth {
    /// Its public name.
    pub name: String,
    /// Whether any of its backends is eligible.
    pub servable: bool,
}

/// The health of one backend.
pub struct BackendHealth {
    /// Provider id.
    pub provider: String,
    /// Model name at the provider.
    pub model: String,
    /// What choosing sees of it.
    pub standing: Standing,
    /// Attempts by outcome.
    pub outcomes: Vec<(&'static str, u64)>,
    /// Failures, latency, the last check.
    pub numbers: Numbers,
    now: Moment,
}

/// Looks at every backend of every enabled model.
pub fn health(gateway: &Gateway, snapshot: &Snapshot) -> HealthReport {
    let now = gateway.clock().now();
    let standing = |target: &Target| target.standing(now, &snapshot.rules);
    let enabled = || snapshot.models().iter().filter(|model| model.enabled);
    let models = enabled().map(|model| ModelHealth {
        name: model.name.clone(),
        servable: model.targets.iter().any(|target| standing(target).is_able()),
    });
    let backends = distinct_backends(snapshot).into_iter().map(|(target, _)| BackendHealth {
        provider: target.provider.id.to_string(),
        model: target.key.model.to_string(),
        standing: standing(target),
        outcomes: target.live.outcomes().collect(),
        numbers: target.live.numbers(),
        now,
    });
    HealthReport { models: models.collect(), backends: backends.collect() }
}

/// The share of its traffic that each backend of each model can expect now, from the functions that traffic uses.
pub fn weights(gateway: &Gateway, snapshot: &Snapshot) -> Value {
    let now = gateway.clock().now();
    let of_model = |model: &Model| {
        let standings: Vec<(&Target, Standing)> =
            model.targets.iter().map(|target| (target, target.standing(now, &snapshot.rules))).collect();
        let eligible: Vec<&(&Target, Standing)> = standings.iter().filter(|(_, standing)| standing.is_able()).collect();
        let candidates: Vec<_> =
            eligible.iter().map(|(target, standing)| choose::candidate(target, standing)).collect();
        let shares = model.strategy.weights(&candidates, &snapshot.rules.smart_ai);
        let mut of_eligible = shares.into_iter();
        let backends: Vec<Value> = standings
            .iter()
            .map(|(target, standing)| {
                let share = if standing.is_able() { of_eligible.next().unwrap_or(0.0) } else { 0.0 };
                json!({
                    "provider": target.provider.id.as_str(),
                    "model": &*target.key.model,
                    "weight": target.weight,
                    "priority": target.priority,
                    "ramp": standing.state.weight_factor(),
                    "confidence": standing.confidence,
                    "share": share,
                    "selections": target.selections.load(Relaxed),
                })
            })
            .collect();
        json!({"model": model.name, "strategy": model.strategy.name(), "backends": backends})
    };
    json!({"data": snapshot.models().iter().filter(|model| model.enabled).map(|model| of_model(model)).collect::<Vec<_>>()})
}

/// All metrics, in Prometheus' text format.
pub fn metrics(gateway: &Gateway, snapshot: &Snapshot) -> String {
    let mut out = Exposition::default();
    gateway.metrics().expose(&mut out);
    for (name, help, value) in [
        (
            "berry_requests_in_flight",
            "Calls in flight, where max_in_flight limits them.",
            u64::from(gateway.slots.taken()),
        ),
        ("berry_body_memory_bytes", "Bytes of request bodies that are held.", gateway.body_memory.held()),
    ] {
        out.family(name, "gauge", help);
        out.sample(name, &[], value as f64);
    }
    expose_backends(gateway, snapshot, &mut out);
    expose_selections(snapshot, &mut out);
    limits::expose(snapshot, &mut out);
    audit::expose(gateway, &mut out);
    out.family("berry_config_generation", "gauge", "Number of the configuration in force.");
    out.sample("berry_config_generation", &[], gateway.generation() as f64);
    gateway.reloads.expose(&mut out);
    out.into_text()
}

fn expose_backends(gateway: &Gateway, snapshot: &Snapshot, out: &mut Exposition) {
    let report = health(gateway, snapshot);
    out.family("backend_health_status", "gauge", "Whether a backend may be asked (1) or not (0).");
    for backend in &report.backends {
        out.sample("backend_health_status", &backend.labels(), f64::from(u8::from(backend.is_eligible())));
    }
    out.family("berry_circuit_breaker_state", "gauge", "0 healthy, 1 ramp, 2 open.");
    for backend in &report.backends {
        out.sample("berry_circuit_breaker_state", &backend.labels(), backend.breaker());
    }
    out.family("berry_upstream_attempts_total", "counter", "Attempts at backends, by outcome.");
    for backend in &report.backends {
        let [provider, model] = backend.labels();
        for (outcome, count) in backend.outcomes.iter().filter(|(_, count)| *count > 0) {
            out.sample("berry_upstream_attempts_total", &[provider, model, ("outcome", outcome)], *count as f64);
        }
    }
    out.family(
        "berry_time_to_first_token_seconds",
        "histogram",
        "Time from the start of an attempt to the first byte of its answer's body.",
    );
    for (target, _) in distinct_backends(snapshot) {
        let labels = [("provider", target.provider.id.as_str()), ("model", &*target.key.model)];
        out.histogram("berry_time_to_first_token_seconds", &labels, &target.live.first_token);
    }
}

fn expose_selections(snapshot: &Snapshot, out: &mut Exposition) {
    out.family("load_balancer_selections_total", "counter", "Choices of a strategy.");
    for model in snapshot.models().iter().filter(|model| model.enabled) {
        for target in &model.targets {
            let labels = [
                ("model", model.name.as_str()),
                ("provider", target.provider.id.as_str()),
                ("backend_model", &*target.key.model),
                ("strategy", model.strategy.name()),
            ];
            out.sample("load_balancer_selections_total", &labels, target.selections.load(Relaxed) as f64);
        }
    }
}

/// Backends of enabled models, each once, with a model that it serves.
pub(crate) fn distinct_backends(snapshot: &Snapshot) -> Vec<(&Target, &Arc<Model>)> {
    let enabled = snapshot.models().iter().filter(|model| model.enabled);
    let mut all: Vec<_> = enabled.flat_map(|model| model.targets.iter().map(move |target| (target, model))).collect();
    all.sort_by(|(a, _), (b, _)| a.key.cmp(&b.key));
    all.dedup_by(|(a, _), (b, _)| a.key == b.key);
    all
}

// === impl HealthReport ===

impl HealthReport {
    /// As the admin API and `/health` show it.
    pub fn to_json(&self) -> Value {
        json!({
            "models": self.models.iter().map(|model| json!({"name": model.name, "servable": model.servable})).collect::<Vec<_>>(),
            "backends": self.backends.iter().map(BackendHealth::to_json).collect::<Vec<_>>(),
        })
    }
}

// === impl BackendHealth ===

impl BackendHealth {
    /// Whether it may be asked now.
    pub fn is_eligible(&self) -> bool {
        self.standing.is_able()
    }

    fn labels(&self) -> [(&str, &str); 2] {
        [("provider", &self.provider), ("model", &self.model)]
    }

    fn breaker(&self) -> f64 {
        match self.standing.state {
            State::Healthy => 0.0,
            State::Ramp { .. } => 1.0,
            State::Open { .. } => 2.0,
        }
    }

    /// Attempts that came to an end of their own.
    fn requests(&self) -> u64 {
        self.outcomes.iter().filter(|(outcome, _)| *outcome != "cancelled").map(|(_, count)| count).sum()
    }

    /// The share of them that the backend did not fail; a client's own error is no failure.
    fn success_rate(&self) -> Option<f64> {
        let good = |(outcome, _): &&(&str, u64)| matches!(*outcome, "success" | "client_error");
        let good: u64 = self.outcomes.iter().filter(good).map(|(_, count)| count).sum();
        (self.requests() > 0).then(|| rounded(good as f64 / self.requests() as f64))
    }

    fn to_json(&self) -> Value {
        let seconds_until = |moment: Moment| rounded(moment.since(self.now).as_secs_f64());
        let (state, open_seconds) = match self.standing.state {
            State::Healthy => ("healthy", None),
            State::Ramp { .. } => ("ramp", None),
            State::Open { until, .. } => ("open", Some(seconds_until(until))),
        };
        json!({
            "provider": self.provider,
            "model": self.model,
            "state": state,
            "eligible": self.is_eligible(),
            "open_seconds": open_seconds,
            "cooling_seconds": self.standing.cooling_until.map(seconds_until),
            "confidence": rounded(self.standing.confidence),
            "latency_ms": self.standing.latency_us.map(|us| rounded(us / 1e3)),
            "mean_latency_ms": self.numbers.mean.map(millis),
            "p95_latency_ms": self.numbers.p95.map(millis),
            "in_flight": self.standing.in_flight,
            "at_once": self.standing.at_once.into_iter().chain(self.standing.state.at_once()).min(),
            "requests": self.requests(),
            "success_rate": self.success_rate(),
            "consecutive_failures": self.numbers.failures_in_a_row,
            "last_check": self.numbers.last_check.map(|(at, what, went_well)| json!({
                "seconds_ago": rounded(self.now.since(at).as_secs_f64()),
                "what": what,
                "ok": went_well,
            })),
            "attempts": self.outcomes.iter().filter(|(_, n)| *n > 0).map(|(name, n)| ((*name).to_owned(), json!(n))).collect::<serde_json::Map<_, _>>(),
        })
    }
}

fn millis(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}

/// Three digits behind the point: what is measured here is no truer than that.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
