//! A client's HTTP/1 connection: heads are read strictly, requests answered one after the other, answers framed anew.

mod relay;
mod wire;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use berry_http1::{Fault, Limits, find_head_end, read_request};
use berry_vocab::{Code, Failure, Moment};

use crate::answer::Answer;
use crate::client::{Peer, Request};
use crate::downstream::{HEAD, HTTP2_PREFACE, Handled, IDLE, handle, refuse, refuse_unreadable};
use crate::gateway::Phase;
use crate::places::Place;
use crate::ports::Io;
use crate::worker::Worker;

use wire::{Read, Wire};

/// How long one may that was opened while the gateway was draining: enough for a probe that asks whether it is ready.
const LATE: Duration = Duration::from_secs(1);

/// How the connection ended.
pub(super) enum Ended {
    /// It is closed.
    Closed,
    /// The client speaks HTTP/2, and `read` is the beginning of it.
    Http2 { io: Io, read: Vec<u8> },
}

/// What came next on a connection.
enum Next {
    Request,
    Http2,
    Closed,
    Refused(Fault),
    TimedOut,
}

struct Connection {
    worker: Rc<Worker>,
    wire: Wire,
    request: Request,
    place: Place,
    /// Since when it has waited for its next request.
    idle_since: Moment,
    is_first: bool,
    /// Whether it waits for the last request that it may bring, and shortly.
    is_last: bool,
}

/// Serves the connection until it ends.
pub(super) async fn serve(worker: Rc<Worker>, io: Io, peer: Peer) -> Ended {
    let mut connection = Connection {
        wire: Wire::new(io, worker.clone()),
        request: Request::new(peer),
        place: Place::new(worker.clone()),
        idle_since: Moment::ZERO,
        is_first: true,
        is_last: false,
        worker,
    };
    connection.request.is_late = connection.is_stopping();
    connection.is_last = connection.request.is_late;
    loop {
        match connection.next().await {
            Next::Request => {}
            Next::Http2 => {
                return Ended::Http2 { io: connection.wire.io, read: connection.wire.input };
            }
            Next::Closed => return Ended::Closed,
            Next::Refused(fault) => return connection.tell(|worker, it| refuse_unreadable(worker, it, fault)).await,
            Next::TimedOut => {
                let failure = Failure::new(Code::RequestTimeout, "the head of the request took too long to arrive");
                return connection.tell(|worker, it| refuse(worker, it, &failure)).await;
            }
        }
        if !connection.exchange().await {
            return Ended::Closed;
        }
    }
}

impl Connection {
    /// Answers the request that was read; `false`: the connection is over.
    async fn exchange(&mut self) -> bool {
        self.is_first = false;
        self.wire.begin(&self.request.head);
        let (answer, is_sound) = match handle(&self.worker, &self.request, &mut self.wire).await {
            Handled::Answer(answer) => (answer, true),
            Handled::Gone => return false,
            Handled::Panicked(answer) => (answer, false),
        };
        // A body that was not read is skipped if it is here already; else the connection cannot go on.
        let keep = is_sound && self.wire.skip_body() && self.request.head.keep_alive && !self.place.is_draining();
        relay::relay(&mut self.wire, &self.request, answer, keep).await && keep
    }

    /// Whether the connection must not wait for its next request any longer. One that was opened just before, and has brought
    /// nothing yet, may bring its first: whoever has just connected is not hung up on.
    fn must_close(&mut self, cx: &Context<'_>) -> bool {
        if self.place.rest(cx, self.idle_since) {
            return true;
        }
        if self.is_last || !self.place.poll_draining(cx) {
            return false;
        }
        if self.is_first {
            self.is_last = true;
            self.request.is_late = self.is_stopping();
            self.wire.set_deadline(LATE);
        }
        !self.is_first
    }

    fn is_stopping(&self) -> bool {
        self.worker.gateway.phase() == Phase::Draining
    }

    /// Waits for the next request's head.
    async fn next(&mut self) -> Next {
        self.wire.set_deadline(if self.is_last { LATE } else { IDLE });
        self.idle_since = self.worker.recent();
        let (mut scanned, mut has_begun) = (0, false);
        let next = poll_fn(|cx| self.poll_next(cx, &mut scanned, &mut has_begun)).await;
        self.wire.lift_deadline();
        next
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, scanned: &mut usize, has_begun: &mut bool) -> Poll<Next> {
        loop {
            if !self.wire.input.is_empty() {
                if !std::mem::replace(has_begun, true) {
                    self.place.resume();
                    self.wire.set_deadline(HEAD);
                }
                if let Some(next) = self.read_head(scanned) {
                    return Poll::Ready(next);
                }
            }
            match self.wire.poll_read(cx) {
                Poll::Ready(Read::Some) => {}
                Poll::Ready(Read::End) => return Poll::Ready(Next::Closed),
                Poll::Pending if self.wire.input.is_empty() && self.must_close(cx) => return Poll::Ready(Next::Closed),
                Poll::Pending => {
                    let silent = self.wire.input.is_empty();
                    return self.wire.poll_deadline(cx).map(|()| if silent { Next::Closed } else { Next::TimedOut });
                }
            }
        }
    }

    /// Reads the head at the front of the input, if it is complete.
    fn read_head(&mut self, scanned: &mut usize) -> Option<Next> {
        let input = &self.wire.input;
        if self.is_first && HTTP2_PREFACE.starts_with(input.get(..HTTP2_PREFACE.len()).unwrap_or(input)) {
            return (input.len() >= HTTP2_PREFACE.len()).then_some(Next::Http2);
        }
        let limits = Limits::default();
        if *scanned > 0 {
            // Only once the blank line is there is a head that came in pieces read again from its start.
            match find_head_end(input, *scanned) {
                Ok(Some(_)) => {}
                Ok(None) if input.len() <= limits.head => {
                    *scanned = input.len();
                    return None;
                }
                Ok(None) => return Some(Next::Refused(Fault::HeadTooLarge)),
                Err(fault) => return Some(Next::Refused(fault)),
            }
        }
        match read_request(input, &limits, &mut self.request.head) {
            Ok(true) => {
                self.wire.take_head(self.request.head.length, &mut self.request.bytes);
                Some(Next::Request)
            }
            Ok(false) => {
                *scanned = input.len();
                None
            }
            Err(fault) => Some(Next::Refused(fault)),
        }
    }

    /// Tells a client that its message was no request, and closes.
    async fn tell(mut self, why: impl FnOnce(&Rc<Worker>, &Request) -> Answer) -> Ended {
        let unreadable = Request::unreadable(self.request.peer);
        let answer = why(&self.worker, &unreadable);
        relay::relay(&mut self.wire, &unreadable, answer, false).await;
        Ended::Closed
    }
}
