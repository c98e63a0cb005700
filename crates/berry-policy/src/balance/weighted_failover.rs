//! `weighted_failover`: weighted random among the eligible. Since every strategy sees only eligible candidates, it is
//! `weighted_random` under the name that says why one wants it.

use super::{Strategy, StrategyRow, weighted_random};

/// The strategy's row.
pub(super) const ROW: StrategyRow = StrategyRow {
    strategy: Strategy::WeightedFailover,
    name: "weighted_failover",
    doc: "at random by weight among the eligible",
    pick: weighted_random::pick,
    shares: weighted_random::shares,
};
