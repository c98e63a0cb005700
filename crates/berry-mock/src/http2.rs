//! HTTP/2 by hyper: the same answers where the protocol can carry them.
//!
//! What breaks a connection in HTTP/1 breaks one stream here: `drop` and `reset` are RST_STREAM, `truncate` is the end
//! of the stream half way. Faults of the HTTP/1 message itself (`badhead`, `dupcl`, `1xx`, `nolen`, `extra`) play as a
//! plain answer, and `badhead` as RST_STREAM.

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::answer::{Answer, Ending, Framing, Play, decide};
use crate::events::Piece;
use crate::http1::FILLER;
use crate::journal::{Received, Ticket};
use crate::server::{Shared, Wire};

/// Serves one connection to its end.
pub(crate) async fn serve<W: Wire>(wire: W, shared: Arc<Shared>, number: u64) {
    let mut closing = shared.closing.subscribe();
    let served = Arc::new(AtomicU64::new(0));
    let service = service_fn(move |request| handle(request, shared.clone(), number, served.clone()));
    let connection = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(wire), service);
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            Ok(()) = closing.changed() => connection.as_mut().graceful_shutdown(),
        }
    }
}

async fn handle(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    number: u64,
    served: Arc<AtomicU64>,
) -> io::Result<Response<Played>> {
    let (parts, mut body) = request.into_parts();
    let mut received = received(&parts, number);
    if !shared.is_early(&received.path, b"") && read(&mut body, &mut received).await.is_err() {
        drop(shared.journal.open(received));
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let play = decide(&shared, &received, served.fetch_add(1, Relaxed) > 0);
    let ticket = shared.journal.open(received);
    match play {
        Play::Hang => std::future::pending().await,
        Play::Drop | Play::Raw(_) => {
            ticket.cut();
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Play::Answer(answer) => {
            if answer.stream {
                shared.journal.counters.streams.fetch_add(1, Relaxed);
            }
            sleep(answer.pace.ttfb).await;
            respond(answer, ticket)
        }
    }
}

fn received(parts: &http::request::Parts, connection: u64) -> Received {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let authority = parts.uri.authority().map(|authority| (":authority".to_owned(), authority.to_string()));
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let fields = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    Received {
        method: parts.method.to_string(),
        path,
        headers: authority.into_iter().chain(fields).collect(),
        http_version: "HTTP/2.0",
        connection,
        ..Received::default()
    }
}

/// Reads the body; on failure what had come stays in the journal.
async fn read(body: &mut Incoming, received: &mut Received) -> hyper::Result<()> {
    let mut whole = BytesMut::new();
    let result = loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            None => break Ok(()),
            Some(Err(error)) => break Err(error),
            Some(Ok(frame)) => whole.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
        }
    };
    received.body = whole.freeze();
    result
}

fn respond(answer: Answer, ticket: Ticket) -> io::Result<Response<Played>> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name.as_ref(), value.as_ref());
    }
    if answer.framing == Framing::Length && answer.ending != Ending::Close {
        response = response.header("content-length", answer.length);
    }
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(send(answer, sender));
    response.body(Played { receiver, ticket: Some(ticket) }).map_err(io::Error::other)
}

/// Hands the pieces over at their time; an error resets the stream. It ends when the body is gone.
async fn send(answer: Answer, sender: mpsc::Sender<Step>) {
    sleep(answer.pace.gap).await;
    let start = Instant::now();
    for (index, piece) in answer.pieces.iter().enumerate() {
        answer.pace.due(start, index).await;
        let (block, mut left) = match piece {
            Piece::Bytes(bytes) => (bytes, bytes.len() as u64),
            Piece::Fill(length) => (&FILLER, *length),
        };
        while left > 0 {
            let length = left.min(block.len() as u64);
            if sender.send(Step::Data(block.slice(..length as usize))).await.is_err() {
                return;
            }
            left -= length;
        }
    }
    let last = match answer.ending {
        Ending::Whole => Step::End,
        Ending::Close => Step::Cut,
        Ending::Reset => Step::Reset,
        Ending::Silence => return sender.closed().await,
    };
    // A client that has gone needs no end.
    let _ = sender.send(last).await;
}

enum Step {
    Data(Bytes),
    End,
    Cut,
    Reset,
}

/// The body of an answer; it knows how the answer ended.
struct Played {
    receiver: mpsc::Receiver<Step>,
    /// Taken when the answer has come to its end.
    ticket: Option<Ticket>,
}

impl Body for Played {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Poll::Ready(step) = self.receiver.poll_recv(cx) else {
            return Poll::Pending;
        };
        let last = match step {
            Some(Step::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Reset) => Some(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Step::Cut | Step::End) | None => None,
        };
        match (self.ticket.take(), step) {
            (Some(ticket), Some(Step::End)) => ticket.complete(),
            (Some(ticket), _) => ticket.cut(),
            (None, _) => {}
        }
        Poll::Ready(last)
    }
}
