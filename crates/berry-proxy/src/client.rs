//! The client's side of one request, as the stations see it: the same whichever HTTP version carries it.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use berry_http1::{Method, RequestHead};
use berry_vocab::{Code, Failure};
use bytes::Bytes;
use tokio::time::Instant;

use crate::deadline::Deadline;

/// How long a body may pause.
pub(crate) const BODY_IDLE: Duration = Duration::from_secs(30);

/// A request's head: spans, and the bytes that they lie in. What HTTP/2 brings is written in the same form.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    pub(crate) head: RequestHead,
    pub(crate) peer: SocketAddr,
    /// Whether its connection was opened while the gateway was draining already.
    pub(crate) is_late: bool,
}

impl Request {
    pub(crate) fn new(peer: SocketAddr) -> Self {
        Self { bytes: Vec::new(), head: RequestHead::default(), peer, is_late: false }
    }

    pub(crate) fn method(&self) -> Method {
        self.head.method
    }

    /// The method's name as it was sent.
    pub(crate) fn method_name(&self) -> &str {
        match self.head.method {
            Method::Other => "OTHER",
            known => known.as_str(),
        }
    }

    /// The path; visible ASCII, as the reader of heads made sure.
    pub(crate) fn path(&self) -> &str {
        std::str::from_utf8(self.head.path.of(&self.bytes)).unwrap_or_default()
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.head.query.and_then(|query| std::str::from_utf8(query.of(&self.bytes)).ok())
    }

    /// The value of the first field of that name (lower case).
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        self.head.first(&self.bytes, name)
    }

    /// The same as text, if it is UTF-8.
    pub(crate) fn text_field(&self, name: &str) -> Option<&str> {
        self.field(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Names and values, in their order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.head.fields.iter().map(|field| (field.name.of(&self.bytes), field.value.of(&self.bytes)))
    }
}

/// Why waiting for something ended without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// The client is gone.
    Gone,
    /// The time is over.
    Due,
}

/// What the stations need of a client beside its request's head.
pub(crate) trait Client {
    /// Reads the whole body, of at most `limit` bytes.
    async fn read_body(&mut self, limit: u64) -> Result<Bytes, BodyError>;

    /// Ready once the client is known to be gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// The time limit of this client's requests, one at a time.
    fn deadline(&mut self) -> &mut Deadline;

    /// Waits for `future`, until `due`, and no longer than the client does. Giving up drops `future`, which cancels it.
    async fn wait<T>(&mut self, due: Instant, future: impl Future<Output = T>) -> Result<T, Interrupted> {
        let mut future = pin!(future);
        self.deadline().set(due);
        let outcome = poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            if self.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Interrupted::Gone));
            }
            self.deadline().poll(cx).map(|()| Err(Interrupted::Due))
        })
        .await;
        self.deadline().lift();
        outcome
    }
}

/// Why there is no body.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The client is to be told.
    Refused(Failure),
    /// Nobody is there to be told.
    Gone,
}

impl BodyError {
    /// The body is larger than `limit` bytes.
    pub(crate) fn too_large(limit: u64) -> Self {
        let message = format!("the body is larger than {limit} bytes, the server's max_body_bytes");
        BodyError::Refused(Failure::new(Code::BodyTooLarge, message))
    }

    /// The body paused for longer than [`BODY_IDLE`].
    pub(crate) fn too_slow() -> Self {
        BodyError::Refused(Failure::new(Code::RequestTimeout, "the body stopped arriving"))
    }
}
