//! Strategies: which of the eligible backends gets the next request.
//!
//! A strategy is a function of the candidates' live numbers, the turn, dice and an affinity key. It holds no state, so that a
//! reload loses nothing and a decision can be replayed. Each has its file and its row in [`STRATEGIES`], from which names,
//! documentation and the dashboard's shares derive.
//!
//! Whoever calls has already left out what is not eligible. A backend in its recovery ramp is eligible with a factor on its
//! weight; every strategy that looks at weights honours that factor, the others rely on the ramp's limit of requests at once.

mod affinity;
mod candidate;
mod choose;
mod failover;
mod least_busy;
mod least_cost;
mod least_latency;
mod p2c;
mod random;
mod round_robin;
mod smart_ai;
mod smart_weighted_failover;
#[cfg(test)]
mod tests;
mod weighted_failover;
mod weighted_random;

pub use candidate::{Candidate, Turn};

use crate::smart_ai::SmartAi;

/// How a model chooses among its eligible backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// At random by weight.
    #[default]
    WeightedRandom,
    /// In turn, honouring weights smoothly.
    RoundRobin,
    /// Evenly at random.
    Random,
    /// Lowest latency.
    LeastLatency,
    /// Lowest priority number.
    Failover,
    /// At random by weight, among the eligible.
    WeightedFailover,
    /// At random by weight, scaled by the recovery ramp.
    SmartWeightedFailover,
    /// By what experience says, aware of cost.
    SmartAi,
    /// Fewest in flight.
    LeastBusy,
    /// The better of two at random.
    P2c,
    /// Lowest price.
    LeastCost,
    /// The same conversation, the same backend.
    Affinity,
}

/// Everything that is to be known of one strategy.
#[derive(Debug)]
pub struct StrategyRow {
    /// The strategy.
    pub strategy: Strategy,
    /// Its name in the configuration.
    pub name: &'static str,
    /// What it does, in a line.
    pub doc: &'static str,
    /// The candidate that gets this turn; `None` only if there is none.
    pick: fn(&[Candidate], &mut Turn<'_>) -> Option<usize>,
    /// The share of the traffic that each can expect now; together 1.
    shares: fn(&[Candidate], &SmartAi) -> Vec<f64>,
}

/// All strategies, in the order in which documents name them.
static STRATEGIES: [StrategyRow; 12] = [
    weighted_random::ROW,
    round_robin::ROW,
    random::ROW,
    least_latency::ROW,
    failover::ROW,
    weighted_failover::ROW,
    smart_weighted_failover::ROW,
    smart_ai::ROW,
    least_busy::ROW,
    p2c::ROW,
    least_cost::ROW,
    affinity::ROW,
];

// === impl Strategy ===

impl Strategy {
    /// All strategies, in the order in which documents name them.
    pub fn all() -> &'static [StrategyRow] {
        &STRATEGIES
    }

    /// The strategy of that name in the configuration.
    pub fn from_name(name: &str) -> Option<Self> {
        STRATEGIES.iter().find(|row| row.name == name).map(|row| row.strategy)
    }

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it does, in a line.
    pub fn doc(self) -> &'static str {
        self.row().doc
    }

    /// The index of the candidate that gets this turn; `None` only if there is no candidate. Does not allocate.
    pub fn pick(self, candidates: &[Candidate], turn: &mut Turn<'_>) -> Option<usize> {
        (self.row().pick)(candidates, turn)
    }

    /// The share of the traffic that each candidate can expect now, together 1: from the very functions that [`pick`] uses.
    ///
    /// [`pick`]: Strategy::pick
    pub fn weights(self, candidates: &[Candidate], smart_ai: &SmartAi) -> Vec<f64> {
        (self.row().shares)(candidates, smart_ai)
    }

    fn row(self) -> &'static StrategyRow {
        const FIRST: &StrategyRow = &weighted_random::ROW;
        STRATEGIES.iter().find(|row| row.strategy == self).unwrap_or(FIRST)
    }
}
