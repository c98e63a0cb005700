//! A panic in one request is that request's alone: it is caught here, before its answer begins and while it is on its way.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use berry_vocab::{Code, Failure};

use crate::answer::Outflow;
use crate::station::Cut;
use crate::upstream::Piece;
use crate::worker::Worker;

/// The request's handling panicked; the panic hook has logged where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panicked;

/// What its client is told.
pub(crate) fn failure() -> Failure {
    Failure::new(Code::Internal, "a fault of Berry's own; its log says where")
}

/// Runs `future`, and catches its panic. What it leaves behind is dropped, or is of the request alone.
pub(crate) async fn catch<T>(worker: &Worker, mut future: Pin<&mut impl Future<Output = T>>) -> Result<T, Panicked> {
    poll_fn(|cx| match or_count(worker, || future.as_mut().poll(cx)) {
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(Panicked) => Poll::Ready(Err(Panicked)),
    })
    .await
}

/// Whether a piece may be asked for. After a panic it may: asking for it will find that there is none.
pub(crate) fn poll_ready(flow: &mut Outflow, cx: &mut Context<'_>) -> Poll<()> {
    if let Outflow::Flow(_) = flow {
        return Poll::Ready(());
    }
    let worker = flow.worker().clone();
    or_count(&worker, || flow.poll_ready(cx)).unwrap_or_else(|Panicked| {
        flow.give_up();
        Poll::Ready(())
    })
}

/// The next piece of an answer. A panic cuts it.
pub(crate) fn poll_piece(flow: &mut Outflow, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<Piece, Cut>> {
    let worker = flow.worker().clone();
    or_count(&worker, || flow.poll_piece(cx, buffer)).unwrap_or_else(|Panicked| {
        flow.give_up();
        Poll::Ready(Err(Cut))
    })
}

fn or_count<T>(worker: &Worker, run: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| {
        worker.gateway.metrics().panics.fetch_add(1, Relaxed);
        Panicked
    })
}
