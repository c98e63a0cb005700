//! Station 7: which of the pool's targets gets the next attempt, and with which account. Leaves out what is not eligible; the
//! rest is the strategy's.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use berry_policy::{Candidate, State, Turn, Visits, panic_pick};
use berry_vocab::Moment;
use smallvec::SmallVec;

use crate::live::{BoundTo, Rules, Standing};
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
    /// Who made the state that the request carries, where that is known.
    pub(crate) bound: Option<&'a BoundTo>,
    /// Repeated visits to one backend, unless its provider says otherwise.
    pub(crate) max_internal_retries: u32,
}

/// What a request has tried so far.
pub(crate) struct Tried {
    /// Of backends, by place.
    pub(crate) visits: Visits,
    /// Of their accounts: place, account, how often.
    accounts: SmallVec<[(usize, usize, u32); 4]>,
}

/// A target that was chosen.
#[derive(Clone, Copy)]
pub(crate) struct Choice<'p> {
    /// Among all targets of the request's plan.
    pub(crate) place: usize,
    pub(crate) target: &'p Target,
    pub(crate) model: &'p Arc<Model>,
    /// The account to ask with, by its place at the provider.
    pub(crate) account: usize,
    pub(crate) visit: Visit,
}

/// How an attempt counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// The first at its backend: free.
    First,
    /// At a backend that was tried, with a key that was not: free.
    FreshKey,
    /// A repeated one, which waits and draws from the retry budget.
    Repeat,
}

/// Why none can be chosen now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nothing {
    /// The place of one that would be, if it had room.
    pub(crate) full_at: Option<usize>,
    /// When the first of those that this request may still visit can be asked again.
    pub(crate) soonest: Option<Moment>,
}

struct Seen<'p> {
    place: usize,
    target: &'p Target,
    standing: Standing,
}

// === impl Tried ===

impl Tried {
    pub(crate) fn new(visits: Visits) -> Self {
        Self { visits, accounts: SmallVec::new() }
    }

    /// Counts an attempt.
    pub(crate) fn record(&mut self, choice: &Choice<'_>) {
        if choice.visit != Visit::FreshKey {
            self.visits.record(choice.place);
        }
        let known = self.accounts.iter_mut().find(|(p, a, _)| (*p, *a) == (choice.place, choice.account));
        match known {
            Some((.., count)) => *count += 1,
            None => self.accounts.push((choice.place, choice.account, 1)),
        }
    }

    fn with(&self, place: usize, account: usize) -> u32 {
        self.accounts.iter().find(|(p, a, _)| (*p, *a) == (place, account)).map_or(0, |(.., count)| *count)
    }

    /// Whether the backend, which was tried, has an account that can be asked with and has not been.
    fn has_fresh_key(&self, place: usize, target: &Target, now: Moment) -> bool {
        let accounts = &target.provider.accounts;
        accounts.hashes().len() > 1
            && self.visits.visited(place)
            && target.live.usable(accounts, now).enumerate().any(|(i, usable)| usable && self.with(place, i) == 0)
    }

    fn may_repeat(&self, place: usize, target: &Target, occasion: &Occasion<'_>) -> bool {
        self.visits.may_repeat(place, target.provider.max_retries.unwrap_or(occasion.max_internal_retries))
    }

    fn may_visit(&self, place: usize, target: &Target, occasion: &Occasion<'_>) -> bool {
        self.visits.first_visit(place)
            || self.has_fresh_key(place, target, occasion.now)
            || self.may_repeat(place, target, occasion)
    }
}

/// Chooses the backend that made the request's state; else among targets not visited yet; then those with a key that was not
/// tried; then those that may be visited again. When nothing is eligible, the open one whose time ends first is tried once, if it
/// seems to be there at all.
pub(crate) fn choose<'p>(pool: &'p Pool, tried: &Tried, occasion: &Occasion<'_>) -> Result<Choice<'p>, Nothing> {
    let seen: SmallVec<[Seen<'p>; 8]> = pool
        .targets()
        .map(|(place, target)| Seen { place, target, standing: target.standing(occasion.now, occasion.rules) })
        .collect();
    let first = |seen: &Seen<'_>| tried.visits.first_visit(seen.place);
    let fresh = |seen: &Seen<'_>| tried.has_fresh_key(seen.place, seen.target, occasion.now);
    let again = |seen: &Seen<'_>| tried.may_repeat(seen.place, seen.target, occasion);
    let picked = bound(&seen, tried, occasion)
        .or_else(|| pick(pool, &seen, first, occasion))
        .or_else(|| pick(pool, &seen, fresh, occasion))
        .or_else(|| pick(pool, &seen, again, occasion))
        .or_else(|| panic(&seen, tried));
    picked.and_then(|seen| settle(pool, seen, tried, occasion)).ok_or_else(|| nothing(&seen, tried, occasion))
}

/// The strategy's choice among the eligible that `may_visit`.
fn pick<'s, 'p>(
    pool: &Pool,
    seen: &'s [Seen<'p>],
    may_visit: impl Fn(&Seen<'p>) -> bool,
    occasion: &Occasion<'_>,
) -> Option<&'s Seen<'p>> {
    let eligible: SmallVec<[&Seen<'p>; 8]> =
        seen.iter().filter(|seen| seen.standing.is_eligible() && may_visit(seen)).collect();
    let candidates: SmallVec<[Candidate; 8]> =
        eligible.iter().map(|seen| candidate(seen.target, &seen.standing)).collect();
    let picked = occasion.worker.with_dice(|dice| {
        let mut turn =
            Turn { turn: occasion.turn, dice, affinity: occasion.affinity, smart_ai: &occasion.rules.smart_ai };
        pool.model.strategy.pick(&candidates, &mut turn)
    })?;
    eligible.get(picked).copied()
}

/// The backend that made the state which the request carries, if it can be asked and has not been.
fn bound<'s, 'p>(seen: &'s [Seen<'p>], tried: &Tried, occasion: &Occasion<'_>) -> Option<&'s Seen<'p>> {
    let maker = occasion.bound?;
    let is_maker = |seen: &&Seen<'_>| {
        seen.target.key == maker.backend && seen.standing.is_eligible() && tried.visits.first_visit(seen.place)
    };
    seen.iter().find(is_maker)
}

fn panic<'s, 'p>(seen: &'s [Seen<'p>], tried: &Tried) -> Option<&'s Seen<'p>> {
    let not_yet = |seen: &&Seen<'_>| tried.visits.first_visit(seen.place) && seen.standing.cooling_until.is_none();
    if seen.iter().any(|seen| seen.standing.is_able() && tried.visits.first_visit(seen.place)) {
        return None;
    }
    let open: SmallVec<[&Seen<'p>; 8]> = seen.iter().filter(not_yet).collect();
    open.get(panic_pick(open.iter().map(|seen| seen.standing.state))?).copied()
}

/// The account, and how the visit counts.
fn settle<'p>(pool: &'p Pool, seen: &Seen<'p>, tried: &Tried, occasion: &Occasion<'_>) -> Option<Choice<'p>> {
    let Seen { place, target, .. } = *seen;
    let accounts = &target.provider.accounts;
    let of_maker = occasion.bound.filter(|maker| maker.backend == target.key).and_then(|maker| {
        let mut usable = accounts.hashes().iter().zip(target.live.usable(accounts, occasion.now));
        usable.position(|(hash, usable)| *hash == maker.account && usable)
    });
    let account = match of_maker.filter(|account| tried.with(place, *account) == 0) {
        Some(account) => account,
        None => target.live.pick_account(accounts, |account| tried.with(place, account), occasion.now)?,
    };
    target.selections.fetch_add(1, Relaxed);
    let visit = match (tried.visits.first_visit(place), tried.with(place, account)) {
        (true, _) => Visit::First,
        (false, 0) => Visit::FreshKey,
        (false, _) => Visit::Repeat,
    };
    Some(Choice { place, target, model: &pool.model, account, visit })
}

fn nothing(seen: &[Seen<'_>], tried: &Tried, occasion: &Occasion<'_>) -> Nothing {
    let may_visit = |seen: &&Seen<'_>| tried.may_visit(seen.place, seen.target, occasion);
    Nothing {
        full_at: seen.iter().filter(may_visit).find(|seen| seen.standing.is_able()).map(|seen| seen.place),
        soonest: seen.iter().filter(may_visit).filter_map(|seen| cooled(&seen.standing)).min(),
    }
}

/// When a rate limit ends that is all that keeps a target from being asked.
fn cooled(standing: &Standing) -> Option<Moment> {
    standing.cooling_until.filter(|_| standing.state.eligible())
}

/// When a target that cannot be asked now may be.
fn due(standing: &Standing) -> Option<Moment> {
    let open_until = match standing.state {
        State::Open { until, .. } => Some(until),
        State::Healthy | State::Ramp { .. } => None,
    };
    open_until.max(standing.cooling_until)
}

/// When the first of the pool's targets may be asked again, by anyone.
pub(crate) fn soonest(pool: &Pool, now: Moment, rules: &Rules) -> Option<Moment> {
    pool.targets().filter_map(|(_, target)| due(&target.standing(now, rules))).min()
}

/// Whether a rate limit is what keeps one of the pool's targets from being asked.
pub(crate) fn is_cooling(pool: &Pool, now: Moment, rules: &Rules) -> bool {
    pool.targets().any(|(_, target)| target.standing(now, rules).cooling_until.is_some())
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
