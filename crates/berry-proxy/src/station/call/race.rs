//! Running trials: one, or, where the model hedges and the first is slow, a second one beside it on another backend. The first
//! good answer wins; what has not ended then is dropped, which cancels it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use berry_vocab::Moment;
use smallvec::{SmallVec, smallvec};

use crate::client::{Client, Interrupted};
use crate::station::Ticket;
use crate::station::call::fault::Fault;
use crate::station::call::gate::{Received, Trouble};
use crate::station::call::trial::{self, Trial};
use crate::station::call::{Inquiry, NoAnswer};
use crate::station::choose::Choice;

/// When a second attempt goes out, and how it is chosen.
pub(super) struct Hedge<'h, 'p> {
    /// After this time of the first.
    pub(super) after: Duration,
    /// `None`: there is no other backend, or enough requests have had a second attempt.
    pub(super) choose: &'h mut dyn FnMut() -> Option<Choice<'p>>,
}

pub(super) type Outcome = Result<Received, Trouble>;

/// What ended, in the order in which it did; a good answer is the last.
pub(super) type Ended<'p> = SmallVec<[(Trial<'p>, Outcome); 2]>;

/// Runs an attempt to its end.
pub(super) async fn run<'p, C: Client>(
    inquiry: &Inquiry<'_>,
    choice: Choice<'p>,
    hedge: Option<Hedge<'_, 'p>>,
    deadline: Moment,
    client: &mut C,
    ticket: &mut Ticket,
) -> Result<Ended<'p>, NoAnswer> {
    let worker = ticket.worker.clone();
    let first = begin(inquiry, choice, ticket);
    let due = Cell::new(first.due(inquiry));
    let mut lane = Lane { due: &due, deadline, running: pin!(trial::run(choice, &due, inquiry, &worker)) };
    let hedge_at = hedge.as_ref().map(|hedge| first.begun.after(hedge.after));
    let mut outcome = lane.run_until(hedge_at, client, ticket).await?;
    if let (None, Some(hedge)) = (&outcome, hedge)
        && let Some(choice) = (hedge.choose)()
    {
        // Seldom: its state should not lie in that of every attempt.
        return Box::pin(beside(inquiry, choice, (first, lane), client, ticket)).await;
    }
    if outcome.is_none() {
        outcome = lane.run_until(None, client, ticket).await?;
    }
    Ok(outcome.map_or_else(SmallVec::new, |outcome| smallvec![(first, outcome)]))
}

/// Runs a second attempt beside the first.
async fn beside<'p, C: Client>(
    inquiry: &Inquiry<'_>,
    choice: Choice<'p>,
    (first, lane): (Trial<'p>, Lane<'_>),
    client: &mut C,
    ticket: &mut Ticket,
) -> Result<Ended<'p>, NoAnswer> {
    let worker = ticket.worker.clone();
    let second = begin(inquiry, choice, ticket);
    let due = Cell::new(second.due(inquiry));
    let deadline = lane.deadline;
    let other = Lane { due: &due, deadline, running: pin!(trial::run(choice, &due, inquiry, &worker)) };
    let [of_first, of_second] = both((lane, other), client, ticket).await?;
    let first_wins = matches!(of_first, Some(Ok(_)));
    let mut ended: Ended<'p> = SmallVec::new();
    ended.extend(of_first.map(|outcome| (first, outcome)));
    ended.extend(of_second.map(|outcome| (second, outcome)));
    if first_wins {
        ended.reverse();
    }
    Ok(ended)
}

fn begin<'p>(inquiry: &Inquiry<'_>, choice: Choice<'p>, ticket: &mut Ticket) -> Trial<'p> {
    ticket.attempts += 1;
    ticket.backend = Some(choice.target.label(&inquiry.asked.model));
    Trial::begin(choice, ticket.worker.now())
}

/// A trial that runs.
struct Lane<'l> {
    /// When it has taken too long, as it stands now.
    due: &'l Cell<Moment>,
    /// The request's own.
    deadline: Moment,
    running: Pin<&'l mut dyn Future<Output = Outcome>>,
}

impl Lane<'_> {
    /// Whether it has come to its end with this poll.
    fn poll_once(&mut self, cx: &mut Context<'_>, over: &Cell<bool>, outcome: &mut Option<Outcome>) -> bool {
        if over.get() {
            return false;
        }
        let Poll::Ready(value) = self.running.as_mut().poll(cx) else {
            return false;
        };
        over.set(true);
        *outcome = Some(value);
        true
    }

    /// Runs it to its end, or until a moment: `None`.
    async fn run_until<C: Client>(
        &mut self,
        moment: Option<Moment>,
        client: &mut C,
        ticket: &Ticket,
    ) -> Result<Option<Outcome>, NoAnswer> {
        let worker = &ticket.worker;
        let (due, deadline) = (self.due, self.deadline);
        let moment = moment.unwrap_or(deadline).min(deadline);
        match client.wait(|| worker.clock.instant(due.get().min(moment)), self.running.as_mut()).await {
            Ok(outcome) => Ok(Some(outcome)),
            Err(Interrupted::Due) if moment < due.get().min(deadline) => Ok(None),
            Err(Interrupted::Due) => Ok(Some(Err(overdue(due.get(), deadline).into()))),
            Err(other) => Err(other.into()),
        }
    }
}

/// Waits until one of two trials has a good answer, or both have ended without one.
async fn both<C: Client>(
    (mut one, mut other): (Lane<'_>, Lane<'_>),
    client: &mut C,
    ticket: &Ticket,
) -> Result<[Option<Outcome>; 2], NoAnswer> {
    let worker = &ticket.worker;
    let deadline = one.deadline;
    let dues = [one.due, other.due];
    let over = [Cell::new(false), Cell::new(false)];
    let mut outcomes = [None, None];
    loop {
        let running = || dues.iter().zip(&over).filter(|(_, over)| !over.get()).map(|(due, _)| due.get());
        let until = || running().min().unwrap_or(deadline).min(deadline);
        let step = poll_fn(|cx| {
            let [of_one, of_other] = &mut outcomes;
            let one = one.poll_once(cx, &over[0], of_one);
            let other = other.poll_once(cx, &over[1], of_other);
            if one || other { Poll::Ready(()) } else { Poll::Pending }
        });
        match client.wait(|| worker.clock.instant(until()), step).await {
            Ok(()) => {}
            Err(Interrupted::Due) => {
                for ((due, over), outcome) in dues.iter().zip(&over).zip(&mut outcomes) {
                    if !over.get() && worker.now() >= due.get().min(deadline) {
                        over.set(true);
                        *outcome = Some(Err(overdue(due.get(), deadline).into()));
                    }
                }
            }
            Err(other) => return Err(other.into()),
        }
        let is_good = outcomes.iter().any(|outcome| matches!(outcome, Some(Ok(_))));
        if is_good || over.iter().all(Cell::get) {
            return Ok(outcomes);
        }
    }
}

/// What a trial that ran out of time comes to.
fn overdue(due: Moment, deadline: Moment) -> Fault {
    if due > deadline { Fault::OutOfTime } else { Fault::Silent }
}
