//! Which account made a piece of state that only that account knows (failure model, R7): response ids, encrypted reasoning. A
//! bounded map from hashes; the oldest are forgotten first, and what is forgotten is tried as any other request.

use std::collections::VecDeque;

use berry_vocab::BackendKey;
use foldhash::HashMap;
use parking_lot::Mutex;

/// How many pieces of state are remembered: about 5 MiB.
const MOST: usize = 65_536;

/// Who made a piece of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BoundTo {
    pub(crate) backend: BackendKey,
    /// Hash of the account's key.
    pub(crate) account: u64,
}

/// The map. Locked only for requests and answers that carry such state.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    makers: HashMap<u64, BoundTo>,
    order: VecDeque<u64>,
}

impl Bound {
    /// Remembers that `maker` made the state of this hash.
    pub(crate) fn remember(&self, state: u64, maker: BoundTo) {
        let mut known = self.known.lock();
        if known.makers.insert(state, maker).is_none() {
            known.order.push_back(state);
        }
        if known.order.len() > MOST
            && let Some(oldest) = known.order.pop_front()
        {
            known.makers.remove(&oldest);
        }
    }

    /// Who made the first of these that is known.
    pub(crate) fn maker(&self, states: &[u64]) -> Option<BoundTo> {
        if states.is_empty() {
            return None;
        }
        let known = self.known.lock();
        states.iter().find_map(|state| known.makers.get(state).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maker(account: u64) -> BoundTo {
        BoundTo { backend: BackendKey { provider: berry_vocab::ProviderId::new("p"), model: "m".into() }, account }
    }

    #[test]
    fn the_oldest_state_is_forgotten_first_and_the_map_stays_bounded() {
        let bound = Bound::default();
        for state in 0..MOST as u64 + 10 {
            bound.remember(state, maker(state));
            bound.remember(state, maker(state + 1));
        }
        assert_eq!(bound.known.lock().makers.len(), MOST);
        assert_eq!(bound.maker(&[9]), None);
        assert_eq!(bound.maker(&[3, 10, 11]), Some(maker(11)));
        assert_eq!(bound.maker(&[]), None);
    }
}
