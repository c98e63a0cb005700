//! A worker's connections to providers: idle ones of HTTP/1 by endpoint, and those of HTTP/2. The one used last is used next:
//! the others may then grow old and be closed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use berry_vocab::Moment;
use foldhash::HashMap;
use tokio::io::{AsyncRead, ReadBuf};

use crate::ports::{Connected, Connector, Io};
use crate::upstream::Endpoint;
use crate::upstream::h2::Connections;

/// A worker's connections to providers.
#[derive(Default)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<u64, Idle>>,
    /// HTTP/2 connections, idle and busy ones.
    pub(super) h2: Connections,
}

/// Idle connections to one endpoint, the oldest first.
struct Idle {
    endpoint: Arc<Endpoint>,
    connections: VecDeque<(Connected, Moment)>,
}

impl Pool {
    /// A connection to the endpoint that is still open, if there is one.
    pub(crate) fn take(&self, endpoint: u64, now: Moment) -> Option<Connected> {
        let mut idle = self.idle.borrow_mut();
        let of_endpoint = idle.get_mut(&endpoint)?;
        while let Some((mut connected, since)) = of_endpoint.connections.pop_back() {
            if now.since(since) < of_endpoint.endpoint.idle_timeout && is_quiet(&mut connected.io) {
                return Some(connected);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, endpoint: &Arc<Endpoint>, connected: Connected, now: Moment) {
        if endpoint.idle_timeout.is_zero() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let of_endpoint = match idle.entry(endpoint.id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Idle { endpoint: endpoint.clone(), connections: VecDeque::new() }),
        };
        if of_endpoint.connections.len() >= endpoint.max_idle {
            of_endpoint.connections.pop_front();
        }
        of_endpoint.connections.push_back((connected, now));
    }

    /// Closes all connections that nobody uses now.
    pub(crate) fn shrink(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Closes connections that have been idle for too long, that the provider has closed, that lead to an address that its name
    /// no longer has, or to an endpoint that is not configured any more.
    pub(crate) fn sweep(&self, now: Moment, connector: &dyn Connector, is_used: impl Fn(u64) -> bool) {
        self.idle.borrow_mut().retain(|id, Idle { endpoint, connections }| {
            let is_used = is_used(*id);
            connections.retain_mut(|(connected, since)| {
                is_used
                    && now.since(*since) < endpoint.idle_timeout
                    && is_quiet(&mut connected.io)
                    && endpoint.is_current(connected.peer, connector)
            });
            !connections.is_empty()
        });
        self.h2.sweep(now, connector, is_used);
    }
}

/// Whether an idle connection is open with nothing to read: an end, or bytes that nobody asked for, make it useless. Costs no
/// system call while the event loop has seen nothing on it.
fn is_quiet(io: &mut Io) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    matches!(Pin::new(io).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer), Poll::Pending)
}
