//! One client's connection: it sends the request and reads the answer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use crate::plan::Plan;
use crate::reader::Reader;

/// Lent to whichever connection is reading, for the length of one poll: thousands of clients need no memory of their own.
pub(crate) struct Buffer(RefCell<Box<[u8]>>);

/// A connection.
pub(crate) struct Connection(TcpStream);

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Connect,
    Write,
    Closed,
    Malformed,
}

// === impl Buffer ===

impl Buffer {
    pub(crate) fn new() -> Self {
        Buffer(RefCell::new(vec![0; 64 << 10].into_boxed_slice()))
    }
}

// === impl Connection ===

impl Connection {
    pub(crate) async fn open(plan: &Plan) -> Result<Self, Failure> {
        let stream = TcpStream::connect(plan.addr).await.map_err(|_| Failure::Connect)?;
        // Each request leaves by one write anyway; without it, one of more than a segment might wait.
        let _ = stream.set_nodelay(true);
        Ok(Connection(stream))
    }

    pub(crate) async fn send(&mut self, plan: &Plan) -> Result<(), Failure> {
        self.0.write_all(&plan.request).await.map_err(|_| Failure::Write)
    }

    /// Reads once. A close that ends the answer is no failure.
    pub(crate) async fn read(&mut self, buffer: &Buffer, reader: &mut Reader) -> Result<(), Failure> {
        poll_fn(|context| self.poll(context, buffer, reader)).await
    }

    fn poll(&mut self, context: &mut Context<'_>, buffer: &Buffer, reader: &mut Reader) -> Poll<Result<(), Failure>> {
        let mut bytes = buffer.0.borrow_mut();
        let mut read = ReadBuf::new(&mut bytes);
        let outcome: io::Result<()> = ready!(Pin::new(&mut self.0).poll_read(context, &mut read));
        let filled = read.filled();
        Poll::Ready(match outcome {
            Ok(()) if !filled.is_empty() => reader.feed(filled).map_err(|_| Failure::Malformed),
            Ok(()) if reader.close() => Ok(()),
            _ => Err(Failure::Closed),
        })
    }
}

// === impl Failure ===

impl Failure {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Failure::Connect => "connect",
            Failure::Write => "write",
            Failure::Closed => "closed",
            Failure::Malformed => "malformed",
        }
    }
}
