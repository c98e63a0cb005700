//! The log as the rest of the program holds it. A thread of its own writes. Whoever serves requests leaves word and goes on; who
//! changes something waits until the record is safe, or is told that it is not.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use berry_vocab::Code;

use super::FOLDER;
use super::bound::Bound;
use super::event::{Actor, Event, Who};
use super::medium::{Disk, Medium};
use super::open::{Opened, open};
use super::read::{self, Filter, Page};
use super::writer::Writer;
use crate::DataDirectory;

/// Wall time, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// More wait for nobody: they are counted.
const MOST_WAITING: usize = 10_000;

/// After word came, the writer waits so long for more: what is recorded a moment later is safe by the same fsync.
const GATHER: Duration = Duration::from_millis(250);

/// How often refusals beyond the bound are recorded as a number.
const SUM_EVERY: Duration = Duration::from_secs(10);

/// How often a disk that refuses is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often it is said again that it does.
const REMIND: Duration = Duration::from_secs(60);

/// How long a change waits for its record.
const PATIENCE: Duration = Duration::from_secs(10);

/// A disk that has not answered for so long does not work.
const SLOW_MILLIS: u64 = 5000;

/// How long the end of the program waits for a disk that does not answer.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The running log.
pub struct AuditLog {
    shared: Arc<Shared>,
    folder: PathBuf,
}

/// Ends the log when it is dropped: what waits is written first.
pub struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Why something that must be recorded is not: nothing may be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRecorded(String);

/// How the log does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Why it cannot be written, if it cannot.
    pub failing: Option<Failing>,
    /// The number of the newest record.
    pub records: u64,
    /// Events that were not recorded, as too many came or the disk refused for too long.
    pub lost: u64,
}

/// A log that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Since when, in milliseconds since 1970.
    pub since_unix_millis: u64,
    /// Why.
    pub reason: String,
}

struct Shared {
    clock: Clock,
    waiting: Mutex<Waiting>,
    /// Told when there is something to do at once.
    changed: Condvar,
    refusals: Vec<Bound>,
    failing: Mutex<Option<Failing>>,
    records: AtomicU64,
    lost: AtomicU64,
    /// When the batch that is being written was begun; 0: none is.
    busy_since: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    entries: Vec<Entry>,
    is_urgent: bool,
    is_closed: bool,
}

/// An event, what goes with it, and who waits for their records.
struct Entry {
    event: Event,
    with: Vec<Event>,
    reply: Option<SyncSender<Result<(), NotRecorded>>>,
}

// === impl Entry ===

impl Entry {
    /// One that nobody waits for.
    fn of(event: Event) -> Self {
        Self { event, with: Vec::new(), reply: None }
    }

    fn events(&self) -> impl Iterator<Item = &Event> {
        std::iter::once(&self.event).chain(&self.with)
    }
}

// === impl NotRecorded ===

impl NotRecorded {
    /// For a reason that is not the disk's.
    pub fn for_want_of(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

impl fmt::Display for NotRecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the audit log cannot be written: {}", self.0)
    }
}

impl std::error::Error for NotRecorded {}

// === impl AuditLog ===

impl AuditLog {
    /// Opens the log of a data directory, or makes one, and starts its thread.
    ///
    /// # Errors
    /// The folder cannot be read or made.
    pub fn start(data: &Arc<DataDirectory>, clock: Clock) -> io::Result<(Arc<Self>, Keeper)> {
        let opened = open(data, clock())?;
        Self::start_on(Box::new(Disk::new(data.clone())), opened, data.path().join(FOLDER), clock)
    }

    pub(super) fn start_on(
        medium: Box<dyn Medium>,
        opened: Opened,
        folder: PathBuf,
        clock: Clock,
    ) -> io::Result<(Arc<Self>, Keeper)> {
        let Opened { signer, head, incidents } = opened;
        let shared = Arc::new(Shared::new(clock.clone(), head.link.seq));
        let result = if incidents.is_empty() { "ok".to_owned() } else { incidents.join("; ") };
        if !incidents.is_empty() {
            tracing::error!(incidents = result, "the audit log was not left as it should be: see `berry audit verify`");
        }
        let started = Event::own(clock(), "audit.open", format!("record:{}", head.link.seq), result);
        shared.lock().entries.push(Entry::of(started));
        let thread = Thread::new(shared.clone(), Writer::new(medium, signer, head, clock));
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || thread.run())?;
        Ok((Arc::new(Self { shared: shared.clone(), folder }), Keeper { shared, thread: Some(thread) }))
    }

    /// Takes note of an event, and never waits. Where too many come they are counted, and the count is recorded.
    pub fn note(&self, event: Event) {
        self.shared.push(Entry::of(event));
    }

    /// Takes note of a refusal, unless there were so many that it is only counted.
    pub fn note_refusal(&self, code: Code, unix_millis: u64, event: impl FnOnce() -> Event) {
        if self.shared.refusals.get(code as usize).is_none_or(|bound| bound.admit(unix_millis)) {
            self.note(event());
        }
    }

    /// Records an event and waits until that is safe: for changes, which must not take effect without their record. Blocks.
    ///
    /// # Errors
    /// It is not safe. If its record comes to be after all, another one says that it was too late.
    pub fn record(&self, event: Event) -> Result<(), NotRecorded> {
        self.record_with(event, Vec::new())
    }

    /// As [`AuditLog::record`], with all that follows from it: either everything is recorded or nothing.
    ///
    /// # Errors
    /// As there.
    pub fn record_with(&self, event: Event, with: Vec<Event>) -> Result<(), NotRecorded> {
        // Without room: a reply is either taken, or the writer learns that nobody waits any more.
        let (reply, answer) = sync_channel(0);
        self.shared.push(Entry { event, with, reply: Some(reply) });
        wait(&answer)
    }

    /// How it does.
    pub fn standing(&self) -> Standing {
        let Shared { clock, records, lost, busy_since, .. } = &*self.shared;
        let slow = || {
            let since = Some(busy_since.load(Relaxed)).filter(|since| *since > 0)?;
            let reason = "the disk does not answer".to_owned();
            (clock().saturating_sub(since) > SLOW_MILLIS).then_some(Failing { since_unix_millis: since, reason })
        };
        let failing = self.shared.failing().clone().or_else(slow);
        Standing { failing, records: records.load(Relaxed), lost: lost.load(Relaxed) }
    }

    /// Records, the newest first: at most `limit` of those before the record `before` that `filter` lets through. Blocks.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn page(&self, before: Option<u64>, limit: usize, filter: &Filter) -> io::Result<Page> {
        read::page(&self.folder, before, limit, filter)
    }
}

fn wait(answer: &Receiver<Result<(), NotRecorded>>) -> Result<(), NotRecorded> {
    answer.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(NotRecorded("the disk does not answer".to_owned())))
}

// === impl Keeper ===

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_one();
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + LAST_WAIT;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

// === impl Shared ===

impl Shared {
    fn new(clock: Clock, records: u64) -> Self {
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

    fn failing(&self) -> MutexGuard<'_, Option<Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, entry: Entry) {
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

    /// Waits for something to record, at most for `most`, and then a moment for more. Says whether there will be no more.
    fn take(&self, most: Duration, into: &mut Vec<Entry>) -> bool {
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

// === the thread ===

struct Thread {
    shared: Arc<Shared>,
    writer: Writer,
    /// What is not safe yet.
    entries: Vec<Entry>,
    /// Changes that were refused since it began to fail.
    refused_changes: u64,
    /// Of the events that were lost, those that a record tells of.
    lost_told: u64,
    summed: Instant,
    reminded: Option<Instant>,
}

impl Thread {
    fn new(shared: Arc<Shared>, writer: Writer) -> Self {
        Self {
            shared,
            writer,
            entries: Vec::new(),
            refused_changes: 0,
            lost_told: 0,
            summed: Instant::now(),
            reminded: None,
        }
    }

    fn run(mut self) {
        loop {
            let is_failing = self.shared.failing().is_some();
            let is_last = self.shared.take(if is_failing { RETRY } else { SUM_EVERY }, &mut self.entries);
            self.bound();
            if is_last || self.summed.elapsed() >= SUM_EVERY {
                self.sum();
            }
            if is_last {
                let event = Event::own(self.now(), "audit.close", format!("record:{}", self.writer.newest()), "ok");
                self.entries.push(Entry::of(event));
            }
            if is_failing || !self.entries.is_empty() || self.untold() > 0 {
                self.write();
            }
            if is_last {
                if !self.entries.is_empty() {
                    self.write();
                }
                return;
            }
        }
    }

    fn now(&self) -> u64 {
        (self.shared.clock)()
    }

    /// Keeps what waits for a disk that refuses within bounds.
    fn bound(&mut self) {
        let more = self.entries.len().saturating_sub(MOST_WAITING);
        if more > 0 {
            let urgent: Vec<Entry> = self.entries.extract_if(MOST_WAITING.., |entry| entry.reply.is_some()).collect();
            let lost = self.entries.len().saturating_sub(MOST_WAITING);
            self.entries.truncate(MOST_WAITING);
            self.shared.lost.fetch_add(lost as u64, Relaxed);
            self.entries.extend(urgent);
        }
    }

    /// Makes events of the refusals that were only counted.
    fn sum(&mut self) {
        self.summed = Instant::now();
        let now = self.now();
        for (code, bound) in Code::ALL.iter().zip(&self.shared.refusals) {
            let more = bound.take_more();
            if more > 0 {
                let event = Event {
                    unix_millis: now,
                    who: Who::from(Actor::Unknown),
                    action: "refuse".into(),
                    resource: format!("more:{more}"),
                    result: code.as_str().into(),
                };
                self.entries.push(Entry::of(event));
            }
        }
    }

    /// How many lost events no record tells of yet.
    fn untold(&self) -> u64 {
        self.shared.lost.load(Relaxed) - self.lost_told
    }

    fn write(&mut self) {
        let now = self.now();
        let failed = self.shared.failing().clone();
        let untold = self.untold();
        let mut first = Vec::new();
        if let Some(Failing { since_unix_millis, reason }) = &failed {
            let seconds = now.saturating_sub(*since_unix_millis) / 1000;
            let refused = self.refused_changes;
            let result = format!("could not be written for {seconds} s, {refused} changes refused: {reason}");
            first.push(Event::own(now, "audit.recover", "", result));
        }
        if untold > 0 {
            first.push(Event::own(now, "audit.lose", format!("events:{untold}"), "not recorded"));
        }
        self.shared.busy_since.store(now.max(1), Relaxed);
        let written = self.writer.commit(first.iter().chain(self.entries.iter().flat_map(Entry::events)));
        self.shared.busy_since.store(0, Relaxed);
        match written {
            Ok(()) => {
                self.lost_told += untold;
                self.shared.records.store(self.writer.newest(), Relaxed);
                self.settle();
                if failed.is_some() {
                    self.recover();
                }
            }
            Err(error) => self.fail(&error, now),
        }
    }

    /// Tells those who wait that their records are safe.
    fn settle(&mut self) {
        let mut late = Vec::new();
        for Entry { event, reply, .. } in self.entries.drain(..) {
            let Some(reply) = reply else { continue };
            if reply.send(Ok(())).is_err() {
                // Whoever asked has given up and changed nothing.
                let result = format!("not done: the record of {} came too late", event.result).into();
                late.push(Entry::of(Event { result, ..event }));
            }
        }
        self.entries = late;
    }

    fn recover(&mut self) {
        *self.shared.failing() = None;
        self.refused_changes = 0;
        self.reminded = None;
        tracing::info!(records = self.writer.newest(), "the audit log is written again");
    }

    fn fail(&mut self, error: &io::Error, now: u64) {
        let reason = error.to_string();
        for entry in self.entries.extract_if(.., |entry| entry.reply.is_some()) {
            self.refused_changes += 1;
            // Who has given up meanwhile has changed nothing either.
            let _ = entry.reply.map(|reply| reply.send(Err(NotRecorded(reason.clone()))));
        }
        if self.reminded.is_none_or(|at| at.elapsed() >= REMIND) {
            self.reminded = Some(Instant::now());
            tracing::error!(
                reason,
                "the audit log cannot be written: until it can, changes are refused; requests are served. \
                 Make room on the disk of the data directory, or repair it"
            );
        }
        let mut failing = self.shared.failing();
        let since_unix_millis = failing.as_ref().map_or(now, |failing| failing.since_unix_millis);
        *failing = Some(Failing { since_unix_millis, reason });
    }
}
