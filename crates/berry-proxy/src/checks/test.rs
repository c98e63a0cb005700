//! Trying a provider because somebody asks: can it be reached, does it take the key, does it know the models that are
//! configured. Nothing of it changes the health of a backend.

use std::rc::Rc;
use std::time::Duration;

use berry_policy::Billing;
use berry_wire::Complaint;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::checks::ask::{self, Reply};
use crate::report::distinct_backends;
use crate::snapshot::{Provider, Snapshot, Target};
use crate::station::Fault;
use crate::worker::Worker;

/// What trying a provider showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderTest {
    /// Its id.
    pub provider: String,
    /// Whether it answers, and takes the key.
    pub went_well: bool,
    /// The status of its answer, if one came.
    pub status: Option<u16>,
    /// How long that took.
    pub took: Duration,
    /// What was found, in words.
    pub message: String,
    /// Configured models, its backends' and those of its `models`, that its own list does not name.
    pub missing_models: Vec<String>,
}

/// An order to try providers, from another thread.
pub struct TestOrder {
    /// A provider's id; `None`: all.
    pub provider: Option<String>,
    /// Where the results go, in the order of the ids.
    pub reply: oneshot::Sender<Vec<ProviderTest>>,
}

impl ProviderTest {
    /// As the admin API and `berry check --format json` show it.
    pub fn to_json(&self) -> Value {
        json!({
            "provider": self.provider,
            "ok": self.went_well,
            "status": self.status,
            "took_ms": self.took.as_millis() as u64,
            "message": self.message,
            "missing_models": self.missing_models,
        })
    }
}

impl TestOrder {
    pub(super) async fn run(self, worker: &Rc<Worker>) {
        let results = match &self.provider {
            Some(id) => test_provider(worker, id).await.into_iter().collect(),
            None => test_providers(worker).await,
        };
        // Who asked may have gone.
        let _ = self.reply.send(results);
    }
}

/// Tries one enabled provider; `None`: there is none of that id. Called on the worker's own event loop.
pub async fn test_provider(worker: &Rc<Worker>, id: &str) -> Option<ProviderTest> {
    let snapshot = worker.gateway.snapshot();
    let provider = snapshot.provider(id)?;
    Some(test(worker, &snapshot, provider).await)
}

/// Tries all enabled providers side by side, in the order of their ids.
pub async fn test_providers(worker: &Rc<Worker>) -> Vec<ProviderTest> {
    let snapshot = worker.gateway.snapshot();
    let mut ids: Vec<String> = snapshot.providers().map(|provider| provider.id.to_string()).collect();
    ids.sort();
    let tests: Vec<_> = ids
        .into_iter()
        .map(|id| {
            let worker = worker.clone();
            tokio::task::spawn_local(async move { test_provider(&worker, &id).await })
        })
        .collect();
    let mut results = Vec::new();
    for test in tests {
        results.extend(test.await.ok().flatten());
    }
    results
}

async fn test(worker: &Rc<Worker>, snapshot: &Snapshot, provider: &Provider) -> ProviderTest {
    let limit = snapshot.check_timeout;
    let probe = berry_wire::probe_models(&provider.base_url, provider.protocol);
    let list = ask::ask(worker, provider, &probe, limit).await;
    let has_no_list = matches!(list.fault, Some(Fault::Told(Complaint::Model | Complaint::Client)));
    let backends = distinct_backends(snapshot);
    let own: Vec<&Target> =
        backends.iter().map(|(target, _)| *target).filter(|target| target.provider.id == provider.id).collect();
    // A provider without a list is asked for a token, unless that costs as much as any request.
    let chat = own.iter().find(|target| target.checks.billing == Billing::PerToken && target.fixed_model().is_some());
    if let (true, Some(model)) = (has_no_list, chat.and_then(|target| target.fixed_model())) {
        let probe = berry_wire::probe_one_token(&provider.base_url, provider.protocol, model);
        let reply = ask::ask(worker, provider, &probe, limit).await;
        return result(provider, &reply, Vec::new());
    }
    let is_missing =
        |name: &&str| list.is_success() && berry_wire::lists_model(provider.protocol, &list.body, name) == Some(false);
    let configured =
        own.iter().filter_map(|target| target.fixed_model()).chain(provider.models.iter().map(String::as_str));
    let mut missing: Vec<String> = Vec::new();
    for name in configured.filter(is_missing) {
        if !missing.iter().any(|known| known == name) {
            missing.push(name.to_owned());
        }
    }
    result(provider, &list, missing)
}

fn result(provider: &Provider, reply: &Reply, missing_models: Vec<String>) -> ProviderTest {
    let message = match reply.fault {
        None if missing_models.is_empty() => "answers and takes the key".to_owned(),
        None => format!("answers, but its list of models lacks {}", missing_models.join(", ")),
        Some(Fault::Told(Complaint::Client | Complaint::Model)) => {
            "can be reached; it has no list of models, so that the key was not tried".to_owned()
        }
        Some(Fault::Unreachable) => {
            "cannot be reached; look at base_url, the network and the provider's TLS certificate".to_owned()
        }
        Some(Fault::Told(Complaint::Auth)) => "answers, but refuses the key; look at api_key".to_owned(),
        Some(Fault::Told(Complaint::Quota)) => "answers, but the account has nothing left to spend".to_owned(),
        Some(fault) => fault.meaning().message.to_owned(),
    };
    let is_reached = matches!(reply.fault, None | Some(Fault::Told(Complaint::Client | Complaint::Model)));
    ProviderTest {
        provider: provider.id.to_string(),
        went_well: is_reached && missing_models.is_empty(),
        status: reply.status,
        took: reply.took,
        message,
        missing_models,
    }
}
