//! The snapshot: a checked configuration, made ready to run. Immutable; a request keeps the one that it started with.

mod addresses;
mod model;
mod provider;
mod user;

use std::sync::Arc;
use std::time::Duration;

use berry_config::{AskUsage, Config};
use berry_policy::{BudgetRules, HealthRules};
use berry_vocab::{Moment, ProviderId};
use foldhash::HashMap;

use crate::live::{Live, Rules};
use crate::ports::Disk;

pub(crate) use addresses::Addresses;
pub use addresses::Door;
pub(crate) use model::{Limits, Model, Target};
pub(crate) use provider::Provider;
pub(crate) use user::{User, Users};

/// All that a request needs of the configuration.
pub struct Snapshot {
    /// Its number, which the gateway gives it.
    pub(crate) generation: u64,
    pub(crate) addresses: Addresses,
    pub(crate) users: Users,
    models: Vec<Arc<Model>>,
    by_name: HashMap<String, usize>,
    /// Models whose name is a pattern, the most specific first.
    patterns: Vec<usize>,
    providers: HashMap<ProviderId, Arc<Provider>>,
    pub(crate) rules: Rules,
    pub(crate) max_body_bytes: u64,
    pub(crate) max_retries: u32,
    pub(crate) max_internal_retries: u32,
    /// Requests at once over all users.
    pub(crate) max_in_flight: Option<u32>,
    /// Bytes of request bodies over all requests.
    pub(crate) max_body_memory: u64,
    /// Time limit of one active check.
    pub(crate) check_timeout: Duration,
    /// After what silence a stream that has not begun gets a comment.
    pub(crate) stream_keepalive: Option<Duration>,
    pub(crate) ask_usage: AskUsage,
    /// Whether the tokens of any provider or model are limited.
    pub(crate) limits_backends_tokens: bool,
    /// Whether every request of a user is accounted for.
    pub(crate) audits_requests: bool,
    predrain: Duration,
    drain: Duration,
}

/// What building a snapshot needs beside the configuration.
pub struct Surroundings<'a> {
    /// Live numbers to attach to.
    pub live: &'a Live,
    /// Where certificate files are read.
    pub disk: &'a dyn Disk,
    /// How many workers will share the limits of idle connections.
    pub workers: usize,
    /// The time.
    pub now: Moment,
}

impl Snapshot {
    /// Makes a configuration ready to run.
    ///
    /// # Errors
    /// What could not be made ready (certificate files), one line each, for the operator.
    pub fn build(config: &Config, around: &Surroundings<'_>) -> Result<Self, Vec<String>> {
        let rules = Rules {
            health: HealthRules {
                failure_threshold: config.settings.circuit_breaker_failure_threshold,
                open_time: config.settings.circuit_breaker_timeout,
            },
            smart_ai: config.settings.smart_ai.clone(),
            budget: BudgetRules {
                share: config.settings.retry_budget_percent / 100.0,
                per_second: config.settings.retry_budget_per_second,
            },
        };
        let providers = build_providers(config, around)?;
        let models: Vec<Arc<Model>> =
            config.models.iter().map(|model| Arc::new(Model::new(model, config, &providers, &rules, around))).collect();
        let mut patterns: Vec<usize> =
            (0..models.len()).filter(|&i| models.get(i).is_some_and(|m| m.is_pattern())).collect();
        patterns.sort_by_key(|&i| std::cmp::Reverse(models.get(i).map_or(0, |m| m.name.len())));
        let named = |(i, model): (usize, &Arc<Model>)| (!model.is_pattern()).then(|| (model.name.clone(), i));
        Ok(Self {
            generation: 1,
            addresses: Addresses::new(config),
            users: Users::new(&config.users, around.live),
            by_name: models.iter().enumerate().filter_map(named).collect(),
            models,
            patterns,
            providers,
            rules,
            max_body_bytes: config.server.max_body_bytes,
            max_retries: u32::from(config.settings.max_retries),
            max_internal_retries: u32::from(config.settings.max_internal_retries),
            max_in_flight: config.server.max_in_flight,
            max_body_memory: config.server.max_body_memory,
            check_timeout: config.settings.health_check_timeout,
            stream_keepalive: config.settings.stream_keepalive,
            ask_usage: config.settings.ask_usage,
            limits_backends_tokens: limits_backends_tokens(config),
            audits_requests: config.audit.requests,
            predrain: config.server.predrain,
            drain: config.server.drain,
        })
    }

    /// The same under this number, for the first one: history counts on over restarts.
    #[must_use]
    pub fn numbered(self, generation: u64) -> Self {
        Self { generation, ..self }
    }

    /// The model of that public name: an exact name wins, then the most specific pattern. Disabled ones are not found.
    pub(crate) fn model(&self, name: &str) -> Option<&Arc<Model>> {
        let by_pattern =
            || self.patterns.iter().copied().find(|&i| self.models.get(i).is_some_and(|m| m.matches(name)));
        let place = self.by_name.get(name).copied().or_else(by_pattern)?;
        self.models.get(place).filter(|model| model.enabled)
    }

    /// The model at a place, as fallbacks name them.
    pub(crate) fn model_at(&self, place: usize) -> Option<&Arc<Model>> {
        self.models.get(place).filter(|model| model.enabled)
    }

    /// Whether a provider of that id is configured.
    pub(crate) fn has_provider(&self, id: &str) -> bool {
        self.providers.contains_key(&ProviderId::new(id))
    }

    /// An enabled provider.
    pub(crate) fn provider(&self, id: &str) -> Option<&Arc<Provider>> {
        self.providers.get(&ProviderId::new(id))
    }

    /// All enabled providers.
    pub(crate) fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }

    /// Whether any of its providers is reached by this endpoint.
    pub(crate) fn reaches(&self, endpoint: u64) -> bool {
        self.providers.values().any(|provider| provider.endpoint.id == endpoint)
    }

    /// On stopping: how long readiness is 503 while requests are still accepted, and how long those in flight may go on after
    /// that.
    pub fn times_to_leave(&self) -> (Duration, Duration) {
        (self.predrain, self.drain)
    }

    /// Whether there is a backend that could answer anything.
    pub fn can_answer(&self) -> bool {
        self.models.iter().any(|model| model.enabled && !model.targets.is_empty())
    }

    /// All models, in the order of the file.
    pub(crate) fn models(&self) -> &[Arc<Model>] {
        &self.models
    }
}

fn limits_backends_tokens(config: &Config) -> bool {
    let mut limits =
        config.providers.iter().map(|it| &it.rate_limit).chain(config.models.iter().map(|it| &it.rate_limit));
    limits.any(|limits| !limits.tokens.is_empty())
}

fn build_providers(
    config: &Config,
    around: &Surroundings<'_>,
) -> Result<HashMap<ProviderId, Arc<Provider>>, Vec<String>> {
    let (mut providers, mut problems) = (HashMap::default(), Vec::new());
    for provider in config.providers.iter().filter(|provider| provider.enabled) {
        match Provider::new(provider, around) {
            Ok(ready) => {
                providers.insert(provider.id.clone(), Arc::new(ready));
            }
            Err(problem) => problems.push(format!("providers.{}: {problem}", provider.id)),
        }
    }
    if problems.is_empty() { Ok(providers) } else { Err(problems) }
}

/// The nearest of three settings, or the default.
fn nearest(
    model: Option<Duration>,
    provider: Option<Duration>,
    settings: Option<Duration>,
    default: Duration,
) -> Duration {
    model.or(provider).or(settings).unwrap_or(default)
}
