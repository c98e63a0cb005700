//! One attempt: from a choice to an answer that passed the gate, or to the fault that kept it from being one. Trials run side by
//! side where a model hedges; what comes of them is taken into account by whoever ran them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use berry_vocab::Moment;

use crate::station::call::fault::Fault;
use crate::station::call::gate::{Gate, Received, Trouble};
use crate::station::call::{Inquiry, outgoing};
use crate::station::choose::Choice;
use crate::station::{Attempt, Ticket};
use crate::upstream::{self, Outgoing};
use crate::worker::Worker;

/// An attempt under way.
pub(super) struct Trial<'p> {
    pub(super) choice: Choice<'p>,
    /// Counts as in flight until it is dropped.
    pub(super) attempt: Attempt,
    pub(super) begun: Moment,
}

impl<'p> Trial<'p> {
    /// Begins an attempt at what was chosen.
    pub(super) fn begin(choice: Choice<'p>, ticket: &Ticket) -> Self {
        let attempt = Attempt::begin(choice.target, choice.account, choice.model, ticket);
        Self { choice, attempt, begun: ticket.worker.now() }
    }

    /// When it has taken too long, unless an answer has begun by then.
    pub(super) fn due(&self, inquiry: &Inquiry<'_>) -> Moment {
        self.begun.after(self.choice.target.limits.first_byte(inquiry.asked.stream))
    }

    /// How long it has run.
    pub(super) fn took(&self, now: Moment) -> Duration {
        now.since(self.begun)
    }
}

/// Sends the request to what was chosen, and takes of the answer what is needed to judge it. `due` moves once a plain answer has
/// begun. Dropping the future cancels the request.
pub(super) async fn run(
    choice: Choice<'_>,
    due: &Cell<Moment>,
    inquiry: &Inquiry<'_>,
    worker: &Rc<Worker>,
) -> Result<Received, Trouble> {
    let target = choice.target;
    let pieces = inquiry.asked.edited(&inquiry.body, target.model_for(&inquiry.asked.model));
    let head = outgoing::head(inquiry, target, choice.account).with_length(pieces.len());
    let begun = upstream::send(worker, &target.provider.endpoint, Outgoing { head: &head, pieces: &pieces });
    let begun = begun.await.map_err(Fault::from)?;
    let gate = Gate {
        worker,
        operation: inquiry.call.operation,
        stream: inquiry.asked.stream,
        may_lack_state: choice.may_lack_state,
        tap: inquiry.tap,
        is_promised: inquiry.is_promised.as_deref(),
        due,
        idle: target.limits.idle,
    };
    gate.receive(begun).await
}
