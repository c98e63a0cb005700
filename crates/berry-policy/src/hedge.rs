//! Hedging: when a second attempt may start while the first still runs, and how many such attempts a model may have. The first
//! good answer wins; the other was paid for nothing, which is why there is a bound on requests and on spend.

use std::time::Duration;

use crate::bucket::Bucket;
use crate::latency::Latencies;

/// So many hedges can be saved. A slow moment of a backend strikes several requests together; more than that is an outage, in
/// which a second attempt only adds load.
const HEDGES_SAVED: f64 = 10.0;

/// The mean cost goes by about so many requests.
const MEAN_OVER: u32 = 100;

/// After what time without a first token the second attempt starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    /// After a fixed time.
    Fixed(Duration),
    /// After the time that 95 % of the backend's requests stay within.
    P95,
}

/// The `hedge` settings of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HedgeRules {
    /// When the second attempt starts.
    pub after: HedgeAfter,
    /// The most that second attempts may be, of requests and of spend.
    pub max_share: f64,
}

/// The hedges that one model has saved. A new one has none, so that the share holds from the first request on.
#[derive(Clone, Copy, Debug, Default)]
pub struct HedgeBudget {
    by_count: Bucket,
    by_cost: Bucket,
    mean_cost: f64,
    /// How many requests the mean is of, up to [`MEAN_OVER`].
    mean_of: u32,
}

// === impl HedgeRules ===

impl HedgeRules {
    /// How long the first attempt has to itself. `None`: not known yet, so no hedge.
    pub fn delay(&self, latencies: &Latencies) -> Option<Duration> {
        match self.after {
            HedgeAfter::Fixed(delay) => Some(delay),
            HedgeAfter::P95 => latencies.quantile(0.95),
        }
    }
}

// === impl HedgeBudget ===

impl HedgeBudget {
    /// A request has come: once for each, hedged or not. `cost` is in any unit that orders requests by what they may spend, the
    /// same for all of the model's (bytes of the body, say).
    pub fn request(&mut self, cost: f64, rules: &HedgeRules) {
        let cost = weighed(cost);
        self.mean_of = MEAN_OVER.min(self.mean_of + 1);
        self.mean_cost += (cost - self.mean_cost) / f64::from(self.mean_of);
        self.by_count.add(rules.max_share, HEDGES_SAVED);
        // Spend has no natural size, so its cap is that of the count in mean requests: what is much dearer than the others is
        // not worth doing twice.
        self.by_cost.add(rules.max_share * cost, HEDGES_SAVED * self.mean_cost);
    }

    /// Takes a second attempt for a request of that cost, if both number and spend allow it.
    pub fn may_hedge(&mut self, cost: f64) -> bool {
        let cost = weighed(cost);
        let granted = self.by_count.holds(1.0) && self.by_cost.holds(cost);
        if granted {
            self.by_count.take(1.0);
            self.by_cost.take(cost);
        }
        granted
    }
}

/// A cost that can be summed. What is not one is taken for none: the count still bounds it.
fn weighed(cost: f64) -> f64 {
    if cost.is_finite() { cost.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{at, cases};

    const RULES: HedgeRules = HedgeRules { after: HedgeAfter::P95, max_share: 0.05 };

    fn after(requests: u32, cost: f64) -> HedgeBudget {
        let mut budget = HedgeBudget::default();
        (0..requests).for_each(|_| budget.request(cost, &RULES));
        budget
    }

    fn hedges(mut budget: HedgeBudget, cost: f64) -> usize {
        (0..1000).take_while(|_| budget.may_hedge(cost)).count()
    }

    #[test]
    fn the_first_hedge_comes_when_the_share_allows_it() {
        assert_eq!([0, 19, 20, 40].map(|requests| hedges(after(requests, 3.0), 3.0)), [0, 0, 1, 2]);
    }

    #[test]
    fn ten_hedges_are_saved_and_no_more() {
        assert_eq!(hedges(after(100_000, 3.0), 3.0), 10);
    }

    #[test]
    fn a_dear_request_uses_up_what_cheap_ones_have_saved() {
        assert_eq!(hedges(after(100, 1.0), 5.0), 1);
        assert_eq!(hedges(after(100, 1.0), 5.1), 0);
        assert_eq!(hedges(after(100_000, 1.0), 11.0), 0, "it is not worth doing twice, however long was saved");
    }

    #[test]
    fn cheap_requests_are_bounded_by_their_number() {
        assert_eq!(hedges(after(100, 1.0), 0.001), 5);
    }

    #[test]
    fn without_a_share_there_is_no_hedge() {
        let mut budget = HedgeBudget::default();
        let none = HedgeRules { max_share: 0.0, ..RULES };
        (0..1000).for_each(|_| budget.request(1.0, &none));
        assert!(!budget.may_hedge(0.0));
    }

    #[test]
    fn the_delay_is_the_fixed_one_or_the_p95_once_it_is_known() {
        let (mut latencies, second) = (Latencies::default(), Duration::from_secs(1));
        let fixed = HedgeRules { after: HedgeAfter::Fixed(second), ..RULES };
        assert_eq!((fixed.delay(&latencies), RULES.delay(&latencies)), (Some(second), None));
        (0..20).for_each(|_| latencies.record(second, at(0)));
        assert_eq!(RULES.delay(&latencies), latencies.quantile(0.95));
        assert!(RULES.delay(&latencies).is_some());
    }

    fn cost() -> impl Strategy<Value = f64> {
        let odd = vec![f64::NAN, f64::INFINITY, -1.0, 0.0];
        prop_oneof![4 => 0.0..10.0f64, 4 => 0.0..1e9f64, 1 => prop::sample::select(odd)]
    }

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn no_history_has_more_hedges_than_its_share_of_requests_or_of_spend(
            max_share in 0.0..1.0f64,
            steps in prop::collection::vec((cost(), any::<bool>()), 1..400),
        ) {
            let (mut budget, rules) = (HedgeBudget::default(), HedgeRules { max_share, ..RULES });
            let (mut requests, mut spend, mut hedges, mut hedged) = (0.0, 0.0, 0.0, 0.0);
            for (cost, wants) in steps {
                requests += 1.0;
                spend += weighed(cost);
                budget.request(cost, &rules);
                if wants && budget.may_hedge(cost) {
                    hedges += 1.0;
                    hedged += weighed(cost);
                }
                prop_assert!(hedges <= max_share * requests * (1.0 + 1e-6), "{hedges} of {requests}");
                prop_assert!(hedged <= max_share * spend * (1.0 + 1e-6), "{hedged} of {spend}");
            }
        }
    }
}
