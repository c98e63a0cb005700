//! Station 7: which of the pool's targets gets the next attempt, and with which account. Leaves out what is not eligible; the
//! rest is the strategy's.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use berry_policy::{Candidate, Cooling, State, Turn, Visits, panic_pick};
use berry_vocab::Moment;
use smallvec::SmallVec;

use crate::live::{BoundTo, Carried, Rules, Standing};
use crate::snapshot::{Model, Target};
use crate::station::call::Again;
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
    pub(crate) carried: &'a Carried,
    /// How many tokens it may use, where somebody counts.
    pub(crate) tokens: u32,
    /// Repeated visits to one backend, unless its provider says otherwise.
    pub(crate) max_internal_retries: u32,
    /// When the request began.
    pub(crate) started: Moment,
    /// Whether another attempt is under way: then nothing is tried that is only tried in need.
    pub(crate) is_beside: bool,
}

/// What a request has tried so far.
pub(crate) struct Tried {
    /// Of backends, by place.
    pub(crate) visits: Visits,
    /// Of their accounts: place, account, how often.
    accounts: SmallVec<[(usize, usize, u32); 4]>,
    /// Places where it was the key that the last attempt failed for.
    for_their_keys: SmallVec<[usize; 2]>,
    /// Places and accounts that another attempt cannot help.
    closed: SmallVec<[(usize, usize); 2]>,
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
    /// Whether the account may lack what the request refers to.
    pub(crate) may_lack_state: bool,
}

/// How an attempt counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// The first at its backend: free.
    First,
    /// At a backend whose key failed, with one that was not tried: free.
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
    /// Whether limits of the configuration's are what keeps one from being asked.
    pub(crate) is_limited: bool,
}

struct Seen<'p> {
    place: usize,
    target: &'p Target,
    standing: Standing,
    /// Whether its provider's limits in a time keep it from being asked; until then it stands as one that cools down.
    is_limited: bool,
}

// === impl Tried ===

impl Tried {
    pub(crate) fn new(visits: Visits) -> Self {
        Self { visits, accounts: SmallVec::new(), for_their_keys: SmallVec::new(), closed: SmallVec::new() }
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

    /// Takes into account how a target that failed with an account may do better.
    pub(crate) fn note(&mut self, (place, account): (usize, usize), again: Again) {
        self.for_their_keys.retain(|other| *other != place);
        match again {
            Again::Later => {}
            Again::Not => self.visits.close(place),
            Again::WithAnotherKey => self.closed.push((place, account)),
            Again::Either => {}
        }
        if again.helps_another_key() {
            self.for_their_keys.push(place);
        }
    }

    /// Whether every account of every target of a pool was asked with, but for those that are put aside.
    pub(crate) fn has_asked_all(&self, pool: &Pool, now: Moment) -> bool {
        pool.targets().all(|(place, target)| {
            let accounts = &target.provider.accounts;
            let is_open = |account: &usize| target.live.account(accounts, *account, now).is_some();
            (0..accounts.hashes().len()).filter(is_open).all(|account| self.with(place, account) > 0)
        })
    }

    fn with(&self, place: usize, account: usize) -> u32 {
        self.accounts.iter().find(|(p, a, _)| (*p, *a) == (place, account)).map_or(0, |(.., count)| *count)
    }

    /// Whether the backend failed for its key alone, and has an account that can be asked with and has not been.
    fn has_fresh_key(&self, place: usize, target: &Target, now: Moment) -> bool {
        let accounts = &target.provider.accounts;
        self.for_their_keys.contains(&place)
            && target.live.usable(accounts, now).enumerate().any(|(i, usable)| usable && self.with(place, i) == 0)
    }

    /// When the first account cools down no longer that the same is true of.
    fn fresh_key_at(&self, place: usize, target: &Target, now: Moment) -> Option<Moment> {
        let accounts = &target.provider.accounts;
        let fresh = (0..accounts.hashes().len()).filter(|account| self.with(place, *account) == 0);
        let cooling = fresh.filter_map(|account| target.live.account(accounts, account, now)?);
        if self.for_their_keys.contains(&place) { cooling.min() } else { None }
    }

    fn may_repeat(&self, place: usize, target: &Target, occasion: &Occasion<'_>) -> bool {
        let most = target.provider.max_retries.unwrap_or(occasion.max_internal_retries);
        self.visits.may_repeat(place, most) && self.has_open_account(place, target, occasion.now)
    }

    /// Whether there is an account that another attempt may help.
    fn has_open_account(&self, place: usize, target: &Target, now: Moment) -> bool {
        let accounts = &target.provider.accounts;
        let is_open = |account: usize| {
            !self.closed.contains(&(place, account)) && target.live.account(accounts, account, now).is_some()
        };
        self.closed.is_empty() || (0..accounts.hashes().len()).any(is_open)
    }

    fn may_visit(&self, place: usize, target: &Target, occasion: &Occasion<'_>) -> bool {
        self.visits.first_visit(place)
            || self.has_fresh_key(place, target, occasion.now)
            || self.may_repeat(place, target, occasion)
    }
}

/// Chooses among targets not visited yet; then those with a key that was not tried; then those that may be visited again. When
/// nothing is eligible, the open one whose time ends first is tried once, if it seems to be there at all. A request that
/// carries state goes to those that hold it, as long as one of them can still be asked.
pub(crate) fn choose<'p>(pool: &'p Pool, tried: &Tried, occasion: &Occasion<'_>) -> Result<Choice<'p>, Nothing> {
    let seen = see(pool, Some(tried), occasion);
    let first = |seen: &Seen<'_>| tried.visits.first_visit(seen.place);
    let fresh = |seen: &Seen<'_>| tried.has_fresh_key(seen.place, seen.target, occasion.now);
    let again = |seen: &Seen<'_>| tried.may_repeat(seen.place, seen.target, occasion);
    let in_need = || {
        let picked = pick(pool, &seen, fresh, occasion).or_else(|| pick(pool, &seen, again, occasion));
        picked.or_else(|| panic(&seen, tried))
    };
    let picked = pick(pool, &seen, first, occasion).or_else(|| if occasion.is_beside { None } else { in_need() });
    picked.and_then(|seen| settle(pool, seen, tried, occasion)).ok_or_else(|| nothing(&seen, tried, occasion))
}

/// Whether some target of the pool could be chosen now.
pub(crate) fn has_room(pool: &Pool, tried: &Tried, occasion: &Occasion<'_>) -> bool {
    let may_visit = |seen: &Seen<'_>| tried.may_visit(seen.place, seen.target, occasion);
    see(pool, Some(tried), occasion).iter().any(|seen| seen.standing.is_eligible() && may_visit(seen))
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

/// The targets that the request may go to, as they stand now. Without `tried` those that it should go to, be it or they as they
/// may.
fn see<'p>(pool: &'p Pool, tried: Option<&Tried>, occasion: &Occasion<'_>) -> SmallVec<[Seen<'p>; 8]> {
    let (now, rules) = (occasion.now, occasion.rules);
    let in_time = |(_, target): &(usize, &Target)| now < occasion.started.after(target.limits.deadline);
    let all = pool.targets().filter(in_time).map(|(place, target)| {
        let mut standing = target.standing(now, rules);
        let limited_until = target.provider.limited_until(occasion.tokens, now);
        standing.cooling_until = standing.cooling_until.max(limited_until);
        Seen { place, target, standing, is_limited: limited_until.is_some() }
    });
    let mut seen: SmallVec<[Seen<'p>; 8]> = all.collect();
    if let Carried::Of(maker) = occasion.carried {
        let mut holders: SmallVec<[Seen<'p>; 8]> =
            seen.iter().filter_map(|seen| as_holder(seen, maker, tried, occasion)).collect();
        if holders.iter().any(|holder| holder.target.key == maker.backend) {
            holders.retain(|holder| holder.target.key == maker.backend);
        }
        if !holders.is_empty() {
            seen = holders;
        }
    }
    seen
}

/// The target as one that holds what the maker made, if it does and can still be asked, be it later: of its accounts only the
/// maker's counts.
fn as_holder<'p>(seen: &Seen<'p>, maker: &BoundTo, tried: Option<&Tried>, occasion: &Occasion<'_>) -> Option<Seen<'p>> {
    let Seen { place, target, mut standing, is_limited } = *seen;
    let account = account_of(maker, target)?;
    let limited_until = target.provider.limited_until(occasion.tokens, occasion.now);
    standing.cooling_until = target.live.account(&target.provider.accounts, account, occasion.now)?.max(limited_until);
    let may_visit = tried.is_none_or(|tried| {
        let is_first = tried.visits.first_visit(place);
        match standing.state {
            State::Healthy | State::Ramp { .. } => is_first || tried.may_repeat(place, target, occasion),
            // It is tried in need, rather than that a stranger is asked.
            State::Open { hard: false, .. } => is_first && standing.cooling_until.is_none() && !occasion.is_beside,
            State::Open { hard: true, .. } => false,
        }
    });
    may_visit.then_some(Seen { place, target, standing, is_limited })
}

/// The maker's account at a target, by its place at the provider.
fn account_of(maker: &BoundTo, target: &Target) -> Option<usize> {
    let hashes = target.provider.accounts.hashes();
    let is_its_provider = target.provider.id == maker.backend.provider;
    hashes.iter().position(|hash| is_its_provider && *hash == maker.account)
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
    let makers = match occasion.carried {
        Carried::Of(maker) => account_of(maker, target),
        Carried::Nothing | Carried::OfSomeone => None,
    };
    let is_usable = |account: &usize| target.live.account(accounts, *account, occasion.now) == Some(None);
    let account = match makers.filter(is_usable) {
        Some(account) => account,
        None => {
            let tries = |account| match tried.closed.contains(&(place, account)) {
                true => u32::MAX,
                false => tried.with(place, account),
            };
            target.live.pick_account(accounts, tries, occasion.now)?
        }
    };
    target.selections.fetch_add(1, Relaxed);
    let is_fresh = tried.with(place, account) == 0 && tried.for_their_keys.contains(&place);
    let visit = match (tried.visits.first_visit(place), is_fresh) {
        (true, _) => Visit::First,
        (false, true) => Visit::FreshKey,
        (false, false) => Visit::Repeat,
    };
    let may_lack_state = *occasion.carried != Carried::Nothing && makers != Some(account);
    Some(Choice { place, target, model: &pool.model, account, visit, may_lack_state })
}

fn nothing(seen: &[Seen<'_>], tried: &Tried, occasion: &Occasion<'_>) -> Nothing {
    let may_visit = |seen: &&Seen<'_>| tried.may_visit(seen.place, seen.target, occasion);
    let fresh = seen.iter().filter_map(|seen| tried.fresh_key_at(seen.place, seen.target, occasion.now));
    Nothing {
        full_at: seen.iter().filter(may_visit).find(|seen| is_only_full(&seen.standing)).map(|seen| seen.place),
        soonest: seen.iter().filter(may_visit).filter_map(|seen| cooled(&seen.standing)).chain(fresh).min(),
        is_limited: seen.iter().filter(may_visit).any(|seen| seen.is_limited),
    }
}

fn is_only_full(standing: &Standing) -> bool {
    standing.is_able() && !standing.has_room()
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
pub(crate) fn soonest(pool: &Pool, occasion: &Occasion<'_>) -> Option<Moment> {
    see(pool, None, occasion).iter().filter_map(|seen| due(&seen.standing)).min()
}

/// What keeps some of the pool's targets from being asked, if it is that they cool down.
pub(crate) fn cooling(pool: &Pool, occasion: &Occasion<'_>) -> SmallVec<[Cooling; 4]> {
    let seen = see(pool, None, occasion);
    let cooling = seen.iter().filter(|seen| seen.standing.cooling_until.is_some());
    cooling.flat_map(|seen| seen.target.live.cooling(occasion.now)).collect()
}

/// Whether a target of the pool is what made the state that the request refers to.
pub(crate) fn holds(pool: &Pool, maker: &BoundTo) -> bool {
    pool.targets().any(|(_, target)| target.key == maker.backend && account_of(maker, target).is_some())
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
