//! Tokens that are taken of a limit by an estimate, when a request begins, and settled when it is known what it used. Until then
//! nobody else may have them.

use std::rc::Rc;
use std::sync::Arc;

use berry_policy::WindowLimits;
use berry_vocab::Moment;
use berry_wire::{Operation, Usage};

use crate::live::Meter;
use crate::worker::Worker;

/// What an answer is taken for at first, where nothing is known of its model.
const UNKNOWN_OUTPUT: u32 = 1000;

/// What a request may use, before anybody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Estimate {
    pub(crate) input: u32,
    pub(crate) output: u32,
}

/// What a request has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Spent {
    /// Nothing: there was no answer.
    #[default]
    Nothing,
    /// What its backend says.
    Told(Usage),
    /// What its backend has said until the answer broke off, and how many events had come.
    Begun(Usage, u32),
    /// Its backend says nothing: so many tokens of an answer, by an estimate.
    Estimated(u32),
    /// It was sent, and given up before an answer came.
    Sent,
}

/// Tokens taken of one limit. They are given back where nothing is settled.
pub(crate) struct Reservation {
    worker: Rc<Worker>,
    meter: Arc<Meter>,
    limits: WindowLimits,
    taken: u32,
    since: Moment,
    used: u32,
}

// === impl Estimate ===

impl Estimate {
    /// Of a request, with what the answers of its model have been like; 0: unknown.
    pub(crate) fn of(body: &[u8], is_json: bool, typical_output: u32) -> Self {
        if !is_json {
            // Of a form with a sound or a picture the bytes say nothing.
            return Self { input: 1, output: 0 };
        }
        let typical = if typical_output == 0 { UNKNOWN_OUTPUT } else { typical_output };
        let output = berry_wire::output_bound(body).map_or(typical, |bound| bound.min(typical));
        Self { input: berry_wire::estimate_tokens(body).max(1), output }
    }

    pub(crate) fn total(self) -> u32 {
        self.input.saturating_add(self.output)
    }
}

// === impl Spent ===

impl Spent {
    /// By what the reader of a stream has seen of it. What was told before the stream's end may be a beginning only.
    pub(crate) fn of_stream(events: &berry_wire::EventReader, is_over: bool) -> Self {
        match events.usage() {
            Some(usage) if is_over || events.is_ended() => Spent::Told(usage),
            Some(usage) => Spent::Begun(usage, events.events()),
            None => Spent::Estimated(events.events()),
        }
    }

    /// By a whole plain answer.
    pub(crate) fn of_plain(operation: Operation, body: &[u8]) -> Self {
        let mut reader = berry_wire::UsageReader::default();
        reader.read(body);
        let estimate = || if answers_text(operation) { berry_wire::estimate_tokens(body) } else { 0 };
        reader.usage().map_or_else(|| Spent::Estimated(estimate()), Spent::Told)
    }

    /// By the end of a plain answer of that many bytes.
    pub(crate) fn of_end(operation: Operation, end: &[u8], bytes: u64) -> Self {
        let mut reader = berry_wire::UsageReader::default();
        reader.read_tail(end);
        let estimate = || if answers_text(operation) { u32::try_from(bytes / 4).unwrap_or(u32::MAX) } else { 0 };
        reader.usage().map_or_else(|| Spent::Estimated(estimate()), Spent::Told)
    }

    /// All tokens, where the request was estimated so.
    pub(crate) fn tokens(self, estimate: Estimate) -> u32 {
        match self {
            Spent::Nothing => 0,
            Spent::Told(usage) => u32::try_from(usage.total()).unwrap_or(u32::MAX),
            Spent::Begun(usage, events) => {
                let output = u32::try_from(usage.output).unwrap_or(u32::MAX).max(events);
                u32::try_from(usage.input).unwrap_or(u32::MAX).saturating_add(output)
            }
            Spent::Estimated(output) => estimate.input.saturating_add(output),
            Spent::Sent => estimate.input,
        }
    }

    /// Tokens of the answer, if they were told.
    pub(crate) fn told_output(self) -> Option<u32> {
        match self {
            Spent::Told(usage) => Some(u32::try_from(usage.output).unwrap_or(u32::MAX)),
            Spent::Nothing | Spent::Begun(..) | Spent::Estimated(_) | Spent::Sent => None,
        }
    }
}

/// Whether what an operation answers is text, so that its length says something of its tokens.
fn answers_text(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::ChatCompletions
            | Operation::Completions
            | Operation::Responses
            | Operation::Messages
            | Operation::GenerateContent
            | Operation::StreamGenerateContent
    )
}

// === impl Reservation ===

impl Reservation {
    /// For tokens that have been taken.
    pub(crate) fn of(worker: &Rc<Worker>, meter: &Arc<Meter>, limits: WindowLimits, taken: u32) -> Self {
        Self { worker: worker.clone(), meter: meter.clone(), limits, taken, since: worker.now(), used: 0 }
    }

    /// Puts what was used in the place of what was taken.
    pub(crate) fn settle(mut self, used: u32) {
        self.used = used;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.meter.tokens.settle(&self.limits, (self.taken, self.used), (self.since, self.worker.now()));
    }
}
