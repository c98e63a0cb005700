//! `affinity`: the same conversation goes to the same backend, so that the vendor's prompt cache hits. Rendezvous hashing
//! (Thaler, Ravishankar 1998) by weight: when a backend leaves, only its own conversations move, and they return with it.
//!
//! The load is bounded (Mirrokni, Thorup, Zadimoghaddam 2016): a backend that is much busier than its part is passed over.
//! Without a key it is `weighted_random`.

use super::candidate::{Candidate, Turn};
use super::choose::by_weight;
use super::{Strategy, StrategyRow, weighted_random};

/// How far above its part of the load a backend may be, with one more for small numbers.
const BOUND: f64 = 1.25;

/// The strategy's row.
pub(super) const ROW: StrategyRow = StrategyRow {
    strategy: Strategy::Affinity,
    name: "affinity",
    doc: "the same conversation to the same backend, while that is not overloaded",
    pick,
    shares: weighted_random::shares,
};

fn pick(candidates: &[Candidate], turn: &mut Turn<'_>) -> Option<usize> {
    turn.affinity
        .and_then(|key| nearest(candidates, key))
        .or_else(|| by_weight(candidates, Candidate::effective_weight, turn.dice))
}

/// The candidate nearest to the key among those that are not too busy; `None` where none has weight.
fn nearest(candidates: &[Candidate], key: u64) -> Option<usize> {
    let weight: f64 = candidates.iter().map(Candidate::effective_weight).sum();
    let load: f64 = candidates.iter().map(|c| f64::from(c.in_flight)).sum();
    let has_room = |c: &Candidate| f64::from(c.in_flight) <= BOUND * load * c.effective_weight() / weight + 1.0;
    candidates
        .iter()
        .enumerate()
        .filter(|(_, c)| c.effective_weight() > 0.0 && has_room(c))
        .map(|(i, c)| (i, distance(key, c)))
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(i, _)| i)
}

/// Exponentially distributed with the weight as its rate, so that each is the least with probability weight / total.
fn distance(key: u64, candidate: &Candidate) -> f64 {
    let hash = mix(key ^ mix(candidate.identity));
    let unit = ((hash >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64);
    -unit.ln() / candidate.effective_weight()
}

/// The finaliser of SplitMix64: every bit of the input changes half of the output's. Stable across versions and machines,
/// which a standard hasher is not.
fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
