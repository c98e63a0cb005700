//! What is done about an attempt's outcome: its backend's live numbers learn of it, its key may cool down or be put aside, and
//! the request has its answer or goes on. What an outcome *means* stands in the table in `fault.rs`.

use std::time::Duration;

use berry_http1::push_field;
use berry_policy::FailureKind;
use berry_vocab::Failure;
use bytes::Bytes;

use crate::answer::{Content, Streamed, begin_head, refusal};
use crate::live::Ending;
use crate::path::Parts;
use crate::ports::KeyRefused;
use crate::snapshot::Target;
use crate::station::call::Inquiry;
use crate::station::call::best::Reason;
use crate::station::call::fault::{Again, Fault, KeyEffect, Meaning};
use crate::station::call::gate::{Held, Received, Trouble};
use crate::station::call::race::Outcome;
use crate::station::call::trial::Trial;
use crate::station::choose::{Choice, Visit};
use crate::station::{Maker, Ticket, limit};
use crate::upstream::AnswerHead;

/// What is to be done after an attempt.
pub(super) enum Verdict {
    /// This is the answer.
    Answer(Parts),
    /// Another attempt may do better.
    Next {
        reason: Reason,
        /// The target that was tried, and the account.
        place: (usize, usize),
        /// How it may do better.
        again: Again,
    },
}

/// Judges an attempt, and lets its backend's live numbers know.
pub(super) fn judge(trial: Trial<'_>, outcome: Outcome, inquiry: &Inquiry<'_>, ticket: &mut Ticket) -> Verdict {
    ticket.backend = Some(trial.choice.target.label(&inquiry.asked.model));
    match outcome {
        Ok(received) => Verdict::Answer(answer(trial, received, inquiry, ticket)),
        Err(trouble) => refuse(trial, trouble, ticket),
    }
}

fn refuse(trial: Trial<'_>, trouble: Trouble, ticket: &mut Ticket) -> Verdict {
    let Trial { choice, attempt, .. } = trial;
    let meaning = trouble.fault.meaning();
    let failure = consequences(&choice, &trouble, &meaning, ticket);
    if let Some(class) = meaning.class {
        let cooldown = meaning.cooldown(trouble.wait);
        attempt.end(Ending { class, failure, cooldown }, &ticket.worker, &ticket.snapshot.rules);
    }
    log(&trouble, &meaning, ticket);
    let told = trouble.answer.map(|(head, body)| {
        let body = choice.target.provider.blanked(&body).map_or(body, Bytes::from);
        (head.status(), fields(&head, choice.target, ticket), body)
    });
    match told {
        Some((status, fields, body)) if trouble.fault.is_final() => {
            Verdict::Answer((status, fields, Content::Whole(body)))
        }
        None if trouble.fault.is_final() => Verdict::Answer(in_own_words(trouble.status, &meaning, ticket)),
        Some((status, fields, body)) => {
            let may_lie_elsewhere = trouble.fault == Fault::Elsewhere;
            let backend = ticket.backend.clone();
            let reason = Reason::Refusal { backend, status, fields, body, may_lie_elsewhere };
            Verdict::Next { reason, place: (choice.place, choice.account), again: meaning.again }
        }
        None => {
            let reason = Reason::Failure(failure_of(&meaning, trouble.wait));
            Verdict::Next { reason, place: (choice.place, choice.account), again: meaning.again }
        }
    }
}

/// The backend's refusal, with its status, where its answer cannot be passed on.
fn in_own_words(status: Option<u16>, meaning: &Meaning, ticket: &Ticket) -> Parts {
    let status = status.unwrap_or(meaning.code.status());
    let message = format!("{} (status {status}); its answer is a page, or too long to be passed on", meaning.message);
    let (_, _, body) = refusal(&Failure::new(meaning.code, message), ticket.dialect, &ticket.request_id);
    let mut fields = begin_head(status);
    push_field(&mut fields, b"content-type", b"application/json");
    (status, fields, Content::Whole(body))
}

/// What the outcome does to the key; and how it counts for the breaker.
fn consequences(choice: &Choice<'_>, trouble: &Trouble, meaning: &Meaning, ticket: &Ticket) -> Option<FailureKind> {
    let accounts = &choice.target.provider.accounts;
    let account = accounts.hashes().get(choice.account).copied().unwrap_or_default();
    let (now, backend) = (ticket.worker.now(), ticket.backend.as_deref());
    match meaning.key {
        // It cools down with the attempt's end.
        KeyEffect::Nothing | KeyEffect::CoolsDown => {}
        KeyEffect::IsPutAside if accounts.refuse(account, now) => {
            // Whoever pays for the account must hear of it, and nobody of the key itself.
            tracing::error!(backend, key = choice.account + 1, "a key was refused and is put aside; the others go on");
            note_refused(choice, true, ticket);
        }
        KeyEffect::IsPutAside => {
            tracing::error!(backend, key = choice.account + 1, "the last key of a provider was refused");
            note_refused(choice, false, ticket);
            return Some(FailureKind::Hard);
        }
    }
    match (trouble.fault, choice.visit) {
        // A request whose own body makes backends hang up says so once of each.
        (Fault::Broken, Visit::Repeat) => Some(FailureKind::Soft),
        _ => meaning.failure,
    }
}

fn note_refused(choice: &Choice<'_>, is_put_aside: bool, ticket: &Ticket) {
    let Some(audit) = ticket.worker.gateway.audit() else { return };
    audit.note_key_refused(&KeyRefused {
        provider: &choice.target.provider.id,
        key: choice.account + 1,
        is_put_aside,
        unix_millis: ticket.worker.clock.unix_millis(),
        request_id: &ticket.request_id,
    });
}

fn log(trouble: &Trouble, meaning: &Meaning, ticket: &Ticket) {
    let (request_id, backend, status) = (&ticket.request_id, ticket.backend.as_deref(), trouble.status);
    let (code, wait) = (meaning.code.as_str(), trouble.wait.map(|wait| wait.as_secs_f64()));
    match trouble.fault.is_final() {
        true => tracing::debug!(%request_id, backend, status, "the backend refused the request as it was asked"),
        false => {
            tracing::warn!(%request_id, backend, code, status, wait_seconds = wait, "an attempt failed: {}", meaning.message)
        }
    }
}

fn failure_of(meaning: &Meaning, wait: Option<Duration>) -> Failure {
    let mut failure = Failure::new(meaning.code, meaning.message);
    if let Some((_, wait)) = meaning.cooldown(wait) {
        failure = failure.retry_after(wait);
    }
    if meaning.overload {
        failure = failure.overload();
    }
    failure
}

/// The attempt goes on as the answer's relay, which ends it.
fn answer(mut trial: Trial<'_>, received: Received, inquiry: &Inquiry<'_>, ticket: &mut Ticket) -> Parts {
    let Received { head, held, first_at, spent } = received;
    let Choice { target, account, .. } = trial.choice;
    trial.attempt.begin_answer(trial.took(first_at), ticket.worker.now());
    let accounts = &target.provider.accounts;
    let account = accounts.hashes().get(account).copied().unwrap_or_default();
    accounts.lift(account);
    ticket.attempt = Some(trial.attempt);
    ticket.spent = spent;
    let maker = Maker::of(inquiry.call.operation, target, account);
    let content = match held {
        Held::Whole(body) => {
            maker.note(&body, ticket.worker.gateway.live());
            Content::Whole(body)
        }
        Held::Flowing { first, judged, events, body } => Content::Stream(Box::new(Streamed {
            first,
            judged,
            events,
            body,
            operation: inquiry.call.operation,
            limits: target.limits,
            maker,
            counts: inquiry.tap.is_some(),
        })),
    };
    (head.status(), fields(&head, target, ticket), content)
}

/// Status line and those fields of an upstream's answer that cross to the client.
fn fields(head: &AnswerHead, target: &Target, ticket: &Ticket) -> Vec<u8> {
    let mut out = begin_head(head.status());
    for (name, value) in head.fields() {
        if limit::replaces(ticket, name) {
            continue;
        }
        // Berry asks for identity. A vendor that codes its bytes all the same has them passed on with their name, or the client
        // could not read them.
        if target.provider.gives(name) || name.eq_ignore_ascii_case(b"content-encoding") {
            push_field(&mut out, name, value);
        } else if name.eq_ignore_ascii_case(b"x-request-id") || name.eq_ignore_ascii_case(b"request-id") {
            push_field(&mut out, b"berry-upstream-request-id", value);
        }
    }
    out
}
