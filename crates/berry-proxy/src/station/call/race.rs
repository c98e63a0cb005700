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

/// How long a refusal of the request waits for the other attempt, which may still have an answer.
const REFUSAL_GRACE: Duration = Duration::from_secs(2);

pub(super) type Outcome = Result<Received, Trouble>;

/// What ended; what is of most use to the client is the last.
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
    let running = pin!(Some(trial::run(choice, &due, inquiry, &worker)));
    let mut lane = Lane::new(&due, deadline, running);
    let hedge_at = hedge.as_ref().map(|hedge| first.begun.after(hedge.after));
    lane.run_until(hedge_at, client, ticket).await?;
    if let (None, Some(hedge)) = (&lane.outcome, hedge)
        && let Some(choice) = (hedge.choose)()
    {
        // Seldom: its state should not lie in that of every attempt.
        return Box::pin(beside(inquiry, choice, (first, lane), client, ticket)).await;
    }
    while lane.outcome.is_none() {
        lane.run_until(None, client, ticket).await?;
    }
    Ok(lane.outcome.map_or_else(SmallVec::new, |outcome| smallvec![(first, outcome)]))
}

/// Runs a second attempt beside the first.
async fn beside<'p, C: Client>(
    inquiry: &Inquiry<'_>,
    choice: Choice<'p>,
    (first, mut lane): (Trial<'p>, Lane<'_, impl Future<Output = Outcome>>),
    client: &mut C,
    ticket: &mut Ticket,
) -> Result<Ended<'p>, NoAnswer> {
    let worker = ticket.worker.clone();
    let second = begin(inquiry, choice, ticket);
    let due = Cell::new(second.due(inquiry));
    let running = pin!(Some(trial::run(choice, &due, inquiry, &worker)));
    let mut other = Lane::new(&due, lane.deadline, running);
    both((&mut lane, &mut other), client, ticket).await?;
    let mut ended: Ended<'p> = SmallVec::new();
    ended.extend(lane.outcome.map(|outcome| (first, outcome)));
    ended.extend(other.outcome.map(|outcome| (second, outcome)));
    ended.sort_by_key(|(_, outcome)| match outcome {
        Err(trouble) => trouble.fault.is_final().into(),
        Ok(_) => 2,
    });
    Ok(ended)
}

fn begin<'p>(inquiry: &Inquiry<'_>, choice: Choice<'p>, ticket: &mut Ticket) -> Trial<'p> {
    ticket.attempts += 1;
    ticket.backend = Some(choice.target.label(&inquiry.asked.model));
    Trial::begin(choice, ticket)
}

/// A trial that runs.
struct Lane<'l, F> {
    /// When it has taken too long, as it stands now.
    due: &'l Cell<Moment>,
    /// The request's own.
    deadline: Moment,
    /// Dropped as soon as there is an outcome, which cancels what has not ended.
    running: Pin<&'l mut Option<F>>,
    outcome: Option<Outcome>,
}

impl<'l, F: Future<Output = Outcome>> Lane<'l, F> {
    fn new(due: &'l Cell<Moment>, deadline: Moment, running: Pin<&'l mut Option<F>>) -> Self {
        Self { due, deadline, running, outcome: None }
    }

    /// Ready when it comes to its end; if it has, never.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.running.as_mut().as_pin_mut() {
            Some(running) => running.poll(cx).map(|outcome| self.end(outcome)),
            None => Poll::Pending,
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.running.set(None);
        self.outcome = Some(outcome);
    }

    /// Ends it if it runs and has taken too long.
    fn end_if_due(&mut self, now: Moment) {
        let due = self.due.get();
        if self.outcome.is_none() && now >= due.min(self.deadline) {
            let fault = if due > self.deadline { Fault::OutOfTime } else { Fault::Silent };
            self.end(Err(fault.into()));
        }
    }

    /// When it will have taken too long, if it runs.
    fn runs_until(&self) -> Option<&'l Cell<Moment>> {
        self.outcome.is_none().then_some(self.due)
    }

    /// Whether its backend says that the request itself is at fault.
    fn is_refused(&self) -> bool {
        matches!(&self.outcome, Some(Err(trouble)) if trouble.fault.is_final())
    }

    fn has_answer(&self) -> bool {
        matches!(self.outcome, Some(Ok(_)))
    }

    /// Runs it to its end, or until a moment.
    async fn run_until<C: Client>(
        &mut self,
        moment: Option<Moment>,
        client: &mut C,
        ticket: &Ticket,
    ) -> Result<(), NoAnswer> {
        let worker = &ticket.worker;
        let due = self.due;
        let moment = moment.unwrap_or(self.deadline).min(self.deadline);
        match client.wait(|| worker.clock.instant(due.get().min(moment)), poll_fn(|cx| self.poll(cx))).await {
            Ok(()) => {}
            Err(Interrupted::Due) => self.end_if_due(worker.now()),
            Err(other) => return Err(other.into()),
        }
        Ok(())
    }
}

/// Waits until one of two trials has a good answer, or both have ended without one.
async fn both<C: Client, F: Future<Output = Outcome>, G: Future<Output = Outcome>>(
    (one, other): (&mut Lane<'_, F>, &mut Lane<'_, G>),
    client: &mut C,
    ticket: &Ticket,
) -> Result<(), NoAnswer> {
    let (worker, mut deadline) = (&ticket.worker, one.deadline);
    loop {
        let dues = [one.runs_until(), other.runs_until()];
        if one.has_answer() || other.has_answer() || dues.iter().all(Option::is_none) {
            return Ok(());
        }
        if deadline == one.deadline && (one.is_refused() || other.is_refused()) {
            deadline = deadline.min(worker.now().after(REFUSAL_GRACE));
        }
        if worker.now() >= deadline && deadline < one.deadline {
            return Ok(());
        }
        let first_due = || dues.iter().flatten().map(|due| due.get()).fold(deadline, Moment::min);
        let step = poll_fn(|cx| match (one.poll(cx), other.poll(cx)) {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ => Poll::Ready(()),
        });
        match client.wait(|| worker.clock.instant(first_due()), step).await {
            Ok(()) => {}
            Err(Interrupted::Due) => {
                one.end_if_due(worker.now());
                other.end_if_due(worker.now());
            }
            Err(interrupted) => return Err(interrupted.into()),
        }
    }
}
