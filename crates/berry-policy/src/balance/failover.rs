//! `failover`: the lowest priority number, and of several the first in the file; the next only while it is not eligible.

use super::candidate::{Candidate, Turn};
use super::{Strategy, StrategyRow};
use crate::smart_ai::SmartAi;

/// The strategy's row.
pub(super) const ROW: StrategyRow = StrategyRow {
    strategy: Strategy::Failover,
    name: "failover",
    doc: "lowest priority number; the next only while it is not eligible",
    pick,
    shares,
};

fn pick(candidates: &[Candidate], _: &mut Turn<'_>) -> Option<usize> {
    first(candidates)
}

fn shares(candidates: &[Candidate], _: &SmartAi) -> Vec<f64> {
    let first = first(candidates);
    (0..candidates.len()).map(|i| if Some(i) == first { 1.0 } else { 0.0 }).collect()
}

fn first(candidates: &[Candidate]) -> Option<usize> {
    candidates.iter().enumerate().min_by_key(|(_, c)| c.priority).map(|(i, _)| i)
}
