//! What happened in a simulated world, as those saw it who were outside of the gateway.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::harness::Response;

use super::fault::Fault;
use super::plan::{Millis, Provider, Question};

/// All that was seen.
#[derive(Default)]
pub(super) struct Record {
    /// By number of the question.
    pub(super) asks: BTreeMap<usize, Ask>,
    /// Requests as they came to providers.
    pub(super) attempts: Vec<Attempt>,
    /// What nobody should ever see.
    pub(super) oddities: Vec<String>,
    /// Line by line, in the order of events. One seed must always give the same.
    pub(super) trace: String,
}

/// A client's question, and what came of it.
pub(super) struct Ask {
    pub(super) question: Question,
    pub(super) asked: Millis,
    pub(super) ended: Ended,
    /// When it ended.
    pub(super) at: Millis,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It has not.
    Open,
    /// The connection ended without an answer.
    Silence,
    Told(Response),
    /// The client left; when the gateway closed its side, where the client could see that.
    Left(Option<Millis>),
}

/// A request as it came to a provider.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) ask: usize,
    pub(super) provider: Provider,
    pub(super) fault: Option<Fault>,
    pub(super) begun: Millis,
    /// Whether it broke, unanswered, on a connection that had served before: such a request is sent once more, for free.
    pub(super) is_stale: bool,
    /// The body that the provider sent, or was about to.
    pub(super) body: Vec<u8>,
    /// Whether that body comes to an end as its framing has it.
    pub(super) is_framed: bool,
    pub(super) end: Option<Over>,
}

/// How an attempt was over, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The provider had said all that it had to say.
    Played(Millis),
    /// The gateway closed the connection before.
    Cancelled(Millis),
}

impl Record {
    /// Notes a line of the trace.
    pub(super) fn note(&mut self, at: Millis, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.trace, "{at:>6} {line}");
    }

    pub(super) fn over(&mut self, attempt: usize, over: Over) {
        let it = &mut self.attempts[attempt];
        it.end = Some(over);
        let (ask, provider) = (it.ask, it.provider);
        let (Over::Played(at) | Over::Cancelled(at)) = over;
        self.note(at, format_args!("q{ask} at p{provider}: {over:?}"));
    }

    pub(super) fn ended(&mut self, ask: usize, ended: Ended, at: Millis) {
        let line = match &ended {
            Ended::Told(answer) => format!(
                "told {} by {:?} after {:?}, complete: {}, {:?}",
                answer.status,
                answer.field("berry-backend"),
                answer.field("berry-attempts"),
                answer.complete,
                answer.text(),
            ),
            other => format!("{other:?}"),
        };
        self.note(at, format_args!("q{ask} {line}"));
        if let Some(it) = self.asks.get_mut(&ask) {
            (it.ended, it.at) = (ended, at);
        }
    }

    /// The answers, of clients that stayed for them.
    pub(super) fn told(&self) -> impl Iterator<Item = (&Ask, &Response)> {
        self.asks.values().filter_map(|ask| match &ask.ended {
            Ended::Told(answer) => Some((ask, answer)),
            _ => None,
        })
    }
}
