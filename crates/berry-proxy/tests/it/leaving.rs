//! Clients that leave: whenever and however they do, their request is cancelled upstream at once (failure model, R4).

use std::sync::Arc;
use std::time::Duration;

use berry_proxy::ports::{Incoming, Io};
use berry_proxy::serve_connection;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, duplex, split};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::harness::{ALICE, Connection, request};
use crate::http2::{Client, post};
use crate::ports::{FIRST, Gate, PATH, STREAM, answer, on_pipes};

/// A line between a client and the gateway that a test can cut.
pub(crate) struct Line {
    fin: Option<oneshot::Sender<()>>,
    there: JoinHandle<()>,
    back: JoinHandle<()>,
}

impl Line {
    /// A new one: what the client speaks through, and the line itself.
    pub(crate) fn to(gate: &Gate, tls: Option<TlsAcceptor>) -> (DuplexStream, Self) {
        let ((near, middle), (ours, theirs)) = (duplex(1024), duplex(1024));
        let incoming = Incoming { peer: ([127, 0, 0, 1], 5).into(), open: Box::new(move || Ok(Box::new(theirs))) };
        tokio::task::spawn_local(serve_connection(gate.worker.clone(), incoming, tls));
        let ((mut from_client, mut to_client), (mut from_gateway, mut to_gateway)) = (split(middle), split(ours));
        let (fin, fins) = oneshot::channel();
        let there = tokio::task::spawn_local(async move {
            tokio::select! { _ = copy(&mut from_client, &mut to_gateway) => {}, Ok(()) = fins => {} }
            to_gateway.shutdown().await.unwrap_or_default();
            // Not closed: the client may still read.
            std::future::pending::<()>().await;
        });
        let back = tokio::task::spawn_local(async move {
            copy(&mut from_gateway, &mut to_client).await.unwrap_or_default();
            to_client.shutdown().await.unwrap_or_default();
        });
        (near, Self { fin: Some(fin), there, back })
    }

    /// Ends the client's side alone.
    fn fin(&mut self) {
        self.fin.take().unwrap().send(()).unwrap();
    }

    /// Takes nothing more for the client.
    pub(crate) fn deafen(&self) {
        self.back.abort();
    }

    /// Ends both.
    fn close(&self) {
        self.there.abort();
        self.back.abort();
    }
}

/// TLS for the gateway, and for clients that trust it and want this protocol.
pub(crate) fn tls(protocol: &[u8]) -> (TlsAcceptor, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let chain: Vec<CertificateDer<'static>> = vec![made.cert.der().clone()];
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut server = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    server.alpn_protocols = vec![protocol.to_vec()];
    client.alpn_protocols = vec![protocol.to_vec()];
    (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)))
}

/// A client's connection over a line, with TLS if it shall be.
pub(crate) async fn connect(gate: &Gate, is_tls: bool, protocol: &[u8]) -> (Io, Line) {
    if !is_tls {
        let (near, line) = Line::to(gate, None);
        return (Box::new(near), line);
    }
    let (acceptor, connector) = tls(protocol);
    let (near, line) = Line::to(gate, Some(acceptor));
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), near).await.unwrap();
    (Box::new(stream), line)
}

/// How far an answer has come when the client leaves.
const MOMENTS: [(&str, &[&str]); 4] = [
    ("before the head", &[]),
    ("before the first byte", &[STREAM]),
    ("within a stream", &[STREAM, "9\r\ndata: 1\n\n\r\n"]),
    (
        "within a plain answer",
        &["HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n", "{\"a\":"],
    ),
];

/// The provider's side of a request whose answer has come so far.
async fn begun(gate: &mut Gate, texts: &[&str]) -> DuplexStream {
    let mut upstream = gate.asked(FIRST).await;
    for text in texts {
        answer(&mut upstream, text).await;
    }
    // Paused time passes only once the gateway has done what there is to do.
    tokio::time::sleep(Duration::from_millis(1)).await;
    upstream
}

async fn assert_cancelled(mut upstream: DuplexStream, since: Instant, case: &str) {
    assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0, "{case}");
    assert!(since.elapsed() <= Duration::from_millis(100), "{case}: after {:?}", since.elapsed());
}

async fn disconnects(gate: &Gate) -> usize {
    let mut client = gate.client();
    client.send("GET /metrics HTTP/1.1\r\nhost: b\r\n\r\n").await;
    let text = client.response().await.text();
    let count =
        text.lines().find_map(|line| line.strip_prefix("berry_client_disconnects_total{service=\"berry-api\"} "));
    count.unwrap().parse().unwrap()
}

const BODIES: [&str; 2] = [r#"{"stream":true,"model":"single"}"#, r#"{"model":"single"}"#];

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_over_http_1_is_gone_at_once() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let mut left = 0;
            for (is_tls, way) in
                [(false, "close"), (false, "fin"), (true, "close"), (true, "fin"), (true, "close_notify")]
            {
                for (moment, texts) in MOMENTS {
                    for body in BODIES {
                        let (io, mut line) = connect(&gate, is_tls, b"http/1.1").await;
                        let mut client = Connection::over(io);
                        client.send(request(PATH, &[("x-api-key", ALICE)], body)).await;
                        client.stream.flush().await.unwrap();
                        let upstream = begun(&mut gate, texts).await;
                        let start = Instant::now();
                        match way {
                            "close" => line.close(),
                            "fin" => line.fin(),
                            _ => client.stream.shutdown().await.unwrap(),
                        }
                        assert_cancelled(upstream, start, &format!("{way} {moment}, TLS: {is_tls}")).await;
                        left += 1;
                    }
                }
            }
            assert_eq!(disconnects(&gate).await, left);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_over_http_2_is_gone_at_once() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let mut left = 0;
            for (is_tls, way) in
                [false, true].into_iter().flat_map(|tls| ["close", "fin", "reset"].map(|way| (tls, way)))
            {
                for (moment, texts) in MOMENTS {
                    for body in BODIES {
                        let (io, mut line) = connect(&gate, is_tls, b"h2").await;
                        let client = std::rc::Rc::new(Client::over(io).await);
                        let asking = client.clone();
                        let asked = tokio::task::spawn_local(async move {
                            let _response = asking.begin(post(PATH, &[("x-api-key", ALICE)], body)).await;
                            std::future::pending::<()>().await;
                        });
                        let upstream = begun(&mut gate, texts).await;
                        let start = Instant::now();
                        match way {
                            "close" => line.close(),
                            "fin" => line.fin(),
                            _ => asked.abort(),
                        }
                        assert_cancelled(upstream, start, &format!("{way} {moment}, TLS: {is_tls}")).await;
                        left += 1;
                    }
                }
            }
            assert_eq!(disconnects(&gate).await, left);
        },
    )
    .await;
}
