//! Station 8: edit, sign, send, and wait until an answer has passed the gate. Until then every failure is Berry's to repair: by
//! another target, by another account, by the same one again, by waiting a moment, or by a model that stands in. (Stations 7 and
//! 8 repeat inside one deadline and one retry budget.)

mod best;
mod fault;
mod gate;
mod outgoing;
mod race;
mod trial;
mod verdict;

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use berry_policy::{Strategy, Visits, backoff};
use berry_vocab::{Code, Failure, Moment};
use berry_wire::{Asked, Call};
use bytes::Bytes;
use foldhash::fast::FixedState;
use smallvec::SmallVec;

use crate::client::{Client, Interrupted, Request};
use crate::live::{Carried, Full, Room, is_metered};
use crate::path::Parts;
use crate::snapshot::{Model, Snapshot, Target};
use crate::station::choose::{self, Choice, Nothing, Occasion, Tried, Visit};
use crate::station::route::{Plan, Pool};
use crate::station::{Estimate, Reservation, Ticket, admit};
use crate::worker::Worker;

use best::Best;
pub(crate) use fault::{Again, Fault};
pub(crate) use gate::is_stream;
use race::Hedge;
use verdict::Verdict;

/// How long a request waits, in all, for rate limits to end before its client is told of them.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it waits, in all, for a place where there are as many requests as there may be; and how many may wait so.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);
const ROOM_QUEUE: usize = 64;

/// What a wait for a place takes of [`ROOM_PATIENCE`] at least, so that places which others take first are no endless loop.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// What a client asked, in the form that every attempt begins with.
pub(crate) struct Inquiry<'a> {
    pub(crate) request: &'a Request,
    pub(crate) call: &'a Call<'a>,
    pub(crate) asked: &'a Asked,
    pub(crate) body: Bytes,
    /// Whether and how what it costs is counted.
    pub(crate) tap: Option<Tap>,
    /// Whether the client has been promised a stream; `None`: nothing goes out before the call has an answer.
    pub(crate) is_promised: Option<Rc<Cell<bool>>>,
}

/// How usage is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    /// Whether the client did not ask for it, so that it must not see what holds nothing else.
    pub(crate) is_unasked: bool,
}

/// Why there is no answer.
pub(crate) enum NoAnswer {
    Failed(Failure),
    ClientGone,
}

impl From<Failure> for NoAnswer {
    fn from(failure: Failure) -> Self {
        NoAnswer::Failed(failure)
    }
}

impl From<Interrupted> for NoAnswer {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Gone => NoAnswer::ClientGone,
            Interrupted::Stopping => NoAnswer::Failed(Failure::new(Code::Shutdown, "the gateway is stopping")),
            Interrupted::Due => NoAnswer::Failed(Failure::new(Code::UpstreamTimeout, "the time is over")),
        }
    }
}

/// A request's search for an answer.
struct Search<'a> {
    inquiry: &'a Inquiry<'a>,
    plan: &'a Plan,
    started: Moment,
    deadline: Moment,
    affinity: Option<u64>,
    carried: Carried,
    tried: Tried,
    best: Best,
    /// What is left of [`PATIENCE`].
    patience: Duration,
    /// What is left of [`ROOM_PATIENCE`].
    room_patience: Duration,
    /// When the first rate limit ends that keeps this request from a target.
    soonest: Option<Moment>,
    /// Where others wait too, of the first that would be asked if it had room.
    full: Option<&'a Room>,
    /// Whether it has earned its share of second attempts.
    has_deposited: bool,
    /// Models whose limits in a time were charged, by address, and what was taken of their tokens.
    charged: Vec<(usize, Option<Reservation>)>,
}

/// Takes the attempt's share of its provider's limits in a time. `false`: somebody else has had it since the choice.
fn takes_share(choice: &Choice<'_>, estimate: Option<Estimate>, worker: &Worker) -> bool {
    let provider = &choice.target.provider;
    let tokens = estimate.unwrap_or_default().total();
    let take = || provider.accounts.live.meter.take(&provider.rate_limit, tokens, worker.now()).is_ok();
    !is_metered(&provider.rate_limit) || take()
}

/// Calls targets until one has an answer, or nothing is left to try.
pub(crate) async fn call<C: Client>(
    inquiry: &Inquiry<'_>,
    plan: &Plan,
    client: &mut C,
    ticket: &mut Ticket,
) -> Result<Parts, NoAnswer> {
    let mut search = Search::new(inquiry, plan, ticket);
    let (first, others) = search.pools();
    'round: loop {
        for pools in [&first, &others] {
            (search.soonest, search.full) = (None, None);
            for pool in pools {
                if let Some(answer) = search.in_pool(pool, client, ticket).await? {
                    return Ok(answer);
                }
            }
            if search.wait_for_room(client, ticket).await? || search.wait_for_the_soonest(client, ticket).await? {
                continue 'round;
            }
        }
        return search.into_answer(ticket);
    }
}

impl<'a> Search<'a> {
    fn new(inquiry: &'a Inquiry<'a>, plan: &'a Plan, ticket: &Ticket) -> Self {
        let (now, rules) = (ticket.worker.now(), &ticket.snapshot.rules);
        let asked = plan.pools.first().map(|pool| &pool.model);
        if let Some(model) = asked {
            model.live.budget.lock().deposit(now, &rules.budget);
        }
        let states = berry_wire::bound_state(inquiry.call.operation, &inquiry.body);
        Self {
            inquiry,
            plan,
            started: ticket.started,
            deadline: ticket.started.after(asked.map_or(Duration::MAX, |model| model.deadline)),
            affinity: affinity(asked.map(|model| model.strategy), inquiry, ticket),
            carried: ticket.worker.gateway.live().bound.carried(&states),
            tried: Tried::new(if plan.forced { Visits::forced() } else { Visits::new(ticket.snapshot.max_retries) }),
            best: Best::default(),
            patience: PATIENCE,
            room_patience: ROOM_PATIENCE,
            soonest: None,
            full: None,
            has_deposited: false,
            charged: Vec::new(),
        }
    }

    /// The pools to call first, and those that come once nothing is to be waited for there: where what the request refers to
    /// was made, if that is known, no model that stands in is as good.
    fn pools(&self) -> (SmallVec<[&'a Pool; 1]>, SmallVec<[&'a Pool; 1]>) {
        let holds = |pool: &&Pool| match &self.carried {
            Carried::Of(maker) => choose::holds(pool, maker),
            Carried::Nothing | Carried::OfSomeone => true,
        };
        self.plan.pools.iter().partition(holds)
    }

    /// What the client is told.
    fn into_answer(mut self, ticket: &mut Ticket) -> Result<Parts, NoAnswer> {
        let best = std::mem::take(&mut self.best);
        let (worker, snapshot) = (ticket.worker.clone(), ticket.snapshot.clone());
        let occasion = self.occasion_of(&worker, &snapshot, (0, ticket.estimate), false);
        best.into_answer(self.plan, &self.tried, &occasion, ticket)
    }

    /// Calls the targets of one model, if it has room.
    async fn in_pool<C: Client>(
        &mut self,
        pool: &'a Pool,
        client: &mut C,
        ticket: &mut Ticket,
    ) -> Result<Option<Parts>, NoAnswer> {
        let turn = pool.model.live.turns.fetch_add(1, Relaxed);
        ticket.slots.model = None;
        match admit::model(&pool.model) {
            Ok(slot) => ticket.slots.model = slot,
            Err(room) => {
                self.full = self.full.or(Some(room));
                return Ok(None);
            }
        }
        if let Err(wait) = self.charge(&pool.model, ticket) {
            self.note_limited(ticket.worker.now().after(wait));
            return Ok(None);
        }
        while ticket.worker.now() < self.deadline {
            let choice = match choose::choose(pool, &self.tried, &self.occasion(turn, ticket)) {
                Ok(choice) => choice,
                Err(nothing) => {
                    self.note(nothing, pool);
                    return Ok(None);
                }
            };
            if choice.visit == Visit::Repeat {
                if !self.wait_before_repeat(pool, client, ticket).await? {
                    self.tried.visits.end_repeats();
                    continue;
                }
                if !choice.target.standing(ticket.worker.now(), &ticket.snapshot.rules).is_eligible() {
                    continue;
                }
            }
            if !takes_share(&choice, ticket.estimate, &ticket.worker) {
                continue;
            }
            if let Some(answer) = self.attempt(choice, pool, turn, client, ticket).await? {
                let place = Arc::as_ptr(&pool.model) as usize;
                let of_this = self.charged.iter_mut().find(|(of, _)| *of == place);
                ticket.reservations.extend(of_this.and_then(|(_, reservation)| reservation.take()));
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Charges the limits in a time of a model with the request, once.
    ///
    /// # Errors
    /// How long to wait, where they are used up.
    fn charge(&mut self, model: &Arc<Model>, ticket: &Ticket) -> Result<(), Duration> {
        let place = Arc::as_ptr(model) as usize;
        let limits = &model.rate_limit;
        if !is_metered(limits) || self.charged.iter().any(|(of, _)| *of == place) {
            return Ok(());
        }
        let (meter, tokens) = (&model.live.meter, ticket.estimate.unwrap_or_default().total());
        meter.take(limits, tokens, ticket.worker.now()).map_err(|exceeded| exceeded.standing.wait)?;
        let reservation = Reservation::of(&ticket.worker, meter, limits.tokens, tokens);
        self.charged.push((place, Some(reservation)));
        Ok(())
    }

    /// Takes into account that limits of the configuration's keep something from being asked until then.
    fn note_limited(&mut self, until: Moment) {
        self.soonest = Some(self.soonest.map_or(until, |soonest| soonest.min(until)));
        self.best.note_limited();
    }

    fn occasion<'o>(&'o self, turn: u64, ticket: &'o Ticket) -> Occasion<'o> {
        self.occasion_of(&ticket.worker, &ticket.snapshot, (turn, ticket.estimate), false)
    }

    fn occasion_of<'o>(
        &'o self,
        worker: &'o Worker,
        snapshot: &'o Snapshot,
        (turn, estimate): (u64, Option<Estimate>),
        is_beside: bool,
    ) -> Occasion<'o> {
        Occasion {
            worker,
            rules: &snapshot.rules,
            now: worker.now(),
            turn,
            affinity: self.affinity,
            carried: &self.carried,
            tokens: estimate.unwrap_or_default().total(),
            max_internal_retries: snapshot.max_internal_retries,
            started: self.started,
            is_beside,
        }
    }

    /// Takes into account why a pool has no target to be asked now.
    fn note(&mut self, nothing: Nothing, pool: &'a Pool) {
        self.soonest = [self.soonest, nothing.soonest].into_iter().flatten().min();
        if nothing.is_limited {
            self.best.note_limited();
        }
        let full = nothing.full_at.and_then(|place| pool.target(place));
        self.full = self.full.or(full.map(|target| &target.provider.accounts.live.room));
    }

    /// One attempt, or two side by side, from begin to verdict.
    async fn attempt<C: Client>(
        &mut self,
        choice: Choice<'a>,
        pool: &'a Pool,
        turn: u64,
        client: &mut C,
        ticket: &mut Ticket,
    ) -> Result<Option<Parts>, NoAnswer> {
        self.tried.record(&choice);
        let begun = ticket.worker.now();
        let after = self.hedge_after(&choice, pool);
        let deadline = self.deadline.min(self.started.after(choice.target.limits.deadline));
        let ended = match after {
            None => race::run(self.inquiry, choice, None, deadline, client, ticket).await?,
            Some(after) => {
                let worker = ticket.worker.clone();
                let snapshot = ticket.snapshot.clone();
                let inquiry = self.inquiry;
                let estimate = ticket.estimate;
                let mut second = || self.choose_beside(pool, (turn, estimate), (&worker, &snapshot));
                let hedge = Hedge { after, choose: &mut second };
                race::run(inquiry, choice, Some(hedge), deadline, client, ticket).await?
            }
        };
        ticket.upstream_time += ticket.worker.now().since(begun);
        let mut answer = None;
        for (trial, outcome) in ended {
            match verdict::judge(trial, outcome, self.inquiry, ticket) {
                Verdict::Answer(parts) => answer = Some(parts),
                Verdict::Next { reason, place, again } => {
                    self.tried.note(place, again);
                    self.best.note(reason);
                }
            }
        }
        Ok(answer)
    }

    /// Waits before the same target is asked again with the same key; `false`: neither the deadline nor the retry budget
    /// leaves room for it.
    async fn wait_before_repeat<C: Client>(
        &self,
        pool: &Pool,
        client: &mut C,
        ticket: &mut Ticket,
    ) -> Result<bool, NoAnswer> {
        let now = ticket.worker.now();
        let wait = ticket.worker.with_dice(|dice| backoff(self.tried.visits.repeats(), dice));
        let until = now.after(wait);
        if until >= self.deadline || !pool.model.live.budget.lock().take(now, &ticket.snapshot.rules.budget) {
            return Ok(false);
        }
        wait_until(until, client, ticket).await.map(|()| true)
    }

    /// Waits for the rate limit that ends first, where that is soon; `false`: none does.
    async fn wait_for_the_soonest<C: Client>(&mut self, client: &mut C, ticket: &mut Ticket) -> Result<bool, NoAnswer> {
        let now = ticket.worker.now();
        let Some(wait) = self.soonest.map(|at| at.since(now)) else {
            return Ok(false);
        };
        // Requests that wait for the same moment should not all come back in it.
        let wait = wait + wait.mul_f64(ticket.worker.with_dice(|dice| dice.unit()) / 4.0);
        if wait > self.patience || now.after(wait) >= self.deadline {
            return Ok(false);
        }
        self.patience -= wait;
        wait_until(now.after(wait), client, ticket).await.map(|()| true)
    }

    /// Where only room is missing, waits until there is some, at whichever target it is; `false`: there is none, or nothing is
    /// missing but room.
    async fn wait_for_room<C: Client>(&mut self, client: &mut C, ticket: &mut Ticket) -> Result<bool, NoAnswer> {
        let Some(room) = self.full else { return Ok(false) };
        if self.room_patience.is_zero() {
            self.best.note_full();
            return Ok(false);
        }
        // Its own place goes to whoever can use it meanwhile.
        ticket.slots.model = None;
        let begun = ticket.worker.now();
        let due = ticket.worker.clock.instant(begun.after(self.room_patience).min(self.deadline));
        let has_room = || self.plan.pools.iter().any(|pool| self.has_room(pool, ticket)).then_some(());
        let waited = room.wait(client, due, ROOM_QUEUE, has_room).await;
        let took = ticket.worker.now().since(begun);
        ticket.upstream_time += took;
        self.room_patience = self.room_patience.saturating_sub(took.max(LEAST_WAIT));
        match waited {
            Ok(()) => Ok(true),
            Err(Full::NoPlace) => {
                self.best.note_full();
                Ok(false)
            }
            Err(Full::Interrupted(interrupted)) => Err(interrupted.into()),
        }
    }

    fn has_room(&self, pool: &Pool, ticket: &Ticket) -> bool {
        admit::has_room(&pool.model) && choose::has_room(pool, &self.tried, &self.occasion(0, ticket))
    }

    /// After what time a second attempt goes beside the first: where the model says so, and others could answer as well.
    fn hedge_after(&mut self, choice: &Choice<'_>, pool: &Pool) -> Option<Duration> {
        let rules = pool.model.hedge.as_ref()?;
        let is_bound = matches!(self.carried, Carried::Of(_));
        if self.plan.forced || is_bound || std::mem::replace(&mut self.has_deposited, true) {
            return None;
        }
        pool.model.live.hedge.lock().request(self.cost(choice.target), rules);
        rules.delay(&choice.target.live.latencies())
    }

    /// The second attempt's target, if the share of requests and of spend allows one.
    fn choose_beside(
        &mut self,
        pool: &'a Pool,
        (turn, estimate): (u64, Option<Estimate>),
        (worker, snapshot): (&Worker, &Snapshot),
    ) -> Option<Choice<'a>> {
        let occasion = self.occasion_of(worker, snapshot, (turn, estimate), true);
        let choice = choose::choose(pool, &self.tried, &occasion).ok().filter(|choice| choice.visit == Visit::First)?;
        if !pool.model.live.hedge.lock().may_hedge(self.cost(choice.target)) || !takes_share(&choice, estimate, worker)
        {
            return None;
        }
        self.tried.record(&choice);
        Some(choice)
    }

    /// What an attempt at a target costs, beside others: bytes, weighed by price.
    fn cost(&self, target: &Target) -> f64 {
        self.inquiry.body.len().max(1) as f64 * target.price.unwrap_or(1.0).max(0.001)
    }
}

/// Waits for a moment, as long as the client does. Waiting for a backend is no cost of Berry's own.
async fn wait_until<C: Client>(until: Moment, client: &mut C, ticket: &mut Ticket) -> Result<(), NoAnswer> {
    let begun = ticket.worker.now();
    let due = ticket.worker.clock.instant(until);
    let waited = client.wait(|| due, std::future::pending::<()>()).await;
    ticket.upstream_time += ticket.worker.now().since(begun);
    match waited {
        Ok(()) | Err(Interrupted::Due) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

/// What a conversation begins with, hashed: the user, and the body up to the end of its first inner object. It stays the same
/// while a conversation grows, because later turns are added behind it.
fn affinity(strategy: Option<Strategy>, inquiry: &Inquiry<'_>, ticket: &Ticket) -> Option<u64> {
    const LONGEST: usize = 64 * 1024;
    if strategy != Some(Strategy::Affinity) {
        return None;
    }
    let start = inquiry.body.get(..inquiry.body.len().min(LONGEST))?;
    let end = memchr::memchr(b'}', start).unwrap_or(start.len());
    let mut hasher = FixedState::with_seed(0).build_hasher();
    hasher.write(ticket.user.as_ref().map_or("", |user| user.id.as_str()).as_bytes());
    hasher.write(start.get(..end)?);
    Some(hasher.finish())
}
