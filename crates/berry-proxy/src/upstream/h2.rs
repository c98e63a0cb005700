//! HTTP/2 to providers that agree on it: one connection for each worker and endpoint, shared by its requests, watched by pings.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use berry_http1::{Limits, RequestHead, read_request};
use berry_wire::Pieces;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::local_executor::LocalExecutor;
use crate::ports::Io;
use crate::upstream::body::H2Body;
use crate::upstream::{AnswerHead, Begun, Endpoint, Outgoing, SendFault, UpstreamBody, connect};
use crate::worker::Worker;

const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A connection that the requests of a worker share.
#[derive(Clone)]
pub(crate) struct Shared {
    sender: SendRequest<PiecesBody>,
}

impl Shared {
    /// Whether it takes no further requests.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Makes a fresh connection the worker's shared one.
pub(super) async fn adopt(worker: &Rc<Worker>, endpoint: &Arc<Endpoint>, io: Io) -> Result<(), SendFault> {
    let (sender, connection) = Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|_| SendFault::Disconnected)?;
    // Ends with the connection, or once the last sender and the last stream are gone.
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an HTTP/2 connection to a provider ended");
        }
    });
    worker.pool.h2.borrow_mut().insert(endpoint.id, Shared { sender });
    Ok(())
}

/// Sends a request on the shared connection, opening one if need be.
pub(super) async fn send(
    worker: &Rc<Worker>,
    endpoint: &Arc<Endpoint>,
    outgoing: Outgoing<'_>,
) -> Result<Begun, SendFault> {
    // A connection may go away between being found and being used; the request then goes out once more, on a fresh one.
    if let Some(shared) = open_connection(worker, endpoint) {
        match attempt(shared, endpoint, outgoing).await {
            Err(SendFault::Disconnected) => worker.pool.h2.borrow_mut().remove(&endpoint.id),
            other => return other,
        };
    }
    match connect::open(worker, endpoint).await.map_err(SendFault::Connect)? {
        connect::Opened::H2(io) => adopt(worker, endpoint, io).await?,
        connect::Opened::H1(io) => {
            return super::h1::exchange(worker, endpoint, io, outgoing).await.map_err(|broken| broken.fault);
        }
    }
    let shared = open_connection(worker, endpoint).ok_or(SendFault::Disconnected)?;
    attempt(shared, endpoint, outgoing).await
}

fn open_connection(worker: &Worker, endpoint: &Endpoint) -> Option<Shared> {
    worker.pool.h2.borrow().get(&endpoint.id).filter(|shared| !shared.is_closed()).cloned()
}

async fn attempt(mut shared: Shared, endpoint: &Endpoint, outgoing: Outgoing<'_>) -> Result<Begun, SendFault> {
    let request = request(endpoint, outgoing).ok_or(SendFault::Malformed)?;
    shared.sender.ready().await.map_err(|_| SendFault::Disconnected)?;
    let response = shared.sender.send_request(request).await.map_err(|error| {
        tracing::debug!(%error, "an HTTP/2 request got no answer");
        SendFault::Disconnected
    })?;
    let (head, incoming) = answer_head(response).ok_or(SendFault::Malformed)?;
    Ok(Begun { head, first: None, body: UpstreamBody::H2(H2Body::new(incoming)) })
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
    let mut request = Request::post(uri).body(PiecesBody::new(outgoing.pieces)).ok()?;
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
    complete.then_some((AnswerHead { bytes: bytes.into(), parsed }, incoming))
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
