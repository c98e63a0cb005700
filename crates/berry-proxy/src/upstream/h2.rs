//! HTTP/2 to providers by hyper: requests share connections, which are watched by pings.

mod connections;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use berry_http1::{Limits, RequestHead, read_request};
use berry_wire::Pieces;
use bytes::Bytes;
use h2::Reason;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::ports::Connected;
use crate::upstream::body::H2Body;
use crate::upstream::connect::{self, Opened};
use crate::upstream::{AnswerHead, Begun, Broken, Endpoint, Outgoing, SendFault, UpstreamBody, h1};
use crate::worker::Worker;

pub(crate) use connections::{Connections, Lease};
use connections::{Opening, Turn};

/// How a request goes out.
enum Way {
    Shared(Lease),
    /// The provider has changed its mind, and speaks HTTP/1 now.
    Own(Connected),
}

/// Sends a request on a shared connection, opening one if need be.
///
/// A connection that was there before may turn out to be gone; the request then goes out once more, on one that was opened
/// since (failure model, U3). So it does where the provider says that it has not touched it: of the first requests on a
/// connection there may be more than it takes, which it says only then (RFC 9113, section 8.7).
pub(super) async fn send(
    worker: &Rc<Worker>,
    endpoint: &Arc<Endpoint>,
    outgoing: Outgoing<'_>,
) -> Result<Begun, SendFault> {
    let before = worker.pool.h2.latest();
    let first = find(worker, endpoint, 0).await?;
    let is_reused = matches!(&first, Way::Shared(lease) if lease.serial() <= before);
    match go(worker, endpoint, first, outgoing).await {
        Err(Broken { fault: SendFault::Refused, .. }) => again(worker, endpoint, 0, outgoing).await,
        Err(Broken { fault: SendFault::Disconnected, answered: false }) if is_reused => {
            again(worker, endpoint, before, outgoing).await
        }
        other => other.map_err(|broken| broken.fault),
    }
}

async fn again(
    worker: &Rc<Worker>,
    endpoint: &Arc<Endpoint>,
    newer_than: u64,
    outgoing: Outgoing<'_>,
) -> Result<Begun, SendFault> {
    let way = find(worker, endpoint, newer_than).await?;
    go(worker, endpoint, way, outgoing).await.map_err(|broken| broken.fault)
}

/// Sends a request on a connection that was opened for it, and shares that with the next ones.
pub(super) async fn send_on(
    worker: &Rc<Worker>,
    endpoint: &Arc<Endpoint>,
    connected: Connected,
    outgoing: Outgoing<'_>,
) -> Result<Begun, SendFault> {
    // Requests that came at once have each opened one, not knowing that they could share: one with room is enough.
    let lease = match worker.pool.h2.lease(endpoint.id, 0) {
        Some(lease) => lease,
        None => worker.pool.h2.share(endpoint, connected).await?,
    };
    go(worker, endpoint, Way::Shared(lease), outgoing).await.map_err(|broken| broken.fault)
}

/// A way for a request, on a connection later than `newer_than`. One request at a time opens a connection; the others wait for
/// it, and share it or its failure.
async fn find(worker: &Worker, endpoint: &Arc<Endpoint>, newer_than: u64) -> Result<Way, SendFault> {
    let connections = &worker.pool.h2;
    loop {
        if let Some(lease) = connections.lease(endpoint.id, newer_than) {
            return Ok(Way::Shared(lease));
        }
        if !endpoint.speaks_h2() {
            return open(worker, endpoint).await;
        }
        let mut others = match connections.turn(endpoint.id) {
            Turn::Ours(opening) => return open_for_all(worker, endpoint, opening).await,
            Turn::Others(others) => others,
        };
        let has_failed = others.changed().await.is_ok() && *others.borrow();
        if has_failed {
            return Err(SendFault::NoShare);
        }
    }
}

async fn open_for_all(worker: &Worker, endpoint: &Arc<Endpoint>, opening: Opening<'_>) -> Result<Way, SendFault> {
    let opened = open(worker, endpoint).await;
    if opened.is_err() {
        opening.fail();
    }
    opened
}

async fn open(worker: &Worker, endpoint: &Arc<Endpoint>) -> Result<Way, SendFault> {
    match connect::open(worker, endpoint).await.map_err(SendFault::Connect)? {
        Opened::H2(connected) => worker.pool.h2.share(endpoint, connected).await.map(Way::Shared),
        Opened::H1(connected) => Ok(Way::Own(connected)),
    }
}

async fn go(worker: &Rc<Worker>, endpoint: &Arc<Endpoint>, way: Way, outgoing: Outgoing<'_>) -> Result<Begun, Broken> {
    let lease = match way {
        Way::Shared(lease) => lease,
        Way::Own(connected) => return h1::exchange(worker, endpoint, connected, outgoing).await,
    };
    let malformed = Broken { fault: SendFault::Malformed, answered: true };
    let request = request(endpoint, outgoing).ok_or(malformed)?;
    let response = lease.sender().send_request(request).await.map_err(|error| {
        tracing::debug!(%error, "an HTTP/2 request got no answer");
        broken(&error)
    });
    // Whether the connection is gone or about to go: the next request has better chances on another.
    if let Err(Broken { fault: SendFault::Disconnected, answered: false }) = response {
        worker.pool.h2.retire(endpoint.id, &lease);
    }
    let (head, incoming) = answer_head(response?).ok_or(malformed)?;
    Ok(Begun { head, first: None, body: UpstreamBody::H2(H2Body::new(incoming, lease)) })
}

/// What an error means. Only of a stream that was reset by itself is it known that the provider has seen the request.
fn broken(error: &hyper::Error) -> Broken {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    match cause.filter(|cause| cause.is_reset()) {
        // Our own side resets a stream whose answer it cannot take, such as a head that is too large (failure model, U16).
        Some(reset) if !reset.is_remote() => Broken { fault: SendFault::Malformed, answered: true },
        Some(reset) if reset.reason() == Some(Reason::REFUSED_STREAM) => {
            Broken { fault: SendFault::Refused, answered: false }
        }
        Some(_) => Broken { fault: SendFault::Disconnected, answered: true },
        None => Broken { fault: SendFault::Disconnected, answered: false },
    }
}

/// The request, derived from the head that HTTP/1 would have sent: there is one encoder.
fn request(endpoint: &Endpoint, outgoing: Outgoing<'_>) -> Option<Request<PiecesBody>> {
    let mut head = RequestHead::default();
    read_request(outgoing.head, &Limits { head: usize::MAX, fields: 1000, target: usize::MAX }, &mut head).ok()?;
    let authority = head.first(outgoing.head, "host")?;
    let scheme = if endpoint.tls.is_some() { "https" } else { "http" };
    let mut path = std::str::from_utf8(head.path.of(outgoing.head)).ok()?.to_owned();
    if let Some(query) = head.query {
        path.push('?');
        path.push_str(std::str::from_utf8(query.of(outgoing.head)).ok()?);
    }
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().ok()?;
    let request = Request::builder().method(head.method.as_str()).uri(uri);
    let mut request = request.body(PiecesBody::new(outgoing.pieces)).ok()?;
    for field in &head.fields {
        let name = HeaderName::from_bytes(field.name.of(outgoing.head)).ok()?;
        if name != HOST && name != CONNECTION {
            request.headers_mut().append(name, HeaderValue::from_bytes(field.value.of(outgoing.head)).ok()?);
        }
    }
    Some(request)
}

/// The answer's head as HTTP/1 would have sent it, so that all that follows reads one form.
fn answer_head(response: Response<Incoming>) -> Option<(AnswerHead, Incoming)> {
    let (parts, incoming) = response.into_parts();
    let mut bytes = Vec::with_capacity(512);
    berry_http1::push_status_line(&mut bytes, parts.status.as_u16());
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
        berry_http1::push_field(&mut bytes, name.as_str().as_bytes(), value.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    let mut parsed = berry_http1::ResponseHead::default();
    let complete = berry_http1::read_response(&bytes, &Limits::default(), &mut parsed).ok()?;
    complete.then_some((AnswerHead::new(bytes.into(), parsed), incoming))
}

/// A request body in pieces.
pub(crate) struct PiecesBody {
    left: VecDeque<Bytes>,
    bytes: u64,
}

impl PiecesBody {
    fn new(pieces: &Pieces) -> Self {
        let left: VecDeque<Bytes> = pieces.iter().filter(|piece| !piece.is_empty()).cloned().collect();
        let bytes = left.iter().map(|piece| piece.len() as u64).sum();
        Self { left, bytes }
    }
}

impl Body for PiecesBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.left.pop_front();
        self.bytes -= next.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes)
    }
}
