//! A client's HTTP/2 connection, by hyper. Each request is put into the form that HTTP/1 has, so that the stations see one form.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use berry_http1::{Fault, Limits, RequestHead, push_field, read_request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::answer::{Answer, Content};
use crate::client::{BODY_IDLE, BodyError, Client, Request};
use crate::deadline::Deadline;
use crate::downstream::{Place, unreadable, unwinding};
use crate::http2::{CONNECTION_WINDOW, PING_INTERVAL, PING_TIMEOUT, STREAM_WINDOW};
use crate::local_executor::LocalExecutor;
use crate::path;
use crate::ports::Io;
use crate::station::{Flow, Ticket};
use crate::worker::Worker;

const MAX_HEADER_LIST: u32 = 16 * 1024;
const MAX_STREAMS: u32 = 256;
/// Serves the connection until it ends. `read`: what was read of it already.
pub(super) async fn serve(worker: Rc<Worker>, io: Io, read: Vec<u8>, peer: SocketAddr) {
    let of_requests = worker.clone();
    let service = service_fn(move |request| answer(of_requests.clone(), peer, request));
    let connection = Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_LIST)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(Replay { read: Bytes::from(read), io }), service);
    let mut connection = pin!(connection);
    let mut place = Place::new(worker);
    let mut is_told = false;
    let ended = poll_fn(|cx| {
        if !is_told && place.poll_draining(cx) {
            is_told = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::debug!(%peer, %error, "an HTTP/2 connection ended");
    }
}

async fn answer(
    worker: Rc<Worker>,
    peer: SocketAddr,
    request: http::Request<Incoming>,
) -> Result<Response<AnswerBody>, io::Error> {
    let (parts, incoming) = request.into_parts();
    let mut request = Request::new(peer);
    if let Err(fault) = translate(&parts, &mut request) {
        worker.gateway.metrics().malformed.fetch_add(1, Relaxed);
        tracing::debug!(%peer, %fault, "a message was refused");
        return Ok(refusal(fault));
    }
    let mut client = Http2Client { worker: worker.clone(), incoming, deadline: Deadline::default() };
    match unwinding::catch(path::handle(&worker, &request, &mut client)).await {
        Ok(Some(answer)) => Ok(response(answer, request.method() == berry_http1::Method::Head)),
        Ok(None) => Err(io::Error::other("the client is gone")),
        Err(unwinding::Panicked) => Ok(response(path::internal(&worker, &request), false)),
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

/// The answer to a message that cannot be read.
fn refusal(fault: Fault) -> Response<AnswerBody> {
    let body = berry_wire::render(&unreadable(fault), berry_vocab::Protocol::OpenAi, "").body;
    let mut response = Response::new(AnswerBody::Whole(body.into(), None));
    *response.status_mut() = StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::BAD_REQUEST);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn is_framing(name: &HeaderName) -> bool {
    matches!(name.as_str(), "host" | "content-length" | "transfer-encoding" | "connection" | "expect" | "te")
}

fn response(answer: Answer, headless: bool) -> Response<AnswerBody> {
    let Answer { head, content, mut ticket } = answer;
    let status = ticket.status;
    let body = match content {
        Content::Stream(streamed) => AnswerBody::Stream(Box::new(Flow::new(streamed, ticket)), false),
        Content::Whole(bytes) => {
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
    async fn read_body(&mut self, limit: u64) -> Result<Bytes, BodyError> {
        if self.incoming.size_hint().lower() > limit {
            return Err(BodyError::too_large(limit));
        }
        let mut body: Vec<u8> = Vec::with_capacity(usize::try_from(self.incoming.size_hint().lower()).unwrap_or(0));
        loop {
            let due = self.worker.now().after(BODY_IDLE);
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
            if body.len() as u64 > limit {
                return Err(BodyError::too_large(limit));
            }
        }
        self.deadline.lift();
        Ok(body.into())
    }

    /// A stream that is reset drops the future that answers it, so there is nothing to look for.
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn deadline(&mut self) -> &mut Deadline {
        &mut self.deadline
    }
}

/// An answer's body as hyper polls it.
enum AnswerBody {
    Whole(Bytes, Option<Ticket>),
    /// The flow, and whether it is over.
    Stream(Box<Flow>, bool),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            AnswerBody::Whole(bytes, ticket) => {
                drop(ticket.take());
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            AnswerBody::Stream(_, true) => Poll::Ready(None),
            AnswerBody::Stream(flow, is_over) => {
                let worker = flow.worker().clone();
                let mut scratch = worker.scratch.borrow_mut();
                let Ok(piece) = ready!(flow.poll_piece(cx, &mut scratch)) else {
                    *is_over = true;
                    return Poll::Ready(Some(Err(io::Error::other("the upstream's answer was cut"))));
                };
                *is_over = piece.last;
                if piece.len == 0 {
                    return Poll::Ready(None);
                }
                let data = Bytes::copy_from_slice(scratch.get(..piece.len).unwrap_or_default());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Whole(bytes, _) => bytes.is_empty(),
            AnswerBody::Stream(_, is_over) => *is_over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Whole(bytes, _) => SizeHint::with_exact(bytes.len() as u64),
            AnswerBody::Stream(flow, _) => flow.length().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// A connection of which some bytes have been read already.
struct Replay {
    read: Bytes,
    io: Io,
}

impl AsyncRead for Replay {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let len = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
