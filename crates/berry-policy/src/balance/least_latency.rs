//! `least_latency`: the shortest expected wait for the first byte, with what is in flight counted. An unmeasured backend is
//! tried first, by one request at a time.

use super::candidate::{Candidate, Turn};
use super::choose::{least, shares_of_least};
use super::{Strategy, StrategyRow};
use crate::smart_ai::SmartAi;

/// The strategy's row.
pub(super) const ROW: StrategyRow = StrategyRow {
    strategy: Strategy::LeastLatency,
    name: "least_latency",
    doc: "lowest smoothed latency, requests in flight counted; an unmeasured one first",
    pick,
    shares,
};

fn pick(candidates: &[Candidate], turn: &mut Turn<'_>) -> Option<usize> {
    least(candidates, Candidate::wait, turn.dice)
}

fn shares(candidates: &[Candidate], _: &SmartAi) -> Vec<f64> {
    shares_of_least(candidates, Candidate::wait)
}
