//! Idle HTTP/1 connections, by endpoint. The one used last is used next: the others may then grow old and be closed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use berry_vocab::Moment;
use foldhash::HashMap;
use tokio::io::{AsyncRead, ReadBuf};

use crate::ports::Io;
use crate::upstream::Endpoint;
use crate::upstream::h2::Shared;

/// A worker's connections to providers.
#[derive(Default)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<u64, Idle>>,
    /// HTTP/2 connections, shared by all requests of the worker.
    pub(super) h2: RefCell<HashMap<u64, Shared>>,
}

/// Idle connections to one endpoint, the oldest first.
struct Idle {
    connections: VecDeque<(Io, Moment)>,
    timeout: Duration,
}

impl Pool {
    /// A connection to the endpoint that is still open, if there is one.
    pub(crate) fn take(&self, endpoint: u64, now: Moment) -> Option<Io> {
        let mut idle = self.idle.borrow_mut();
        let of_endpoint = idle.get_mut(&endpoint)?;
        while let Some((mut io, since)) = of_endpoint.connections.pop_back() {
            if now.since(since) < of_endpoint.timeout && is_quiet(&mut io) {
                return Some(io);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, endpoint: &Endpoint, io: Io, now: Moment) {
        if endpoint.max_idle == 0 || endpoint.idle_timeout.is_zero() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let of_endpoint = match idle.entry(endpoint.id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Idle { connections: VecDeque::new(), timeout: endpoint.idle_timeout }),
        };
        if of_endpoint.connections.len() >= endpoint.max_idle {
            of_endpoint.connections.pop_front();
        }
        of_endpoint.connections.push_back((io, now));
    }

    /// Closes all connections that nobody uses now.
    pub(crate) fn shrink(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Closes connections that have been idle for too long or that the provider has closed.
    pub(crate) fn sweep(&self, now: Moment) {
        self.idle.borrow_mut().retain(|_, of_endpoint| {
            let timeout = of_endpoint.timeout;
            of_endpoint.connections.retain_mut(|(io, since)| now.since(*since) < timeout && is_quiet(io));
            !of_endpoint.connections.is_empty()
        });
        self.h2.borrow_mut().retain(|_, shared| !shared.is_closed());
    }
}

/// Whether an idle connection is open with nothing to read: an end, or bytes that nobody asked for, make it useless. Costs no
/// system call while the event loop has seen nothing on it.
fn is_quiet(io: &mut Io) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    matches!(Pin::new(io).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer), Poll::Pending)
}
