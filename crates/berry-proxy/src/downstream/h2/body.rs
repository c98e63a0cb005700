//! An answer's body as hyper asks for it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::answer::Outflow;
use crate::downstream::h2::streams::note_taken;
use crate::station::Ticket;
use crate::unwinding;

/// The largest piece: what a client must take within the time that it may stall for. Also the usual size of a frame.
const PIECE: usize = 16 * 1024;

#[expect(clippy::large_enum_variant, reason = "one for each answer, which a box would cost an allocation")]
pub(super) enum AnswerBody {
    /// All of it; its ticket settles once it has been taken.
    Whole(Bytes, Option<Ticket>),
    /// The flow, and whether it is over.
    Stream(Outflow, bool),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            AnswerBody::Whole(bytes, ticket) => {
                if let Some(ticket) = ticket.take() {
                    note_taken(Some(ticket.worker.now()));
                }
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            AnswerBody::Stream(_, true) => Poll::Ready(None),
            AnswerBody::Stream(flow, is_over) => {
                let frame = poll_flow(flow, is_over, cx);
                note_taken(frame.is_ready().then(|| flow.worker().now()));
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Whole(bytes, _) => bytes.is_empty(),
            AnswerBody::Stream(_, is_over) => *is_over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Whole(bytes, _) => SizeHint::with_exact(bytes.len() as u64),
            AnswerBody::Stream(flow, _) => flow.length().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

fn poll_flow(
    flow: &mut Outflow,
    is_over: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
    ready!(unwinding::poll_ready(flow, cx));
    let worker = flow.worker().clone();
    let mut scratch = worker.scratch.borrow_mut();
    let buffer = scratch.get_mut(..PIECE).unwrap_or_default();
    unwinding::poll_piece(flow, cx, buffer).map(|piece| {
        let Ok(piece) = piece else {
            *is_over = true;
            return Some(Err(io::Error::other("the answer was cut")));
        };
        *is_over = piece.last;
        let data = buffer.get(..piece.len).filter(|data| !data.is_empty());
        data.map(|data| Ok(Frame::data(Bytes::copy_from_slice(data))))
    })
}
