//! `random`: evenly at random, whatever the weights.

use super::candidate::{Candidate, Turn};
use super::choose::{evenly, shares_by_weight};
use super::{Strategy, StrategyRow};
use crate::smart_ai::SmartAi;

/// The strategy's row.
pub(super) const ROW: StrategyRow =
    StrategyRow { strategy: Strategy::Random, name: "random", doc: "evenly at random", pick, shares };

fn pick(candidates: &[Candidate], turn: &mut Turn<'_>) -> Option<usize> {
    evenly(candidates, turn.dice)
}

fn shares(candidates: &[Candidate], _: &SmartAi) -> Vec<f64> {
    shares_by_weight(candidates, |_| 1.0)
}
