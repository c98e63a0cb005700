//! The client's side of one request, as the stations see it: the same whichever HTTP version carries it.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use berry_http1::{Method, RequestHead};
use berry_vocab::{Code, Failure, Moment};
use bytes::Bytes;
use tokio::time::Instant;

use crate::allowance::Allowance;
use crate::deadline::Deadline;
use crate::worker::Worker;

/// How long a body may pause.
const BODY_PAUSE: Duration = Duration::from_secs(30);

/// How many bytes of a body must come for each second that it takes beyond the first [`BODY_PAUSE`] (failure model, C11). A
/// body that trickles would hold its place for days else; the slowest of honest links is ten times as fast.
const BODY_RATE: u32 = 240;

/// Fields whose meaning a second one would leave open: readers differ in which of the two they take.
const SINGLE_FIELDS: [&str; 3] = ["content-type", "content-encoding", "berry-backend"];

/// A request's head: spans, and the bytes that they lie in. What HTTP/2 brings is written in the same form.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    pub(crate) head: RequestHead,
    pub(crate) peer: Peer,
    /// Whether its connection was opened while the gateway was draining already.
    pub(crate) is_late: bool,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The address of its socket.
    pub(crate) socket: SocketAddr,
    /// Where the connection comes from: that same address, or the one that a proxy has named before anything else.
    pub(crate) source: IpAddr,
}

impl Request {
    pub(crate) fn new(peer: Peer) -> Self {
        Self { bytes: Vec::new(), head: RequestHead::default(), peer, is_late: false }
    }

    /// What stands for a message that could not be read, whose answer is logged and counted as any other.
    pub(crate) fn unreadable(peer: Peer) -> Self {
        let mut request = Self::new(peer);
        request.head.method = Method::Other;
        request
    }

    /// The first field that stands twice where it may stand once.
    pub(crate) fn repeated_field(&self) -> Option<&'static str> {
        let mut seen = [false; SINGLE_FIELDS.len()];
        self.fields().find_map(|(name, _)| {
            // By their letters' number and the first of them, as nearly every field is none of these.
            if !matches!((name.len(), name.first()), (12..=16, Some(b'b' | b'B' | b'c' | b'C'))) {
                return None;
            }
            let is_it = |single: &&str| single.len() == name.len() && name.eq_ignore_ascii_case(single.as_bytes());
            let (single, seen) = SINGLE_FIELDS.iter().zip(&mut seen).find(|(single, _)| is_it(single))?;
            std::mem::replace(seen, true).then_some(*single)
        })
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

impl From<SocketAddr> for Peer {
    fn from(socket: SocketAddr) -> Self {
        Self { socket, source: socket.ip() }
    }
}

/// Why waiting for something ended without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// The client is gone.
    Gone,
    /// The time is over.
    Due,
    /// The gateway is stopping, and there is no more time for what is in flight.
    Stopping,
}

/// What the stations need of a client beside its request's head.
pub(crate) trait Client {
    /// Reads the whole body, as far as it is allowed.
    async fn read_body(&mut self, allowance: &mut Allowance) -> Result<Bytes, BodyError>;

    /// The worker that it is served by.
    fn worker(&self) -> &Worker;

    /// Ready once the client is known to be gone; never, where whatever is done for it is dropped then.
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// The time limit of this client's requests, one at a time.
    fn deadline(&mut self) -> &mut Deadline;

    /// Waits for `future`, until `due` (which may move meanwhile), and no longer than the client does. Giving up drops `future`,
    /// which cancels it.
    async fn wait<T>(&mut self, due: impl Fn() -> Instant, future: impl Future<Output = T>) -> Result<T, Interrupted> {
        let mut future = pin!(future);
        let outcome = poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            if self.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Interrupted::Gone));
            }
            if self.worker().is_cut() {
                return Poll::Ready(Err(Interrupted::Stopping));
            }
            self.deadline().set(due());
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

    /// The body fell behind its [`Pace`].
    pub(crate) fn too_slow() -> Self {
        BodyError::Refused(Failure::new(Code::RequestTimeout, "the body stopped arriving, or came too slowly"))
    }
}

/// How fast a body must come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    began: Moment,
}

impl Pace {
    /// The pace of a body that begins now.
    pub(crate) fn new(now: Moment) -> Self {
        Self { began: now }
    }

    /// Until when the next byte must come, if `received` have come until now.
    pub(crate) fn due(self, now: Moment, received: usize) -> Moment {
        let earned = Duration::from_secs(received as u64) / BODY_RATE;
        now.min(self.began.after(earned)).after(BODY_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_pause_and_may_be_slow_but_not_trickle() {
        let at = |seconds| Moment::ZERO.after(Duration::from_secs(seconds));
        let pace = Pace::new(at(100));
        for (now, received, due) in [
            (100, 0, 130),
            (129, 1, 130),
            (120, 2400, 140),
            (105, 64_000, 135),
            (1_000, 240_000, 1_030),
            (1_000, 216_000, 1_030),
            (1_000, 120_000, 630),
        ] {
            let expected = at(due).since(pace.due(at(now), received));
            assert!(expected < Duration::from_millis(5), "{now} {received}: {expected:?}");
            assert!(pace.due(at(now), received).since(at(due)) < Duration::from_millis(5), "{now} {received}");
        }
    }
}
