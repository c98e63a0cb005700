//! What the mock has received so far, and how each answer ended: what a test asks afterwards.
//!
//! Tests wait for a condition on the journal, never for time.

use bytes::Bytes;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

use crate::pages;

/// A request as it arrived, and what became of its answer.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// The method.
    pub method: String,
    /// Path and query, as sent.
    pub path: String,
    /// Header fields in the order of arrival; names as sent (HTTP/2: lower case).
    pub headers: Vec<(String, String)>,
    /// The body; what had come of it if the client left before its end.
    pub body: Bytes,
    /// `HTTP/1.1`, `HTTP/1.0` or `HTTP/2.0`.
    pub http_version: &'static str,
    /// Which connection it came on; numbered from 1 in the order of accepting.
    pub connection: u64,
    /// The answer has been sent to its end.
    pub completed: bool,
    /// The client went away before the end of the answer.
    pub cancelled: bool,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Accepted connections.
    pub connections: u64,
    /// Connections that are open now.
    pub open_connections: u64,
    /// Requests.
    pub requests: u64,
    /// Requests that were answered with a stream.
    pub streams: u64,
    /// Requests that a fault hit.
    pub faults: u64,
    /// Answers sent to their end.
    pub completed: u64,
    /// Answers that the client did not wait for.
    pub cancelled: u64,
    /// Requests whose answer is under way.
    pub active: u64,
}

/// The journal of a running mock.
#[derive(Debug)]
pub(crate) struct Journal {
    kept: Mutex<Kept>,
    changed: watch::Sender<()>,
    limit: usize,
    pub(crate) counters: Counters,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Received>,
    /// How many older entries are gone: the number of the first kept.
    dropped: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) streams: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) cut: AtomicU64,
}

/// The open entry of one request; dropped before its end, the client was the one who left.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// The journal, and the entry's number in it. None when settled, and for a request that is not noted at all.
    entry: Option<(Arc<Journal>, u64)>,
}

// === impl Received ===

impl Received {
    /// The first field of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text, for assertions.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

// === impl Journal ===

impl Journal {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Journal {
            kept: Mutex::default(),
            changed: watch::Sender::new(()),
            limit,
            counters: Counters::default(),
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request, unless it is for the mock's own pages; the ticket notes how it ends.
    pub(crate) fn open(self: &Arc<Self>, request: Received) -> Ticket {
        if pages::are_asked(&request.path) {
            return Ticket { entry: None };
        }
        let number = self.counters.requests.fetch_add(1, Relaxed);
        let mut kept = self.kept();
        kept.entries.push_back(request);
        while kept.entries.len() > self.limit {
            kept.entries.pop_front();
            kept.dropped += 1;
        }
        // Two connections may count and push in different orders, so the number is that of the entry.
        let number = if self.limit == 0 { number } else { kept.dropped + kept.entries.len() as u64 - 1 };
        drop(kept);
        self.changed.send_replace(());
        Ticket { entry: Some((self.clone(), number)) }
    }

    fn settle(&self, number: u64, note: impl FnOnce(&mut Received)) {
        let mut kept = self.kept();
        let index = number.checked_sub(kept.dropped).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| kept.entries.get_mut(index)) {
            note(entry);
        }
        drop(kept);
        self.changed.send_replace(());
    }

    /// Tells waiters that a connection opened or closed.
    pub(crate) fn touch(&self) {
        self.changed.send_replace(());
    }

    pub(crate) fn all(&self) -> Vec<Received> {
        self.kept().entries.iter().cloned().collect()
    }

    pub(crate) async fn wait_for(&self, mut holds: impl FnMut(&[Received]) -> bool) -> Vec<Received> {
        let mut changes = self.changed.subscribe();
        loop {
            changes.borrow_and_update();
            if holds(self.kept().entries.make_contiguous()) {
                return self.all();
            }
            if changes.changed().await.is_err() {
                return self.all();
            }
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let c = &self.counters;
        // The ends are read first, so that a difference never falls below zero.
        let (completed, cancelled, cut, closed) =
            (read(&c.completed), read(&c.cancelled), read(&c.cut), read(&c.closed));
        let (connections, requests) = (read(&c.connections), read(&c.requests));
        Stats {
            connections,
            open_connections: connections.saturating_sub(closed),
            requests,
            streams: read(&c.streams),
            faults: read(&c.faults),
            completed,
            cancelled,
            active: requests.saturating_sub(completed + cancelled + cut),
        }
    }
}

// === impl Ticket ===

impl Ticket {
    /// The answer has been sent to its end.
    pub(crate) fn complete(mut self) {
        if let Some((journal, number)) = self.entry.take() {
            journal.counters.completed.fetch_add(1, Relaxed);
            journal.settle(number, |entry| entry.completed = true);
        }
    }

    /// The mock itself cut the answer, as its fault says.
    pub(crate) fn cut(mut self) {
        if let Some((journal, _)) = self.entry.take() {
            journal.counters.cut.fetch_add(1, Relaxed);
            journal.touch();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some((journal, number)) = self.entry.take() {
            journal.counters.cancelled.fetch_add(1, Relaxed);
            journal.settle(number, |entry| entry.cancelled = true);
        }
    }
}
