//! Places that are limited in number, and a short queue for those who find none: the newest is served first, since the oldest is
//! the nearest to giving up.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::client::{Client, Interrupted};

/// How often those who wait look for themselves: room may come where they do not hear of it, at another backend of theirs.
const LOOK: Duration = Duration::from_millis(50);

/// Where those wait who found no room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    waiting: AtomicUsize,
    freed: Notify,
}

/// A limited number of places.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    taken: AtomicU32,
    room: Room,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    of: Arc<Slots>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// None was freed in time, or too many wait already.
    NoPlace,
    /// Waiting was broken off.
    Interrupted(Interrupted),
}

// === impl Room ===

impl Room {
    /// Tells the newest of those who wait that there may be room.
    pub(crate) fn release(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.freed.notify_last();
        }
    }

    /// Waits until `ready` gives something, asking it again whenever room may have come; at most until `due`, and not at all
    /// where `most` wait already.
    pub(crate) async fn wait<C: Client, T>(
        &self,
        client: &mut C,
        due: Instant,
        most: usize,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, Full> {
        if self.waiting.fetch_add(1, SeqCst) >= most {
            self.waiting.fetch_sub(1, SeqCst);
            return Err(Full::NoPlace);
        }
        let _waits = Waits(self);
        loop {
            let mut freed = pin!(self.freed.notified());
            // Registered before asking, so that what is freed in between is not missed.
            freed.as_mut().enable();
            if let Some(value) = ready() {
                return Ok(value);
            }
            let look = due.min(Instant::now() + LOOK);
            match client.wait(|| look, freed).await {
                Ok(()) => {}
                Err(Interrupted::Due) if look < due => {}
                Err(Interrupted::Due) => return ready().ok_or(Full::NoPlace),
                Err(other) => return Err(Full::Interrupted(other)),
            }
        }
    }
}

struct Waits<'r>(&'r Room);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        // Whoever leaves may have been the one that was told: the word goes on to the next.
        if self.0.waiting.fetch_sub(1, SeqCst) > 1 {
            self.0.freed.notify_last();
        }
    }
}

// === impl Slots ===

impl Slots {
    /// Takes a place of `limit`, if one is free.
    pub(crate) fn try_take(self: &Arc<Self>, limit: u32) -> Option<Slot> {
        let more = |taken: u32| (taken < limit).then_some(taken + 1);
        self.taken.fetch_update(SeqCst, SeqCst, more).ok().map(|_| Slot { of: self.clone() })
    }

    /// Takes a place, waiting for `patience` at most; no more than `most` wait at once.
    pub(crate) async fn take<C: Client>(
        self: &Arc<Self>,
        limit: u32,
        client: &mut C,
        (patience, most): (Duration, usize),
    ) -> Result<Slot, Full> {
        match self.try_take(limit) {
            Some(slot) => Ok(slot),
            None => {
                let due = Instant::now() + patience;
                self.room.wait(client, due, most, || self.try_take(limit)).await
            }
        }
    }

    /// Whether all places are taken and so many wait for one that nobody else may.
    pub(crate) fn is_hopeless(&self, limit: u32, most: usize) -> bool {
        self.taken() >= limit && self.room.waiting.load(SeqCst) >= most
    }

    /// Where to wait for a place.
    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(SeqCst)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.of.taken.fetch_sub(1, SeqCst);
        self.of.room.release();
    }
}
