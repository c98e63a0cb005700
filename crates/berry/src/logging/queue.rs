//! The queue between those who log and the thread that writes. Bounded: when whoever reads the log is too slow, the oldest
//! lines are dropped and counted, and the count is told in the log.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::line::Form;

/// How much may wait.
const MOST_BYTES: usize = 4 << 20;

/// After a line came, the writer waits this long for others: a busy gateway then writes a few hundred times a second, not once
/// for each request.
const GATHER: Duration = Duration::from_millis(4);

/// How long the end of the program waits for a reader that does not read.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Where lines go in.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

/// Writes what is left when it is dropped.
pub(super) struct Flusher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    /// Told when the queue is no longer empty, and at the end.
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<String>,
    bytes: usize,
    dropped: u64,
    closed: bool,
}

/// Starts the thread that writes.
pub(super) fn start(to: impl Write + Send + 'static, form: Form) -> io::Result<(Queue, Flusher)> {
    let shared = Arc::new(Shared { waiting: Mutex::default(), changed: Condvar::new() });
    let of_thread = shared.clone();
    let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&of_thread, form, to))?;
    Ok((Queue(shared.clone()), Flusher { shared, thread: Some(thread) }))
}

fn write_all(shared: &Shared, form: Form, mut to: impl Write) {
    let mut batch = String::new();
    loop {
        batch.clear();
        let is_last = shared.take(form, &mut batch);
        // Nobody could be told of a log that cannot be written.
        let _ = to.write_all(batch.as_bytes()).and_then(|()| to.flush());
        if is_last {
            return;
        }
        std::thread::sleep(GATHER);
    }
}

// === impl Queue ===

impl Queue {
    /// Puts a line, with its line break, into the queue. Never waits for the writer.
    pub(super) fn push(&self, line: String) {
        let mut waiting = self.0.lock();
        let was_empty = waiting.lines.is_empty();
        waiting.push(line);
        drop(waiting);
        if was_empty {
            self.0.changed.notify_one();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines and takes them all. Says whether there will be no more.
    fn take(&self, form: Form, batch: &mut String) -> bool {
        let waiting = self.lock();
        let idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.closed;
        let mut waiting = self.changed.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
        if waiting.dropped > 0 {
            batch.push_str(&form.dropped(std::mem::take(&mut waiting.dropped)));
        }
        waiting.bytes = 0;
        let lines = std::mem::take(&mut waiting.lines);
        let closed = waiting.closed;
        drop(waiting);
        batch.extend(lines);
        closed
    }
}

// === impl Waiting ===

impl Waiting {
    fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.bytes > MOST_BYTES {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.len();
            self.dropped += 1;
        }
    }
}

// === impl Flusher ===

impl Drop for Flusher {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + LAST_WAIT;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
