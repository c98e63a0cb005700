//! How long the gateway bears with clients that are slow, silent or idle.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::harness::{self, ALICE, Connection, DONE, Dialect, LAST, chat_body, chunk, head, request, without_retries};
use crate::http2::{Client, post, read};
use crate::leaving::connect;
use crate::ports::{FIRST, OK, PATH, STREAM, answer, assert_took, chat, on_pipes, seconds};

const BODY: &str = r#"{"stream":true,"model":"single"}"#;

/// A chunk with an event of a little more than so many bytes.
fn event(bytes: usize) -> String {
    String::from_utf8(chunk(harness::event(&"x".repeat(bytes)))).unwrap()
}

/// The chunks that end a stream.
fn end() -> String {
    String::from_utf8(chunk(DONE)).unwrap() + LAST
}

/// Sends events until the gateway takes no more; how many bytes it took.
async fn fill(upstream: &mut DuplexStream) -> usize {
    let mut written = 0;
    let filling = async {
        while upstream.write_all(event(4096).as_bytes()).await.is_ok() {
            written += 4096;
        }
    };
    timeout(seconds(1000), filling).await.expect("the request is never cancelled");
    written
}

#[tokio::test(start_paused = true)]
async fn a_client_over_http_2_that_takes_nothing_is_reset_and_its_request_cancelled() {
    on_pipes(
        |text| text,
        async |mut gate| {
            for window in [0, 1_000, 100_000] {
                let client = Client::with_window(gate.client().stream, window).await;
                let beginning = client.begin(post(PATH, &[("x-api-key", ALICE)], BODY));
                let serving = async {
                    let mut upstream = gate.asked(FIRST).await;
                    answer(&mut upstream, STREAM).await;
                    answer(&mut upstream, event(4096)).await;
                    upstream
                };
                let (response, mut upstream) = tokio::join!(beginning, serving);
                let start = Instant::now();
                let written = fill(&mut upstream).await;
                assert_took(start, seconds(60));
                assert!(written < 700_000, "{written} bytes were read for a client that takes nothing");
                assert!(!read(response.unwrap()).await.complete, "the stream is reset");
                // The connection is of use: an answer without a body needs no window.
                let head = http::Request::head("http://berry/health/live").body(Default::default()).unwrap();
                assert_eq!(client.begin(head).await.unwrap().status(), 200);
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_over_http_2_that_waits_for_a_silent_upstream_is_not_taken_for_a_stalled_one() {
    let change = |text: String| text.replace("[settings]\n", "[settings]\nstream_idle_timeout_seconds = 250\n");
    on_pipes(change, async |mut gate| {
        let client = Client::with_window(gate.client().stream, 100_000).await;
        let beginning = client.begin(post(PATH, &[("x-api-key", ALICE)], BODY));
        let serving = async {
            let mut upstream = gate.asked(FIRST).await;
            answer(&mut upstream, STREAM).await;
            answer(&mut upstream, event(10)).await;
            upstream
        };
        let (response, mut upstream) = tokio::join!(beginning, serving);
        sleep(seconds(200)).await;
        answer(&mut upstream, event(10) + &end()).await;
        let whole = read(response.unwrap()).await;
        let said = harness::event("xxxxxxxxxx").repeat(2) + DONE;
        assert!(whole.complete && whole.text() == said, "{}", whole.text());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_over_http_2_may_be_slow() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let client = Client::with_window(gate.client().stream, 16 * 1024).await;
            let beginning = client.begin(post(PATH, &[("x-api-key", ALICE)], BODY));
            let serving = async {
                let mut upstream = gate.asked(FIRST).await;
                answer(&mut upstream, STREAM).await;
                for _ in 0..20 {
                    answer(&mut upstream, event(10_000)).await;
                }
                answer(&mut upstream, end()).await;
                upstream
            };
            let reading = async {
                let mut body = beginning.await.unwrap().into_body();
                let mut bytes = 0;
                while let Some(frame) = body.frame().await {
                    let length = frame.expect("the stream was cut").into_data().unwrap_or_default().len();
                    bytes += length;
                    // Five hundred bytes a second.
                    sleep(Duration::from_millis(2 * length as u64)).await;
                }
                bytes
            };
            let (bytes, _upstream) = tokio::join!(reading, serving);
            assert_eq!(bytes, 20 * harness::event(&"x".repeat(10_000)).len() + DONE.len());
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_socket_takes_nothing_is_dropped_whatever_it_speaks() {
    on_pipes(
        |text| text,
        async |mut gate| {
            // Over HTTP/2 a ping that is not answered tells it earlier.
            for (protocol, is_tls, limit) in
                [("http/1.1", false, 60), ("http/1.1", true, 60), ("h2", false, 20), ("h2", true, 20)]
            {
                let (io, line) = connect(&gate, is_tls, protocol.as_bytes()).await;
                let asking = tokio::task::spawn_local(async move {
                    if protocol == "h2" {
                        let client = Client::over(io).await;
                        let _response = client.begin(post(PATH, &[("x-api-key", ALICE)], BODY)).await;
                        return std::future::pending().await;
                    }
                    let mut client = Connection::over(io);
                    client.send(request(PATH, &[("x-api-key", ALICE)], BODY)).await;
                    client.stream.flush().await.unwrap();
                    std::future::pending::<()>().await;
                });
                let mut upstream = gate.asked(FIRST).await;
                line.deafen();
                answer(&mut upstream, STREAM).await;
                let start = Instant::now();
                fill(&mut upstream).await;
                assert!(start.elapsed() <= seconds(limit), "{protocol}, TLS {is_tls}: {:?}", start.elapsed());
                asking.abort();
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_over_http_2_that_is_never_taken_holds_no_connection_open() {
    on_pipes(
        |text| text,
        async |gate| {
            let client = Client::with_window(gate.client().stream, 10).await;
            let start = Instant::now();
            let get = http::Request::get("http://berry/health").body(Default::default()).unwrap();
            let _untaken = client.begin(get).await.unwrap();
            let _ = client.connection.await.unwrap();
            assert_took(start, seconds(80));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_agreed_on_http_2_must_speak_it_within_ten_seconds() {
    on_pipes(
        |text| text,
        async |gate| {
            for beginning in ["", "PRI * HTTP/2.0\r\n"] {
                let start = Instant::now();
                let (io, _line) = connect(&gate, true, b"h2").await;
                let mut client = Connection::over(io);
                client.patience = seconds(1000);
                client.send(beginning).await;
                assert_eq!(client.stream.read(&mut [0]).await.unwrap_or(0), 0);
                assert_took(start, seconds(10));
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_over_http_2_without_streams_is_closed_when_it_has_been_idle() {
    on_pipes(
        |text| text,
        async |mut gate| {
            for requests in [0, 1] {
                let client = Client::over(gate.client().stream).await;
                for _ in 0..requests {
                    let asking = client.post(PATH, &[("x-api-key", ALICE)], chat_body("single"));
                    let serving = async {
                        let mut upstream = gate.asked(FIRST).await;
                        sleep(seconds(1)).await;
                        answer(&mut upstream, OK.replace("content-length", "connection: close\r\ncontent-length"))
                            .await;
                    };
                    assert_eq!(tokio::join!(asking, serving).0.status, 200);
                }
                let start = Instant::now();
                client.connection.await.unwrap().unwrap();
                assert_took(start, seconds(75));
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_408() {
    on_pipes(
        |text| text,
        async |gate| {
            for (fields, piece) in [(("content-length", "500"), "x"), (("transfer-encoding", "chunked"), "1\r\nx\r\n")]
            {
                let mut client = gate.client();
                client.send(head("POST", PATH, &[("x-api-key", ALICE), fields], None)).await;
                for _ in 0..31 {
                    client.send(piece).await;
                    sleep(seconds(1)).await;
                }
                assert_eq!(client.response().await.status, 408, "{}", fields.0);
            }
        },
    )
    .await;
}

/// A body of a byte every seven seconds, without an end.
struct Trickle(Pin<Box<Sleep>>);

impl Body for Trickle {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        ready!(self.0.as_mut().poll(cx));
        self.0 = Box::pin(sleep(seconds(7)));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_over_http_2_that_trickles_is_408() {
    on_pipes(
        |text| text,
        async |gate| {
            let start = Instant::now();
            let io = TokioIo::new(gate.client().stream);
            let (mut sender, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            let trickle = http::Request::post(format!("http://berry{PATH}")).header("x-api-key", ALICE);
            let trickle = trickle.body(Trickle(Box::pin(sleep(seconds(0))))).unwrap();
            let answer = read(sender.send_request(trickle).await.unwrap()).await;
            Dialect::OpenAi.assert_told(&answer, "request_timeout", "a trickle");
            assert!(start.elapsed() >= seconds(30) && start.elapsed() < seconds(31), "{:?}", start.elapsed());
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_on_a_slow_link_is_taken() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let mut client = gate.client();
            let body = format!(r#"{{"model":"single","x":"{}"}}"#, "y".repeat(60_000));
            client.send(head("POST", PATH, &[("x-api-key", ALICE)], Some(body.len()))).await;
            let sending = async {
                for piece in body.as_bytes().chunks(1_000) {
                    client.send(piece).await;
                    sleep(seconds(3)).await;
                }
                client.response().await
            };
            let serving = async { answer(&mut gate.asked(FIRST).await, OK).await };
            assert_eq!(tokio::join!(sending, serving).0.status, 200);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_has_just_connected_when_a_drain_begins_is_told_and_who_says_nothing_does_not_hold_it_up() {
    on_pipes(without_retries, async |gate| {
        let (mut asks, mut silent, mut served) = (gate.client(), gate.client(), gate.client());
        served.send("GET /health/live HTTP/1.1\r\nhost: b\r\n\r\n").await;
        assert_eq!(served.response().await.status, 200);
        sleep(seconds(1)).await;
        gate.gateway.advance(berry_proxy::Phase::Draining);
        gate.worker.wake_all();
        let begun = Instant::now();
        assert!(served.is_closed().await, "it has had its answer");
        assert_took(begun, seconds(0));
        chat(&mut asks, "single").await;
        Dialect::OpenAi.assert_told(&asks.response().await, "shutdown", "it was there in time");
        assert!(silent.is_closed().await);
        assert_took(begun, seconds(1));
    })
    .await;
}
