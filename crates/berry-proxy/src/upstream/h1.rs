//! One HTTP/1 exchange on one connection: the request goes out with as few writes as the socket takes, while the answer may
//! already come in. Reads land in the worker's scratch buffer, so that a waiting request holds no buffer of its own.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use berry_http1::{Limits, ResponseHead, find_head_end, read_response};
use bytes::Bytes;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::ports::{Connected, Io};
use crate::upstream::body::H1Body;
use crate::upstream::{AnswerHead, Begun, Broken, Endpoint, First, Outgoing, Piece, SendFault, UpstreamBody};
use crate::worker::Worker;

/// Interim answers (1xx) that are passed over before the provider counts as broken (failure model, U17).
const MAX_INTERIM: u8 = 10;

/// Fields that a vendor's answer usually has room for.
const USUAL_FIELDS: usize = 24;

/// Sends the request on `connected` and reads the head of its answer.
pub(super) async fn exchange(
    worker: &Rc<Worker>,
    endpoint: &Arc<Endpoint>,
    connected: Connected,
    outgoing: Outgoing<'_>,
) -> Result<Begun, Broken> {
    let Connected { io, peer } = connected;
    let mut exchange =
        Exchange { worker, io, outgoing, sent: 0, write_ended: false, answer: Vec::new(), scanned: 0, interim: 0 };
    let mut parsed = ResponseHead { fields: Vec::with_capacity(USUAL_FIELDS), ..ResponseHead::default() };
    let outcome = poll_fn(|cx| exchange.poll(cx, &mut parsed)).await;
    if let Err(fault) = outcome {
        return Err(Broken { fault, answered: !exchange.answer.is_empty() });
    }
    let Exchange { io, mut answer, write_ended, sent, .. } = exchange;
    // An answer that came before the whole request had gone out leaves the connection in no known state.
    let reusable = parsed.keep_alive && !write_ended && sent == total(outgoing);
    let mut body = H1Body::new(worker.clone(), endpoint.clone(), Connected { io, peer }, parsed.framing, reusable);
    // What came with the head is unframed where it lies, and goes on as a part of the same buffer.
    let piece = body.begin(answer.get_mut(parsed.length..).unwrap_or_default());
    let piece = piece.map_err(|_| Broken { fault: SendFault::Malformed, answered: true })?;
    let bytes = Bytes::from(answer);
    let of_body = |piece: Piece| bytes.slice(parsed.length..parsed.length + piece.len);
    let first = piece.map(|piece| First { bytes: of_body(piece), last: piece.last });
    Ok(Begun { head: AnswerHead::new(bytes, parsed), first, body: UpstreamBody::H1(body) })
}

struct Exchange<'a> {
    worker: &'a Worker,
    io: Io,
    outgoing: Outgoing<'a>,
    /// Bytes of head and body that have gone out.
    sent: usize,
    /// Whether writing failed; the answer may still say why.
    write_ended: bool,
    /// What came in so far: the head, then the first of the body.
    answer: Vec<u8>,
    /// How much of it is known not to hold the head's end.
    scanned: usize,
    interim: u8,
}

impl Exchange<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, parsed: &mut ResponseHead) -> Poll<Result<(), SendFault>> {
        if !self.write_ended && matches!(self.poll_send(cx), Poll::Ready(Err(_))) {
            self.write_ended = true;
        }
        loop {
            let before = self.answer.len();
            let worker = self.worker;
            let mut scratch = worker.scratch.borrow_mut();
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.answer.extend_from_slice(buffer.filled()),
                _ => return Poll::Ready(Err(SendFault::Disconnected)),
            }
            drop(scratch);
            if self.read_head(before, parsed)? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Whether the head of the final answer is complete.
    fn read_head(&mut self, before: usize, parsed: &mut ResponseHead) -> Result<bool, SendFault> {
        let malformed = |fault| {
            tracing::debug!(%fault, "a provider's answer was no HTTP");
            SendFault::Malformed
        };
        // Only once the blank line is there is a head that came in pieces read again from its start.
        if before > 0 && find_head_end(&self.answer, self.scanned).map_err(malformed)?.is_none() {
            self.scanned = self.answer.len();
            return if self.answer.len() > Limits::default().head { Err(SendFault::Malformed) } else { Ok(false) };
        }
        while read_response(&self.answer, &Limits::default(), parsed).map_err(malformed)? {
            if parsed.status >= 200 {
                return Ok(true);
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM || parsed.status == 101 {
                return Err(SendFault::Malformed);
            }
            self.answer.drain(..parsed.length);
        }
        self.scanned = 0;
        Ok(false)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let total = total(self.outgoing);
        while self.sent < total {
            let slices = unsent(self.outgoing, self.sent);
            match ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &slices))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

fn total(outgoing: Outgoing<'_>) -> usize {
    outgoing.head.len() + outgoing.pieces.len()
}

/// What is left to write behind the first `sent` bytes.
fn unsent(outgoing: Outgoing<'_>, sent: usize) -> SmallVec<[IoSlice<'_>; 8]> {
    let mut skip = sent;
    let mut slices = SmallVec::new();
    for part in std::iter::once(outgoing.head).chain(outgoing.pieces.iter().map(|piece| &piece[..])) {
        match part.get(skip..) {
            Some(rest) if !rest.is_empty() => {
                slices.push(IoSlice::new(rest));
                skip = 0;
            }
            _ => skip -= part.len(),
        }
    }
    slices
}
