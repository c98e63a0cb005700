//! Active checks: Berry's own requests to backends, over the same client and credentials as traffic, that never count as user
//! traffic. When one is due, and what its success proves, `berry-policy` decides; what an answer means, the same table as for
//! traffic. `berry check --connect` and `POST /admin/providers/test` ask here too.

mod ask;
mod test;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use berry_policy::{Check, CheckRules, CheckSchedule, leads_to_ramp};
use berry_vocab::{BackendKey, Moment, ProviderId};
use berry_wire::Complaint;
use foldhash::HashMap;
use tokio::time::{sleep, timeout};

use crate::live::CheckOutcome;
use crate::report::distinct_backends;
use crate::snapshot::{Model, Provider, Snapshot, Target};
use crate::station::{Fault, tell};
use crate::worker::Worker;

use ask::Reply;

pub use test::{ProviderTest, TestOrder, test_provider, test_providers};

/// The longest that the checker sleeps, so that it soon sees a new configuration.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Plans and makes the checks of all backends, and tries providers when asked to. Runs until it is dropped; a second one for the
/// same gateway ends at once.
pub async fn run(worker: Rc<Worker>) {
    let Some(mut orders) = worker.gateway.take_orders() else {
        return;
    };
    let mut checker = Checker { worker: worker.clone(), schedules: HashMap::default(), lists: HashMap::default() };
    loop {
        let next = checker.start_due();
        let pause = next.since(worker.now()).clamp(Duration::from_millis(10), LONGEST_SLEEP);
        match timeout(pause, orders.recv()).await {
            Ok(Some(order)) => {
                let worker = worker.clone();
                tokio::task::spawn_local(async move { order.run(&worker).await });
            }
            // Nobody is left who could order.
            Ok(None) => sleep(pause).await,
            Err(_) => {}
        }
    }
}

struct Checker {
    worker: Rc<Worker>,
    /// With the rules that each was planned by.
    schedules: HashMap<BackendKey, (CheckRules, CheckSchedule)>,
    /// When a provider's list was last asked for: one serves all its backends.
    lists: HashMap<ProviderId, Moment>,
}

impl Checker {
    /// Starts the checks that are due, side by side, and says when the next one is.
    fn start_due(&mut self) -> Moment {
        let snapshot = self.worker.gateway.snapshot();
        let now = self.worker.now();
        let mut next = now.after(LONGEST_SLEEP);
        let backends = distinct_backends(&snapshot);
        for (target, model) in &backends {
            let worker = self.worker.clone();
            let plan = || (target.checks, worker.with_dice(|dice| CheckSchedule::new(now, &target.checks, dice)));
            let (rules, schedule) = self.schedules.entry(target.key.clone()).or_insert_with(plan);
            if *rules != target.checks {
                (*rules, *schedule) = plan();
            }
            let state = target.live.state(now);
            while let Some(check) = worker.with_dice(|dice| schedule.due(now, state, &target.checks, dice)) {
                let job = Job { worker: worker.clone(), snapshot: snapshot.clone(), check };
                match check {
                    Check::Models if is_recent(&mut self.lists, target, now) => {}
                    Check::Models => {
                        let provider = target.provider.clone();
                        tokio::task::spawn_local(async move { job.list_models(&provider).await });
                    }
                    Check::OneToken => {
                        let (key, model) = (target.key.clone(), (*model).clone());
                        tokio::task::spawn_local(async move { job.ask_one_token(&key, &model).await });
                    }
                }
            }
            next = next.min(schedule.next());
        }
        self.schedules.retain(|key, _| backends.iter().any(|(target, _)| target.key == *key));
        self.lists.retain(|provider, _| snapshot.provider(provider.as_str()).is_some());
        next
    }
}

/// Whether the provider's list was asked for lately; if not, it is now.
fn is_recent(lists: &mut HashMap<ProviderId, Moment>, target: &Target, now: Moment) -> bool {
    let last = lists.get(&target.provider.id).copied();
    let recent = last.is_some_and(|last| now.since(last) < target.checks.interval / 2);
    if !recent {
        lists.insert(target.provider.id.clone(), now);
    }
    recent
}

/// One check under way.
struct Job {
    worker: Rc<Worker>,
    snapshot: Arc<Snapshot>,
    check: Check,
}

impl Job {
    /// Asks a provider for its models, and lets all its backends know.
    async fn list_models(&self, provider: &Provider) {
        let probe = berry_wire::probe_models(&provider.base_url, provider.protocol);
        let reply = ask::ask(&self.worker, provider, &probe, self.snapshot.check_timeout).await;
        let backends = distinct_backends(&self.snapshot);
        for (target, model) in backends.into_iter().filter(|(target, _)| target.provider.id == provider.id) {
            let is_listed = match (&reply.fault, target.fixed_model()) {
                (None, Some(name)) if reply.is_success() => {
                    berry_wire::lists_model(provider.protocol, &reply.body, name).unwrap_or(true)
                }
                _ => true,
            };
            if !is_listed {
                let backend = target.fixed_label();
                tracing::warn!(%backend, "the provider's list of models does not name this backend's model");
            }
            self.record(target, model, &reply, is_listed);
        }
    }

    /// Asks one backend for one token.
    async fn ask_one_token(&self, key: &BackendKey, model: &Arc<Model>) {
        let Some(target) = model.targets.iter().find(|target| target.key == *key) else {
            return;
        };
        let Some(name) = target.fixed_model() else {
            // A backend that takes any name has none to ask for.
            return;
        };
        let provider = &target.provider;
        let probe = berry_wire::probe_one_token(&provider.base_url, provider.protocol, name);
        let reply = ask::ask(&self.worker, provider, &probe, self.snapshot.check_timeout).await;
        self.record(target, model, &reply, true);
    }

    fn record(&self, target: &Target, model: &Model, reply: &Reply, is_listed: bool) {
        let now = self.worker.now();
        let failure = reply.fault.filter(|fault| self.counts(*fault)).and_then(|fault| fault.meaning().failure);
        // The limit of lists is not that of chats.
        let of_chats = reply.fault.filter(|_| self.check == Check::OneToken);
        let cooldown = of_chats.and_then(|fault| fault.meaning().cooldown(reply.wait));
        if let (Some(cooldown), Some(_)) = (cooldown, reply.wait) {
            target.live.cool_down(reply.account, cooldown, now);
        }
        let went_well = is_listed && reply.fault.is_none_or(is_alive);
        let may_ramp = went_well && leads_to_ramp(self.check, target.live.state(now), target.checks.billing);
        let what = match self.check {
            Check::Models => "models",
            Check::OneToken => "one_token",
        };
        let failure = failure.map(|kind| (kind, model.may_lose_one(now)));
        let outcome = CheckOutcome { at: now, what, went_well };
        if !went_well {
            tracing::warn!(
                backend = %target.fixed_label(),
                check = what,
                status = reply.status,
                code = reply.fault.map(|fault| fault.meaning().code.as_str()),
                "an active check failed"
            );
        }
        if let Some(turned) = target.live.record_check(outcome, (may_ramp, failure), &self.snapshot.rules) {
            tell(&target.fixed_label(), turned.to, now);
        }
    }

    /// Whether a fault tells the breaker anything. Of a provider's list only that nobody is there, or answers: one that has no
    /// good list, or not all its models in it, may well answer chats, and whether it does is traffic's to find out.
    fn counts(&self, fault: Fault) -> bool {
        match self.check {
            Check::Models => matches!(fault, Fault::Unreachable | Fault::Broken | Fault::Silent),
            Check::OneToken => true,
        }
    }
}

/// Whether a backend that answers so is there and at work. One that has no list of models, or will not chat for one token, is.
fn is_alive(fault: Fault) -> bool {
    matches!(fault, Fault::Told(Complaint::Client | Complaint::Model | Complaint::RateLimit | Complaint::Overloaded))
}
