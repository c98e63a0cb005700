//! The thread that writes: a batch at a time, again and again while the disk refuses, and with a record of what was missed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use berry_vocab::Code;

use super::event::{Actor, Event, Who};
use super::log::{Failing, NotRecorded};
use super::queue::{Entry, MOST_WAITING, Shared};
use super::writer::Writer;

/// How often refusals beyond the bound are recorded as a number.
const SUM_EVERY: Duration = Duration::from_secs(10);

/// How often a disk that refuses is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often it is said again that it does.
const REMIND: Duration = Duration::from_secs(60);

/// Writes what waits, until the log is closed.
pub(super) struct Thread {
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

// === impl Thread ===

impl Thread {
    pub(super) fn new(shared: Arc<Shared>, writer: Writer) -> Self {
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

    pub(super) fn run(mut self) {
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
                    diff: None,
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
            let _ = entry.reply.map(|reply| reply.send(Err(NotRecorded::for_want_of(&reason))));
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
