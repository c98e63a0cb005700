//! What an attempt's outcome means: for this request (answer, or try elsewhere), for the backend (health, cooldown) and for the
//! client (code). Decided here once, from statuses and types; no error text is read.

use std::time::Duration;

use berry_http1::push_field;
use berry_policy::OutcomeClass;
use berry_vocab::{Code, Failure};

use crate::answer::{Content, Streamed, begin_head};
use crate::snapshot::Target;
use crate::station::Ticket;
use crate::station::call::{AttemptFault, Got, Inquiry, Reason};
use crate::upstream::{AnswerHead, BodyFault, SendFault};

/// How long a backend is left alone after a 429 that names no time.
const UNNAMED_COOLDOWN: Duration = Duration::from_secs(1);

/// What is to be done after an attempt.
pub(super) enum Verdict {
    /// This is the answer.
    Answer { status: u16, fields: Vec<u8>, content: Content },
    /// Another attempt may do better.
    Next(Reason),
}

/// The meaning of one outcome.
struct Meaning {
    class: OutcomeClass,
    code: Code,
    message: &'static str,
    /// Whether it was overload and no rate limit.
    is_overload: bool,
}

/// Judges an attempt, and lets its backend's live numbers know.
pub(super) fn judge(
    got: Result<Got, AttemptFault>,
    inquiry: &Inquiry<'_>,
    target: &Target,
    took: Duration,
    ticket: &mut Ticket,
) -> Verdict {
    let got = match got {
        Ok(got) => got,
        Err(fault) => return next(of_fault(fault), None, target, ticket),
    };
    let status = got.head.status();
    match status {
        200..=203 | 205..=299 if is_page(&got.first) || (got.rest.is_none() && got.first.is_empty()) => {
            next(bad_response(), None, target, ticket)
        }
        200..=203 | 205..=299 => {
            let now = ticket.worker.now();
            target.live.record_latency(took, now);
            target.live.first_token.record(took);
            answer(got, inquiry, target)
        }
        400 | 404..=406 | 409..=428 | 430..=499 if is_page(&got.first) => next(bad_response(), None, target, ticket),
        404 if got.rest.is_none() => unknown_model(got, target, ticket),
        400 | 404..=406 | 409..=428 | 430..=499 => {
            ticket.end_attempt(OutcomeClass::ClientError);
            answer(got, inquiry, target)
        }
        _ => {
            let wait = retry_after(&got.head);
            tracing::warn!(
                request_id = %ticket.request_id,
                backend = %target.label(&inquiry.asked.model),
                status,
                "a backend answered with an error"
            );
            next(of_status(status), wait, target, ticket)
        }
    }
}

fn of_fault(fault: AttemptFault) -> Meaning {
    let (class, code, message) = match fault {
        AttemptFault::Send(SendFault::Connect(_)) => {
            (OutcomeClass::NetworkError, Code::UpstreamConnect, "no connection to the backend")
        }
        AttemptFault::Send(SendFault::Disconnected) => (
            OutcomeClass::NetworkError,
            Code::UpstreamDisconnected,
            "the backend closed the connection before it answered",
        ),
        AttemptFault::Send(SendFault::Malformed) | AttemptFault::Body(BodyFault::Malformed) => return bad_response(),
        AttemptFault::Body(BodyFault::Disconnected) => {
            (OutcomeClass::ServerError, Code::UpstreamDisconnected, "the backend's connection broke")
        }
        AttemptFault::Body(BodyFault::Truncated) => {
            (OutcomeClass::ServerError, Code::UpstreamTruncated, "the backend's answer ended before its end")
        }
        AttemptFault::TimedOut => (OutcomeClass::Timeout, Code::UpstreamTimeout, "the backend did not answer in time"),
    };
    Meaning { class, code, message, is_overload: false }
}

fn of_status(status: u16) -> Meaning {
    let (class, code, message) = match status {
        401..=403 => {
            (OutcomeClass::AuthError, Code::UpstreamAuth, "the backend refused the credentials that Berry has for it")
        }
        429 => (OutcomeClass::RateLimit, Code::UpstreamOverloaded, "the backend's rate limit is used up"),
        529 => (OutcomeClass::RateLimit, Code::UpstreamOverloaded, "the backend is overloaded"),
        500.. => (OutcomeClass::ServerError, Code::UpstreamError, "the backend answered with an error of its own"),
        408 => (OutcomeClass::Timeout, Code::UpstreamTimeout, "the backend gave the request up"),
        _ => return bad_response(),
    };
    Meaning { class, code, message, is_overload: status == 529 }
}

fn bad_response() -> Meaning {
    Meaning {
        class: OutcomeClass::ServerError,
        code: Code::UpstreamBadResponse,
        message: "the backend's answer was none that the protocol knows",
        is_overload: false,
    }
}

/// Whether a body begins as a page for people does, which no protocol here answers with.
fn is_page(body: &[u8]) -> bool {
    let text = body.trim_ascii_start();
    [&b"<!doctype"[..], b"<html"]
        .iter()
        .any(|start| text.get(..start.len()).is_some_and(|s| s.eq_ignore_ascii_case(start)))
}

fn next(meaning: Meaning, wait: Option<Duration>, target: &Target, ticket: &mut Ticket) -> Verdict {
    if meaning.class == OutcomeClass::RateLimit {
        target.live.cool_down(wait.unwrap_or(UNNAMED_COOLDOWN), ticket.worker.now());
    }
    ticket.end_attempt(meaning.class);
    let mut failure = Failure::new(meaning.code, meaning.message);
    if meaning.code == Code::UpstreamOverloaded {
        failure = failure.retry_after(wait.unwrap_or(UNNAMED_COOLDOWN));
    }
    if meaning.is_overload {
        failure = failure.overload();
    }
    tracing::debug!(request_id = %ticket.request_id, failure = %failure, "an attempt failed");
    Verdict::Next(Reason::Failure(failure))
}

/// A 404 may mean that this backend does not serve the model: another may. If none does, its own answer reaches the client.
fn unknown_model(got: Got, target: &Target, ticket: &mut Ticket) -> Verdict {
    ticket.end_attempt(OutcomeClass::ModelError);
    Verdict::Next(Reason::Unknown { status: got.head.status(), fields: fields(&got.head, target), body: got.first })
}

/// The attempt goes on as the answer's relay, which ends it.
fn answer(got: Got, inquiry: &Inquiry<'_>, target: &Target) -> Verdict {
    let is_events = got.head.field("content-type").is_some_and(|value| value.starts_with(b"text/event-stream"));
    let content = match got.rest {
        None => Content::Whole(got.first),
        Some(body) => {
            let operation = inquiry.call.operation;
            Content::Stream(Box::new(Streamed { first: got.first, body, is_events, operation, limits: target.limits }))
        }
    };
    Verdict::Answer { status: got.head.status(), fields: fields(&got.head, target), content }
}

/// Status line and those fields of an upstream's answer that cross to the client.
fn fields(head: &AnswerHead, target: &Target) -> Vec<u8> {
    let mut out = begin_head(head.status());
    for (name, value) in head.fields() {
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

/// How long the upstream asks to be left alone, where it says so in whole seconds.
fn retry_after(head: &AnswerHead) -> Option<Duration> {
    let seconds = std::str::from_utf8(head.field("retry-after")?).ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
