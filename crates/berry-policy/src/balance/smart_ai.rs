//! `smart_ai`: weighted random over `weight × √confidence × stability bonus × ramp`, and for a share of the picks
//! (`exploration_ratio`) over `weight × ramp` alone, so that a quiet or recovered backend is seen again.
//!
//! Both are one roll over the mixture of the two, which is also what the dashboard shows.

use super::candidate::{Candidate, Turn, finite};
use super::choose::{by_weight, shares_by_weight};
use super::{Strategy, StrategyRow};
use crate::smart_ai::SmartAi;

/// Above this confidence a backend counts as proven.
const PROVEN: f64 = 0.9;

/// The strategy's row.
pub(super) const ROW: StrategyRow = StrategyRow {
    strategy: Strategy::SmartAi,
    name: "smart_ai",
    doc: "at random by weight × √confidence, proven cheap ones preferred, some picks by weight alone",
    pick,
    shares,
};

fn pick(candidates: &[Candidate], turn: &mut Turn<'_>) -> Option<usize> {
    let mixture = Mixture::of(candidates, turn.smart_ai);
    by_weight(candidates, |c| mixture.share(c), turn.dice)
}

fn shares(candidates: &[Candidate], rules: &SmartAi) -> Vec<f64> {
    let mixture = Mixture::of(candidates, rules);
    shares_by_weight(candidates, |c| mixture.share(c))
}

/// A candidate's worth by experience; its weight is what it is worth without.
fn worth(candidate: &Candidate, rules: &SmartAi) -> f64 {
    let bonus =
        if !candidate.premium && candidate.confidence > PROVEN { rules.non_premium_stability_bonus } else { 1.0 };
    finite(candidate.effective_weight() * finite(candidate.confidence).sqrt() * bonus)
}

/// The two distributions, as what one unit of worth and one unit of weight bring.
struct Mixture<'a> {
    rules: &'a SmartAi,
    per_worth: f64,
    per_weight: f64,
}

impl<'a> Mixture<'a> {
    fn of(candidates: &[Candidate], rules: &'a SmartAi) -> Self {
        let explore = finite(rules.exploration_ratio).min(1.0);
        let worth: f64 = candidates.iter().map(|c| worth(c, rules)).sum();
        let weight: f64 = candidates.iter().map(Candidate::effective_weight).sum();
        // Where nothing is worth anything, weight alone decides.
        let (explore, worth) = if worth > 0.0 { (explore, worth) } else { (1.0, 1.0) };
        Self { rules, per_worth: (1.0 - explore) / worth, per_weight: explore / weight }
    }

    fn share(&self, candidate: &Candidate) -> f64 {
        finite(self.per_worth * worth(candidate, self.rules) + self.per_weight * candidate.effective_weight())
    }
}
