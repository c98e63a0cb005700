//! What must hold of every record of a simulated world, whatever the seed. Each promise is a function from what was seen to
//! what is wrong with it; `tests.rs` proves that each of them can be broken.

use std::ops::Range;

use crate::harness::Response;

use super::fault::Fault;
use super::plan::{ALL_BACK, COUNTED_FROM, Millis, Plan, RECOVERED, STORM_ENDS};
use super::record::{Ask, Attempt, Ended, Over, Record};
use super::speech::Speech;

mod tests;

/// How soon whoever is no longer wanted must know of it.
const AT_ONCE: Millis = 100;

/// Statuses of failures that are upstream's, with the codes that the contract has for them.
const TOLD: [(u16, &[&str]); 4] = [
    (429, &["upstream_overloaded"]),
    (
        502,
        &[
            "upstream_connect",
            "upstream_error",
            "upstream_auth",
            "upstream_disconnected",
            "upstream_truncated",
            "upstream_bad_response",
        ],
    ),
    (503, &["no_backend", "overloaded", "upstream_overloaded"]),
    (504, &["upstream_timeout"]),
];

/// What a request was promised, as far as its time and its world go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hope {
    /// One terminal, told truly.
    Truth,
    /// No failure before the commit point: a provider behaves all the time.
    Success,
    /// Success at the first attempt: all is well again.
    FirstTry,
}

impl Hope {
    fn of(plan: &Plan, asked: Millis) -> Self {
        let well_from = if plan.steady.is_some() { RECOVERED } else { ALL_BACK };
        match (asked >= well_from, plan.steady) {
            // A second attempt beside the first is no failure of the first.
            (true, _) if plan.hedge_ms.is_none() => Hope::FirstTry,
            (true, _) | (false, Some(_)) => Hope::Success,
            (false, None) => Hope::Truth,
        }
    }
}

/// Everything that is wrong with a record.
pub(super) fn broken(plan: &Plan, record: &Record) -> Vec<String> {
    let mut broken = record.oddities.clone();
    for (id, ask) in &record.asks {
        let attempts: Vec<&Attempt> = record.attempts.iter().filter(|attempt| attempt.ask == *id).collect();
        let hope = Hope::of(plan, ask.asked);
        if let Err(what) = kept(plan.speech, hope, ask, &attempts) {
            broken.push(format!("q{id}, asked at {}: {what}", ask.asked));
        }
    }
    if plan.is_bounded() {
        broken.extend(amplified(record, COUNTED_FROM..STORM_ENDS).err());
    }
    broken
}

/// Whether a question's promises were kept.
pub(super) fn kept(speech: &Speech, hope: Hope, ask: &Ask, attempts: &[&Attempt]) -> Result<(), String> {
    match &ask.ended {
        Ended::Open => return Err("never ended".to_owned()),
        Ended::Silence => return Err("the connection ended without an answer".to_owned()),
        Ended::Told(answer) => told(speech, hope, ask.question.stream, answer, attempts)?,
        Ended::Left(Some(closed)) if *closed > ask.at + AT_ONCE => {
            return Err(format!("the client left at {} and was let go at {closed}", ask.at));
        }
        Ended::Left(_) => {}
    }
    attempts.iter().try_for_each(|attempt| is_over(attempt, ask.at))
}

/// Whether an attempt was over when its question was.
fn is_over(attempt: &Attempt, at: Millis) -> Result<(), String> {
    match attempt.end {
        Some(Over::Played(end) | Over::Cancelled(end)) if end <= at + AT_ONCE => Ok(()),
        end => Err(format!("over at {at}, but its attempt at p{}: {end:?}", attempt.provider)),
    }
}

/// Whether an answer is one that may be told.
fn told(speech: &Speech, hope: Hope, stream: bool, answer: &Response, attempts: &[&Attempt]) -> Result<(), String> {
    if answer.status == 400 {
        return refused(attempts);
    }
    if answer.status != 200 {
        return match hope {
            Hope::Truth => failure(speech, answer),
            _ => Err(format!("told {} although a provider behaved all the time: {}", answer.status, answer.text())),
        };
    }
    if hope == Hope::FirstTry && answer.field("berry-attempts") != Some("1") {
        return Err(format!("took {:?} attempts although all was well", answer.field("berry-attempts")));
    }
    if !answer.complete {
        return Err(format!("the answer was cut: {}", answer.text()));
    }
    let backend = answer.field("berry-backend").unwrap_or_default();
    let of_backend = |attempt: &&&Attempt| backend == format!("p{0}/m{0}", attempt.provider);
    let attempt = attempts.iter().rev().find(of_backend).ok_or("an answer of nobody")?;
    let (told, sent) = (answer.text(), String::from_utf8_lossy(&attempt.body).into_owned());
    if !told.contains(&format!("p{}-q{}-", attempt.provider, attempt.ask)) {
        return Err(format!("began before anything meaningful had come: {told:?}"));
    }
    match stream {
        true => one_end(speech, &told, &sent, attempt.is_framed),
        false if told == sent => Ok(()),
        false => Err(format!("sent {sent:?}, told {told:?}")),
    }
}

/// Whether a stream is what was sent and ends once: as it was sent, or by one error event in the place of what is missing.
fn one_end(speech: &Speech, told: &str, sent: &str, is_framed: bool) -> Result<(), String> {
    let fault = |what: &str| Err(format!("{what}: sent {sent:?}, told {told:?}"));
    let is_whole = sent.contains(speech.end_mark);
    let is_failed = sent.ends_with(&speech.their_error_event());
    if told == sent {
        return if is_whole || is_failed { Ok(()) } else { fault("the stream has no end") };
    }
    let events = sent.rfind("\n\n").map_or("", |end| &sent[..end + 2]);
    let has_last_word = speech.last_word.is_some_and(|word| events.contains(word));
    match told.strip_prefix(events) {
        None => fault("other bytes than were sent"),
        Some("") if has_last_word => Ok(()),
        Some("") => fault("the stream has no end"),
        Some(words) if !is_error_event(speech, words) => fault("what was added is not one error event"),
        Some(_) if has_last_word || is_failed || (is_whole && is_framed && events == sent) => fault("two ends"),
        Some(_) => Ok(()),
    }
}

/// Whether a client may be told that its request is at fault: somebody said so, and nobody had an answer.
fn refused(attempts: &[&Attempt]) -> Result<(), String> {
    if !attempts.iter().any(|attempt| attempt.fault == Some(Fault::Status(400))) {
        return Err("told 400, which nobody said".to_owned());
    }
    match attempts.iter().find(|attempt| attempt.fault.is_none()) {
        None => Ok(()),
        Some(attempt) => Err(format!("told 400 although p{} had an answer", attempt.provider)),
    }
}

fn is_error_event(speech: &Speech, words: &str) -> bool {
    let is_one = words.starts_with(speech.error_event) && words.find("\n\n") == Some(words.len() - 2);
    let data = words.trim_end().rsplit_once("data: ").map_or("", |(_, data)| data);
    let data: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
    is_one && data["error"]["message"].as_str().is_some_and(|message| message != "theirs")
}

/// Whether a failure is told in the dialect, with a status that is true of it.
fn failure(speech: &Speech, answer: &Response) -> Result<(), String> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let is_told = body["error"]["message"].as_str().is_some_and(|message| !message.is_empty() && message != "theirs");
    let is_known = match speech.backend_type {
        "openai" => {
            let code = body["error"]["code"].as_str().unwrap_or_default();
            TOLD.iter().any(|(status, codes)| *status == answer.status && codes.contains(&code))
        }
        "gemini" => body["error"]["code"] == answer.status,
        _ => answer.status == 529 || TOLD.iter().any(|(status, _)| *status == answer.status),
    };
    let has_wait = !matches!(answer.status, 429 | 503 | 529) || answer.field("retry-after").is_some();
    match answer.complete && is_told && is_known && has_wait {
        true => Ok(()),
        false => Err(format!("no failure as the contract has it: {answer:?}")),
    }
}

/// Attempts for each request, over those that were asked in a span of time and whose clients stayed: at most 1.2, once the
/// breakers had ten seconds of the storm to open. As many backends are at fault there as breakers may take out, all the time.
pub(super) fn amplified(record: &Record, span: Range<Millis>) -> Result<(), String> {
    let in_span = record.told().filter(|(ask, _)| span.contains(&ask.asked));
    let attempts: Vec<u32> =
        in_span.map(|(_, answer)| answer.field("berry-attempts").and_then(|n| n.parse().ok()).unwrap_or(0)).collect();
    let (requests, attempts) = (attempts.len() as u32, attempts.iter().sum::<u32>());
    match attempts * 10 <= requests * 12 {
        true => Ok(()),
        false => Err(format!("{attempts} attempts for {requests} requests while breakers were open")),
    }
}
