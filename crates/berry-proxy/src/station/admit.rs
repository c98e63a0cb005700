//! Station 4: whether there is room for the request now. Load that would make everything slow is shed at the door, soon and with
//! a word on when to come again, so that what was let in is answered (failure model, P3).

use std::time::Duration;

use berry_vocab::{Code, Failure};

use crate::client::Client;
use crate::live::{Full, Slot};
use crate::station::Ticket;
use crate::station::call::NoAnswer;
use crate::station::route::Plan;

/// How long a request waits for a place in the gateway, and how many may wait.
const GATEWAY_QUEUE: (Duration, usize) = (Duration::from_millis(100), 256);

/// The same for a model's.
const MODEL_QUEUE: (Duration, usize) = (Duration::from_secs(1), 64);

/// Takes a place among the requests of the whole gateway, where their number is limited.
pub(crate) async fn gateway<C: Client>(client: &mut C, ticket: &Ticket) -> Result<Option<Slot>, NoAnswer> {
    let Some(limit) = ticket.snapshot.max_in_flight else {
        return Ok(None);
    };
    let slot = ticket.worker.gateway.slots.take(limit, client, GATEWAY_QUEUE).await;
    admitted(slot, "the gateway has as many requests as it may have at once (max_in_flight)")
}

/// Takes a place among the requests of the model, where their number is limited.
pub(crate) async fn model<C: Client>(plan: &Plan, client: &mut C) -> Result<Option<Slot>, NoAnswer> {
    let limited = plan.pools.first().and_then(|pool| Some((&pool.model, pool.model.max_concurrent?)));
    let Some((model, limit)) = limited else {
        return Ok(None);
    };
    let slot = model.live.slots.take(limit, client, MODEL_QUEUE).await;
    admitted(slot, "the model has as many requests as it may have at once (max_concurrent_requests)")
}

fn admitted(slot: Result<Slot, Full>, message: &'static str) -> Result<Option<Slot>, NoAnswer> {
    match slot {
        Ok(slot) => Ok(Some(slot)),
        Err(Full::Interrupted(interrupted)) => Err(interrupted.into()),
        Err(Full::NoPlace) => Err(Failure::new(Code::Overloaded, message).retry_after(Duration::from_secs(1)).into()),
    }
}
