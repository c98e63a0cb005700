//! `p2c`, the power of two choices (Mitzenmacher 2001): of two at random, the one with the shorter expected wait. Nearly as
//! good as the best of all, and the crowd never runs to one backend at once.

use super::candidate::{Candidate, Turn};
use super::{Strategy, StrategyRow};
use crate::smart_ai::SmartAi;

/// The strategy's row.
pub(super) const ROW: StrategyRow = StrategyRow {
    strategy: Strategy::P2c,
    name: "p2c",
    doc: "of two at random the one with less latency × in flight",
    pick,
    shares,
};

fn pick(candidates: &[Candidate], turn: &mut Turn<'_>) -> Option<usize> {
    let n = candidates.len() as u64;
    let first = turn.dice.below(n) as usize;
    let other = turn.dice.below(n.saturating_sub(1)) as usize;
    let second = if other < first { other } else { other + 1 };
    match (candidates.get(first), candidates.get(second)) {
        (Some(a), Some(b)) if b.wait() < a.wait() => Some(second),
        (Some(_), _) => Some(first),
        (None, _) => None,
    }
}

fn shares(candidates: &[Candidate], _: &SmartAi) -> Vec<f64> {
    let n = candidates.len() as f64;
    let pairs = n * (n - 1.0) / 2.0;
    let wins = |a: &Candidate| candidates.iter().map(|b| win(a, b)).sum::<f64>() - TIE;
    candidates.iter().map(|a| if pairs > 0.0 { wins(a) / pairs } else { 1.0 }).collect()
}

/// What each of two equals wins of a choice between them; also what a candidate wins against itself.
const TIE: f64 = 0.5;

fn win(a: &Candidate, b: &Candidate) -> f64 {
    match a.wait().partial_cmp(&b.wait()) {
        Some(std::cmp::Ordering::Less) => 1.0,
        Some(std::cmp::Ordering::Greater) => 0.0,
        Some(std::cmp::Ordering::Equal) | None => TIE,
    }
}
