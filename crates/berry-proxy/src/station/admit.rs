//! Station 4: whether there is room for the request now. Load that would make everything slow is shed at the door, soon and with
//! a word on when to come again, so that what was let in is answered (failure model, P3).

use std::time::Duration;

use berry_vocab::{Code, Failure};

use crate::client::Client;
use crate::live::{Full, Room, Slot};
use crate::snapshot::Model;
use crate::station::Ticket;
use crate::station::call::NoAnswer;

/// How long a request waits for a place in the gateway, and how many may wait.
const GATEWAY_QUEUE: (Duration, usize) = (Duration::from_millis(100), 256);

/// Refuses a request, before its body is read, for which there will be no place in the gateway.
///
/// # Errors
/// `overloaded`.
pub(crate) fn at_the_door(ticket: &Ticket) -> Result<(), Failure> {
    let (slots, (_, most)) = (&ticket.worker.gateway.slots, GATEWAY_QUEUE);
    let is_hopeless = ticket.snapshot.max_in_flight.is_some_and(|limit| slots.is_hopeless(limit, most));
    if is_hopeless { Err(gateway_is_full()) } else { Ok(()) }
}

/// Takes a place among the requests of the whole gateway, where their number is limited.
pub(crate) async fn gateway<C: Client>(client: &mut C, ticket: &Ticket) -> Result<Option<Slot>, NoAnswer> {
    let Some(limit) = ticket.snapshot.max_in_flight else {
        return Ok(None);
    };
    match ticket.worker.gateway.slots.take(limit, client, GATEWAY_QUEUE).await {
        Ok(slot) => Ok(Some(slot)),
        Err(Full::Interrupted(interrupted)) => Err(interrupted.into()),
        Err(Full::NoPlace) => Err(gateway_is_full().into()),
    }
}

fn gateway_is_full() -> Failure {
    let message = "the gateway has as many requests as it may have at once (max_in_flight)";
    Failure::new(Code::Overloaded, message).retry_after(Duration::from_secs(1))
}

/// Takes a place among the requests of a model, where their number is limited. `Err`: there is none now, and where to wait.
pub(crate) fn model(model: &Model) -> Result<Option<Slot>, &Room> {
    let slots = &model.live.slots;
    model.rate_limit.concurrent_requests.map(|limit| slots.try_take(limit).ok_or(slots.room())).transpose()
}

/// Whether a model has a place.
pub(crate) fn has_room(model: &Model) -> bool {
    model.rate_limit.concurrent_requests.is_none_or(|limit| model.live.slots.taken() < limit)
}
