//! Station 9: an upstream's bytes on their way to the caller, unchanged. A stream of events is followed as it passes: it leaves
//! in whole events, so that whatever ends it early, the dialect's error event can take the place of what is missing, and it ends
//! in exactly one way. What is no stream of events and breaks is cut, visibly.

use std::rc::Rc;
use std::task::{Context, Poll};

use berry_policy::OutcomeClass;
use berry_vocab::{Code, Failure, Moment};
use berry_wire::{Complaint, Ending as StreamEnd, Event};
use bytes::Buf;

use crate::answer::Streamed;
use crate::deadline::Deadline;
use crate::live::Ending;
use crate::station::{Fault, Outcome, Spent, Ticket};
use crate::upstream::{BodyFault, Piece};
use crate::worker::Worker;

/// How long an upstream may take to end its answer after the stream's own end.
const AFTER_END: std::time::Duration = std::time::Duration::from_secs(2);

/// How much of the end of a plain answer is looked at for what it cost.
const KEPT_END: usize = 1024;

/// The answer cannot be ended well: the connection (HTTP/1) or stream (HTTP/2) must be broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut;

/// An answer's body on its way.
pub(crate) struct Flow {
    streamed: Box<Streamed>,
    ticket: Ticket,
    deadline: Deadline,
    /// When the whole answer must be over.
    total_due: Option<Moment>,
    /// The beginning of an event that has not come whole.
    partial: Vec<u8>,
    /// Whether part of an event has left before its end.
    is_loose: bool,
    /// An error event that goes out as the last.
    last_words: Option<Vec<u8>>,
    /// Whether the answer came whole.
    is_over: bool,
    /// Of an answer that is no stream of events and whose cost is counted: its end, and how much has come.
    end: (Vec<u8>, u64),
}

impl Flow {
    /// The flow of an answer that begins now.
    pub(crate) fn new(streamed: Box<Streamed>, ticket: Ticket) -> Self {
        let total_due = streamed.limits.total.map(|total| ticket.started.after(total));
        let now = ticket.worker.recent();
        let mut flow = Self {
            streamed,
            ticket,
            deadline: Deadline::default(),
            total_due,
            partial: Vec::new(),
            is_loose: false,
            last_words: None,
            is_over: false,
            end: (Vec::new(), 0),
        };
        flow.wait_from(now);
        flow
    }

    /// Whether the stream's own end has come.
    fn has_ended(&self) -> bool {
        self.streamed.events.as_ref().is_some_and(|events| events.is_ended())
    }

    /// Sets how long the upstream may take for what comes next.
    fn wait_from(&mut self, now: Moment) {
        let patience = if self.has_ended() { AFTER_END } else { self.streamed.limits.idle };
        let idle = now.after(patience);
        let due = self.total_due.map_or(idle, |total| total.min(idle));
        self.deadline.set(self.ticket.worker.clock.instant(due));
    }

    /// The worker that it belongs to.
    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.ticket.worker
    }

    /// The length of the body, where it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.streamed.length()
    }

    /// Notes what the answer has cost until now.
    fn note_spent(&mut self, is_over: bool) {
        if self.streamed.counts {
            let (end, passed) = &self.end;
            self.ticket.spent = match &self.streamed.events {
                Some(events) => Spent::of_stream(events, is_over),
                None => Spent::of_end(self.streamed.operation, end, *passed),
            };
        }
    }

    /// The next piece, into `buffer`. After the last one, or a cut, nothing more must be asked for.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<Piece, Cut>> {
        if let Some(words) = self.last_words.take() {
            return Poll::Ready(write(&words, buffer));
        }
        loop {
            let (len, judged, last) = match self.poll_upstream(cx, buffer) {
                Poll::Ready(Ok(came)) => came,
                Poll::Ready(Err(end)) => return Poll::Ready(self.fail(end, 0, buffer)),
                Poll::Pending => return Poll::Pending,
            };
            let passed = self.pass(buffer, len, judged, last);
            if !last {
                self.wait_from(self.ticket.worker.recent());
            }
            if let Some(piece) = passed {
                let left = piece.as_ref().map_or(0, |piece| piece.len);
                self.streamed.maker.note(buffer.get(..left).unwrap_or_default(), self.ticket.worker.gateway.live());
                return Poll::Ready(piece);
            }
        }
    }

    /// What was held, or what comes, behind what is held back: how much stands in the buffer then, how much of that has been
    /// judged, and whether the body ends with it.
    fn poll_upstream(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<(usize, usize, bool), End>> {
        let before = self.partial.len();
        let Some(space) = buffer.get_mut(before..) else {
            return Poll::Ready(Err(End::Fault(BodyFault::Malformed)));
        };
        let first = &mut self.streamed.first;
        let (len, judged, last) = if first.is_empty() {
            match self.streamed.body.poll_piece(cx, space) {
                Poll::Ready(Ok(piece)) => (piece.len, 0, piece.last),
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(End::Fault(fault))),
                Poll::Pending => return self.poll_limits(cx).map(Err),
            }
        } else {
            let len = first.len().min(space.len());
            if let (Some(to), Some(from)) = (space.get_mut(..len), first.get(..len)) {
                to.copy_from_slice(from);
            }
            first.advance(len);
            let judged = self.streamed.judged.min(len);
            self.streamed.judged -= judged;
            (len, judged, false)
        };
        if let Some(to) = buffer.get_mut(..before) {
            to.copy_from_slice(&self.partial);
        }
        self.partial.clear();
        let now = self.ticket.worker.now();
        if self.total_due.is_some_and(|total| now >= total) && !last {
            return Poll::Ready(Err(End::TimedOut));
        }
        Poll::Ready(Ok((before + len, before + judged, last)))
    }

    /// Notes that the answer ends here for a fault of Berry's own.
    pub(crate) fn give_up(&mut self) {
        self.ticket.end(Outcome::Failed(Code::Internal));
    }

    /// What ends the waiting for an upstream that sends nothing.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.ticket.worker.is_cut() {
            return Poll::Ready(End::Shutdown);
        }
        self.deadline.poll(cx).map(|()| End::TimedOut)
    }

    /// What of the first `len` bytes of the buffer may go; `None`: nothing yet.
    fn pass(&mut self, buffer: &mut [u8], len: usize, judged: usize, last: bool) -> Option<Result<Piece, Cut>> {
        if self.streamed.events.is_none() {
            self.keep_end(buffer.get(..len).unwrap_or_default());
            if last {
                self.complete();
            }
            return Some(Ok(Piece { len, last }));
        }
        let mut len = len;
        let events = self.streamed.events.as_mut()?;
        let (mut at, mut clear) = (judged, 0);
        if judged > 0 && events.is_between_events() {
            clear = judged;
        }
        at += events.skip(buffer.get(at..len).unwrap_or_default());
        clear = clear.max(if at > judged { at } else { 0 });
        while let Some((taken, event)) = events.next(buffer.get(at..len).unwrap_or_default()) {
            at += taken;
            clear = at;
            self.is_loose = false;
            match event {
                Event::Quiet | Event::Content | Event::End => {}
                Event::Unasked => {
                    buffer.copy_within(at..len, at - taken);
                    (at, len) = (at - taken, len - taken);
                    clear = at;
                }
                Event::Error(complaint) => {
                    self.end_with_their_error(complaint);
                    return Some(Ok(Piece { len: clear, last: true }));
                }
            }
        }
        if last {
            return Some(match events.finish() {
                StreamEnd::Whole => {
                    self.complete();
                    Ok(Piece { len, last: true })
                }
                StreamEnd::Failed(complaint) => {
                    self.end_with_their_error(complaint);
                    Ok(Piece { len, last: true })
                }
                StreamEnd::Truncated => self.fail(End::Fault(BodyFault::Truncated), clear, buffer),
            });
        }
        if len - clear > buffer.len() / 2 || self.is_loose {
            self.is_loose = len > clear || self.is_loose;
            return Some(Ok(Piece { len, last: false }));
        }
        self.partial.extend_from_slice(buffer.get(clear..len).unwrap_or_default());
        (clear > 0).then_some(Ok(Piece { len: clear, last: false }))
    }

    /// The answer is whole.
    fn complete(&mut self) {
        self.is_over = true;
        self.note_spent(true);
        self.ticket.complete();
    }

    /// Keeps the end of what passes, if it is looked at in the end.
    fn keep_end(&mut self, piece: &[u8]) {
        if self.streamed.counts {
            let (end, passed) = &mut self.end;
            *passed += piece.len() as u64;
            end.extend_from_slice(piece.get(piece.len().saturating_sub(KEPT_END)..).unwrap_or_default());
            end.drain(..end.len().saturating_sub(KEPT_END));
        }
    }

    /// The upstream's own error event has passed: it is the end.
    fn end_with_their_error(&mut self, complaint: Complaint) {
        self.note_spent(self.is_over);
        let meaning = Fault::Told(complaint).meaning();
        if let Some(class) = meaning.class {
            let (failure, cooldown) = (meaning.failure, meaning.cooldown(None));
            self.ticket.end_attempt(Ending { class, failure, cooldown });
        }
        self.ticket.end(Outcome::Failed(Code::UpstreamError));
        tracing::warn!(request_id = %self.ticket.request_id, backend = self.ticket.backend.as_deref(), "a stream ended with the backend's error");
    }

    /// Ends an answer whose upstream failed, behind the first `clear` bytes of the buffer.
    fn fail(&mut self, end: End, clear: usize, buffer: &mut [u8]) -> Result<Piece, Cut> {
        if self.has_ended() {
            // All that the protocol wants has come.
            self.complete();
            return Ok(Piece { len: clear, last: true });
        }
        self.note_spent(self.is_over);
        let (class, code, message) = end.meaning();
        match class {
            Some(class) => self.ticket.end_attempt(Ending::of(class)),
            None => self.ticket.attempt = None,
        }
        self.ticket.end(Outcome::Failed(code));
        let (request_id, backend) = (&self.ticket.request_id, self.ticket.backend.as_deref());
        tracing::warn!(%request_id, backend, code = code.as_str(), "an answer broke off: {message}");
        let Some(events) = self.streamed.events.as_ref().filter(|_| !self.is_loose) else {
            return Err(Cut);
        };
        let failure = Failure::new(code, message);
        let words = berry_wire::render_event_after(
            &failure,
            self.streamed.operation,
            &self.ticket.request_id,
            events.next_sequence(),
        );
        if clear == 0 {
            return write(&words, buffer);
        }
        self.last_words = Some(words);
        Ok(Piece { len: clear, last: false })
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        // Of an answer whose client has left, too, what has come has been paid for.
        self.note_spent(self.is_over);
    }
}

fn write(words: &[u8], buffer: &mut [u8]) -> Result<Piece, Cut> {
    buffer.get_mut(..words.len()).ok_or(Cut)?.copy_from_slice(words);
    Ok(Piece { len: words.len(), last: true })
}

/// How an answer ended before its end.
#[derive(Clone, Copy, Debug)]
enum End {
    Fault(BodyFault),
    TimedOut,
    Shutdown,
}

impl End {
    /// What it means for the backend, if anything, and for the client.
    fn meaning(self) -> (Option<OutcomeClass>, Code, &'static str) {
        let failed = Some(OutcomeClass::ServerError);
        match self {
            End::Fault(BodyFault::Disconnected) => {
                (failed, Code::UpstreamDisconnected, "the backend's connection broke within its answer")
            }
            End::Fault(BodyFault::Truncated) => {
                (failed, Code::UpstreamTruncated, "the backend's answer ended before its end")
            }
            End::Fault(BodyFault::Malformed) => {
                (failed, Code::UpstreamBadResponse, "the backend's answer became unreadable")
            }
            End::TimedOut => {
                (Some(OutcomeClass::Timeout), Code::UpstreamTimeout, "the backend's answer stopped coming")
            }
            End::Shutdown => (None, Code::Shutdown, "the gateway is stopping"),
        }
    }
}
