//! The side that carries clients: TLS if it is set up, then HTTP/1 or HTTP/2, told apart by ALPN or by the first bytes.

mod h1;
mod h2;
mod proxy_header;

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use berry_http1::{Fault, push_field};
use berry_vocab::{Code, Failure, Protocol};
use tokio_rustls::TlsAcceptor;

use crate::answer::{Answer, Content, begin_head};
use crate::client::{Client, Peer, Request};
use crate::ports::Io;
use crate::station::{Outcome, Ticket};
use crate::unwinding;
use crate::worker::Worker;
use crate::{path, routes};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a head may take from its first byte, and an HTTP/2 connection until it says that it is one (failure model, C11).
const HEAD: Duration = Duration::from_secs(10);

/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(75);

/// How long a client may take nothing of what is there for it (failure model, C10).
const STALL: Duration = Duration::from_secs(60);

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves one client's connection until it ends.
pub(crate) async fn serve(worker: Rc<Worker>, mut io: Io, peer: SocketAddr, tls: Option<TlsAcceptor>) {
    let _open = Open::new(&worker);
    let Some(peer) = introduced(&worker, &mut io, peer).await else { return };
    match tls {
        None => serve_http(worker.clone(), io, peer).await,
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE, acceptor.accept(io)).await {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                h2::serve_agreed(worker.clone(), Box::new(stream), peer).await;
            }
            Ok(Ok(stream)) => serve_http(worker.clone(), Box::new(stream), peer).await,
            Ok(Err(error)) => tracing::debug!(%error, "a client's TLS handshake failed"),
            Err(_) => tracing::debug!("a client's TLS handshake took too long"),
        },
    }
}

/// The peer, after what it has to say first if it is a proxy that should. `None`: it did not say that.
async fn introduced(worker: &Worker, io: &mut Io, peer: SocketAddr) -> Option<Peer> {
    let direct = Peer::from(peer);
    if !worker.gateway.snapshot().addresses.expects_header(peer.ip()) {
        return Some(direct);
    }
    // On the heap, as most connections have none.
    match tokio::time::timeout(HEAD, Box::pin(proxy_header::read(io))).await {
        Ok(Ok(source)) => Some(source.map_or(direct, |source| Peer { source, ..direct })),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a proxy did not say whom it speaks for");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "a proxy took too long to say whom it speaks for");
            None
        }
    }
}

async fn serve_http(worker: Rc<Worker>, io: Io, peer: Peer) {
    if let h1::Ended::Http2 { io, read } = h1::serve(worker.clone(), io, peer).await {
        h2::serve(worker, io, read, peer).await;
    }
}

/// What came of a request.
enum Handled {
    Answer(Answer),
    /// The client is gone.
    Gone,
    /// Its handling panicked, and left behind a connection of which nothing is known.
    Panicked(Answer),
}

/// Answers a request, whichever version of HTTP carries it.
async fn handle<C: Client>(worker: &Rc<Worker>, request: &Request, client: &mut C) -> Handled {
    if let Some(name) = request.repeated_field() {
        let failure = Failure::new(Code::InvalidRequest, format!("the field `{name}` must stand once"));
        return Handled::Answer(refuse(worker, request, &failure));
    }
    // Pinned here, since a future that is an argument would lie in this one twice.
    let handling = pin!(path::handle(worker, request, client));
    match unwinding::catch(worker, handling).await {
        Ok(Some(answer)) => Handled::Answer(answer),
        Ok(None) => Handled::Gone,
        Err(unwinding::Panicked) => Handled::Panicked(refuse(worker, request, &unwinding::failure())),
    }
}

/// The answer to a request that did not come to its path's end, with a ticket of its own.
fn refuse(worker: &Rc<Worker>, request: &Request, failure: &Failure) -> Answer {
    let mut ticket = Ticket::open(worker, request);
    ticket.dialect = berry_wire::dialect_of_path(request.path());
    if let Ok(target) = routes::find(request.method(), request.method_name(), request.path()) {
        ticket.at(target.route(), target.dialect().unwrap_or(ticket.dialect));
    }
    path::refuse(failure, &[], ticket)
}

/// The answer to a message that cannot be read. `request` stands for it.
fn refuse_unreadable(worker: &Rc<Worker>, request: &Request, fault: Fault) -> Answer {
    worker.gateway.metrics().malformed.fetch_add(1, Relaxed);
    tracing::debug!(peer = %request.peer.socket, %fault, "a message was refused");
    let code = match fault {
        Fault::HeadTooLarge | Fault::TargetTooLong => Code::HeaderTooLarge,
        Fault::Malformed(_) | Fault::Version | Fault::TransferCoding | Fault::Method => Code::InvalidRequest,
    };
    let mut ticket = Ticket::open(worker, request);
    let rendered = berry_wire::render(&Failure::new(code, fault.to_string()), Protocol::OpenAi, &ticket.request_id);
    // The code's own status is that of a request; a message has more ways to be no good.
    let mut head = begin_head(fault.status());
    push_field(&mut head, b"content-type", b"application/json");
    push_field(&mut head, b"x-request-id", ticket.request_id.as_bytes());
    worker.push_date(ticket.opened_unix_millis / 1000, &mut head);
    ticket.end(Outcome::Failed(code));
    ticket.begin_answer(fault.status());
    Answer::new((fault.status(), head, Content::from(rendered.body)), ticket)
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
