//! What all workers share: the snapshot that requests start with, the live numbers beside it, the metrics, and whether the
//! gateway is still taking requests.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use berry_vocab::{Code, UserId};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::allowance::BodyMemory;
use crate::checks::{ProviderTest, TestOrder};
use crate::live::{Live, Slots};
use crate::metrics::Metrics;
use crate::origin::Origin;
use crate::ports::{Audit, Clock};
use crate::pressure::Level;
use crate::reloads::{Reload, Reloads};
use crate::snapshot::{Door, Snapshot};

/// How far the gateway is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Takes requests.
    Serving,
    /// Takes requests, and says that it will not for long.
    Leaving,
    /// Takes no further requests; those in flight go on.
    Draining,
}

/// The state that workers, the admin listener and the program share.
pub struct Gateway {
    snapshot: ArcSwap<Snapshot>,
    /// Snapshots that were replaced, and may still be held by requests that began with them.
    former: Mutex<Vec<Weak<Snapshot>>>,
    pub(crate) reloads: Reloads,
    live: Arc<Live>,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    audit: OnceLock<Arc<dyn Audit>>,
    phase: AtomicU8,
    /// Calls at once, over all users.
    pub(crate) slots: Arc<Slots>,
    pub(crate) body_memory: Arc<BodyMemory>,
    /// Where orders to try providers go; the other end is whoever makes the active checks.
    tests: mpsc::UnboundedSender<TestOrder>,
    orders: Mutex<Option<mpsc::UnboundedReceiver<TestOrder>>>,
    started_unix_millis: u64,
}

impl Gateway {
    /// A gateway that serves `snapshot`.
    pub fn new(snapshot: Snapshot, live: Arc<Live>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (tests, orders) = mpsc::unbounded_channel();
        Arc::new(Self {
            tests,
            orders: Mutex::new(Some(orders)),
            snapshot: ArcSwap::from_pointee(snapshot),
            former: Mutex::default(),
            reloads: Reloads::default(),
            live,
            metrics: Metrics::default(),
            started_unix_millis: clock.unix_millis(),
            clock,
            audit: OnceLock::new(),
            phase: AtomicU8::new(Phase::Serving as u8),
            slots: Arc::default(),
            body_memory: Arc::default(),
        })
    }

    /// The snapshot that a request which begins now will keep.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Puts a snapshot into force for all requests that begin from now on; those in flight keep theirs. Gives its generation.
    pub fn replace(&self, mut snapshot: Snapshot) -> u64 {
        // Held over the swap, so that no two snapshots get one number.
        let mut former = self.former.lock();
        let generation = self.generation() + 1;
        snapshot.generation = generation;
        former.push(Arc::downgrade(&self.snapshot.swap(Arc::new(snapshot))));
        generation
    }

    /// Forgets the live numbers of what is no longer configured, once the last request that knew it has ended. Costs next to
    /// nothing where no snapshot has gone since.
    pub fn tidy(&self) {
        let mut former = self.former.lock();
        let before = former.len();
        former.retain(|snapshot| snapshot.strong_count() > 0);
        if former.len() < before {
            self.live.forget_unused();
        }
    }

    /// Counts what came of reading the configuration again.
    pub fn count_reload(&self, reload: Reload) {
        self.reloads.count(reload);
    }

    /// Counts a generation that runs and could not be written into the history.
    pub fn count_unkept(&self) {
        self.reloads.count_unkept();
    }

    /// Live numbers of backends.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Metrics of the data plane.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The clock of this process.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// From now on requests are accounted for there. Said once, by whoever opens what outlives the process.
    pub fn account_to(&self, audit: Arc<dyn Audit>) {
        let _ = self.audit.set(audit);
    }

    /// Where requests are accounted for, if they are.
    pub(crate) fn audit(&self) -> Option<&dyn Audit> {
        self.audit.get().map(|audit| &**audit)
    }

    /// Number of the configuration in force, from 1.
    pub fn generation(&self) -> u64 {
        self.snapshot.load().generation
    }

    /// When it started, in milliseconds since 1970.
    pub fn started_unix_millis(&self) -> u64 {
        self.started_unix_millis
    }

    /// Tries a provider, or all, as `berry check --connect` does. Empty where there is none of that id, or nobody makes checks.
    pub async fn test_providers(&self, provider: Option<String>) -> Vec<ProviderTest> {
        let (reply, results) = oneshot::channel();
        let _ = self.tests.send(TestOrder { provider, reply });
        results.await.unwrap_or_default()
    }

    /// Takes note of how many bytes of memory are in use of how many, so that calls are given up before the system gives up the
    /// process.
    pub fn note_memory(&self, used: u64, limit: u64) {
        let (before, now) = self.body_memory.pressure.note(used, limit);
        if now > before {
            tracing::warn!(used, limit, "memory is short: large bodies are refused, then calls");
        } else if now < before && now == Level::Roomy {
            tracing::info!(used, limit, "there is memory again");
        }
    }

    /// The orders, for the one who makes the active checks.
    pub(crate) fn take_orders(&self) -> Option<mpsc::UnboundedReceiver<TestOrder>> {
        self.orders.lock().take()
    }

    /// Where a request with these fields comes from, on a connection from `peer`.
    pub fn origin<'f>(&self, peer: IpAddr, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> Origin {
        self.snapshot.load().addresses.origin(peer, fields)
    }

    /// Whether a request from there may come in.
    pub fn lets_in(&self, origin: Origin, door: Door) -> bool {
        self.snapshot.load().addresses.let_in(origin, door)
    }

    /// The id of the admin that a token belongs to.
    ///
    /// # Errors
    /// `auth_missing_or_invalid` where it belongs to none, `ip_forbidden` where that admin may not come from there.
    pub fn admin(&self, token: &[u8], origin: Origin) -> Result<UserId, Code> {
        let unix_seconds = (self.clock.unix_millis() / 1000).cast_signed();
        let snapshot = self.snapshot();
        let admin = snapshot.users.find(token, unix_seconds).filter(|user| user.is_admin);
        match admin {
            None => Err(Code::AuthMissingOrInvalid),
            Some(admin) if !admin.may_come_from(origin) => Err(Code::IpForbidden),
            Some(admin) => Ok(admin.id.clone()),
        }
    }

    /// How far it is on its way out.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Serving,
            1 => Phase::Leaving,
            _ => Phase::Draining,
        }
    }

    /// Goes on to `phase`. There is no way back.
    pub fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Relaxed);
    }
}
