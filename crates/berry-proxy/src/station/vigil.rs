//! A stream that has not begun, kept alive by comments (`stream_keepalive_seconds`), so that nobody on the way hangs up while a
//! model thinks. Once a comment has gone out the head is told: whatever comes of the call then comes within the stream.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use berry_http1::push_field;
use berry_policy::OutcomeClass;
use berry_vocab::{Code, Failure};
use berry_wire::Operation;
use bytes::{Buf, Bytes};

use crate::allowance::Allowance;
use crate::answer::{Answer, Body, Content, Outflow, begin_head};
use crate::client::{BodyError, Client, Interrupted, Request};
use crate::deadline::Deadline;
use crate::live::Ending;
use crate::path::{self, Parts, Prepared};
use crate::routes::{self, Target};
use crate::station::call::{NoAnswer, is_stream};
use crate::station::relay::{Cut, Flow};
use crate::station::{Outcome, Ticket};
use crate::unwinding::{self, Panicked};
use crate::upstream::Piece;
use crate::worker::Worker;

/// What keeps a stream alive: a comment, which clients pass over (WHATWG HTML, section 9.2.6).
const COMMENT: &[u8] = b": keepalive\n\n";

type Call = Pin<Box<dyn Future<Output = (Result<Parts, NoAnswer>, Ticket)>>>;

/// A call that goes on while its client is told to wait.
pub(crate) struct Vigil {
    worker: Rc<Worker>,
    state: State,
    every: Duration,
    deadline: Deadline,
    /// Whether the client should hear something.
    is_due: bool,
    operation: Operation,
}

#[expect(clippy::large_enum_variant, reason = "a vigil is boxed already")]
enum State {
    Calling(Call),
    /// What is left to say, and who settles then.
    Telling(Bytes, Ticket),
    Relaying(Box<Flow>),
    Over,
}

/// Calls a backend for a client that wants to hear something every so often. `None`: the client is gone.
pub(crate) async fn call<C: Client>(
    request: Request,
    prepared: Prepared,
    client: &mut C,
    mut ticket: Ticket,
    every: Duration,
) -> Option<Answer> {
    let worker = ticket.worker.clone();
    let Ok(Target::Call(called)) = routes::find(request.method(), request.method_name(), request.path()) else {
        return None;
    };
    let operation = called.operation;
    // The head that goes out if the call's own does not come in time.
    let mut head = begin_head(200);
    push_field(&mut head, b"content-type", b"text/event-stream");
    path::push_own_fields(&ticket, &mut head);
    let is_promised = Rc::new(Cell::new(false));
    ticket.is_promised = Some(is_promised.clone());
    let mut calling: Call = Box::pin(run(request, prepared, ticket));
    let due = worker.clock.instant(worker.now().after(every));
    match client.wait(|| due, calling.as_mut()).await {
        Ok((result, ticket)) => return path::conclude(result, ticket),
        Err(Interrupted::Gone) => return None,
        Err(Interrupted::Stopping) => {
            // The call sees that too, and ends with what its client is to be told.
            let (result, ticket) = calling.await;
            return path::conclude(result, ticket);
        }
        Err(Interrupted::Due) => is_promised.set(true),
    }
    let mut deadline = Deadline::default();
    // The first comment goes out at once, with the head.
    deadline.set(due);
    let vigil = Vigil { worker, state: State::Calling(calling), every, deadline, is_due: false, operation };
    Some(Answer { status: 200, head, body: Body::Flow(Outflow::Vigil(Box::new(vigil))) })
}

/// Makes the call, on what is its own.
async fn run(request: Request, prepared: Prepared, mut ticket: Ticket) -> (Result<Parts, NoAnswer>, Ticket) {
    let worker = ticket.worker.clone();
    let mut absent = Absent { worker: worker.clone(), deadline: Deadline::default() };
    let result = match routes::find(request.method(), request.method_name(), request.path()) {
        Ok(Target::Call(call)) => {
            let calling = pin!(prepared.call(&request, &call, &mut absent, &mut ticket));
            // A panic is caught here, where the ticket survives it.
            unwinding::catch(&worker, calling).await.unwrap_or_else(|Panicked| Err(unwinding::failure().into()))
        }
        Ok(Target::Page(_)) | Err(_) => Err(NoAnswer::ClientGone),
    };
    (result, ticket)
}

impl Vigil {
    /// The worker that it belongs to.
    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Notes that the answer ends here for a fault of Berry's own.
    pub(crate) fn give_up(&mut self) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Relaying(mut flow) => flow.give_up(),
            State::Telling(_, mut ticket) => ticket.end(Outcome::Failed(Code::Internal)),
            State::Calling(_) | State::Over => {}
        }
    }

    /// Goes on with the call, which needs the worker's buffer for itself. Ready once there is something to say.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Calling(calling) = &mut self.state else {
            return Poll::Ready(());
        };
        match calling.as_mut().poll(cx) {
            Poll::Ready((result, ticket)) => self.state = self.told(result, ticket),
            Poll::Pending if self.deadline.poll(cx).is_ready() => {
                self.is_due = true;
                let next = self.worker.now().after(self.every);
                self.deadline.set(self.worker.clock.instant(next));
            }
            Poll::Pending => return Poll::Pending,
        }
        Poll::Ready(())
    }

    /// The next piece: a comment, or of the answer.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<Piece, Cut>> {
        match &mut self.state {
            State::Calling(_) if std::mem::take(&mut self.is_due) => Poll::Ready(put(COMMENT, buffer, false)),
            State::Calling(_) => Poll::Pending,
            State::Relaying(flow) => flow.poll_piece(cx, buffer),
            State::Telling(left, ticket) => {
                let run = left.split_to(left.len().min(buffer.len()));
                let last = !left.has_remaining();
                if last {
                    ticket.complete();
                    self.state = State::Over;
                }
                Poll::Ready(put(&run, buffer, last))
            }
            // Its last piece has gone.
            State::Over => Poll::Ready(Err(Cut)),
        }
    }

    /// What the client is told of what came.
    fn told(&self, result: Result<Parts, NoAnswer>, mut ticket: Ticket) -> State {
        ticket.begin_answer(200);
        match result {
            Ok((200..=299, _, Content::Stream(streamed))) if streamed.events.is_some() => {
                State::Relaying(Box::new(Flow::new(streamed, ticket)))
            }
            // Whatever its fields call it, as the gate judges it.
            Ok((200..=299, _, Content::Whole(body))) if is_stream(self.operation, &body) => {
                State::Telling(body, ticket)
            }
            Ok((status, _, Content::Whole(body))) if status >= 400 => {
                let event = berry_wire::error_event(self.operation, &body);
                State::Telling(event.unwrap_or_else(|| self.event(&refused(), &ticket)).into(), ticket)
            }
            Ok(_) => {
                ticket.end_attempt(Ending::of(OutcomeClass::ServerError));
                self.failed(&no_stream(), ticket)
            }
            Err(NoAnswer::Failed(failure)) => self.failed(&failure, ticket),
            Err(NoAnswer::ClientGone) => State::Over,
        }
    }

    fn failed(&self, failure: &Failure, mut ticket: Ticket) -> State {
        ticket.end(Outcome::Failed(failure.code()));
        State::Telling(self.event(failure, &ticket).into(), ticket)
    }

    fn event(&self, failure: &Failure, ticket: &Ticket) -> Vec<u8> {
        berry_wire::render_event(failure, self.operation, &ticket.request_id)
    }
}

fn refused() -> Failure {
    Failure::new(Code::InvalidRequest, "the backend refused the request as it was asked")
}

fn no_stream() -> Failure {
    Failure::new(Code::UpstreamBadResponse, "the backend answered with no stream, although one was asked for")
}

fn put(bytes: &[u8], buffer: &mut [u8], last: bool) -> Result<Piece, Cut> {
    buffer.get_mut(..bytes.len()).ok_or(Cut)?.copy_from_slice(bytes);
    Ok(Piece { len: bytes.len(), last })
}

/// Stands for a client whose connection somebody else watches.
struct Absent {
    worker: Rc<Worker>,
    deadline: Deadline,
}

impl Client for Absent {
    async fn read_body(&mut self, _: &mut Allowance) -> Result<Bytes, BodyError> {
        Ok(Bytes::new())
    }

    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn deadline(&mut self) -> &mut Deadline {
        &mut self.deadline
    }
}
