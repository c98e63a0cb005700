//! A worker's HTTP/2 connections: shared by requests up to what the peer allows at once, several to an endpoint where one is
//! full, and closed once nobody has needed them for a while.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use berry_http1::Limits;
use berry_vocab::Moment;
use foldhash::HashMap;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;

use crate::http2::{CONNECTION_WINDOW, PING_INTERVAL, PING_TIMEOUT, STREAM_WINDOW};
use crate::local_executor::LocalExecutor;
use crate::ports::{Connected, Connector, Io};
use crate::upstream::h2::PiecesBody;
use crate::upstream::{Endpoint, SendFault};

/// Requests at once on one connection, however many the peer allows: they share its window and its fate.
const MOST_STREAMS: usize = 256;

/// A worker's HTTP/2 connections.
#[derive(Default)]
pub(crate) struct Connections {
    of_endpoints: RefCell<HashMap<u64, OfEndpoint>>,
    /// Who opens a connection just now. Others wait for it instead of opening one each.
    openings: RefCell<HashMap<u64, watch::Receiver<bool>>>,
    latest: Cell<u64>,
}

struct OfEndpoint {
    endpoint: Arc<Endpoint>,
    /// The oldest first, which is filled first, so that the others may grow idle.
    shared: Vec<Rc<Shared>>,
}

/// A connection that requests share.
struct Shared {
    serial: u64,
    sender: SendRequest<PiecesBody>,
    driven: Rc<Driven>,
    peer: Option<IpAddr>,
    in_flight: Cell<usize>,
    /// Since when a sweep has found it without requests.
    idle_since: Cell<Option<Moment>>,
}

/// The side of a connection that does the work; nothing once it is over.
type Driven = RefCell<Option<Connection<TokioIo<Io>, PiecesBody, LocalExecutor>>>;

/// A place for one request on a connection, until it is dropped.
pub(crate) struct Lease {
    shared: Rc<Shared>,
}

/// Who opens the next connection to an endpoint.
pub(super) enum Turn<'a> {
    /// We do.
    Ours(Opening<'a>),
    /// Others are at it. The receiver hears of their failure, and ends once they are done.
    Others(watch::Receiver<bool>),
}

/// The right to open a connection, until it is dropped.
pub(super) struct Opening<'a> {
    connections: &'a Connections,
    endpoint: u64,
    has_failed: watch::Sender<bool>,
}

// === impl Connections ===

impl Connections {
    /// The serial number of the newest connection.
    pub(super) fn latest(&self) -> u64 {
        self.latest.get()
    }

    /// A place on a connection with a later serial number than `newer_than`, if one has room.
    pub(super) fn lease(&self, endpoint: u64, newer_than: u64) -> Option<Lease> {
        let of_endpoints = self.of_endpoints.borrow();
        let OfEndpoint { endpoint, shared } = of_endpoints.get(&endpoint)?;
        shared.iter().find(|shared| shared.serial > newer_than && shared.has_room(endpoint)).map(Lease::new)
    }

    /// Says who opens the next connection.
    pub(super) fn turn(&self, endpoint: u64) -> Turn<'_> {
        if let Some(others) = self.openings.borrow().get(&endpoint) {
            return Turn::Others(others.clone());
        }
        let (has_failed, others) = watch::channel(false);
        self.openings.borrow_mut().insert(endpoint, others);
        Turn::Ours(Opening { connections: self, endpoint, has_failed })
    }

    /// Shares a connection from now on, and takes the first place on it.
    pub(super) async fn share(&self, endpoint: &Arc<Endpoint>, connected: Connected) -> Result<Lease, SendFault> {
        let Connected { io, peer } = connected;
        let handshake = Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(endpoint.h2_streams())
            .max_header_list_size(u32::try_from(Limits::default().head).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(io));
        let (sender, connection) = handshake.await.map_err(|_| SendFault::Disconnected)?;
        let driven = Rc::new(RefCell::new(Some(connection)));
        // Ends with the connection, or once the last sender and the last stream are gone.
        tokio::task::spawn_local(drive(driven.clone()));
        let serial = self.latest.get() + 1;
        self.latest.set(serial);
        let (in_flight, idle_since) = (Cell::new(0), Cell::new(None));
        let shared = Rc::new(Shared { serial, sender, driven, peer, in_flight, idle_since });
        let lease = Lease::new(&shared);
        let mut of_endpoints = self.of_endpoints.borrow_mut();
        let new = || OfEndpoint { endpoint: endpoint.clone(), shared: Vec::new() };
        of_endpoints.entry(endpoint.id).or_insert_with(new).shared.push(shared);
        Ok(lease)
    }

    /// Gives no further request to the connection of `lease`. Those on it go on.
    pub(super) fn retire(&self, endpoint: u64, lease: &Lease) {
        if let Some(of_endpoint) = self.of_endpoints.borrow_mut().get_mut(&endpoint) {
            of_endpoint.shared.retain(|shared| !Rc::ptr_eq(shared, &lease.shared));
        }
    }

    /// Closes connections that have been idle for too long, and gives no further request to those that lead to an address that
    /// its name no longer has, or to an endpoint that is not configured any more.
    pub(crate) fn sweep(&self, now: Moment, connector: &dyn Connector, is_used: impl Fn(u64) -> bool) {
        self.of_endpoints.borrow_mut().retain(|id, OfEndpoint { endpoint, shared }| {
            let is_used = is_used(*id);
            shared.retain(|shared| {
                is_used
                    && !shared.sender.is_closed()
                    && now.since(shared.note_idle(now)) < endpoint.idle_timeout
                    && endpoint.is_current(shared.peer, connector)
            });
            !shared.is_empty()
        });
    }
}

async fn drive(driven: Rc<Driven>) {
    let ended = poll_fn(|cx| match &mut *driven.borrow_mut() {
        Some(connection) => Pin::new(connection).poll(cx),
        None => Poll::Ready(Ok(())),
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "an HTTP/2 connection to a provider ended");
    }
    drop(driven.take());
}

// === impl Shared ===

impl Shared {
    /// Whether a request on it would be sent at once. Hyper would queue it otherwise, behind requests that may take minutes.
    fn has_room(&self, endpoint: &Endpoint) -> bool {
        let Some(allowed) = self.driven.borrow().as_ref().map(Connection::current_max_send_streams) else {
            return false;
        };
        endpoint.note_h2_streams(allowed);
        !self.sender.is_closed() && self.in_flight.get() < allowed.min(MOST_STREAMS)
    }

    /// Since when it has been idle: now, where it is not.
    fn note_idle(&self, now: Moment) -> Moment {
        let since = (self.in_flight.get() == 0).then(|| self.idle_since.get().unwrap_or(now));
        self.idle_since.set(since);
        since.unwrap_or(now)
    }
}

// === impl Lease ===

impl Lease {
    fn new(shared: &Rc<Shared>) -> Self {
        shared.in_flight.set(shared.in_flight.get() + 1);
        shared.idle_since.set(None);
        Self { shared: shared.clone() }
    }

    /// The number of its connection, counting up.
    pub(super) fn serial(&self) -> u64 {
        self.shared.serial
    }

    /// What sends on its connection.
    pub(super) fn sender(&self) -> SendRequest<PiecesBody> {
        self.shared.sender.clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.in_flight.set(self.shared.in_flight.get().saturating_sub(1));
    }
}

// === impl Opening ===

impl Opening<'_> {
    /// Lets those who wait fail as well: the next of them would only fail a time limit later.
    pub(super) fn fail(self) {
        let _ = self.has_failed.send(true);
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.connections.openings.borrow_mut().remove(&self.endpoint);
    }
}
