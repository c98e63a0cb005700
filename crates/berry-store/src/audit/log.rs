//! The log as the rest of the program holds it. A thread of its own writes. Whoever serves requests leaves word and goes on; who
//! changes something waits until the record is safe, or is told that it is not.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use berry_vocab::Code;

use super::FOLDER;
use super::event::Event;
use super::medium::{Disk, Medium};
use super::open::{Opened, open};
use super::queue::{Entry, Shared};
use super::read::{self, Filter, Page};
use super::thread::Thread;
use super::writer::Writer;
use crate::DataDirectory;

/// Wall time, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

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
        shared.push(Entry::of(started));
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
        self.shared.close();
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + LAST_WAIT;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
