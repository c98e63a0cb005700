//! The listener's connections: HTTP/1.1 for operators, with limits on all that a stranger could hold open.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use berry_proxy::ports::{Incoming, Io, Listener};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::sync::Semaphore;
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

pub(crate) async fn serve(listener: &mut dyn Listener, router: Router, tls: Option<Tls>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // Never closed, so that there is always a permit in the end.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let incoming = listener.accept().await;
        let (router, tls) = (router.clone(), tls.clone());
        tokio::spawn(async move {
            serve_connection(incoming, router, tls).await;
            drop(place);
        });
    }
}

async fn serve_connection(incoming: Incoming, router: Router, tls: Option<Tls>) {
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
            http.serve_connection(TokioIo::new(io), service).await.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "an admin connection ended");
    }
}
