//! The upstream client: pooled connections to providers, over HTTP/1 and HTTP/2. One pool for each worker, so that a
//! connection never crosses threads and taking one costs no lock.
//!
//! It knows endpoints and bytes. Which endpoint, whether to try again and what an answer means are the stations' to say.

pub(crate) mod body;
mod connect;
mod decode;
pub(crate) mod endpoint;
mod h1;
mod h2;
mod pool;
mod proxy;

use std::rc::Rc;
use std::sync::Arc;

use berry_wire::Pieces;
use bytes::Bytes;

pub(crate) use body::{BodyFault, Piece, UpstreamBody};
pub(crate) use endpoint::Endpoint;
pub(crate) use pool::Pool;
pub(crate) use proxy::authorization as proxy_authorization;

use crate::ports::ConnectFault;
use crate::upstream::connect::Opened;
use crate::worker::Worker;

/// What is sent: a whole HTTP/1 head (HTTP/2 derives its own from it), and the body in pieces.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) pieces: &'a Pieces,
}

/// The head of an answer, with the bytes that its spans lie in.
#[derive(Debug)]
pub(crate) struct AnswerHead {
    bytes: Bytes,
    parsed: berry_http1::ResponseHead,
    /// Whether the body was coded and no longer is, so that the fields that tell of its coding are not true of it.
    is_decoded: bool,
}

impl AnswerHead {
    fn new(bytes: Bytes, parsed: berry_http1::ResponseHead) -> Self {
        Self { bytes, parsed, is_decoded: false }
    }

    pub(crate) fn status(&self) -> u16 {
        self.parsed.status
    }

    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        self.parsed.first(&self.bytes, name).filter(|_| !self.hides(name.as_bytes()))
    }

    /// Names and values, in their order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let fields = self.parsed.fields.iter().map(|field| (field.name.of(&self.bytes), field.value.of(&self.bytes)));
        fields.filter(|(name, _)| !self.hides(name))
    }

    fn hides(&self, name: &[u8]) -> bool {
        self.is_decoded
            && ["content-encoding", "content-length"].iter().any(|of| name.eq_ignore_ascii_case(of.as_bytes()))
    }
}

/// An answer whose head has come, and perhaps the first of its body with it.
pub(crate) struct Begun {
    pub(crate) head: AnswerHead,
    pub(crate) first: Option<First>,
    pub(crate) body: UpstreamBody,
}

/// The first piece of a body, and whether it is all of it.
pub(crate) struct First {
    pub(crate) bytes: Bytes,
    pub(crate) last: bool,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendFault {
    /// No connection.
    Connect(ConnectFault),
    /// No connection came of the attempt to open one that another request made for several.
    NoShare,
    /// The provider took no more requests on this connection, and has not touched this one.
    Refused,
    /// The connection ended before the answer's head was complete.
    Disconnected,
    /// What came is no HTTP answer.
    Malformed,
}

/// An exchange that failed, and whether any byte of an answer had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken {
    fault: SendFault,
    answered: bool,
}

/// Sends a request and waits for the head of its answer. Dropping the future cancels the request.
///
/// A connection that was kept from before may turn out to be closed by then; that is no failure of the provider's, so the
/// request goes out once more, on a fresh connection (failure model, U3).
pub(crate) async fn send(
    worker: &Rc<Worker>,
    endpoint: &Arc<Endpoint>,
    outgoing: Outgoing<'_>,
) -> Result<Begun, SendFault> {
    exchange(worker, endpoint, outgoing).await.map(decode::plain)
}

async fn exchange(worker: &Rc<Worker>, endpoint: &Arc<Endpoint>, outgoing: Outgoing<'_>) -> Result<Begun, SendFault> {
    if endpoint.speaks_h2() {
        return h2::send(worker, endpoint, outgoing).await;
    }
    if let Some(connected) = worker.pool.take(endpoint.id, worker.recent()) {
        match h1::exchange(worker, endpoint, connected, outgoing).await {
            Err(Broken { fault: SendFault::Disconnected, answered: false }) => {}
            other => return other.map_err(|broken| broken.fault),
        }
    }
    match connect::open(worker, endpoint).await.map_err(SendFault::Connect)? {
        Opened::H1(connected) => {
            h1::exchange(worker, endpoint, connected, outgoing).await.map_err(|broken| broken.fault)
        }
        Opened::H2(connected) => h2::send_on(worker, endpoint, connected, outgoing).await,
    }
}
