//! A public model, made ready: its targets with their live numbers, and the time limits that hold for each.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use berry_config::{Config, RateLimit, Timeouts};
use berry_policy::{Billing, CheckRules, HedgeAfter, HedgeRules, Strategy, may_open_soft};
use berry_vocab::{BackendKey, ModelId, Moment, ProviderId};
use foldhash::{HashMap, fast::FixedState};

use crate::live::{BackendLive, ModelLive, Rules, Standing};
use crate::snapshot::{Provider, Surroundings, nearest};

const STREAM_FIRST_BYTE: Duration = Duration::from_secs(120);
const PLAIN_FIRST_BYTE: Duration = Duration::from_secs(600);
const STREAM_IDLE: Duration = Duration::from_secs(300);
const DEADLINE: Duration = Duration::from_secs(900);

/// One public model.
pub(crate) struct Model {
    pub(crate) id: ModelId,
    /// Its public name, or a pattern.
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) strategy: Strategy,
    pub(crate) live: Arc<ModelLive>,
    /// What it is asked for in a time, and at once.
    pub(crate) rate_limit: RateLimit,
    /// When a second attempt may go beside the first.
    pub(crate) hedge: Option<HedgeRules>,
    /// Enabled backends of enabled providers, in the order of the file.
    pub(crate) targets: Vec<Target>,
    /// Providers that it names, but whose backends here are disabled.
    disabled: Vec<ProviderId>,
    /// Places of the models that stand in for it.
    pub(crate) fallbacks: Vec<usize>,
    /// Over all attempts, until the answer begins.
    pub(crate) deadline: Duration,
}

/// One backend of a model.
pub(crate) struct Target {
    pub(crate) provider: Arc<Provider>,
    /// The name that the provider is asked for; `None` passes the asked one on.
    model: Option<String>,
    fixed_label: Arc<str>,
    pub(crate) key: BackendKey,
    /// Stable over restarts, for affinity.
    pub(crate) identity: u64,
    pub(crate) weight: f64,
    pub(crate) priority: u8,
    pub(crate) tags: Vec<String>,
    pub(crate) premium: bool,
    /// Blended USD per million tokens, where known.
    pub(crate) price: Option<f64>,
    pub(crate) live: Arc<BackendLive>,
    pub(crate) selections: Arc<AtomicU64>,
    pub(crate) limits: Limits,
    /// How often it is checked.
    pub(crate) checks: CheckRules,
}

/// Time limits of one attempt and of its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    stream_first_byte: Duration,
    plain_first_byte: Duration,
    /// Between the pieces of a stream.
    pub(crate) idle: Duration,
    /// Over all attempts of a request, until the answer begins: no later than this the target is asked, and answers.
    pub(crate) deadline: Duration,
    /// Over the whole answer.
    pub(crate) total: Option<Duration>,
}

impl Model {
    pub(crate) fn new(
        model: &berry_config::Model,
        config: &Config,
        providers: &HashMap<ProviderId, Arc<Provider>>,
        rules: &Rules,
        around: &Surroundings<'_>,
    ) -> Self {
        let ready = |backend: &berry_config::Backend| {
            let provider = providers.get(&backend.provider).filter(|_| backend.enabled)?;
            Some(Target::new(model, backend, provider, config, (rules, around)))
        };
        let is_disabled =
            |backend: &&berry_config::Backend| !backend.enabled || !providers.contains_key(&backend.provider);
        let targets: Vec<Target> = model.backends.iter().filter_map(ready).collect();
        let place = |id: &ModelId| config.models.iter().position(|other| other.id == *id);
        Self {
            id: model.id.clone(),
            name: model.name.clone(),
            enabled: model.enabled,
            strategy: model.strategy,
            live: around.live.model(&model.id, around.now),
            rate_limit: model.rate_limit,
            hedge: model.hedge.map(hedge_rules),
            disabled: model.backends.iter().filter(is_disabled).map(|backend| backend.provider.clone()).collect(),
            fallbacks: model.fallbacks.iter().filter_map(place).collect(),
            // Each target has its own: the request ends with the most patient of them.
            deadline: targets.iter().map(|target| target.limits.deadline).max().unwrap_or(DEADLINE),
            targets,
        }
    }

    /// Whether a soft failure may open one more of its backends.
    pub(crate) fn may_lose_one(&self, now: Moment) -> bool {
        let is_open = |target: &&Target| !target.live.state(now).eligible();
        may_open_soft(self.targets.iter().filter(is_open).count(), self.targets.len())
    }

    /// Whether it names a provider whose backend is disabled.
    pub(crate) fn is_disabled_backend(&self, provider: &str) -> bool {
        self.disabled.iter().any(|id| id.as_str() == provider)
    }

    pub(crate) fn is_pattern(&self) -> bool {
        self.name.contains('*')
    }

    /// Whether its pattern covers `name`; each `*` stands for any run of characters.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let mut parts = self.name.split('*');
        let Some(mut rest) = parts.next().and_then(|prefix| name.strip_prefix(prefix)) else {
            return false;
        };
        let Some(suffix) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
                None => return false,
            }
        }
        rest.ends_with(suffix)
    }
}

impl Target {
    fn new(
        model: &berry_config::Model,
        backend: &berry_config::Backend,
        provider: &Arc<Provider>,
        config: &Config,
        (rules, around): (&Rules, &Surroundings<'_>),
    ) -> Self {
        let key = BackendKey { provider: backend.provider.clone(), model: backend.model.as_str().into() };
        Self {
            provider: provider.clone(),
            model: (backend.model != "*").then(|| backend.model.clone()),
            fixed_label: key.to_string().into(),
            identity: identity(&key),
            weight: backend.weight,
            priority: backend.priority,
            tags: backend.tags.clone(),
            premium: backend.tags.iter().any(|tag| tag == "premium"),
            price: blended_price(backend),
            live: around.live.backend(&key, around.now, rules),
            selections: around.live.selections(&model.id, &key),
            limits: Limits::new(&model.timeouts, &provider.timeouts, &config.settings.timeouts),
            checks: check_rules(backend, config),
            key,
        }
    }

    /// What choosing needs to know of it.
    pub(crate) fn standing(&self, now: Moment, rules: &Rules) -> Standing {
        let provider = &self.provider;
        let mut standing = self.live.standing(&provider.accounts, provider.adaptive, now, rules);
        if !provider.has_room() {
            standing.at_once = Some(0);
        }
        standing
    }

    /// `provider/model` as the configuration has it.
    pub(crate) fn fixed_label(&self) -> Arc<str> {
        self.fixed_label.clone()
    }

    /// The name that is asked for, where it is always the same.
    pub(crate) fn fixed_model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The name that the provider is asked for.
    pub(crate) fn model_for<'a>(&'a self, asked: &'a str) -> &'a str {
        self.model.as_deref().unwrap_or(asked)
    }

    /// `provider/model`, as the `berry-backend` header says it.
    pub(crate) fn label(&self, asked: &str) -> Arc<str> {
        match self.model {
            Some(_) => self.fixed_label.clone(),
            None => format!("{}/{asked}", self.provider.id).into(),
        }
    }
}

impl Limits {
    fn new(model: &Timeouts, provider: &Timeouts, settings: &Timeouts) -> Self {
        let first_byte = |default| nearest(model.request, provider.request, settings.request, default);
        Self {
            stream_first_byte: first_byte(STREAM_FIRST_BYTE),
            plain_first_byte: first_byte(PLAIN_FIRST_BYTE),
            idle: nearest(model.stream_idle, provider.stream_idle, settings.stream_idle, STREAM_IDLE),
            deadline: nearest(model.deadline, provider.deadline, settings.deadline, DEADLINE),
            total: model.total.or(provider.total).or(settings.total),
        }
    }

    /// Head and first body byte of one attempt.
    pub(crate) fn first_byte(&self, is_stream: bool) -> Duration {
        if is_stream { self.stream_first_byte } else { self.plain_first_byte }
    }
}

fn check_rules(backend: &berry_config::Backend, config: &Config) -> CheckRules {
    let settings = &config.settings;
    CheckRules {
        billing: match backend.billing {
            berry_config::Billing::PerToken => Billing::PerToken,
            berry_config::Billing::PerRequest => Billing::PerRequest,
        },
        interval: settings.health_check_interval,
        recovery_interval: settings.recovery_check_interval,
        lightweight_interval: settings.smart_ai.lightweight_check_interval,
    }
}

fn hedge_rules(hedge: berry_config::Hedge) -> HedgeRules {
    let after = match hedge.after {
        berry_config::HedgeAfter::Fixed(after) => HedgeAfter::Fixed(after),
        berry_config::HedgeAfter::P95 => HedgeAfter::P95,
    };
    HedgeRules { after, max_share: hedge.max_share }
}

/// Three parts input to one part output, as chat traffic is; a price that is given alone stands for both.
fn blended_price(backend: &berry_config::Backend) -> Option<f64> {
    match (backend.input_price, backend.output_price) {
        (Some(input), Some(output)) => Some((3.0 * input + output) / 4.0),
        (one, other) => one.or(other),
    }
}

fn identity(key: &BackendKey) -> u64 {
    let mut hasher = FixedState::with_seed(0).build_hasher();
    hasher.write(key.to_string().as_bytes());
    hasher.finish()
}
