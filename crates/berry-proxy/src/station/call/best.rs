//! The most useful of several attempts' outcomes (failure model, R8): the client's own error, else 429 with its wait, else 504,
//! else 502, else 503.

use std::sync::Arc;
use std::time::Duration;

use berry_policy::Cooling;
use berry_vocab::{Code, Failure};
use bytes::Bytes;

use crate::answer::Content;
use crate::path::Parts;
use crate::snapshot::Target;
use crate::station::call::NoAnswer;
use crate::station::choose::{self, Occasion, Tried};
use crate::station::route::Plan;
use crate::station::{Outcome, Ticket};

/// The best outcome so far.
#[derive(Default)]
pub(super) struct Best {
    reason: Option<Reason>,
    /// Whether a target had no room.
    is_full: bool,
    /// Whether limits that the configuration sets were used up.
    is_limited: bool,
}

/// Why an attempt was not the last word.
pub(super) enum Reason {
    /// A failure to be told if nothing better comes.
    Failure(Failure),
    /// An answer of the upstream's own: it does not know the model, or what the request refers to.
    Refusal {
        backend: Option<Arc<str>>,
        status: u16,
        fields: Vec<u8>,
        body: Bytes,
        /// Whether what it refers to may lie with an account that did not get to answer.
        may_lie_elsewhere: bool,
    },
}

impl Reason {
    fn may_lie_elsewhere(&self) -> bool {
        matches!(self, Reason::Refusal { may_lie_elsewhere: true, .. })
    }

    fn rank(&self) -> u8 {
        match self {
            // Told last: a client that is told that its state is gone gives up what a later request may still reach.
            _ if self.may_lie_elsewhere() => 5,
            Reason::Refusal { .. } => 0,
            Reason::Failure(failure) => match failure.code() {
                Code::UpstreamOverloaded if failure.is_overload() => 4,
                Code::UpstreamOverloaded => 1,
                Code::UpstreamTimeout => 2,
                Code::NoBackend | Code::Overloaded => 4,
                _ => 3,
            },
        }
    }
}

impl Best {
    /// Takes an attempt's outcome into account.
    pub(super) fn note(&mut self, reason: Reason) {
        let better =
            self.reason.as_ref().is_none_or(|before| reason.rank() < before.rank() || is_sooner(&reason, before));
        if better {
            self.reason = Some(reason);
        }
    }

    /// Notes that a target could not be asked for want of room.
    pub(super) fn note_full(&mut self) {
        self.is_full = true;
    }

    /// Notes that limits which the configuration sets kept something from being asked.
    pub(super) fn note_limited(&mut self) {
        self.is_limited = true;
    }

    /// What the client is told.
    pub(super) fn into_answer(
        self,
        plan: &Plan,
        tried: &Tried,
        occasion: &Occasion<'_>,
        ticket: &mut Ticket,
    ) -> Result<Parts, NoAnswer> {
        let all_asked = || plan.pools.iter().all(|pool| tried.has_asked_all(pool, occasion.now));
        let reason = self.reason.filter(|reason| !reason.may_lie_elsewhere() || all_asked());
        match reason {
            Some(Reason::Refusal { backend, status, fields, body, .. }) => {
                ticket.backend = backend;
                ticket.end(Outcome::Answered);
                Ok((status, fields, Content::Whole(body)))
            }
            Some(Reason::Failure(failure)) => Err(with_smallest_wait(failure, plan, occasion).into()),
            None if self.is_full => {
                let message = "this model, or each of its backends, has as many requests as it may have at once \
                               (max_concurrent_requests)";
                Err(Failure::new(Code::Overloaded, message).retry_after(Duration::from_secs(1)).into())
            }
            None if self.is_limited => Err(used_up(plan, occasion).into()),
            None => Err(nothing_eligible(plan, occasion).into()),
        }
    }
}

/// Of two waits of a kind, the one that ends first.
fn is_sooner(one: &Reason, other: &Reason) -> bool {
    match (one, other) {
        (Reason::Failure(one), Reason::Failure(other)) => {
            let are_alike = one.code() == other.code() && one.is_overload() == other.is_overload();
            one.code() == Code::UpstreamOverloaded && are_alike && one.wait() < other.wait()
        }
        _ => false,
    }
}

/// A wait may have grown shorter while others were tried, and another target may be due sooner.
fn with_smallest_wait(failure: Failure, plan: &Plan, occasion: &Occasion<'_>) -> Failure {
    match (failure.wait(), soonest(plan, occasion)) {
        (Some(named), Some(wait)) if wait < named => failure.retry_after(wait),
        _ => failure,
    }
}

fn soonest(plan: &Plan, occasion: &Occasion<'_>) -> Option<Duration> {
    let soonest = plan.pools.iter().filter_map(|pool| choose::soonest(pool, occasion)).min();
    soonest.map(|at| at.since(occasion.now))
}

fn used_up(plan: &Plan, occasion: &Occasion<'_>) -> Failure {
    let (now, tokens) = (occasion.now, occasion.tokens);
    let waits = plan.pools.iter().map(|pool| {
        let of_model = pool.model.live.meter.wait(&pool.model.rate_limit, tokens, now).unwrap_or_default();
        let of_target = |target: &Target| target.provider.limited_until(tokens, now).map(|until| until.since(now));
        let of_targets = pool.targets().map(|(_, target)| of_target(target).unwrap_or_default()).min();
        of_model.max(of_targets.unwrap_or_default())
    });
    let message = "the limits in a time (rate_limit) of this model, or of each of its providers, are used up";
    let wait = waits.min().unwrap_or_default().max(Duration::from_secs(1));
    Failure::new(Code::RateLimited, message).retry_after(wait)
}

fn nothing_eligible(plan: &Plan, occasion: &Occasion<'_>) -> Failure {
    let wait = soonest(plan, occasion).unwrap_or(Duration::from_secs(1));
    let mut cooling = plan.pools.iter().flat_map(|pool| choose::cooling(pool, occasion)).peekable();
    let failure = match (cooling.peek().is_some(), cooling.any(|why| why == Cooling::RateLimit)) {
        (_, true) => Failure::new(Code::UpstreamOverloaded, "every backend of this model is waiting out a rate limit"),
        (true, false) => Failure::new(Code::UpstreamOverloaded, "every backend of this model is overloaded").overload(),
        (false, false) => Failure::new(Code::NoBackend, "no backend of this model can be asked now"),
    };
    failure.retry_after(wait)
}
