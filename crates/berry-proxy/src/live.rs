//! Live numbers: health, latency, requests in flight, cooldowns, budgets, what users have taken of their limits. They lie beside the snapshot, by identity, so that a
//! reload loses none.

mod accounts;
mod backend;
mod bound;
mod meter;
mod model;
mod room;
mod user;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use berry_policy::{BudgetRules, HealthRules, SmartAi};
use berry_vocab::{BackendKey, ModelId, Moment, ProviderId, UserId};
use foldhash::HashMap;
use parking_lot::Mutex;

use crate::upstream::Endpoint;

pub(crate) use accounts::Accounts;
pub use accounts::ProviderLive;
pub(crate) use backend::{Age, CheckOutcome, Ending};
pub use backend::{BackendLive, Numbers, Standing};
pub(crate) use bound::{Bound, BoundTo, Carried};
pub(crate) use meter::Meter;
pub(crate) use meter::is_metered;
pub use model::ModelLive;
pub(crate) use room::{Full, Room, Slot, Slots};
pub use user::{UserLimit, UserLive};

/// The rules by which outcomes change the numbers.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Of the breaker.
    pub health: HealthRules,
    /// Of the confidence.
    pub smart_ai: SmartAi,
    /// Of repeated visits.
    pub budget: BudgetRules,
}

/// All live numbers of the process.
#[derive(Debug, Default)]
pub struct Live {
    backends: Mutex<HashMap<BackendKey, Arc<BackendLive>>>,
    providers: Mutex<HashMap<ProviderId, Arc<ProviderLive>>>,
    models: Mutex<HashMap<ModelId, Arc<ModelLive>>>,
    users: Mutex<HashMap<UserId, Arc<UserLive>>>,
    selections: Mutex<HashMap<(ModelId, BackendKey), Arc<AtomicU64>>>,
    /// Connections and what was learned of them belong to an endpoint: one that a new configuration leaves as it was goes on.
    endpoints: Mutex<HashMap<ProviderId, Arc<Endpoint>>>,
    /// Which account knows what state.
    pub(crate) bound: Bound,
}

impl Live {
    /// The numbers of a backend, new ones if it was never seen.
    pub fn backend(&self, key: &BackendKey, now: Moment, rules: &Rules) -> Arc<BackendLive> {
        let mut backends = self.backends.lock();
        backends.entry(key.clone()).or_insert_with(|| Arc::new(BackendLive::new(now, rules))).clone()
    }

    /// The numbers of a provider.
    pub fn provider(&self, id: &ProviderId) -> Arc<ProviderLive> {
        self.providers.lock().entry(id.clone()).or_default().clone()
    }

    /// The numbers of a model.
    pub fn model(&self, model: &ModelId, now: Moment) -> Arc<ModelLive> {
        self.models.lock().entry(model.clone()).or_insert_with(|| Arc::new(ModelLive::new(now))).clone()
    }

    /// The numbers of a user.
    pub fn user(&self, id: &UserId) -> Arc<UserLive> {
        self.users.lock().entry(id.clone()).or_default().clone()
    }

    /// Forgets the users that no snapshot and no request knows any more: however often the configuration changes, there are
    /// numbers for those alone who stand in it.
    pub(crate) fn forget_former_users(&self) {
        self.users.lock().retain(|_, live| Arc::strong_count(live) > 1);
    }

    /// How often a model's strategy chose a backend.
    pub fn selections(&self, model: &ModelId, backend: &BackendKey) -> Arc<AtomicU64> {
        self.selections.lock().entry((model.clone(), backend.clone())).or_default().clone()
    }

    /// The endpoint of a provider: the one in use where it is made of the same, else `new`.
    pub(crate) fn endpoint(&self, provider: &ProviderId, new: Endpoint) -> Arc<Endpoint> {
        let mut endpoints = self.endpoints.lock();
        match endpoints.get(provider).filter(|known| known.is_same(&new)) {
            Some(known) => known.clone(),
            None => {
                let new = Arc::new(new);
                endpoints.insert(provider.clone(), new.clone());
                new
            }
        }
    }

    /// Forgets what no snapshot and no request holds any more.
    pub fn forget_unused(&self) {
        fn retain<K: std::hash::Hash + Eq, V>(numbers: &Mutex<HashMap<K, Arc<V>>>) {
            // A count of 1 is the map's own. It cannot rise meanwhile: others get theirs from the map, under its lock.
            numbers.lock().retain(|_, held| Arc::strong_count(held) > 1);
        }
        retain(&self.backends);
        retain(&self.providers);
        retain(&self.models);
        retain(&self.selections);
        retain(&self.endpoints);
    }
}
