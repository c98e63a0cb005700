//! `weighted_random`: at random by weight. No counter to share, no order to fall into step with.

use super::candidate::{Candidate, Turn};
use super::choose::{by_weight, shares_by_weight};
use super::{Strategy, StrategyRow};
use crate::smart_ai::SmartAi;

/// The strategy's row.
pub(super) const ROW: StrategyRow = StrategyRow {
    strategy: Strategy::WeightedRandom,
    name: "weighted_random",
    doc: "at random by weight",
    pick,
    shares,
};

pub(super) fn pick(candidates: &[Candidate], turn: &mut Turn<'_>) -> Option<usize> {
    by_weight(candidates, Candidate::effective_weight, turn.dice)
}

pub(super) fn shares(candidates: &[Candidate], _: &SmartAi) -> Vec<f64> {
    shares_by_weight(candidates, Candidate::effective_weight)
}
