//! Weights and priorities that do nothing. What a strategy looks at is asked of the strategy itself, so that no list of names
//! can go stale.

use std::collections::HashSet;

use berry_policy::{Candidate, SmartAi, Strategy};

use crate::check::Tables;
use crate::checked::Checked;
use crate::problem::Problems;

pub(crate) fn check(tables: &Tables, problems: &mut Problems) {
    for model in tables.models.iter().filter(|model| model.flag("enabled")) {
        let Some(strategy) = model.text("strategy").and_then(|name| Strategy::from_name(&name)) else { continue };
        let backends: Vec<Checked> = tables.working_backends(model).collect();
        weights(strategy, &backends, problems);
        priorities(strategy, model, &backends, problems);
    }
}

/// Weights that differ are meant; a strategy that does not look at them does something else.
fn weights(strategy: Strategy, backends: &[Checked], problems: &mut Problems) {
    let all: HashSet<u64> = backends.iter().filter_map(|b| b.number("weight")).map(f64::to_bits).collect();
    let written = backends.iter().find(|backend| backend.has("weight"));
    if let Some(backend) = written.filter(|_| all.len() > 1 && !heeds(strategy, |candidate| candidate.weight = 9.0)) {
        let message = format!("weights have no effect: the strategy `{}` does not look at them", strategy.name());
        let remedy = "remove them, or choose a strategy that does: weighted_random, weighted_failover, smart_ai";
        problems.warning(&backend.at("weight"), message, remedy);
    }
}

fn priorities(strategy: Strategy, model: &Checked, backends: &[Checked], problems: &mut Problems) {
    if !heeds(strategy, |candidate| candidate.priority = 1) {
        let all: HashSet<u8> = backends.iter().map(|backend| backend.small("priority")).collect();
        let written = backends.iter().find(|backend| backend.has("priority"));
        // Files of Berry API write a priority everywhere, whatever the strategy: where one is written, it is meant.
        if let Some(backend) = written.filter(|_| all.len() > 1 && !model.has("strategy")) {
            let message =
                format!("priorities have no effect: the strategy `{}` does not look at them", strategy.name());
            problems.warning(&backend.at("priority"), message, "write `strategy = \"failover\"`, or remove them");
        }
        return;
    }
    let mut seen = HashSet::new();
    for backend in backends.iter().filter(|backend| backend.has("priority")) {
        if !seen.insert(backend.small("priority")) {
            let message = format!(
                "an earlier backend has the same priority: `{}` sends nothing here until that one fails",
                strategy.name()
            );
            let remedy = "give it a higher number, or share the traffic by another strategy, such as weighted_failover";
            problems.warning(&backend.at("priority"), message, remedy);
        }
    }
}

/// Whether a strategy shares the traffic otherwise when the first of two like backends is changed.
fn heeds(strategy: Strategy, change: impl Fn(&mut Candidate)) -> bool {
    let settings = SmartAi::default();
    let like = Candidate {
        weight: 1.0,
        priority: 0,
        premium: false,
        price: Some(1.0),
        ramp: 1.0,
        confidence: 0.8,
        latency_us: Some(1000.0),
        in_flight: 0,
        identity: 1,
    };
    let mut changed = like.clone();
    change(&mut changed);
    let other = Candidate { identity: 2, ..like.clone() };
    strategy.weights(&[like, other.clone()], &settings) != strategy.weights(&[changed, other], &settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_strategy_looks_at_is_found_out() {
        let names = |change: fn(&mut Candidate)| -> Vec<&str> {
            Strategy::all().iter().filter(|row| heeds(row.strategy, change)).map(|row| row.name).collect()
        };
        // The latencies, requests in flight and prices of these two are alike: then weights decide there too.
        let weighing = [
            "weighted_random",
            "round_robin",
            "least_latency",
            "weighted_failover",
            "smart_weighted_failover",
            "smart_ai",
            "least_busy",
            "least_cost",
            "affinity",
        ];
        assert_eq!(names(|candidate| candidate.weight = 9.0), weighing);
        assert_eq!(names(|candidate| candidate.priority = 1), ["failover"]);
    }
}
