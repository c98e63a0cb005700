//! The assembled gateway on pipes in memory and tokio's paused clock: what depends on time takes none, and ends to the second.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use berry_proxy::net::SystemClock;
use berry_proxy::ports::{Address, Clock, ConnectFault, Connected, Connector, Incoming, Io, PortFuture};
use berry_proxy::{Gateway, Live, Worker, serve_connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::fragile::Fragile;
use crate::http2::Client;

use crate::harness::{
    ALICE, Connection, DIALECTS, DONE, Dialect, LAST, Response, chat_body, chunk, event, pair, request, snapshot,
    without_retries,
};

pub(crate) const PATH: &str = "/v1/chat/completions";

/// Ports of the fixture's providers; what they mean is the connector's to say.
pub(crate) const FIRST: u16 = 1001;
pub(crate) const SECOND: u16 = 1002;
pub(crate) const URLS: [&str; 4] =
    ["http://127.0.0.1:1001", "http://127.0.0.1:1002", "http://127.0.0.1:1003", "http://127.0.0.1:1004"];

/// How connections to a provider fare.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    Panic,
    Never,
    /// They open, and what is idle leads to an address that the name no longer has.
    Moved,
}

/// A connector whose connections end in the test.
struct Pipes {
    opened: mpsc::UnboundedSender<(u16, DuplexStream)>,
    ways: Rc<RefCell<Vec<(u16, Way)>>>,
}

impl Connector for Pipes {
    fn connect<'a>(&'a self, to: Address<'a>) -> PortFuture<'a, Result<Connected, ConnectFault>> {
        let way = self.way(to.port);
        Box::pin(async move {
            match way {
                Way::Open | Way::Moved => {}
                Way::Panic => panic!("a connector that panics, on purpose of a test"),
                Way::Never => std::future::pending().await,
            }
            let (ours, theirs) = duplex(64 * 1024);
            self.opened.send((to.port, theirs)).map_err(|_| ConnectFault::Refused)?;
            Ok(Connected { io: Box::new(Fragile(ours)), peer: Some([127, 0, 0, 1].into()) })
        })
    }

    fn is_current(&self, to: Address<'_>, _: IpAddr) -> bool {
        self.way(to.port) != Way::Moved
    }
}

impl Pipes {
    fn way(&self, port: u16) -> Way {
        self.ways.borrow().iter().find(|(of, _)| *of == port).map_or(Way::Open, |(_, way)| *way)
    }
}

/// A gateway of one worker on the test's own thread.
pub(crate) struct Gate {
    pub(crate) worker: Rc<Worker>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) opened: mpsc::UnboundedReceiver<(u16, DuplexStream)>,
    ways: Rc<RefCell<Vec<(u16, Way)>>>,
}

/// Runs a test on a gateway with the fixture file, changed.
pub(crate) async fn on_pipes(change: impl FnOnce(String) -> String, test: impl AsyncFnOnce(Gate)) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let live = Arc::new(Live::default());
    let gateway = Gateway::new(snapshot(&change(pair(URLS)), &live, clock.now()), live, clock.clone());
    let (sender, opened) = mpsc::unbounded_channel();
    let ways = Rc::new(RefCell::new(Vec::new()));
    let connector = Rc::new(Pipes { opened: sender, ways: ways.clone() });
    let worker = Worker::new(gateway.clone(), connector, clock, 1);
    LocalSet::new().run_until(test(Gate { worker, gateway, opened, ways })).await;
}

impl Gate {
    /// A client's connection, over a pipe that holds so many bytes.
    pub(crate) fn client_with(&self, room: usize) -> Connection<DuplexStream> {
        self.client_through(room, |theirs| Box::new(theirs))
    }

    /// The same, with something between the pipe and the gateway.
    pub(crate) fn client_through(
        &self,
        room: usize,
        between: impl FnOnce(DuplexStream) -> Io + Send + 'static,
    ) -> Connection<DuplexStream> {
        let (ours, theirs) = duplex(room);
        self.serve([127, 0, 0, 1].into(), Box::new(move || Ok(between(theirs))));
        let mut connection = Connection::over(ours);
        // In virtual time, which costs nothing.
        connection.patience = Duration::from_secs(100_000);
        connection
    }

    /// A connection from an address.
    pub(crate) fn stream_from(&self, peer: IpAddr) -> DuplexStream {
        let (ours, theirs) = duplex(64 * 1024);
        self.serve(peer, Box::new(move || Ok(Box::new(theirs))));
        ours
    }

    fn serve(&self, peer: IpAddr, open: Box<dyn FnOnce() -> std::io::Result<Io> + Send>) {
        let incoming = Incoming { peer: (peer, 5).into(), open };
        tokio::task::spawn_local(serve_connection(self.worker.clone(), incoming, None));
    }

    pub(crate) fn client(&self) -> Connection<DuplexStream> {
        self.client_with(64 * 1024)
    }

    /// The next connection to a provider, once a whole request has come on it.
    pub(crate) async fn asked(&mut self, port: u16) -> DuplexStream {
        let (to, mut stream) = self.opened.recv().await.unwrap();
        assert_eq!(to, port);
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"}") {
            assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
        }
        stream
    }

    pub(crate) fn set(&self, port: u16, way: Way) {
        self.ways.borrow_mut().retain(|(other, _)| *other != port);
        self.ways.borrow_mut().push((port, way));
    }
}

pub(crate) async fn chat(client: &mut Connection<DuplexStream>, model: &str) {
    client.send(request(PATH, &[("x-api-key", ALICE)], &chat_body(model))).await;
}

pub(crate) async fn answer(stream: &mut DuplexStream, text: impl AsRef<[u8]>) {
    stream.write_all(text.as_ref()).await.unwrap();
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
pub(crate) const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Tokio's clock ticks in milliseconds.
pub(crate) fn assert_took(since: Instant, expected: Duration) {
    let took = since.elapsed();
    assert!(took >= expected && took <= expected + Duration::from_millis(5), "{took:?} instead of {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_never_answers_is_504_after_the_request_timeout() {
    on_pipes(without_retries, async |mut gate| {
        let start = Instant::now();
        for (dialect, port) in DIALECTS.into_iter().zip([FIRST, 1003, 1004]) {
            let start = Instant::now();
            let mut client = gate.client();
            client.send(request(dialect.path(), &[("x-api-key", ALICE)], dialect.body())).await;
            let mut held = gate.asked(port).await;
            dialect.assert_told(&client.response().await, "upstream_timeout", "never an answer");
            assert_took(start, seconds(2));
            assert_eq!(held.read(&mut [0]).await.unwrap(), 0, "the request is given up, upstream too");
        }
        assert_took(start, seconds(6));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_head_without_a_body_does_not_hold_the_timeout_off() {
    on_pipes(without_retries, async |mut gate| {
        let start = Instant::now();
        let mut client = gate.client();
        chat(&mut client, "single").await;
        let mut held = gate.asked(FIRST).await;
        answer(&mut held, STREAM).await;
        assert_eq!(client.response().await.status, 504);
        assert_took(start, seconds(2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_next_backend_answers_for_one_that_is_too_slow() {
    on_pipes(without_retries, async |mut gate| {
        let start = Instant::now();
        let mut client = gate.client();
        chat(&mut client, "chat").await;
        let _held = gate.asked(FIRST).await;
        let mut second = gate.asked(SECOND).await;
        assert_took(start, seconds(2));
        answer(&mut second, OK).await;
        let response = client.response().await;
        assert_eq!((response.status, response.field("berry-attempts")), (200, Some("2")));
        assert_eq!(response.field("berry-backend"), Some("second/gpt-second"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_setting_streams_wait_two_minutes_and_plain_answers_ten() {
    let change = |text: String| without_retries(text).replace("request_timeout_seconds = 2\n", "");
    on_pipes(change, async |mut gate| {
        for (stream, limit) in [("true", 120), ("false", 600)] {
            let start = Instant::now();
            let mut client = gate.client();
            let body = format!(r#"{{"model":"single","stream":{stream}}}"#);
            client.send(request(PATH, &[("x-api-key", ALICE)], &body)).await;
            let _held = gate.asked(FIRST).await;
            assert_eq!(client.response().await.status, 504);
            assert_took(start, seconds(limit));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_nearest_timeout_wins() {
    let change = |text: String| {
        without_retries(text)
            .replace("[providers.first]\n", "[providers.first]\nrequest_timeout_seconds = 7\n")
            .replace("[models.same]\n", "[models.same]\nrequest_timeout_seconds = \"4s\"\n")
    };
    on_pipes(change, async |mut gate| {
        for (model, port, limit) in [("any-thing", SECOND, 2), ("single", FIRST, 7), ("gpt-4o", FIRST, 4)] {
            let start = Instant::now();
            let mut client = gate.client();
            chat(&mut client, model).await;
            let _held = gate.asked(port).await;
            assert_eq!(client.response().await.status, 504);
            assert_took(start, seconds(limit));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_takes_no_connection_is_given_up_after_its_timeout() {
    let change = |text: String| {
        without_retries(text)
            .replace("request_timeout_seconds = 2\n", "")
            .replace("[providers.first]\n", "[providers.first]\ntimeout_seconds = 3\n")
    };
    on_pipes(change, async |mut gate| {
        gate.set(FIRST, Way::Never);
        let start = Instant::now();
        let mut client = gate.client();
        chat(&mut client, "single").await;
        Dialect::OpenAi.assert_told(&client.response().await, "upstream_connect", "no connection");
        assert_took(start, seconds(3));
        chat(&mut client, "chat").await;
        let mut second = gate.asked(SECOND).await;
        assert_took(start, seconds(6));
        answer(&mut second, OK).await;
        assert_eq!(client.response().await.status, 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_spans_all_attempts() {
    let change = |text: String| {
        text.replace("request_timeout_seconds = 2\n", "request_timeout_seconds = 10\nrequest_deadline_seconds = 15\n")
    };
    on_pipes(change, async |mut gate| {
        let start = Instant::now();
        let mut client = gate.client();
        chat(&mut client, "chat").await;
        let _first = gate.asked(FIRST).await;
        let _second = gate.asked(SECOND).await;
        assert_took(start, seconds(10));
        let response = client.response().await;
        Dialect::OpenAi.assert_told(&response, "upstream_timeout", "the deadline");
        assert_eq!(response.field("berry-attempts"), Some("2"));
        assert_took(start, seconds(15));
    })
    .await;
}

/// A stream that says this, and then nothing.
async fn stall(gate: &mut Gate, client: &mut Connection<DuplexStream>, said: &str) -> (DuplexStream, Response) {
    chat(client, "single").await;
    let mut upstream = gate.asked(FIRST).await;
    answer(&mut upstream, STREAM).await;
    answer(&mut upstream, chunk(said)).await;
    (upstream, client.response().await)
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stalls_ends_with_an_error_event_after_the_idle_time() {
    let change = |text: String| text.replace("[settings]\n", "[settings]\nstream_idle_timeout_seconds = 30\n");
    on_pipes(change, async |mut gate| {
        let mut client = gate.client();
        // What has come of a further event never leaves.
        for partial in ["", "data: {\"choices\":"] {
            let start = Instant::now();
            let (mut upstream, response) = stall(&mut gate, &mut client, &(event("1") + partial)).await;
            assert_took(start, seconds(30));
            assert!(response.complete, "the end is clean");
            let text = response.text();
            let error = text.strip_prefix(&event("1")).unwrap();
            assert!(error.starts_with("data: {\"error\":") && error.contains("upstream_timeout"), "{error}");
            assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0, "the request is cancelled upstream");
        }
    })
    .await;
}

/// Some servers end the stream and forget the body: no client should wait for that.
#[tokio::test(start_paused = true)]
async fn a_body_that_stays_open_after_the_streams_own_end_is_ended_soon() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let mut client = gate.client();
            for pieces in [vec![event("1"), DONE.to_owned()], vec![event("1") + DONE]] {
                let start = Instant::now();
                chat(&mut client, "single").await;
                let mut upstream = gate.asked(FIRST).await;
                answer(&mut upstream, STREAM).await;
                for piece in &pieces {
                    answer(&mut upstream, chunk(piece)).await;
                    tokio::task::yield_now().await;
                }
                let response = client.response().await;
                assert_took(start, seconds(2));
                assert!(response.complete && response.text() == event("1") + DONE, "{}", response.text());
                assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0, "the connection is of no more use");
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stalls_within_an_event_too_large_to_hold_back_is_cut() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let start = Instant::now();
            let mut client = gate.client();
            let large = event(&"x".repeat(200_000));
            let said = event("1") + &large[..190_000];
            let stalling = async {
                let mut upstream = gate.asked(FIRST).await;
                answer(&mut upstream, STREAM).await;
                answer(&mut upstream, chunk(&said)).await;
                upstream
            };
            chat(&mut client, "single").await;
            let (response, _upstream) = tokio::join!(client.response(), stalling);
            assert_took(start, seconds(300));
            assert!(!response.complete && said.starts_with(&response.text()), "{}", response.body.len());
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_last_as_long_as_its_events_come() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let mut client = gate.client();
            chat(&mut client, "single").await;
            let mut upstream = gate.asked(FIRST).await;
            answer(&mut upstream, STREAM).await;
            for turn in 0..50 {
                answer(&mut upstream, chunk(event("1"))).await;
                if turn == 0 {
                    client.head().await.unwrap();
                }
                assert_eq!(client.chunk().await.unwrap(), event("1").as_bytes());
                tokio::time::advance(seconds(299)).await;
            }
            answer(&mut upstream, chunk(DONE)).await;
            answer(&mut upstream, LAST).await;
            assert_eq!(client.chunk().await.unwrap(), DONE.as_bytes());
            assert_eq!(client.chunk().await, Some(Vec::new()));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_whole_answer_may_have_a_limit() {
    let change = |text: String| text.replace("[settings]\n", "[settings]\nrequest_total_seconds = 100\n");
    on_pipes(change, async |mut gate| {
        let start = Instant::now();
        let mut client = gate.client();
        chat(&mut client, "single").await;
        let mut upstream = gate.asked(FIRST).await;
        answer(&mut upstream, STREAM).await;
        let feed = tokio::task::spawn_local(async move {
            while upstream.write_all(&chunk(event("1"))).await.is_ok() {
                tokio::time::sleep(seconds(1)).await;
            }
        });
        let response = client.response().await;
        assert_took(start, seconds(100));
        assert!(response.complete && response.text().contains("upstream_timeout"), "{}", response.text());
        feed.await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_408_after_ten_seconds() {
    on_pipes(
        |text| text,
        async |gate| {
            for text in ["G", "POST /v1/chat/completions HTTP/1.1\r\nhost: b\r\n", "GET / HTTP/1.1\r\nhost: b\r\n\r"] {
                let start = Instant::now();
                let mut client = gate.client();
                client.send(text).await;
                let response = client.response().await;
                assert_eq!((response.status, response.code().as_str()), (408, "request_timeout"));
                assert_eq!(response.field("connection"), Some("close"));
                assert_took(start, seconds(10));
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_in_is_408_after_ten_seconds_all_the_same() {
    on_pipes(
        |text| text,
        async |gate| {
            let start = Instant::now();
            let mut client = gate.client();
            for byte in "GET /health/live HTTP/1.1\r\n".bytes().take(9) {
                client.send([byte]).await;
                // Paused time passes only once the gateway has read the byte and waits again.
                tokio::time::sleep(seconds(1)).await;
            }
            assert_eq!(client.response().await.status, 408);
            assert_took(start, seconds(10));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_arriving_is_408() {
    on_pipes(
        |text| text,
        async |mut gate| {
            for fields in [("content-length", "50"), ("transfer-encoding", "chunked")] {
                let start = Instant::now();
                let mut client = gate.client();
                let head = crate::harness::head("POST", PATH, &[("x-api-key", ALICE), fields], None);
                client.send(head + "5\r\n{\"mod").await;
                let response = client.response().await;
                Dialect::OpenAi.assert_told(&response, "request_timeout", fields.0);
                assert_took(start, seconds(30));
            }
            assert!(gate.opened.try_recv().is_err(), "nothing is forwarded");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_without_a_word() {
    on_pipes(
        |text| text,
        async |gate| {
            for requests in [0, 1] {
                let mut client = gate.client();
                for _ in 0..requests {
                    client.send("GET /health/live HTTP/1.1\r\nhost: b\r\n\r\n").await;
                    assert_eq!(client.response().await.status, 200);
                }
                let start = Instant::now();
                assert!(client.is_closed().await);
                assert_took(start, seconds(75));
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_dropped_and_its_request_cancelled() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let mut client = gate.client_with(1024);
            chat(&mut client, "single").await;
            let mut upstream = gate.asked(FIRST).await;
            answer(&mut upstream, STREAM).await;
            let start = Instant::now();
            let event = chunk(event(&"x".repeat(4096)));
            while upstream.write_all(&event).await.is_ok() {}
            assert_took(start, seconds(60));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_behind_a_buffer_as_tls_has_is_dropped_too() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let mut client = gate.client_through(1024, |pipe| Box::new(BufWriter::with_capacity(64 * 1024, pipe)));
            chat(&mut client, "single").await;
            let mut upstream = gate.asked(FIRST).await;
            answer(&mut upstream, STREAM).await;
            let start = Instant::now();
            answer(&mut upstream, chunk(event(&"x".repeat(4096)))).await;
            // The upstream is silent from here on, and its own limit is far away.
            assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0, "the request is cancelled upstream");
            assert_took(start, seconds(60));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_few_bytes_at_a_time_gets_them_all() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let mut client = gate.client_with(7);
            let sending = async {
                chat(&mut client, "single").await;
                client.response().await
            };
            let serving = async {
                let mut upstream = gate.asked(FIRST).await;
                answer(&mut upstream, STREAM).await;
                for i in 0..200 {
                    answer(&mut upstream, chunk(event(&format!("{i:>150}")))).await;
                }
                answer(&mut upstream, chunk(DONE)).await;
                answer(&mut upstream, LAST).await;
                upstream
            };
            let (response, _upstream) = tokio::join!(sending, serving);
            let expected: String = (0..200).map(|i| event(&format!("{i:>150}"))).collect();
            assert!(response.complete && response.text() == expected + DONE);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_and_answers_may_come_byte_by_byte() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let mut client = gate.client_with(1);
            for _ in 0..3 {
                let sending = async {
                    chat(&mut client, "single").await;
                    client.response().await
                };
                let serving = async {
                    let mut upstream = gate.asked(FIRST).await;
                    for byte in OK.replace("content-length", "connection: close\r\ncontent-length").bytes() {
                        upstream.write_all(&[byte]).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                };
                let (response, ()) = tokio::join!(sending, serving);
                assert_eq!((response.status, response.text().as_str()), (200, "{}"));
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_one_request_is_500_and_leaves_the_others_alone() {
    on_pipes(
        |text| text,
        async |mut gate| {
            gate.set(FIRST, Way::Panic);
            let mut other = gate.client();
            chat(&mut other, "any-thing").await;
            let mut second = gate.asked(SECOND).await;
            for _ in 0..3 {
                let mut client = gate.client();
                client
                    .send(request(PATH, &[("x-api-key", ALICE), ("x-request-id", "mine")], &chat_body("single")))
                    .await;
                let response = client.response().await;
                Dialect::OpenAi.assert_told(&response, "internal", "a panic");
                assert_eq!(
                    (response.field("x-request-id"), response.field("connection")),
                    (Some("mine"), Some("close"))
                );
                assert!(client.is_closed().await);
            }
            answer(&mut second, OK).await;
            assert_eq!(other.response().await.status, 200, "the request in flight goes on");
            gate.set(FIRST, Way::Open);
            chat(&mut other, "single").await;
            answer(&mut gate.asked(FIRST).await, OK).await;
            assert_eq!(other.response().await.status, 200);
            other.send("GET /metrics HTTP/1.1\r\nhost: b\r\n\r\n").await;
            let metrics = other.response().await.text();
            assert!(metrics.contains("berry_panics_total{service=\"berry-api\"} 3\n"), "{metrics}");
            assert!(metrics.contains("berry_client_disconnects_total{service=\"berry-api\"} 0\n"), "{metrics}");
            let counted = |status| {
                let line = format!("route=\"{PATH}\",status=\"{status}\"}} ");
                metrics.lines().find_map(|l| l.split_once(&line)).map(|(_, count)| count.to_owned())
            };
            assert_eq!([counted(500).as_deref(), counted(499).as_deref()], [Some("3"), None], "each is counted once");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_over_http2_ends_its_own_stream_alone() {
    on_pipes(
        |text| text,
        async |mut gate| {
            gate.set(FIRST, Way::Panic);
            let client = Client::over(gate.client().stream).await;
            let waiting = client.post(PATH, &[("x-api-key", ALICE)], chat_body("any-thing"));
            let others = async {
                let mut second = gate.asked(SECOND).await;
                for _ in 0..2 {
                    let answer = client.post(PATH, &[("x-api-key", ALICE)], chat_body("single")).await;
                    Dialect::OpenAi.assert_told(&answer, "internal", "a panic");
                }
                answer(&mut second, OK).await;
            };
            let (answer, ()) = tokio::join!(waiting, others);
            assert_eq!(answer.status, 200);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tls_handshake_that_does_not_proceed_is_given_up_with_the_connection() {
    let change = |text: String| {
        without_retries(text)
            .replace(URLS[0], "https://localhost:1001")
            .replace("[providers.first]\n", "[providers.first]\ntimeout_seconds = 1\n")
    };
    on_pipes(change, async |mut gate| {
        let start = Instant::now();
        let mut client = gate.client();
        chat(&mut client, "single").await;
        let (_, mut stream) = gate.opened.recv().await.unwrap();
        Dialect::OpenAi.assert_told(&client.response().await, "upstream_connect", "no handshake");
        assert_took(start, seconds(1));
        let mut hello = Vec::new();
        stream.read_to_end(&mut hello).await.unwrap();
        assert_eq!(hello.first(), Some(&22), "a TLS handshake was begun, and the connection closed");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_noticed_at_once() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let start = Instant::now();
            let mut client = gate.client();
            chat(&mut client, "single").await;
            let mut upstream = gate.asked(FIRST).await;
            drop(client);
            assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0);
            assert_took(start, Duration::ZERO);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn interim_answers_are_passed_over_up_to_ten() {
    on_pipes(without_retries, async |mut gate| {
        for (count, status) in [(10, 200), (11, 502)] {
            let mut client = gate.client();
            chat(&mut client, "single").await;
            let mut upstream = gate.asked(FIRST).await;
            answer(&mut upstream, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(count)).await;
            answer(&mut upstream, OK.replace("content-length", "connection: close\r\ncontent-length")).await;
            assert_eq!(client.response().await.status, status, "{count}");
        }
    })
    .await;
}
