//! Station 8: edit, sign, send, and wait for the first byte of an answer's body. Until then every failure is Berry's to repair:
//! by another target, by the same one again, or by a model that stands in. (Stations 7 and 8 repeat inside one deadline.)

mod outgoing;
mod verdict;

use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use berry_policy::{Strategy, Visits, backoff};
use berry_vocab::{Code, Failure, Moment};
use berry_wire::{Asked, Call};
use bytes::Bytes;
use foldhash::fast::FixedState;

use crate::answer::Content;
use crate::client::{Client, Interrupted, Request};
use crate::snapshot::Target;
use crate::station::choose::{self, Choice, Occasion};
use crate::station::route::{Plan, Pool};
use crate::station::{Attempt, Ticket};
use crate::upstream::{self, AnswerHead, Begun, BodyFault, First, Outgoing, SendFault, UpstreamBody};
use crate::worker::Worker;

use verdict::{Verdict, judge};

/// What a client asked, in the form that every attempt begins with.
pub(crate) struct Inquiry<'a> {
    pub(crate) request: &'a Request,
    pub(crate) call: &'a Call<'a>,
    pub(crate) asked: &'a Asked,
    pub(crate) body: Bytes,
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

/// What an attempt brought: the head, the first piece of the body, and the rest of it.
struct Got {
    head: AnswerHead,
    first: Bytes,
    /// `None`: the first piece was all of it.
    rest: Option<UpstreamBody>,
}

/// Why an attempt brought nothing.
#[derive(Clone, Copy, Debug)]
enum AttemptFault {
    Send(SendFault),
    Body(BodyFault),
    TimedOut,
}

/// Calls targets until one has an answer, or nothing is left to try.
pub(crate) async fn call<C: Client>(
    inquiry: &Inquiry<'_>,
    plan: &Plan,
    client: &mut C,
    ticket: &mut Ticket,
) -> Result<(u16, Vec<u8>, Content), NoAnswer> {
    let mut best = Best::default();
    for pool in &plan.pools {
        if let Some(answer) = call_pool(inquiry, pool, plan.forced, client, ticket, &mut best).await? {
            return Ok(answer);
        }
    }
    best.into_answer(plan, ticket)
}

/// Calls the targets of one model.
async fn call_pool<C: Client>(
    inquiry: &Inquiry<'_>,
    pool: &Pool,
    forced: bool,
    client: &mut C,
    ticket: &mut Ticket,
    best: &mut Best,
) -> Result<Option<(u16, Vec<u8>, Content)>, NoAnswer> {
    let snapshot = ticket.snapshot.clone();
    let deadline = ticket.started.after(pool.model.deadline);
    let turn = pool.model.turns.fetch_add(1, Relaxed);
    let mut visits = if forced { Visits::forced() } else { Visits::new(snapshot.max_retries) };
    loop {
        let now = ticket.worker.now();
        let occasion = Occasion {
            worker: &ticket.worker,
            rules: &snapshot.rules,
            now,
            turn,
            affinity: affinity(pool.model.strategy, inquiry, ticket),
            max_internal_retries: snapshot.max_internal_retries,
        };
        let Some(choice) = choose::choose(pool, &visits, &occasion).filter(|_| now < deadline) else {
            return Ok(None);
        };
        if choice.is_repeat && !wait_before_repeat(client, ticket, &visits, deadline).await? {
            return Ok(None);
        }
        visits.record(choice.place);
        let verdict = attempt(inquiry, choice, deadline, client, ticket).await?;
        match verdict {
            Verdict::Answer { status, fields, content } => return Ok(Some((status, fields, content))),
            Verdict::Next(reason) => {
                if !reason.may_pass() {
                    visits.close(choice.place);
                }
                best.note(reason);
            }
        }
    }
}

/// One attempt, from its begin to its verdict.
async fn attempt<C: Client>(
    inquiry: &Inquiry<'_>,
    choice: Choice<'_>,
    deadline: Moment,
    client: &mut C,
    ticket: &mut Ticket,
) -> Result<Verdict, NoAnswer> {
    let worker = ticket.worker.clone();
    let target = choice.target;
    let begun = worker.now();
    let due = begun.after(target.limits.first_byte(inquiry.asked.stream)).min(deadline);
    ticket.attempts += 1;
    ticket.backend = Some(target.label(&inquiry.asked.model));
    ticket.attempt = Some(Attempt::begin(target, choice.model));
    let head = outgoing::head(inquiry, target);
    let pieces = inquiry.asked.edited(&inquiry.body, target.model_for(&inquiry.asked.model));
    let outgoing = Outgoing { head: &head.with_length(pieces.len()), pieces: &pieces };
    let got = client.wait(worker.clock.instant(due), get(&worker, target, outgoing)).await;
    let took = worker.now().since(begun);
    ticket.upstream_time += took;
    let got = match got {
        Ok(got) => got,
        Err(Interrupted::Due) => Err(AttemptFault::TimedOut),
        Err(Interrupted::Gone) => return Err(NoAnswer::ClientGone),
    };
    Ok(judge(got, inquiry, target, took, ticket))
}

/// Sends the request and waits for the first piece of the answer's body.
async fn get(worker: &std::rc::Rc<Worker>, target: &Target, outgoing: Outgoing<'_>) -> Result<Got, AttemptFault> {
    let begun = upstream::send(worker, &target.provider.endpoint, outgoing).await;
    let Begun { head, first, mut body } = begun.map_err(AttemptFault::Send)?;
    let mut first = match first {
        Some(first) => first,
        None => poll_fn(|cx| poll_piece(worker, &mut body, cx)).await.map_err(AttemptFault::Body)?,
    };
    if head.status() >= 400 {
        first = hold_error(worker, &mut body, first).await.map_err(AttemptFault::Body)?;
    }
    Ok(Got { head, first: first.bytes, rest: (!first.last).then_some(body) })
}

/// Reads an error to its end, within a bound: it may still give way to another backend's answer.
async fn hold_error(worker: &Worker, body: &mut UpstreamBody, first: First) -> Result<First, BodyFault> {
    const LONGEST: usize = 256 * 1024;
    if first.last {
        return Ok(first);
    }
    let (mut held, mut last) = (first.bytes.to_vec(), false);
    while !last && held.len() < LONGEST {
        let piece = poll_fn(|cx| poll_piece(worker, body, cx)).await?;
        held.extend_from_slice(&piece.bytes);
        last = piece.last;
    }
    Ok(First { bytes: held.into(), last })
}

fn poll_piece(worker: &Worker, body: &mut UpstreamBody, cx: &mut Context<'_>) -> Poll<Result<First, BodyFault>> {
    let mut scratch = worker.scratch.borrow_mut();
    let piece = ready!(body.poll_piece(cx, &mut scratch))?;
    let bytes = Bytes::copy_from_slice(scratch.get(..piece.len).unwrap_or_default());
    Poll::Ready(Ok(First { bytes, last: piece.last }))
}

/// Waits before the same target is asked again; `false`: the deadline does not leave the time.
async fn wait_before_repeat<C: Client>(
    client: &mut C,
    ticket: &mut Ticket,
    visits: &Visits,
    deadline: Moment,
) -> Result<bool, NoAnswer> {
    let wait = ticket.worker.with_dice(|dice| backoff(visits.repeats(), dice));
    let until = ticket.worker.now().after(wait);
    if until >= deadline {
        return Ok(false);
    }
    let begun = ticket.worker.now();
    let waited = client.wait(ticket.worker.clock.instant(until), std::future::pending::<()>()).await;
    // Waiting for a backend to recover is no cost of Berry's own.
    ticket.upstream_time += ticket.worker.now().since(begun);
    match waited {
        Err(Interrupted::Gone) => Err(NoAnswer::ClientGone),
        _ => Ok(true),
    }
}

/// The most useful of several attempts' outcomes: the client's own error, else 429 with its wait, else 504, else 502, else 503.
#[derive(Default)]
struct Best {
    reason: Option<Reason>,
}

/// Why an attempt was not the last word.
enum Reason {
    /// A failure to be told if nothing better comes.
    Failure(Failure),
    /// An answer of the upstream's own that says that it does not know the model.
    Unknown { status: u16, fields: Vec<u8>, body: Bytes },
}

impl Reason {
    /// Whether the same backend may do better a moment later.
    fn may_pass(&self) -> bool {
        match self {
            Reason::Unknown { .. } => false,
            Reason::Failure(failure) => failure.code() != Code::UpstreamAuth,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Reason::Unknown { .. } => 0,
            Reason::Failure(failure) => match failure.code() {
                Code::UpstreamOverloaded => 1,
                Code::UpstreamTimeout => 2,
                Code::NoBackend => 4,
                _ => 3,
            },
        }
    }
}

impl Best {
    fn note(&mut self, reason: Reason) {
        let better =
            self.reason.as_ref().is_none_or(|before| reason.rank() < before.rank() || is_sooner(&reason, before));
        if better {
            self.reason = Some(reason);
        }
    }

    fn into_answer(self, plan: &Plan, ticket: &Ticket) -> Result<(u16, Vec<u8>, Content), NoAnswer> {
        match self.reason {
            Some(Reason::Unknown { status, fields, body }) => Ok((status, fields, Content::Whole(body))),
            Some(Reason::Failure(failure)) => Err(failure.into()),
            None => Err(nothing_eligible(plan, ticket).into()),
        }
    }
}

/// Of two rate limits, the one that ends first.
fn is_sooner(one: &Reason, other: &Reason) -> bool {
    match (one, other) {
        (Reason::Failure(one), Reason::Failure(other)) => {
            one.code() == Code::UpstreamOverloaded && other.code() == one.code() && one.wait() < other.wait()
        }
        _ => false,
    }
}

fn nothing_eligible(plan: &Plan, ticket: &Ticket) -> Failure {
    let (now, rules) = (ticket.worker.now(), &ticket.snapshot.rules);
    let soonest = plan.pools.iter().filter_map(|pool| choose::soonest(pool, now, rules)).min();
    let wait = soonest.map_or(Duration::from_secs(1), |at| at.since(now));
    match plan.pools.iter().any(|pool| choose::is_cooling(pool, now, rules)) {
        true => Failure::new(Code::UpstreamOverloaded, "every backend of this model is waiting out a rate limit")
            .retry_after(wait),
        false => Failure::new(Code::NoBackend, "no backend of this model can be asked now").retry_after(wait),
    }
}

/// What a conversation begins with, hashed: the user, and the body up to the end of its first inner object. It stays the same
/// while a conversation grows, because later turns are added behind it.
fn affinity(strategy: Strategy, inquiry: &Inquiry<'_>, ticket: &Ticket) -> Option<u64> {
    const LONGEST: usize = 64 * 1024;
    if strategy != Strategy::Affinity {
        return None;
    }
    let start = inquiry.body.get(..inquiry.body.len().min(LONGEST))?;
    let end = memchr::memchr(b'}', start).unwrap_or(start.len());
    let mut hasher = FixedState::with_seed(0).build_hasher();
    hasher.write(ticket.user.as_ref().map_or("", |user| user.id.as_str()).as_bytes());
    hasher.write(start.get(..end)?);
    Some(hasher.finish())
}
