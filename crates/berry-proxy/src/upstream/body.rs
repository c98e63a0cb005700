//! The body of an upstream's answer, read piece by piece into a buffer that the caller lends.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use berry_http1::{ChunkedReader, Framing};
use bytes::{Buf, Bytes};
use http_body::Body;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, ReadBuf};

use crate::ports::Connected;
use crate::upstream::Endpoint;
use crate::upstream::decode::Decoded;
use crate::upstream::h2::Lease;
use crate::worker::Worker;

/// A piece of a body: the first `len` bytes of the buffer, and whether the body ends with it. An empty piece is always the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) len: usize,
    pub(crate) last: bool,
}

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// The connection broke, or the stream was reset.
    Disconnected,
    /// The connection ended cleanly, but too early.
    Truncated,
    /// The framing or the coding is malformed, or the coding a bomb.
    Malformed,
}

/// The body of an answer. Dropping it before its end cancels the request.
pub(crate) enum UpstreamBody {
    /// Over HTTP/1.
    H1(H1Body),
    /// Over HTTP/2.
    H2(H2Body),
    /// Over either, in a coding that is undone.
    Decoded(Box<Decoded>),
}

impl UpstreamBody {
    /// The next piece, into `buffer`.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<Piece, BodyFault>> {
        match self {
            UpstreamBody::H1(body) => body.poll_piece(cx, buffer),
            UpstreamBody::H2(body) => body.poll_piece(cx, buffer),
            UpstreamBody::Decoded(body) => body.poll_piece(cx, buffer),
        }
    }

    /// Its length, where the head told it.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            UpstreamBody::H1(body) => body.length,
            UpstreamBody::H2(body) => body.length,
            UpstreamBody::Decoded(_) => None,
        }
    }
}

/// Over HTTP/1.
pub(crate) struct H1Body {
    worker: Rc<Worker>,
    endpoint: Arc<Endpoint>,
    connected: Option<Connected>,
    left: Left,
    length: Option<u64>,
    reusable: bool,
}

/// What is still to come.
enum Left {
    Length(u64),
    Chunks(ChunkedReader),
    UntilClose,
    Nothing,
}

impl H1Body {
    pub(super) fn new(
        worker: Rc<Worker>,
        endpoint: Arc<Endpoint>,
        connected: Connected,
        framing: Framing,
        reusable: bool,
    ) -> Self {
        let (left, length) = match framing {
            Framing::None => (Left::Nothing, Some(0)),
            Framing::Length(length) => (Left::Length(length), Some(length)),
            Framing::Chunked => (Left::Chunks(ChunkedReader::default()), None),
            Framing::UntilClose => (Left::UntilClose, None),
        };
        Self { worker, endpoint, connected: Some(connected), left, length, reusable }
    }

    /// Takes the bytes that came with the head, leaving the data among them at their front. `None`: there is none yet. A body
    /// that is over gives its connection back at once.
    pub(super) fn begin(&mut self, raw: &mut [u8]) -> Result<Option<Piece>, BodyFault> {
        if raw.is_empty() && !matches!(self.left, Left::Nothing) {
            return Ok(None);
        }
        let piece = self.unframe(raw)?;
        if piece.last {
            self.finish();
        }
        Ok((piece.len > 0 || piece.last).then_some(piece))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<Piece, BodyFault>> {
        loop {
            if matches!(self.left, Left::Nothing) {
                return Poll::Ready(Ok(Piece { len: 0, last: true }));
            }
            let read = ready!(self.poll_fill(cx, buffer))?;
            if read == 0 {
                return Poll::Ready(self.end_of_connection());
            }
            let piece = self.unframe(buffer.get_mut(..read).unwrap_or_default())?;
            if piece.last {
                self.finish();
            }
            // Framing alone, without data, is no piece.
            if piece.len > 0 || piece.last {
                return Poll::Ready(Ok(piece));
            }
        }
    }

    /// Puts raw bytes of the connection into the buffer.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, BodyFault>> {
        let Some(connected) = &mut self.connected else {
            return Poll::Ready(Err(BodyFault::Disconnected));
        };
        let mut read = ReadBuf::new(buffer);
        match ready!(Pin::new(&mut connected.io).poll_read(cx, &mut read)) {
            Ok(()) => Poll::Ready(Ok(read.filled().len())),
            Err(_) => Poll::Ready(Err(BodyFault::Disconnected)),
        }
    }

    /// Removes the framing of what stands in `raw`, leaving the data at its front.
    fn unframe(&mut self, raw: &mut [u8]) -> Result<Piece, BodyFault> {
        match &mut self.left {
            Left::Length(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(raw.len());
                self.reusable &= len == raw.len();
                *left -= len as u64;
                Ok(Piece { len, last: *left == 0 })
            }
            Left::Chunks(reader) => {
                let decoded = reader.decode(raw).map_err(|_| BodyFault::Malformed)?;
                self.reusable &= decoded.consumed == raw.len();
                Ok(Piece { len: decoded.data, last: decoded.done })
            }
            Left::UntilClose => Ok(Piece { len: raw.len(), last: false }),
            Left::Nothing => {
                self.reusable &= raw.is_empty();
                Ok(Piece { len: 0, last: true })
            }
        }
    }

    fn end_of_connection(&mut self) -> Result<Piece, BodyFault> {
        match self.left {
            Left::UntilClose => {
                self.left = Left::Nothing;
                Ok(Piece { len: 0, last: true })
            }
            _ => Err(BodyFault::Truncated),
        }
    }

    /// Gives the connection back to the pool, if it can serve another request. Bytes beyond the body's end forbid it.
    fn finish(&mut self) {
        self.left = Left::Nothing;
        if let Some(connected) = self.connected.take().filter(|_| self.reusable) {
            self.worker.pool.put(&self.endpoint, connected, self.worker.recent());
        }
    }
}

/// Over HTTP/2.
pub(crate) struct H2Body {
    incoming: Incoming,
    rest: Bytes,
    /// Whether the stream broke; told once what came before has been passed on.
    is_broken: bool,
    length: Option<u64>,
    /// Its place on the connection, for as long as it may still come.
    _lease: Lease,
}

impl H2Body {
    pub(super) fn new(incoming: Incoming, lease: Lease) -> Self {
        let length = incoming.size_hint().exact();
        Self { incoming, rest: Bytes::new(), is_broken: false, length, _lease: lease }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<Piece, BodyFault>> {
        let mut len = 0;
        loop {
            let run = self.rest.len().min(buffer.len() - len);
            if let (Some(to), Some(from)) = (buffer.get_mut(len..len + run), self.rest.get(..run)) {
                to.copy_from_slice(from);
            }
            self.rest.advance(run);
            len += run;
            if len == buffer.len() {
                return Poll::Ready(Ok(Piece { len, last: false }));
            }
            if self.is_broken {
                return Poll::Ready(if len > 0 {
                    Ok(Piece { len, last: false })
                } else {
                    Err(BodyFault::Disconnected)
                });
            }
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => self.rest = frame.into_data().unwrap_or_default(),
                Poll::Ready(Some(Err(_))) => self.is_broken = true,
                Poll::Ready(None) => return Poll::Ready(Ok(Piece { len, last: true })),
                Poll::Pending if len > 0 => {
                    return Poll::Ready(Ok(Piece { len, last: self.incoming.is_end_stream() }));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
