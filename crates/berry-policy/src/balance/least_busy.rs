//! `least_busy`: the fewest requests in flight; for backends that one runs oneself, where latency says little.

use super::candidate::{Candidate, Turn};
use super::choose::{least, shares_of_least};
use super::{Strategy, StrategyRow};
use crate::smart_ai::SmartAi;

/// The strategy's row.
pub(super) const ROW: StrategyRow =
    StrategyRow { strategy: Strategy::LeastBusy, name: "least_busy", doc: "fewest requests in flight", pick, shares };

fn pick(candidates: &[Candidate], turn: &mut Turn<'_>) -> Option<usize> {
    least(candidates, |c| c.in_flight, turn.dice)
}

fn shares(candidates: &[Candidate], _: &SmartAi) -> Vec<f64> {
    shares_of_least(candidates, |c| c.in_flight)
}
