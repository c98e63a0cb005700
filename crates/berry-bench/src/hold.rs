//! Opens streams and leaves them open, so that somebody can look at what a gateway needs for them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

use crate::connection::{Buffer, Connection, Failure};
use crate::plan::Plan;
use crate::reader::Reader;
use crate::report::Report;
use crate::tally::Tally;

/// Opens as many streams as the plan has clients, over its ramp; tells how many are open when each one's first event has
/// come or it has failed; holds them for the plan's time, and cuts them.
pub async fn hold(plan: Plan, opened: impl FnOnce(u64)) -> Report {
    let start = Instant::now();
    let run = Rc::new(Run {
        plan,
        buffer: Buffer::new(),
        tally: RefCell::default(),
        open: Cell::new(0),
        waiting: Cell::new(0),
        ready: Notify::new(),
    });
    run.waiting.set(run.plan.concurrency);
    let local = LocalSet::new();
    let mut streams = JoinSet::new();
    for number in 0..run.plan.concurrency {
        streams.spawn_local_on(stream(run.clone(), number), &local);
    }
    local
        .run_until(async {
            let late = timeout(run.plan.ramp + run.plan.patience, run.ready.notified()).await.is_err();
            if late {
                run.tally.borrow_mut().error("timeout", run.waiting.get() as u64);
            }
            opened(run.open.get());
            sleep(run.plan.duration).await;
        })
        .await;
    // What is cut here is no failure.
    let held = run.open.get();
    Report { held: Some(held), ..run.tally.borrow_mut().report(start) }
}

struct Run {
    plan: Plan,
    buffer: Buffer,
    tally: RefCell<Tally>,
    /// Streams that have begun and not ended.
    open: Cell<u64>,
    /// Streams that have neither begun nor failed.
    waiting: Cell<usize>,
    ready: Notify,
}

async fn stream(run: Rc<Run>, number: usize) {
    sleep(run.plan.delay(number)).await;
    let begun = Instant::now();
    run.tally.borrow_mut().begin();
    let mut reader = Reader::new(true);
    let opened = run.open(&mut reader).await;
    if opened.is_ok() {
        run.open.set(run.open.get() + 1);
        run.tally.borrow_mut().first_event(begun);
    }
    run.waiting.set(run.waiting.get().saturating_sub(1));
    if run.waiting.get() == 0 {
        run.ready.notify_one();
    }
    match opened {
        Ok(connection) => {
            let outcome = run.stay(connection, &mut reader).await;
            run.open.set(run.open.get().saturating_sub(1));
            run.settle(outcome, &reader, begun);
        }
        Err(failure) => run.settle(failure.map_or(Ok(()), Err), &reader, begun),
    }
}

impl Run {
    /// Opens a stream and reads to its first event. An answer that ends before is told by `Err(None)`.
    async fn open(&self, reader: &mut Reader) -> Result<Connection, Option<Failure>> {
        let mut connection = Connection::open(&self.plan).await?;
        self.tally.borrow_mut().connections += 1;
        connection.send(&self.plan).await?;
        while reader.events.as_ref().is_none_or(|events| events.count == 0) {
            if reader.is_whole() {
                return Err(None);
            }
            connection.read(&self.buffer, reader).await?;
        }
        Ok(connection)
    }

    /// Reads on to the end.
    async fn stay(&self, mut connection: Connection, reader: &mut Reader) -> Result<(), Failure> {
        while !reader.is_whole() {
            connection.read(&self.buffer, reader).await?;
        }
        Ok(())
    }

    fn settle(&self, outcome: Result<(), Failure>, reader: &Reader, begun: Instant) {
        let mut tally = self.tally.borrow_mut();
        match outcome {
            Ok(()) => {
                tally.answer(reader, begun);
            }
            Err(failure) => tally.fail(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Options;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn streams_are_told_when_all_are_open_and_the_lost_ones_are_not_held() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                // The first one is refused, the others begin and stay.
                let answer = if kept.is_empty() { &b"nonsense\r\n\r\n"[..] } else { b"9\r\ndata: 1\n\n\r\n" };
                let head = if kept.is_empty() { &b""[..] } else { head };
                stream.write_all(&[head, answer].concat()).await.unwrap();
                kept.push(stream);
            }
        });
        let options = Options { concurrency: 5, duration: Duration::ZERO, stream: true, ..Options::sample(&url) };
        let mut told = None;
        let report = hold(Plan::new(&options).unwrap(), |open| told = Some(open)).await;
        assert_eq!((told, report.held), (Some(4), Some(4)));
        assert_eq!(report.errors, [("malformed".to_owned(), 1)].into());
        serving.abort();
    }
}
