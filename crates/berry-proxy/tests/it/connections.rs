//! Connections to providers: how many there are, when they are shared or used again, and when they are closed.

use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use berry_proxy::net::SystemClock;
use berry_proxy::ports::{Address, Clock, ConnectFault, Connected, Connector, Incoming as Accepted, PortFuture};
use berry_proxy::{Gateway, Live, Workers, WorkersOptions};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::harness::{ALICE, Connection, Dialect, chat_body, pair, request, snapshot, within, without_retries};
use crate::ports::{FIRST, Gate, OK, URLS, Way, answer, chat, on_pipes};
use crate::upstream_tls::Identity;

const PATH: &str = "/v1/chat/completions";

/// A provider that speaks HTTP/2 on pipes, with two streams at once on a connection.
#[derive(Clone)]
struct Provider {
    acceptor: TlsAcceptor,
    /// Each request takes a permit before it is answered.
    door: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
    waiting: Arc<AtomicUsize>,
    reply: Arc<Mutex<fn() -> Reply>>,
}

type Reply = Result<Response<Full<Bytes>>, std::io::Error>;

fn plain() -> Reply {
    Ok(Response::new(Full::new(Bytes::from_static(b"{}"))))
}

fn reset() -> Reply {
    Err(std::io::ErrorKind::ConnectionReset.into())
}

fn giant() -> Reply {
    let builder = (0..10).fold(Response::builder(), |builder, i| builder.header(format!("x-{i}"), "y".repeat(4000)));
    Ok(builder.body(Full::default()).unwrap())
}

impl Provider {
    fn new(identity: &Identity) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = vec![CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            door: Arc::new(Semaphore::new(1000)),
            asked: Arc::default(),
            waiting: Arc::default(),
            reply: Arc::new(Mutex::new(plain)),
        }
    }

    /// Serves a connection until it ends.
    fn serve(&self, stream: DuplexStream) -> JoinHandle<()> {
        let provider = self.clone();
        tokio::spawn(async move {
            let stream = provider.acceptor.accept(stream).await.unwrap();
            let service = service_fn(move |request| provider.clone().handle(request));
            let mut builder = Builder::new(TokioExecutor::new());
            let _ = builder.max_concurrent_streams(2).serve_connection(TokioIo::new(stream), service).await;
        })
    }

    async fn handle(self, request: Request<Incoming>) -> Reply {
        self.asked.fetch_add(1, Relaxed);
        request.into_body().collect().await.unwrap();
        self.waiting.fetch_add(1, Relaxed);
        self.door.acquire().await.unwrap().forget();
        self.waiting.fetch_sub(1, Relaxed);
        let reply = *self.reply.lock().unwrap();
        reply()
    }

    fn replies(&self, reply: fn() -> Reply) {
        *self.reply.lock().unwrap() = reply;
    }
}

/// Runs a test on a gateway whose first provider speaks HTTP/2 by TLS.
async fn on_h2(folder: &str, test: impl AsyncFnOnce(Gate, Provider)) {
    let identity = Identity::new(folder);
    let provider = Provider::new(&identity);
    let lines = format!("[providers.first]\ntimeout_seconds = 1\n{}\n", identity.trusted(""));
    let change = |text: String| {
        without_retries(text).replace(URLS[0], "https://localhost:1001").replace("[providers.first]\n", &lines)
    };
    on_pipes(change, async |gate| test(gate, provider).await).await;
}

/// Serves the connections that have been opened by now.
async fn serve_opened(gate: &mut Gate, provider: &Provider) -> Vec<JoinHandle<()>> {
    settle().await;
    let mut served = Vec::new();
    while let Ok((port, stream)) = gate.opened.try_recv() {
        assert_eq!(port, FIRST);
        served.push(provider.serve(stream));
        settle().await;
    }
    served
}

/// Lets everything happen that needs no more than a moment of the paused clock.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// So many requests, each on a client connection of its own.
async fn ask(gate: &Gate, count: usize) -> Vec<Connection<DuplexStream>> {
    let mut clients: Vec<_> = (0..count).map(|_| gate.client()).collect();
    for client in &mut clients {
        chat(client, "single").await;
    }
    settle().await;
    clients
}

async fn all_answered(clients: Vec<Connection<DuplexStream>>) {
    for mut client in clients {
        assert_eq!(client.response().await.status, 200);
    }
}

/// One request, so that the gateway knows what the provider speaks. Gives the connection that it went over.
async fn warm_up(gate: &mut Gate, provider: &Provider) -> JoinHandle<()> {
    let clients = ask(gate, 1).await;
    let connection = serve_opened(gate, provider).await.pop().unwrap();
    all_answered(clients).await;
    connection
}

#[tokio::test(start_paused = true)]
async fn a_request_never_waits_behind_a_full_http2_connection() {
    on_h2("full", async |mut gate, provider| {
        let first = warm_up(&mut gate, &provider).await;
        provider.door.forget_permits(1000);
        let clients = ask(&gate, 5).await;
        let more = serve_opened(&mut gate, &provider).await;
        assert_eq!((more.len(), provider.waiting.load(Relaxed)), (2, 5), "two on each, and one on the third");
        provider.door.add_permits(1000);
        all_answered(clients).await;
        all_answered(ask(&gate, 6).await).await;
        assert!(serve_opened(&mut gate, &provider).await.is_empty(), "all three serve on");
        assert!(!first.is_finished());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_were_opened_at_once_before_http2_was_agreed_are_closed_but_for_one() {
    on_h2("burst", async |mut gate, provider| {
        let clients = ask(&gate, 4).await;
        let served = serve_opened(&mut gate, &provider).await;
        all_answered(clients).await;
        settle().await;
        assert_eq!((served.len(), served.iter().filter(|connection| !connection.is_finished()).count()), (4, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_find_their_http2_connection_gone_share_a_fresh_one() {
    on_h2("gone", async |mut gate, provider| {
        let first = warm_up(&mut gate, &provider).await;
        first.abort();
        settle().await;
        let clients = ask(&gate, 2).await;
        assert_eq!(serve_opened(&mut gate, &provider).await.len(), 1);
        all_answered(clients).await;
        assert_eq!(provider.asked.load(Relaxed), 3);
    })
    .await;
}

/// More requests than a fresh connection takes, which the provider says only when they are there.
#[tokio::test(start_paused = true)]
async fn what_a_fresh_http2_connection_refuses_goes_out_once_more() {
    on_h2("refused", async |mut gate, provider| {
        warm_up(&mut gate, &provider).await.abort();
        settle().await;
        let clients = ask(&gate, 5).await;
        while !serve_opened(&mut gate, &provider).await.is_empty() {}
        all_answered(clients).await;
        let mut client = gate.client();
        client.send("GET /metrics HTTP/1.1\r\nhost: b\r\n\r\n").await;
        let metrics = client.response().await.text();
        let failed = |line: &str| line.starts_with("berry_upstream_attempts_total") && line.contains("network_error");
        assert!(!metrics.lines().any(failed), "{metrics}");
    })
    .await;
}

/// Else one connection that fails would take a backend out, which two in a row do.
#[tokio::test(start_paused = true)]
async fn a_connection_that_fails_for_several_requests_counts_once() {
    on_h2("several", async |mut gate, provider| {
        warm_up(&mut gate, &provider).await.abort();
        settle().await;
        gate.set(FIRST, Way::Never);
        for mut client in ask(&gate, 3).await {
            Dialect::OpenAi.assert_told(&client.response().await, "upstream_connect", "none comes");
        }
        let mut client = gate.client();
        client.send("GET /metrics HTTP/1.1\r\nhost: b\r\n\r\n").await;
        let metrics = client.response().await.text();
        let counted = |outcome: &str| {
            let label = format!("outcome=\"{outcome}\"}} ");
            let of_first =
                |line: &&str| line.starts_with("berry_upstream_attempts_total") && line.contains("\"first\"");
            let line = metrics.lines().filter(of_first).find_map(|line| line.split_once(&label));
            line.map(|(_, count)| count.to_owned())
        };
        assert_eq!([counted("network_error").as_deref(), counted("cancelled").as_deref()], [Some("1"), Some("2")]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_on_an_http2_connection_that_is_lost_go_out_once_more() {
    on_h2("lost", async |mut gate, provider| {
        let first = warm_up(&mut gate, &provider).await;
        provider.door.forget_permits(1000);
        let clients = ask(&gate, 2).await;
        assert_eq!(provider.waiting.load(Relaxed), 2);
        first.abort();
        assert_eq!(serve_opened(&mut gate, &provider).await.len(), 1, "both on one");
        provider.door.add_permits(1000);
        all_answered(clients).await;
        assert_eq!(provider.asked.load(Relaxed), 5);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_the_provider_resets_is_not_sent_once_more() {
    on_h2("reset", async |mut gate, provider| {
        warm_up(&mut gate, &provider).await;
        provider.replies(reset);
        let told = ask(&gate, 1).await[0].response().await;
        Dialect::OpenAi.assert_told(&told, "upstream_disconnected", "a reset");
        assert_eq!(provider.asked.load(Relaxed), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_http2_connection_is_closed() {
    on_h2("idle", async |mut gate, provider| {
        let worker = gate.worker.clone();
        let sweeper = tokio::task::spawn_local(async move { worker.sweep().await });
        let first = warm_up(&mut gate, &provider).await;
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert!(!first.is_finished(), "it is kept for 60 s");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(first.is_finished());
        let second = warm_up(&mut gate, &provider).await;
        provider.door.forget_permits(1000);
        let clients = ask(&gate, 1).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(!second.is_finished(), "a busy one is not idle");
        provider.door.add_permits(1000);
        all_answered(clients).await;
        sweeper.abort();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn idle_connections_to_an_address_that_the_name_no_longer_has_are_closed() {
    on_h2("moved", async |mut gate, provider| {
        let worker = gate.worker.clone();
        let sweeper = tokio::task::spawn_local(async move { worker.sweep().await });
        let first = warm_up(&mut gate, &provider).await;
        gate.set(FIRST, Way::Moved);
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(first.is_finished());
        sweeper.abort();
    })
    .await;
    on_pipes(
        |text| text,
        async |mut gate| {
            let worker = gate.worker.clone();
            let sweeper = tokio::task::spawn_local(async move { worker.sweep().await });
            let mut client = gate.client();
            chat(&mut client, "single").await;
            let mut upstream = gate.asked(FIRST).await;
            answer(&mut upstream, OK).await;
            assert_eq!(client.response().await.status, 200);
            gate.set(FIRST, Way::Moved);
            tokio::time::sleep(Duration::from_secs(6)).await;
            assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0);
            sweeper.abort();
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_giant_head_over_http2_is_a_bad_answer() {
    on_h2("giant", async |mut gate, provider| {
        provider.replies(giant);
        let mut clients = ask(&gate, 1).await;
        let connection = serve_opened(&mut gate, &provider).await;
        let told = clients[0].response().await;
        Dialect::OpenAi.assert_told(&told, "upstream_bad_response", "40 KB of fields");
        assert!(!connection[0].is_finished(), "others on the connection are left alone");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_request_was_answered_before_it_had_gone_out_is_not_used_again() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let mut client = gate.client();
            let body = format!(r#"{{"model":"single","x":"{}"}}"#, "y".repeat(900_000));
            let sending = client.send(request(PATH, &[("x-api-key", ALICE)], &body));
            let serving = async {
                let (_, mut upstream) = gate.opened.recv().await.unwrap();
                answer(&mut upstream, OK).await;
                upstream
            };
            let ((), _upstream) = tokio::join!(sending, serving);
            assert_eq!(client.response().await.status, 200);
            client.send(request(PATH, &[("x-api-key", ALICE)], &chat_body("single"))).await;
            answer(&mut gate.asked(FIRST).await, OK).await;
            assert_eq!(client.response().await.status, 200, "on a second connection");
        },
    )
    .await;
}

/// Told once a connection is waited for that hangs in the system.
static HANGS: Semaphore = Semaphore::const_new(0);

/// A connector that hangs as a lookup of a name can.
struct Hanging;

impl Connector for Hanging {
    fn connect<'a>(&'a self, _: Address<'a>) -> PortFuture<'a, Result<Connected, ConnectFault>> {
        Box::pin(async {
            let hanging = tokio::task::spawn_blocking(|| {
                HANGS.add_permits(1);
                loop {
                    std::thread::park();
                }
            });
            hanging.await.map_err(|_| ConnectFault::Resolve)
        })
    }
}

#[tokio::test]
async fn a_call_that_hangs_in_the_system_does_not_keep_a_worker_from_ending() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let live = Arc::new(Live::default());
    let gateway = Gateway::new(snapshot(&pair(URLS), &live, clock.now()), live, clock.clone());
    let options = WorkersOptions {
        threads: 1,
        tls: None,
        seed: 1,
        connector: || Rc::new(Hanging),
        open_files: 1 << 20,
        checks: false,
    };
    let workers = Workers::start(&gateway, &clock, &options).unwrap();
    let (ours, theirs) = duplex(64 * 1024);
    workers.serve(Accepted { peer: ([127, 0, 0, 1], 5).into(), open: Box::new(move || Ok(Box::new(theirs))) });
    chat(&mut Connection::over(ours), "single").await;
    within(HANGS.acquire()).await.unwrap().forget();
    within(tokio::task::spawn_blocking(move || workers.stop())).await.unwrap();
}
