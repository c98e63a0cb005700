//! An answer on its way to a client: made by the stations, relayed by whichever side carries the client.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use berry_vocab::{Failure, Protocol};
use berry_wire::{EventReader, Operation};
use bytes::Bytes;

use crate::path::Parts;
use crate::snapshot::Limits;
use crate::station::{Cut, Flow, Maker, Ticket, Vigil};
use crate::upstream::{Piece, UpstreamBody};
use crate::worker::Worker;

/// An answer. Framing and connection fields are the relay's.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and field lines, as HTTP/1 writes them.
    pub(crate) head: Vec<u8>,
    pub(crate) body: Body,
}

/// An answer's body.
#[expect(clippy::large_enum_variant, reason = "one for each answer, which a box would cost an allocation")]
pub(crate) enum Body {
    /// All of it; its ticket settles when it has been sent.
    Whole(Bytes, Ticket),
    /// What comes piece by piece.
    Flow(Outflow),
}

/// An answer's body that comes piece by piece.
pub(crate) enum Outflow {
    /// From an upstream.
    Flow(Box<Flow>),
    /// Comments, until a call has come to something.
    Vigil(Box<Vigil>),
}

impl Answer {
    /// An answer of these parts.
    pub(crate) fn new((status, head, content): Parts, ticket: Ticket) -> Self {
        let body = match content {
            Content::Whole(bytes) => Body::Whole(bytes, ticket),
            Content::Stream(streamed) => Body::Flow(Outflow::Flow(Box::new(Flow::new(streamed, ticket)))),
        };
        Self { status, head, body }
    }
}

impl Outflow {
    /// The worker that it belongs to.
    pub(crate) fn worker(&self) -> &Rc<Worker> {
        match self {
            Outflow::Flow(flow) => flow.worker(),
            Outflow::Vigil(vigil) => vigil.worker(),
        }
    }

    /// Its length, where it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Outflow::Flow(flow) => flow.length(),
            Outflow::Vigil(_) => None,
        }
    }

    /// Ready once a piece may be asked for. To be called while the worker's buffer is not lent.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Outflow::Flow(_) => Poll::Ready(()),
            Outflow::Vigil(vigil) => vigil.poll_ready(cx),
        }
    }

    /// The next piece, into `buffer`. After the last one, or a cut, nothing more must be asked for.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<Piece, Cut>> {
        match self {
            Outflow::Flow(flow) => flow.poll_piece(cx, buffer),
            Outflow::Vigil(vigil) => vigil.poll_piece(cx, buffer),
        }
    }

    /// Notes that the answer ends here for a fault of Berry's own.
    pub(crate) fn give_up(&mut self) {
        match self {
            Outflow::Flow(flow) => flow.give_up(),
            Outflow::Vigil(vigil) => vigil.give_up(),
        }
    }
}

/// What an answer holds.
pub(crate) enum Content {
    /// All of it, at hand.
    Whole(Bytes),
    /// An upstream's body, whose first piece has come.
    Stream(Box<Streamed>),
}

/// An upstream's body on its way.
pub(crate) struct Streamed {
    /// What was held until it had been judged.
    pub(crate) first: Bytes,
    /// How much of that the reader of events has taken.
    pub(crate) judged: usize,
    /// Follows a stream of server-sent events, so that its end is known and a failure can be told within it. `None`: it is none.
    pub(crate) events: Option<Box<EventReader>>,
    pub(crate) body: UpstreamBody,
    pub(crate) operation: Operation,
    pub(crate) limits: Limits,
    pub(crate) maker: Maker,
    /// Whether what it costs is counted.
    pub(crate) counts: bool,
}

impl Streamed {
    /// The length of the whole body, where it is known. A stream of events has none: it may have to end with one of Berry's own.
    pub(crate) fn length(&self) -> Option<u64> {
        if self.events.is_some() { None } else { self.body.length() }
    }
}

/// The beginning of an answer's head: its status line. It has room for what follows.
pub(crate) fn begin_head(status: u16) -> Vec<u8> {
    let mut head = Vec::with_capacity(640);
    berry_http1::push_status_line(&mut head, status);
    head
}

/// What clients are told to wait where the failure does not say.
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);

/// Renders a failure as an answer's status, head and body.
pub(crate) fn refusal(failure: &Failure, dialect: Protocol, request_id: &str) -> (u16, Vec<u8>, Bytes) {
    let rendered = berry_wire::render(failure, dialect, request_id);
    let mut fields = begin_head(rendered.status);
    berry_http1::push_field(&mut fields, b"content-type", b"application/json");
    // Every 429 and 503 says when to come again, also where nothing is known of it.
    let unknown = matches!(rendered.status, 429 | 503).then_some(UNKNOWN_WAIT);
    if let Some(wait) = failure.wait().or(unknown) {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        berry_http1::push_field(&mut fields, b"retry-after", seconds.max(1).to_string().as_bytes());
    }
    (rendered.status, fields, Bytes::from(rendered.body))
}
