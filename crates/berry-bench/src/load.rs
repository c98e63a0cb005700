//! The closed loop.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

use crate::connection::{Buffer, Connection, Failure};
use crate::plan::Plan;
use crate::reader::Reader;
use crate::report::Report;
use crate::tally::Tally;

/// Lets all clients of the plan ask for its time, and waits for what is under way then, as long as its patience lasts.
pub async fn load(plan: Plan) -> Report {
    let start = Instant::now();
    let run = Rc::new(Run {
        end: start + plan.ramp + plan.duration,
        plan,
        buffer: Buffer::new(),
        tally: RefCell::new(Tally::default()),
    });
    let local = LocalSet::new();
    let mut clients = JoinSet::new();
    for number in 0..run.plan.concurrency {
        clients.spawn_local_on(client(run.clone(), number), &local);
    }
    let most = run.plan.ramp + run.plan.duration + run.plan.patience;
    let all = local.run_until(async { while clients.join_next().await.is_some() {} });
    let late = timeout(most, all).await.is_err();
    let mut tally = run.tally.borrow_mut();
    if late {
        let under_way = tally.under_way;
        tally.error("timeout", under_way);
    }
    tally.report(start)
}

/// What the clients share.
struct Run {
    plan: Plan,
    buffer: Buffer,
    tally: RefCell<Tally>,
    /// From here on no request is begun.
    end: Instant,
}

async fn client(run: Rc<Run>, number: usize) {
    sleep(run.plan.delay(number)).await;
    let mut connection = None;
    let mut failures: u32 = 0;
    while let Some(begun) = run.begin() {
        let answer = run.ask(&mut connection, begun).await;
        let good = match &answer {
            Ok(reader) => run.tally.borrow_mut().answer(reader, begun),
            Err(failure) => {
                run.tally.borrow_mut().fail(*failure);
                false
            }
        };
        if !answer.is_ok_and(|reader| reader.reusable) {
            connection = None;
        }
        // What fails at once would otherwise be asked as fast as the machine can.
        failures = if good { 0 } else { failures.saturating_add(1) };
        if failures > 0 {
            let growing = Duration::from_millis(u64::from(failures.min(100)));
            sleep(run.plan.pause.unwrap_or(growing)).await;
        }
    }
}

impl Run {
    /// The time, if another request may be begun.
    fn begin(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut tally = self.tally.borrow_mut();
        let may = now < self.end && tally.begun < self.plan.requests;
        may.then(|| {
            tally.begin();
            now
        })
    }

    /// One request and its answer. A kept connection that turns out to be closed before the answer's first byte was closed
    /// while idle, as a server may do at any time: the request is sent again on a new one.
    async fn ask(&self, connection: &mut Option<Connection>, begun: Instant) -> Result<Reader, Failure> {
        let mut reader = Reader::new(self.plan.stream);
        if let Some(kept) = connection {
            match self.exchange(kept, &mut reader, begun).await {
                Err(Failure::Closed | Failure::Write) if reader.is_untouched() => {}
                outcome => return outcome.map(|()| reader),
            }
        }
        let mut reader = Reader::new(self.plan.stream);
        let fresh = connection.insert(Connection::open(&self.plan).await?);
        self.tally.borrow_mut().connections += 1;
        self.exchange(fresh, &mut reader, begun).await.map(|()| reader)
    }

    async fn exchange(&self, connection: &mut Connection, reader: &mut Reader, begun: Instant) -> Result<(), Failure> {
        connection.send(&self.plan).await?;
        let mut waits_for_event = self.plan.stream;
        while !reader.is_whole() {
            connection.read(&self.buffer, reader).await?;
            if waits_for_event && reader.events.as_ref().is_some_and(|events| events.count > 0) {
                waits_for_event = false;
                self.tally.borrow_mut().first_event(begun);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Options;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

    /// A server that answers each request with these bytes, and closes each connection after so many.
    async fn serve(answer: &'static [u8], per_connection: usize) -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    for _ in 0..per_connection {
                        let mut bytes = Vec::new();
                        while !bytes.ends_with(b"256}") && !bytes.ends_with(b"true}") {
                            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                                return;
                            }
                        }
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (url, serving)
    }

    fn twenty(url: &str) -> Options {
        Options { requests: Some(20), concurrency: 4, duration: Duration::from_secs(60), ..Options::sample(url) }
    }

    #[tokio::test]
    async fn the_requests_asked_for_are_sent_over_kept_connections() {
        let (url, serving) = serve(ANSWER, usize::MAX).await;
        let report = load(Plan::new(&twenty(&url)).unwrap()).await;
        assert_eq!((report.ok, report.failed(), report.connections, report.bytes), (20, 0, 4, 40));
        assert!(report.latency_us.is_some() && report.ttft_us.is_none());
        serving.abort();
    }

    #[tokio::test]
    async fn a_connection_closed_while_idle_is_replaced_and_fails_nothing() {
        let (url, serving) = serve(ANSWER, 3).await;
        let report = load(Plan::new(&Options { concurrency: 1, ..twenty(&url) }).unwrap()).await;
        assert_eq!((report.ok, report.failed(), report.connections), (20, 0, 7));
        serving.abort();
    }

    #[tokio::test]
    async fn events_and_ends_of_streams_are_counted() {
        let stream = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            9\r\ndata: 1\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
        let (url, serving) = serve(stream, usize::MAX).await;
        let report = load(Plan::new(&Options { stream: true, ..twenty(&url) }).unwrap()).await;
        assert_eq!((report.ok, report.events, report.ended_streams), (20, 40, 20));
        assert!(report.ttft_us.is_some());
        serving.abort();
    }

    #[tokio::test]
    async fn a_stream_that_ends_with_an_error_is_told_apart_from_one_that_just_ends() {
        for (answer, ends) in [
            (&b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\ndata: {\"error\":0"[..], (3, 0, 3)),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ndata: 1\n\n", (3, 0, 0)),
        ] {
            let (url, serving) = serve(answer, usize::MAX).await;
            let options = Options { requests: Some(3), stream: true, ..twenty(&url) };
            let report = load(Plan::new(&options).unwrap()).await;
            assert_eq!((report.ok, report.ended_streams, report.broken_streams), ends);
            serving.abort();
        }
    }

    #[tokio::test]
    async fn answers_that_say_when_to_come_again_are_refusals() {
        let (url, serving) = serve(b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n", 9).await;
        let options = Options { requests: Some(3), pause: Some(Duration::ZERO), ..twenty(&url) };
        let report = load(Plan::new(&options).unwrap()).await;
        assert_eq!((report.ok, report.failed(), report.refusals), (0, 3, 3));
        assert!(report.refusal_us.is_some());
        serving.abort();
    }

    #[tokio::test]
    async fn failures_are_counted_by_kind() {
        for (answer, kind) in [
            (&b"HTTP/1.1 429 Slow\r\ncontent-length: 0\r\n\r\n"[..], "http_429"),
            (b"nonsense\r\n\r\n", "malformed"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", "closed"),
        ] {
            let (url, serving) = serve(answer, 1).await;
            let report = load(Plan::new(&Options { requests: Some(3), ..twenty(&url) }).unwrap()).await;
            assert_eq!((report.ok, report.errors), (0, [(kind.to_owned(), 3)].into()));
            serving.abort();
        }
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_ends_with_the_patience() {
        let (url, serving) = serve(b"", usize::MAX).await;
        let options = Options {
            requests: Some(2),
            duration: Duration::ZERO,
            ramp: Duration::from_millis(1),
            patience: Duration::from_millis(1),
            ..twenty(&url)
        };
        let report = load(Plan::new(&options).unwrap()).await;
        assert_eq!(report.ok, 0);
        assert!(report.failed() <= 2);
        serving.abort();
    }
}
