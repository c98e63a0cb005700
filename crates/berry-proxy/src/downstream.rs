//! The side that carries clients: TLS if it is set up, then HTTP/1 or HTTP/2, told apart by ALPN or by the first bytes.

mod h1;
mod h2;
mod unwinding;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Waker};
use std::time::Duration;

use berry_http1::Fault;
use berry_vocab::{Code, Failure};
use tokio_rustls::TlsAcceptor;

use crate::gateway::Phase;
use crate::ports::Io;
use crate::worker::Worker;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves one client's connection until it ends.
pub(crate) async fn serve(worker: Rc<Worker>, io: Io, peer: SocketAddr, tls: Option<TlsAcceptor>) {
    let _open = Open::new(&worker);
    match tls {
        None => serve_http(worker.clone(), io, peer).await,
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE, acceptor.accept(io)).await {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                h2::serve(worker.clone(), Box::new(stream), Vec::new(), peer).await;
            }
            Ok(Ok(stream)) => serve_http(worker.clone(), Box::new(stream), peer).await,
            Ok(Err(error)) => tracing::debug!(%error, "a client's TLS handshake failed"),
            Err(_) => tracing::debug!("a client's TLS handshake took too long"),
        },
    }
}

async fn serve_http(worker: Rc<Worker>, io: Io, peer: SocketAddr) {
    if let h1::Ended::Http2 { io, read } = h1::serve(worker.clone(), io, peer).await {
        h2::serve(worker, io, read, peer).await;
    }
}

/// What a client is told whose message cannot be read.
fn unreadable(fault: Fault) -> Failure {
    let code = match fault {
        Fault::HeadTooLarge | Fault::TargetTooLong => Code::HeaderTooLarge,
        Fault::Malformed(_) | Fault::Version | Fault::TransferCoding | Fault::Method => Code::InvalidRequest,
    };
    Failure::new(code, fault.to_string())
}

/// Counts a connection while it is open.
struct Open<'w> {
    worker: &'w Worker,
}

impl<'w> Open<'w> {
    fn new(worker: &'w Worker) -> Self {
        worker.gateway.metrics().connections.fetch_add(1, Relaxed);
        Self { worker }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.worker.gateway.metrics().connections.fetch_sub(1, Relaxed);
    }
}

/// A connection's place among those that a drain wakes.
struct Place {
    worker: Rc<Worker>,
    place: Option<usize>,
}

impl Place {
    fn new(worker: Rc<Worker>) -> Self {
        Self { worker, place: None }
    }

    /// Whether the gateway is draining; if not yet, the task will be woken when it is.
    fn poll_draining(&mut self, cx: &Context<'_>) -> bool {
        if self.worker.gateway.phase() == Phase::Draining {
            return true;
        }
        // A connection stays with its task, so its waker is registered once.
        self.place.get_or_insert_with(|| self.worker.enter(Waker::clone(cx.waker())));
        false
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.worker.leave(place);
        }
    }
}
