//! A provider's accounts: the keys that it may be asked with. A key that is refused is put aside for all models of the provider;
//! the last one that is left never is, since then the refusal is the backend's failure.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

use berry_policy::{KeyStanding, Quarantine, is_last_usable};
use berry_vocab::Moment;
use foldhash::HashMap;
use foldhash::fast::FixedState;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::live::{Meter, Room};

/// The numbers of one provider, over all its models.
#[derive(Debug, Default)]
pub struct ProviderLive {
    /// Ordered with the count of those who wait for room: one of both sees the other.
    in_flight: AtomicU32,
    /// Where requests wait that found all its places taken.
    pub(crate) room: Room,
    pub(crate) meter: Arc<Meter>,
    turn: AtomicUsize,
    quarantines: Mutex<HashMap<u64, Quarantine>>,
}

/// The accounts of a provider, as the configuration lists them.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    /// Hashes of their keys, by which their numbers are kept.
    hashes: Vec<u64>,
    pub(crate) live: Arc<ProviderLive>,
}

/// By what an account's numbers are kept: a hash that says nothing of the key.
pub(crate) fn account_hash(key: &str) -> u64 {
    let mut hasher = FixedState::with_seed(7).build_hasher();
    hasher.write(key.as_bytes());
    hasher.finish()
}

// === impl ProviderLive ===

impl ProviderLive {
    /// Requests in flight, over all its models.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(SeqCst)
    }

    pub(crate) fn enter(&self) {
        self.in_flight.fetch_add(1, SeqCst);
    }

    pub(crate) fn leave(&self) {
        self.in_flight.fetch_sub(1, SeqCst);
        self.room.release();
    }
}

// === impl Accounts ===

impl Accounts {
    pub(crate) fn new(keys: &[&str], live: Arc<ProviderLive>) -> Self {
        Self { hashes: keys.iter().map(|key| account_hash(key)).collect(), live }
    }

    /// The hashes, in the order of the configuration. There is at least one.
    pub(crate) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The turn of whoever asks next.
    pub(crate) fn next_turn(&self) -> usize {
        if self.hashes.len() > 1 { self.live.turn.fetch_add(1, Relaxed) } else { 0 }
    }

    /// Until when each account is put aside.
    pub(crate) fn quarantined(&self, now: Moment) -> impl Iterator<Item = Option<Moment>> {
        // A single account is never put aside, so that most providers take no lock here.
        let quarantines = (self.hashes.len() > 1).then(|| self.live.quarantines.lock());
        self.hashes.iter().map(move |hash| quarantines.as_ref()?.get(hash)?.until(now))
    }

    /// The account's key was refused. `false`: it is the last one that is left, and goes on.
    pub(crate) fn refuse(&self, account: u64, now: Moment) -> bool {
        // One lock for looking and putting aside, or two keys could each be put aside as the other's last.
        let mut quarantines = self.live.quarantines.lock();
        let standing = |hash: &u64| KeyStanding {
            quarantined_until: quarantines.get(hash).and_then(|quarantine| quarantine.until(now)),
            ..KeyStanding::default()
        };
        let standings: SmallVec<[KeyStanding; 2]> = self.hashes.iter().map(standing).collect();
        let place = self.hashes.iter().position(|hash| *hash == account).unwrap_or(usize::MAX);
        if is_last_usable(&standings, place) {
            return false;
        }
        quarantines.entry(account).or_default().refuse(now);
        true
    }

    /// The account's key was taken.
    pub(crate) fn lift(&self, account: u64) {
        if self.hashes.len() > 1
            && let Some(quarantine) = self.live.quarantines.lock().get_mut(&account)
        {
            quarantine.lift();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_is_put_aside_and_the_last_one_never() {
        let accounts = Accounts::new(&["a", "b"], Arc::default());
        let [a, b] = [account_hash("a"), account_hash("b")];
        let now = Moment::ZERO;
        assert!(accounts.refuse(a, now));
        assert!(!accounts.refuse(b, now), "the last key goes on");
        assert_eq!(accounts.quarantined(now).map(|until| until.is_some()).collect::<Vec<_>>(), [true, false]);
        accounts.lift(a);
        assert!(accounts.refuse(b, now));
    }
}
