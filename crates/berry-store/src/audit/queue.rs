//! What waits to be recorded, between those who leave word and the thread that writes; and how the log does, for all to see.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berry_vocab::Code;

use super::bound::Bound;
use super::event::Event;
use super::log::{Clock, Failing, NotRecorded};

/// More wait for nobody: they are counted.
pub(super) const MOST_WAITING: usize = 10_000;

/// After word came, the writer waits so long for more: what is recorded a moment later is safe by the same fsync.
const GATHER: Duration = Duration::from_millis(250);

/// What both sides hold.
pub(super) struct Shared {
    pub(super) clock: Clock,
    waiting: Mutex<Waiting>,
    /// Told when there is something to do at once.
    changed: Condvar,
    /// By the code's place.
    pub(super) refusals: Vec<Bound>,
    pub(super) failing: Mutex<Option<Failing>>,
    pub(super) records: AtomicU64,
    pub(super) lost: AtomicU64,
    /// When the batch that is being written was begun; 0: none is.
    pub(super) busy_since: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    entries: Vec<Entry>,
    /// Whether somebody waits for a record.
    is_urgent: bool,
    is_closed: bool,
}

/// An event, what goes with it, and who waits for their records.
pub(super) struct Entry {
    pub(super) event: Event,
    pub(super) with: Vec<Event>,
    pub(super) reply: Option<SyncSender<Result<(), NotRecorded>>>,
}

// === impl Entry ===

impl Entry {
    /// One that nobody waits for.
    pub(super) fn of(event: Event) -> Self {
        Self { event, with: Vec::new(), reply: None }
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        std::iter::once(&self.event).chain(&self.with)
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(clock: Clock, records: u64) -> Self {
        Self {
            clock,
            waiting: Mutex::default(),
            changed: Condvar::new(),
            refusals: Code::ALL.iter().map(|_| Bound::default()).collect(),
            failing: Mutex::default(),
            records: records.into(),
            lost: AtomicU64::new(0),
            busy_since: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failing(&self) -> MutexGuard<'_, Option<Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, entry: Entry) {
        let is_urgent = entry.reply.is_some();
        let mut waiting = self.lock();
        if waiting.is_closed || (waiting.entries.len() >= MOST_WAITING && !is_urgent) {
            drop(waiting);
            self.lost.fetch_add(1, Relaxed);
            return;
        }
        let is_first = waiting.entries.is_empty();
        waiting.entries.push(entry);
        waiting.is_urgent |= is_urgent;
        drop(waiting);
        if is_first || is_urgent {
            self.changed.notify_one();
        }
    }

    /// There will be nothing more to record.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Waits for something to record, at most for `most`, and then a moment for more. Says whether there will be no more.
    pub(super) fn take(&self, most: Duration, into: &mut Vec<Entry>) -> bool {
        let idle = |waiting: &mut Waiting| waiting.entries.is_empty() && !waiting.is_closed;
        let (waiting, _) =
            self.changed.wait_timeout_while(self.lock(), most, idle).unwrap_or_else(PoisonError::into_inner);
        let calm = |waiting: &mut Waiting| !waiting.entries.is_empty() && !waiting.is_urgent && !waiting.is_closed;
        let (mut waiting, _) =
            self.changed.wait_timeout_while(waiting, GATHER, calm).unwrap_or_else(PoisonError::into_inner);
        waiting.is_urgent = false;
        into.append(&mut waiting.entries);
        waiting.is_closed
    }
}
