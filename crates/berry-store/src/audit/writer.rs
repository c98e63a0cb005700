//! Puts records on disk, a batch at a time: all of it is safe and the head says so, or it counts as never written.

use std::io;

use super::event::Event;
use super::files;
use super::head::{HEAD, Head};
use super::line::{Link, time};
use super::log::Clock;
use super::medium::Medium;
use super::signing::Signer;

/// A file that is as long gets a successor.
const LONGEST_FILE: u64 = 16 << 20;

/// Every so many records one is a checkpoint, beside the first of each file.
const CHECKPOINT_EVERY: u64 = 1000;

/// The end of a log, and how it goes on.
pub(super) struct Writer {
    medium: Box<dyn Medium>,
    signer: Signer,
    clock: Clock,
    /// What is safe.
    head: Head,
    /// A file that was begun for a batch which did not become safe: the next try must take the same one.
    begun: Option<String>,
    longest_file: u64,
}

impl Writer {
    pub(super) fn new(medium: Box<dyn Medium>, signer: Signer, head: Head, clock: Clock) -> Self {
        Self { medium, signer, clock, head, begun: None, longest_file: LONGEST_FILE }
    }

    #[cfg(test)]
    pub(super) fn with_longest_file(mut self, bytes: u64) -> Self {
        self.longest_file = bytes;
        self
    }

    /// The number of the newest record that is safe.
    pub(super) fn newest(&self) -> u64 {
        self.head.link.seq
    }

    /// Makes records of events. Once this has returned they are safe; if it fails, none of them is there.
    pub(super) fn commit<'e>(&mut self, events: impl Iterator<Item = &'e Event>) -> io::Result<()> {
        let now = (self.clock)();
        let (file, at) = self.place(now);
        let (mut link, mut bytes) = (self.head.link, Vec::new());
        for event in events {
            if (at == 0 && bytes.is_empty()) || link.seq.is_multiple_of(CHECKPOINT_EVERY) {
                link.push_checkpoint(now, &self.signer, &mut bytes);
            }
            link.push(event, &mut bytes);
        }
        let put = self.medium.put(&file, at, &bytes);
        if put.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData) {
            // Somebody took away what was there. That stays to be found; what comes goes into a new file.
            self.head.file = String::new();
            self.head.length = 0;
        }
        put?;
        let head = Head { link, file, length: at + bytes.len() as u64 };
        self.medium.replace(HEAD, &head.text(now, &self.signer))?;
        self.head = head;
        self.begun = None;
        Ok(())
    }

    /// The file that takes the next batch, and where in it.
    fn place(&mut self, now: u64) -> (String, u64) {
        let day = time(now).get(..10).unwrap_or_default().to_owned();
        let Head { link: Link { seq, .. }, file, length } = &self.head;
        // A clock that was put back begins no new file.
        if !file.is_empty() && *length < self.longest_file && files::day(file) >= day.as_str() {
            return (file.clone(), *length);
        }
        let name = self.begun.get_or_insert_with(|| files::name(seq + 1, &day));
        (name.clone(), 0)
    }
}

/// A clock that a test sets.
#[cfg(test)]
pub(super) fn clock_of(millis: &std::sync::Arc<std::sync::atomic::AtomicU64>) -> Clock {
    let millis = millis.clone();
    std::sync::Arc::new(move || millis.load(std::sync::atomic::Ordering::Relaxed))
}
