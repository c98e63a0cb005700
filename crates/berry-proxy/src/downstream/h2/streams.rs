//! The streams of an HTTP/2 connection, each a task of its own. They are counted, so that it is known how long the connection
//! has had none; and watched, because hyper does not ask for a body while the client's window is closed, so that a body
//! cannot know that nobody takes it any more.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use berry_vocab::Moment;

use crate::deadline::Deadline;
use crate::downstream::STALL;
use crate::worker::Worker;

tokio::task_local! {
    /// When the stream that runs now has last been asked for a piece of its answer and had one. None: it has not begun, or
    /// waits for its upstream.
    static TAKEN: Cell<Option<Moment>>;
}

/// Notes that the stream that runs now has given a piece of its answer to be sent, or that it waits for one.
pub(super) fn note_taken(at: Option<Moment>) {
    // Outside of a stream's task there is none to be watched.
    let _ = TAKEN.try_with(|taken| taken.set(at));
}

/// Runs the streams of one connection on the worker's own thread.
#[derive(Clone)]
pub(super) struct Streams {
    shared: Rc<Shared>,
}

struct Shared {
    worker: Rc<Worker>,
    open: Cell<usize>,
    /// Since when there are as many as now.
    since: Cell<Moment>,
    rest: RefCell<Deadline>,
}

/// Counts a stream while it is open.
struct Open(Rc<Shared>);

// === impl Streams ===

impl Streams {
    pub(super) fn new(worker: Rc<Worker>) -> Self {
        let since = Cell::new(worker.now());
        Self { shared: Rc::new(Shared { worker, open: Cell::new(0), since, rest: RefCell::default() }) }
    }

    /// Since when there has been no stream, if there is none.
    pub(super) fn idle_since(&self) -> Option<Moment> {
        (self.shared.open.get() == 0).then(|| self.shared.since.get())
    }

    /// Whether there has been no stream for so long; if not, the task will be woken when it may be so.
    pub(super) fn have_rested(&self, cx: &mut Context<'_>, limit: Duration) -> bool {
        let Some(since) = self.idle_since() else { return false };
        let mut rest = self.shared.rest.borrow_mut();
        rest.set(self.shared.worker.clock.instant(since.after(limit)));
        rest.poll(cx).is_ready()
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + 'static,
{
    fn execute(&self, stream: F) {
        let open = Open::new(self.shared.clone());
        tokio::task::spawn_local(TAKEN.scope(Cell::new(None), async move {
            watch(&open.0.worker, stream).await;
        }));
    }
}

/// Runs a stream to its end, or until its client has taken nothing for [`STALL`]: dropping it resets it, settles its ticket and
/// cancels its request upstream.
async fn watch<F: Future>(worker: &Worker, stream: F) {
    let mut stream = pin!(stream);
    let mut deadline = Deadline::default();
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match TAKEN.with(Cell::get) {
            Some(taken) => {
                deadline.set(worker.clock.instant(taken.after(STALL)));
                deadline.poll(cx)
            }
            None => Poll::Pending,
        }
    })
    .await;
}

// === impl Open ===

impl Open {
    fn new(shared: Rc<Shared>) -> Self {
        shared.open.set(shared.open.get() + 1);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.since.set(self.0.worker.now());
    }
}
