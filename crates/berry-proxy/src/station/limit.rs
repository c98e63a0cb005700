//! Station 4 for a user: its requests at once and in a time, looked at before a byte of the body is read; its tokens, once it is
//! known what is asked. Nobody waits here: who is over a limit is told when to come again, and only what was let in counts.

use std::time::Duration;

use berry_config::AskUsage;
use berry_http1::push_field;
use berry_policy::{Quantity, WindowStanding};
use berry_vocab::{Code, Dice, Failure};
use berry_wire::{Asked, Call};

use crate::live::UserLimit;
use crate::snapshot::User;
use crate::station::route::Plan;
use crate::station::{Estimate, Reservation, Ticket};

/// What those are told to wait who have too many requests at once: when one of them ends is not known.
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);

/// By how much a wait is stretched at most, by chance, so that those who were refused together do not return together (failure
/// model, C4).
const JITTER: f64 = 0.25;

/// The fields that tell how a user's limits stand: the amount, what remains, when it is whole again.
const REQUEST_FIELDS: [&str; 3] =
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
const TOKEN_FIELDS: [&str; 3] =
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];

/// Lets a user's request in, and charges its limits with it.
///
/// # Errors
/// `concurrency_limited`, `rate_limited`.
pub(crate) fn user(user: &User, ticket: &mut Ticket) -> Result<(), Failure> {
    let slot = match user.limits.concurrent_requests {
        None => None,
        Some(limit) => Some(user.live.slots.try_take(limit).ok_or_else(|| {
            let message = format!(
                "this user has {limit} requests in flight, as many as it may have at once; wait for one of them to end"
            );
            refuse(user, (UserLimit::AtOnce, Code::ConcurrencyLimited), (message, UNKNOWN_WAIT), ticket)
        })?),
    };
    let taken = user.live.meter.requests.take(&user.limits.requests, 1, ticket.started);
    let standing = taken.map_err(|refusing| used_up(user, Quantity::Requests, refusing, ticket))?;
    ticket.slots.user = slot;
    ticket.rate = standing;
    Ok(())
}

/// Estimates what a request may use, and takes so many of its user's tokens; asks for usage where the answer would not tell it.
/// What is refused here counts as no request either.
///
/// # Errors
/// `rate_limited`.
pub(crate) fn tokens(
    (call, asked): (&Call<'_>, &mut Asked),
    body: &[u8],
    plan: &Plan,
    ticket: &mut Ticket,
) -> Result<(), Failure> {
    let is_limited = ticket.user.as_ref().is_some_and(|user| !user.limits.tokens.is_empty());
    let counts = is_limited || ticket.snapshot.limits_backends_tokens;
    let ask_usage = ticket.snapshot.ask_usage;
    if ask_usage == AskUsage::Always || (counts && ask_usage == AskUsage::Limited) {
        asked.ask_usage(call.operation, body);
    }
    if !counts {
        return Ok(());
    }
    let is_json = body.trim_ascii_start().first() == Some(&b'{');
    let typical = plan.pools.first().map_or(0, |pool| pool.model.live.typical_output());
    let estimate = Estimate::of(body, is_json, typical);
    ticket.estimate = Some(estimate);
    let Some(user) = ticket.user.clone().filter(|_| is_limited) else {
        return Ok(());
    };
    let (meter, limits) = (&user.live.meter, &user.limits.tokens);
    let standing = meter.tokens.take(limits, estimate.total(), ticket.worker.now()).map_err(|refusing| {
        let now = ticket.worker.now();
        meter.requests.settle(&user.limits.requests, (1, 0), (ticket.started, now));
        used_up(&user, Quantity::Tokens, refusing, ticket)
    });
    let standing = match standing {
        Ok(standing) => standing,
        Err(refused) => {
            // It counts as no request either, and is told how things are.
            (ticket.rate, ticket.tokens) = (None, meter.tokens.tightest(limits, ticket.worker.now()));
            return Err(refused);
        }
    };
    ticket.reservations.push(Reservation::of(&ticket.worker, meter, *limits, estimate.total()));
    ticket.tokens = standing;
    Ok(())
}

fn used_up(user: &User, quantity: Quantity, refusing: WindowStanding, ticket: &Ticket) -> Failure {
    let by = UserLimit::InATime(quantity, refusing.window);
    let message = format!(
        "this user's limit is used up: {} = {}; come again when the time in `retry-after` is over",
        by.name(),
        refusing.limit
    );
    refuse(user, (by, Code::RateLimited), (message, refusing.wait), ticket)
}

fn refuse(user: &User, (by, code): (UserLimit, Code), (message, wait): (String, Duration), ticket: &Ticket) -> Failure {
    user.live.count_refused(by);
    let wait = ticket.worker.with_dice(|dice| jittered(wait, dice));
    Failure::new(code, message).retry_after(wait)
}

/// Writes the field lines that tell a limited user how its tightest limits stand.
pub(crate) fn push_standings(ticket: &Ticket, fields: &mut Vec<u8>) {
    for (names, standing) in [(REQUEST_FIELDS, ticket.rate()), (TOKEN_FIELDS, ticket.tokens)] {
        let Some(standing) = standing else { continue };
        let values = [standing.limit.to_string(), standing.remaining.to_string(), openai_duration(standing.reset)];
        for (name, value) in names.iter().zip(values) {
            push_field(fields, name.as_bytes(), value.as_bytes());
        }
    }
}

/// Whether a backend's field of that name gives way to the request's own: two that disagree would tell a client nothing.
pub(crate) fn replaces(ticket: &Ticket, name: &[u8]) -> bool {
    let is_one = |fields: [&str; 3]| fields.iter().any(|field| name.eq_ignore_ascii_case(field.as_bytes()));
    (ticket.rate.is_some() && is_one(REQUEST_FIELDS)) || (ticket.tokens.is_some() && is_one(TOKEN_FIELDS))
}

/// A time in OpenAI's form: `1s`, `6m0s`, `23h59m12s`. In whole seconds, rounded up: who comes then is not early.
fn openai_duration(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

fn jittered(wait: Duration, dice: &mut dyn Dice) -> Duration {
    wait.mul_f64(1.0 + JITTER * dice.unit())
}

#[cfg(test)]
mod tests {
    use berry_vocab::SeededDice;

    use super::*;

    #[test]
    fn times_are_written_as_openai_does() {
        for (millis, text) in [
            (0, "0s"),
            (17, "1s"),
            (1000, "1s"),
            (59_001, "1m0s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
            (86_352_000, "23h59m12s"),
            (86_400_000, "24h0m0s"),
        ] {
            assert_eq!(openai_duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_wait_is_never_shortened_and_stretched_by_a_quarter_at_most() {
        let (mut dice, wait) = (SeededDice::new(1), Duration::from_secs(100));
        let waits: Vec<u64> = (0..1000).map(|_| jittered(wait, &mut dice).as_secs()).collect();
        assert!(waits.iter().all(|seconds| (100..=125).contains(seconds)));
        assert!(waits.contains(&100) && waits.contains(&124));
    }
}
