//! The listener's connections: HTTP/1.1 for operators, with limits on all that a stranger could hold open.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use berry_proxy::ports::{Incoming, Io, Listener};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// More wait in the system's backlog.
const MOST_CONNECTIONS: usize = 256;

/// For the TLS handshake; for a head, which is also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

const LARGEST_HEAD: usize = 16 * 1024;

/// TLS of the admin listener.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// The same as the data listener's, but for HTTP/2, which nobody needs here.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        let mut config = ServerConfig::clone(&config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(TlsAcceptor::from(Arc::new(config)))
    }
}

/// What the listener speaks: told anew when it moves, for connections that came in before to end.
pub type Speaks = watch::Receiver<Option<Tls>>;

/// Serves what comes in, each connection by the router of its peer.
pub(crate) async fn serve(listener: &mut dyn Listener, of_peer: impl Fn(IpAddr) -> Router, speaks: Speaks) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // Never closed, so that there is always a permit in the end.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let incoming = listener.accept().await;
        let (router, mut speaks) = (of_peer(incoming.peer.ip()), speaks.clone());
        tokio::spawn(async move {
            let tls = speaks.borrow_and_update().clone();
            serve_connection(incoming, router, tls, speaks).await;
            drop(place);
        });
    }
}

async fn serve_connection(incoming: Incoming, router: Router, tls: Option<Tls>, mut speaks: Speaks) {
    let peer = incoming.peer;
    let opened = match ((incoming.open)(), tls) {
        (Ok(io), None) => Ok(io),
        (Ok(io), Some(Tls(acceptor))) => match timeout(HEAD_TIMEOUT, acceptor.accept(io)).await {
            Ok(accepted) => accepted.map(|io| Box::new(io) as Io),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        },
        (Err(error), _) => Err(error),
    };
    let ended = match opened {
        Ok(io) => {
            let service = TowerToHyperService::new(router);
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(LARGEST_HEAD);
            let mut connection = pin!(http.serve_connection(TokioIo::new(io), service));
            let ended = tokio::select! {
                ended = &mut connection => ended,
                Ok(()) = speaks.changed() => {
                    // The listener that it came in by is no more.
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            ended.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "an admin connection ended");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use berry_proxy::ports::PortFuture;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_rustls::TlsConnector;

    use super::*;

    /// Gives out one connection, then none.
    struct Once(Option<DuplexStream>);

    impl Listener for Once {
        fn accept(&mut self) -> PortFuture<'_, Incoming> {
            Box::pin(async {
                let Some(stream) = self.0.take() else { std::future::pending().await };
                let open = Box::new(move || Ok(Box::new(stream) as Io));
                Incoming { peer: ([127, 0, 0, 1], 1).into(), open }
            })
        }
    }

    async fn serve_once(stream: DuplexStream, tls: Option<Tls>) {
        let router = Router::new().route("/", get(|| async { "hello" }));
        serve(&mut Once(Some(stream)), |_| router.clone(), watch::channel(tls).1).await;
    }

    fn certificate() -> (Tls, ClientConfig) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        (Tls::new(Arc::new(server.unwrap())), client)
    }

    #[tokio::test]
    async fn tls_is_spoken_where_a_certificate_is_given() {
        let (tls, client) = certificate();
        let (near, far) = duplex(64 * 1024);
        let ask = async {
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = TlsConnector::from(Arc::new(client)).connect(name, near).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        tokio::select! {
            answer = ask => assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}"),
            () = serve_once(far, Some(tls)) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_never_ends_is_given_up() {
        let (mut near, far) = duplex(64 * 1024);
        let wait = async {
            near.write_all(b"GET / HTTP/1.1\r\nhost: loc").await.unwrap();
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.unwrap();
        };
        tokio::select! {
            ended = timeout(HEAD_TIMEOUT * 2, wait) => assert!(ended.is_ok()),
            () = serve_once(far, None) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_never_begins_is_given_up() {
        let (tls, _) = certificate();
        let (mut near, far) = duplex(64 * 1024);
        let mut answer = Vec::new();
        tokio::select! {
            ended = timeout(HEAD_TIMEOUT * 2, near.read_to_end(&mut answer)) => assert!(ended.is_ok()),
            () = serve_once(far, Some(tls)) => {}
        }
    }
}
