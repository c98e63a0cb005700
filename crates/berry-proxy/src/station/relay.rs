//! Station 9: an upstream's bytes on their way to the caller, unchanged. What happens when they stop coming is decided here: a
//! stream of events that was between two events ends with the dialect's error event; anything else is cut, visibly.

use std::rc::Rc;
use std::task::{Context, Poll};

use berry_policy::OutcomeClass;
use berry_vocab::{Code, Failure, Moment};
use bytes::Buf;
use tokio::time::Instant;

use crate::answer::Streamed;
use crate::deadline::Deadline;
use crate::station::{Outcome, Ticket};
use crate::upstream::{BodyFault, Piece};
use crate::worker::Worker;

/// The answer cannot be ended well: the connection (HTTP/1) or stream (HTTP/2) must be broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut;

/// An answer's body on its way.
pub(crate) struct Flow {
    streamed: Box<Streamed>,
    ticket: Ticket,
    tail: Tail,
    deadline: Deadline,
    /// When the whole answer must be over.
    total_due: Option<Moment>,
}

impl Flow {
    /// The flow of an answer that begins now.
    pub(crate) fn new(streamed: Box<Streamed>, ticket: Ticket) -> Self {
        let total_due = streamed.limits.total.map(|total| ticket.started.after(total));
        let mut flow = Self { streamed, ticket, tail: Tail::default(), deadline: Deadline::default(), total_due };
        flow.expect_more();
        flow
    }

    /// The worker that it belongs to.
    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.ticket.worker
    }

    /// The length of the body, where it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.streamed.body.length()
    }

    /// The next piece, into `buffer`. After the last one, or a cut, nothing more must be asked for.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<Piece, Cut>> {
        let first = &mut self.streamed.first;
        if !first.is_empty() {
            let len = first.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..len), first.get(..len)) {
                to.copy_from_slice(from);
                self.tail.take(from);
            }
            first.advance(len);
            return Poll::Ready(Ok(Piece { len, last: false }));
        }
        match self.streamed.body.poll_piece(cx, buffer) {
            Poll::Ready(Ok(piece)) => {
                self.tail.take(buffer.get(..piece.len).unwrap_or_default());
                if piece.last {
                    self.ticket.complete();
                } else {
                    self.expect_more();
                }
                Poll::Ready(Ok(piece))
            }
            Poll::Ready(Err(fault)) => Poll::Ready(self.fail(fault_code(fault), buffer)),
            Poll::Pending if self.deadline.poll(cx).is_ready() => Poll::Ready(self.fail(TIMED_OUT, buffer)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Notes that the answer ends here for a fault of Berry's own.
    pub(crate) fn give_up(&mut self) {
        self.ticket.end(Outcome::Failed(Code::Internal));
    }

    fn expect_more(&mut self) {
        let idle = self.ticket.worker.now().after(self.streamed.limits.idle);
        let due = self.total_due.map_or(idle, |total| total.min(idle));
        self.deadline.set(self.instant(due));
    }

    fn instant(&self, moment: Moment) -> Instant {
        self.ticket.worker.clock.instant(moment)
    }

    /// Ends the answer for an upstream that failed.
    fn fail(&mut self, (class, code, message): Fault, buffer: &mut [u8]) -> Result<Piece, Cut> {
        self.ticket.end_attempt(class);
        self.ticket.end(Outcome::Failed(code));
        // Where the head has told a length, no event fits in any more.
        if !self.streamed.is_events || self.length().is_some() || !self.tail.is_between_events() {
            return Err(Cut);
        }
        let event =
            berry_wire::render_event(&Failure::new(code, message), self.streamed.operation, &self.ticket.request_id);
        let to = buffer.get_mut(..event.len()).ok_or(Cut)?;
        to.copy_from_slice(&event);
        Ok(Piece { len: event.len(), last: true })
    }
}

/// What a failure means for the backend and for the client.
type Fault = (OutcomeClass, Code, &'static str);

const TIMED_OUT: Fault = (OutcomeClass::Timeout, Code::UpstreamTimeout, "the backend's answer stopped coming");

fn fault_code(fault: BodyFault) -> Fault {
    match fault {
        BodyFault::Disconnected => {
            (OutcomeClass::ServerError, Code::UpstreamDisconnected, "the backend's connection broke within its answer")
        }
        BodyFault::Truncated => {
            (OutcomeClass::ServerError, Code::UpstreamTruncated, "the backend's answer ended before its end")
        }
        BodyFault::Malformed => {
            (OutcomeClass::ServerError, Code::UpstreamBadResponse, "the backend's answer became unreadable")
        }
    }
}

/// The last bytes of a stream of events: enough to know whether it stands between two events (a blank line; the WHATWG HTML
/// standard, section 9.2.6, ends lines with CR, LF or both).
#[derive(Default)]
struct Tail {
    last: [u8; 4],
    any: bool,
}

impl Tail {
    fn take(&mut self, bytes: &[u8]) {
        self.any |= !bytes.is_empty();
        match bytes.last_chunk::<4>() {
            Some(last) => self.last = *last,
            None => bytes.iter().for_each(|&byte| {
                self.last.rotate_left(1);
                self.last[3] = byte;
            }),
        }
    }

    fn is_between_events(&self) -> bool {
        let ends = |end: &[u8]| self.last.ends_with(end);
        !self.any || ends(b"\n\n") || ends(b"\r\n\r\n") || ends(b"\r\r")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_event_is_known_however_the_bytes_are_split() {
        for (text, between) in [
            ("data: x\n\n", true),
            ("data: x\r\n\r\n", true),
            ("data: x\r\r", true),
            ("data: x\n", false),
            ("data: x", false),
            ("data: x\r\n", false),
            ("", true),
            ("\n\n", true),
        ] {
            for split in 0..=text.len() {
                let mut tail = Tail::default();
                tail.take(&text.as_bytes()[..split]);
                tail.take(&text.as_bytes()[split..]);
                assert_eq!(tail.is_between_events(), between, "{text:?} split at {split}");
            }
        }
    }
}
