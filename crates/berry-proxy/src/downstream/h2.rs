//! A client's HTTP/2 connection, by hyper. Each request is put into the form that HTTP/1 has, so that the stations see one form.

mod body;
mod replay;
mod streams;

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use berry_http1::{Fault, Limits, Method, RequestHead, push_field, read_request};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;

use crate::allowance::Allowance;
use crate::answer::{Answer, Body};
use crate::client::{BodyError, Client, Pace, Peer, Request};
use crate::deadline::Deadline;
use crate::downstream::{HEAD, HTTP2_PREFACE, Handled, IDLE, handle, refuse_unreadable};
use crate::http2::{CONNECTION_WINDOW, PING_INTERVAL, PING_TIMEOUT, STREAM_WINDOW};
use crate::places::Place;
use crate::ports::Io;
use crate::worker::Worker;

use body::AnswerBody;
use replay::Replay;
use streams::Streams;

const MAX_HEADER_LIST: u32 = 16 * 1024;
const MAX_STREAMS: u32 = 256;

/// What is kept of one stream's answer that its client has not taken; then upstream is not read any more.
const SEND_BUFFER: usize = 256 * 1024;

/// How long a client may take to close a connection that it was told to leave.
const GOODBYE: Duration = Duration::from_secs(5);

/// Serves a connection whose TLS handshake agreed on HTTP/2, if it keeps to that in time.
pub(super) async fn serve_agreed(worker: Rc<Worker>, mut io: Io, peer: Peer) {
    let mut read = vec![0; HTTP2_PREFACE.len()];
    let arrived = tokio::time::timeout(HEAD, io.read_exact(&mut read)).await;
    if matches!(arrived, Ok(Ok(_))) && read == HTTP2_PREFACE {
        serve(worker, io, read, peer).await;
    } else {
        tracing::debug!(peer = %peer.socket, "a client agreed on HTTP/2, and did not speak it");
    }
}

/// Serves the connection until it ends. `read`: what was read of it already.
pub(super) async fn serve(worker: Rc<Worker>, io: Io, read: Vec<u8>, peer: Peer) {
    let (of_requests, of_metrics) = (worker.clone(), worker.clone());
    let service = service_fn(move |request| answer(of_requests.clone(), peer, request));
    let streams = Streams::new(worker.clone());
    let connection = Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_LIST)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(Replay::new(read, io)), service);
    let mut connection = pin!(connection);
    let mut place = Place::new(worker);
    let mut is_told = false;
    let ended = poll_fn(|cx| {
        if !is_told && (place.poll_draining(cx) || streams.have_rested(cx, IDLE)) {
            is_told = true;
            connection.as_mut().graceful_shutdown();
        }
        // An answer that the client has not taken would hold the connection open after its stream's end.
        if is_told && streams.have_rested(cx, IDLE + GOODBYE) {
            return Poll::Ready(Ok(()));
        }
        let polled = connection.as_mut().poll(cx);
        let must_close = match streams.idle_since() {
            Some(since) => place.rest(cx, since),
            None => {
                place.resume();
                false
            }
        };
        if must_close { Poll::Ready(Ok(())) } else { polled }
    });
    if let Err(error) = ended.await {
        if is_broken(&error) {
            of_metrics.gateway.metrics().malformed.fetch_add(1, Relaxed);
        }
        tracing::debug!(peer = %peer.socket, %error, "an HTTP/2 connection ended");
    }
}

/// Whether the client broke the protocol, or flooded the connection: what it was then told is of our own making.
fn is_broken(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| cause.is_library() && cause.reason().is_some())
}

async fn answer(
    worker: Rc<Worker>,
    peer: Peer,
    request: http::Request<Incoming>,
) -> Result<Response<AnswerBody>, io::Error> {
    let (parts, incoming) = request.into_parts();
    let mut request = Request::new(peer);
    if let Err(fault) = translate(&parts, &mut request) {
        return Ok(response(refuse_unreadable(&worker, &Request::unreadable(peer), fault), false));
    }
    let mut client = Http2Client { worker: worker.clone(), incoming, deadline: Deadline::default() };
    match handle(&worker, &request, &mut client).await {
        Handled::Answer(answer) | Handled::Panicked(answer) => Ok(response(answer, request.method() == Method::Head)),
        Handled::Gone => Err(io::Error::other("the client is gone")),
    }
}

/// Writes the head as HTTP/1 would have it and reads it by the same strict rules.
fn translate(parts: &http::request::Parts, request: &mut Request) -> Result<(), Fault> {
    let out = &mut request.bytes;
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(parts.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| parts.headers.get("host").map(HeaderValue::as_bytes)).unwrap_or_default();
    push_field(out, b"host", host);
    for (name, value) in parts.headers.iter().filter(|(name, _)| !is_framing(name)) {
        push_field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    let mut head = RequestHead::default();
    // What HTTP/2 compresses was bounded already; written out it may be larger.
    let limits = Limits { head: 4 * MAX_HEADER_LIST as usize, ..Limits::default() };
    let complete = read_request(out, &limits, &mut head)?;
    request.head = head;
    if complete { Ok(()) } else { Err(Fault::Malformed("the head does not end")) }
}

fn is_framing(name: &HeaderName) -> bool {
    matches!(name.as_str(), "host" | "content-length" | "transfer-encoding" | "connection" | "expect" | "te")
}

fn response(answer: Answer, headless: bool) -> Response<AnswerBody> {
    let Answer { status, head, body } = answer;
    let body = match body {
        Body::Flow(flow) => AnswerBody::Stream(flow, false),
        Body::Whole(bytes, mut ticket) => {
            ticket.complete();
            AnswerBody::Whole(if headless { Bytes::new() } else { bytes }, Some(ticket))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for line in head.split(|&b| b == b'\n').skip(1).filter_map(|line| line.strip_suffix(b"\r")) {
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.strip_prefix(b": ").unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// The client's side of one request.
struct Http2Client {
    worker: Rc<Worker>,
    incoming: Incoming,
    deadline: Deadline,
}

impl Client for Http2Client {
    async fn read_body(&mut self, allowance: &mut Allowance) -> Result<Bytes, BodyError> {
        if self.incoming.size_hint().lower() > allowance.most {
            return Err(BodyError::too_large(allowance.most));
        }
        let mut body: Vec<u8> = Vec::with_capacity(usize::try_from(self.incoming.size_hint().lower()).unwrap_or(0));
        let pace = Pace::new(self.worker.now());
        loop {
            let due = pace.due(self.worker.now(), body.len());
            self.deadline.set(self.worker.clock.instant(due));
            let frame = poll_fn(|cx| match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(frame) => Poll::Ready(Ok(frame)),
                Poll::Pending => self.deadline.poll(cx).map(|()| Err(BodyError::too_slow())),
            })
            .await?;
            match frame {
                Some(Ok(frame)) => body.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(_)) => return Err(BodyError::Gone),
                None => break,
            }
            allowance.hold(body.len())?;
        }
        self.deadline.lift();
        Ok(body.into())
    }

    // A stream that is reset drops the future that answers it, so there is no looking for whether the client is gone.

    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn deadline(&mut self) -> &mut Deadline {
        &mut self.deadline
    }
}
