//! Station 7: which of the pool's targets gets the next attempt. Leaves out what is not eligible; the rest is the strategy's.

use std::sync::atomic::Ordering::Relaxed;

use std::sync::Arc;

use berry_policy::{Candidate, State, Turn, Visits, panic_pick};
use berry_vocab::Moment;
use smallvec::SmallVec;

use crate::live::{Rules, Standing};
use crate::snapshot::{Model, Target};
use crate::station::route::Pool;
use crate::worker::Worker;

/// What choosing knows of the request.
pub(crate) struct Occasion<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) rules: &'a Rules,
    pub(crate) now: Moment,
    /// The request's turn at its model. Further attempts keep it, so that a backend that fails uses up no turn of the others.
    pub(crate) turn: u64,
    /// Hash of what the conversation begins with, where the strategy asks for it.
    pub(crate) affinity: Option<u64>,
    /// Repeated visits to one backend, unless its provider says otherwise.
    pub(crate) max_internal_retries: u32,
}

/// A target that was chosen.
#[derive(Clone, Copy)]
pub(crate) struct Choice<'p> {
    pub(crate) place: usize,
    pub(crate) target: &'p Target,
    pub(crate) model: &'p Arc<Model>,
    /// Whether it was tried before in this request.
    pub(crate) is_repeat: bool,
}

/// Chooses among targets not visited yet, then among those that may be visited again; when every one is open, the one whose
/// open time ends first, if it seems to be there at all. `None`: nothing is left for this request.
pub(crate) fn choose<'p>(pool: &'p Pool, visits: &Visits, occasion: &Occasion<'_>) -> Option<Choice<'p>> {
    let standings: SmallVec<[(usize, &Target, Standing); 8]> = pool
        .targets()
        .map(|(place, target)| (place, target, target.live.standing(occasion.now, occasion.rules)))
        .collect();
    let pick = |may_visit: &dyn Fn(usize, &Target) -> bool| {
        let eligible: SmallVec<[&(usize, &'p Target, Standing); 8]> = standings
            .iter()
            .filter(|(place, target, standing)| is_eligible(standing) && may_visit(*place, target))
            .collect();
        let candidates: SmallVec<[Candidate; 8]> =
            eligible.iter().map(|(_, target, standing)| candidate(target, standing)).collect();
        let picked = occasion.worker.with_dice(|dice| {
            let mut turn =
                Turn { turn: occasion.turn, dice, affinity: occasion.affinity, smart_ai: &occasion.rules.smart_ai };
            pool.model.strategy.pick(&candidates, &mut turn)
        })?;
        eligible.get(picked).map(|(place, target, _)| (*place, *target))
    };
    let repeatable = |place: usize, target: &Target| {
        visits.may_repeat(place, target.provider.max_retries.unwrap_or(occasion.max_internal_retries))
    };
    let first = pick(&|place, _| visits.first_visit(place));
    let (place, target) = first.or_else(|| pick(&repeatable)).or_else(|| panic(&standings, visits))?;
    target.selections.fetch_add(1, Relaxed);
    Some(Choice { place, target, model: &pool.model, is_repeat: visits.visited(place) })
}

/// When the first of the pool's targets may be asked again.
pub(crate) fn soonest(pool: &Pool, now: Moment, rules: &Rules) -> Option<Moment> {
    let when = |(_, target): (usize, &Target)| {
        let standing = target.live.standing(now, rules);
        let open_until = match standing.state {
            State::Open { until, .. } => Some(until),
            _ => None,
        };
        open_until.max(standing.cooling_until)
    };
    pool.targets().filter_map(when).min()
}

/// Whether a rate limit is what keeps the pool's targets from being asked.
pub(crate) fn is_cooling(pool: &Pool, now: Moment, rules: &Rules) -> bool {
    pool.targets().any(|(_, target)| target.live.standing(now, rules).cooling_until.is_some())
}

fn is_eligible(standing: &Standing) -> bool {
    let has_room = standing.state.at_once().is_none_or(|limit| standing.in_flight < limit);
    standing.state.eligible() && standing.cooling_until.is_none() && has_room
}

fn panic<'p>(standings: &[(usize, &'p Target, Standing)], visits: &Visits) -> Option<(usize, &'p Target)> {
    if standings.iter().any(|(.., standing)| standing.state.eligible()) {
        return None;
    }
    let (place, target, _) = standings.get(panic_pick(standings.iter().map(|(.., standing)| standing.state))?)?;
    visits.first_visit(*place).then_some((*place, *target))
}

/// The numbers that a strategy and the dashboard see of a target.
pub(crate) fn candidate(target: &Target, standing: &Standing) -> Candidate {
    Candidate {
        weight: target.weight,
        priority: target.priority,
        premium: target.premium,
        price: target.price,
        ramp: standing.state.weight_factor(),
        confidence: standing.confidence,
        latency_us: standing.latency_us,
        in_flight: standing.in_flight,
        identity: target.identity,
    }
}
