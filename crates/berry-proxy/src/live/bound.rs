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

/// What a request carries that only one account knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    Nothing,
    /// Something of which it is not known who made it: it may be any of the accounts.
    OfSomeone,
    Of(BoundTo),
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

    /// What a request carries that refers to these; of several, the first whose maker is known decides.
    pub(crate) fn carried(&self, states: &[u64]) -> Carried {
        if states.is_empty() {
            return Carried::Nothing;
        }
        let known = self.known.lock();
        let maker = states.iter().find_map(|state| known.makers.get(state).cloned());
        maker.map_or(Carried::OfSomeone, Carried::Of)
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
        assert_eq!(bound.carried(&[9]), Carried::OfSomeone);
        assert_eq!(bound.carried(&[3, 10, 11]), Carried::Of(maker(11)));
        assert_eq!(bound.carried(&[]), Carried::Nothing);
    }
}
