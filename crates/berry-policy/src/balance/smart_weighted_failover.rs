//! `smart_weighted_failover`: weighted random over weights scaled by the recovery ramp. Since the ramp scales weights for
//! every strategy (one table of states), it is `weighted_random` under the name that promises so.

use super::{Strategy, StrategyRow, weighted_random};

/// The strategy's row.
pub(super) const ROW: StrategyRow = StrategyRow {
    strategy: Strategy::SmartWeightedFailover,
    name: "smart_weighted_failover",
    doc: "at random by weight, a recovering backend with less of it",
    pick: weighted_random::pick,
    shares: weighted_random::shares,
};
