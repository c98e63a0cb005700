//! `least_cost`: the lowest price; those without a known price after all that have one, premium ones last.

use super::candidate::{Candidate, Turn, finite};
use super::choose::{least, shares_of_least};
use super::{Strategy, StrategyRow};
use crate::smart_ai::SmartAi;

/// The variants' order is the order of preference.
#[derive(PartialEq, PartialOrd)]
enum Cost {
    Known(f64),
    Unknown,
    UnknownPremium,
}

/// The strategy's row.
pub(super) const ROW: StrategyRow = StrategyRow {
    strategy: Strategy::LeastCost,
    name: "least_cost",
    doc: "lowest price; unpriced ones last, premium after the others",
    pick,
    shares,
};

fn pick(candidates: &[Candidate], turn: &mut Turn<'_>) -> Option<usize> {
    least(candidates, cost, turn.dice)
}

fn shares(candidates: &[Candidate], _: &SmartAi) -> Vec<f64> {
    shares_of_least(candidates, cost)
}

fn cost(candidate: &Candidate) -> Cost {
    match candidate.price {
        Some(price) => Cost::Known(finite(price)),
        None if candidate.premium => Cost::UnknownPremium,
        None => Cost::Unknown,
    }
}
