//! The framing of an answer to an HTTP/1 client. What has arrived from upstream by one read leaves by one write; what the
//! socket does not take is kept, and nothing more is read from upstream until it has gone.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use berry_http1::{Method, Version, chunk_size_line, push_decimal, push_field};
use tokio::io::AsyncWrite;

use crate::answer::{Answer, Body, Outflow};
use crate::client::{Client, Request};
use crate::downstream::STALL;
use crate::downstream::h1::wire::Wire;
use crate::unwinding;

/// How the body is framed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunks,
    UntilClose,
}

/// The client is gone, or the answer had to be cut.
struct Broken;

/// Writes an answer. `keep`: whether the connection may go on afterwards. Says whether it does.
pub(super) async fn relay(wire: &mut Wire, request: &Request, answer: Answer, keep: bool) -> bool {
    let Answer { head: mut pending, body, .. } = answer;
    let length = match &body {
        Body::Whole(bytes, _) => Some(bytes.len() as u64),
        Body::Flow(flow) => flow.length(),
    };
    let framing = match (length, request.head.version) {
        (Some(length), _) => Framing::Length(length),
        (None, Version::Http11) => Framing::Chunks,
        (None, Version::Http10) => Framing::UntilClose,
    };
    let keep = keep && framing != Framing::UntilClose;
    end_head(&mut pending, framing, keep, request.head.version);
    let mut writer = Writer { wire, pending, sent: 0, framing, has_begun: false, is_flushing: false };
    let written = match body {
        Body::Whole(body, mut ticket) => {
            ticket.complete();
            let written = writer.whole(if request.method() == Method::Head { &[] } else { &body }).await;
            // The request ends here, not with the moment that a closing connection is still read from.
            drop(ticket);
            written
        }
        Body::Flow(flow) => writer.stream(flow).await,
    };
    if written.is_ok() && !keep {
        wire.linger().await;
    }
    written.is_ok() && keep
}

/// Adds what belongs to this hop, and the blank line.
fn end_head(out: &mut Vec<u8>, framing: Framing, keep: bool, version: Version) {
    match framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            push_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunks => push_field(out, b"transfer-encoding", b"chunked"),
        Framing::UntilClose => {}
    }
    match (keep, version) {
        (false, _) => push_field(out, b"connection", b"close"),
        (true, Version::Http10) => push_field(out, b"connection", b"keep-alive"),
        (true, Version::Http11) => {}
    }
    out.extend_from_slice(b"\r\n");
}

struct Writer<'w> {
    wire: &'w mut Wire,
    /// Not yet taken by the socket, from `sent` on; at first the head.
    pending: Vec<u8>,
    sent: usize,
    framing: Framing,
    /// Whether the head has been offered to the socket, together with the first of the body.
    has_begun: bool,
    /// Whether a flush is under way, with its limit set.
    is_flushing: bool,
}

impl Writer<'_> {
    async fn whole(&mut self, body: &[u8]) -> Result<(), Broken> {
        poll_fn(|cx| {
            if !self.has_begun {
                self.offer(cx, &[body])?;
            }
            self.poll_pending(cx)
        })
        .await
    }

    async fn stream(&mut self, mut flow: Outflow) -> Result<(), Broken> {
        let mut is_over = false;
        poll_fn(|cx| self.poll_stream(cx, &mut flow, &mut is_over)).await
    }

    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
        flow: &mut Outflow,
        is_over: &mut bool,
    ) -> Poll<Result<(), Broken>> {
        let worker = self.wire.worker.clone();
        loop {
            if self.has_begun {
                ready!(self.poll_pending(cx))?;
            }
            if *is_over {
                return Poll::Ready(Ok(()));
            }
            if unwinding::poll_ready(flow, cx).is_pending() {
                return self.wire.poll_gone(cx).map(|()| Err(Broken));
            }
            let mut scratch = worker.scratch.borrow_mut();
            match unwinding::poll_piece(flow, cx, &mut scratch) {
                Poll::Ready(Ok(piece)) => {
                    *is_over = piece.last;
                    self.offer_piece(cx, scratch.get(..piece.len).unwrap_or_default(), piece.last)?;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(self.cut())),
                Poll::Pending => {
                    drop(scratch);
                    return self.wire.poll_gone(cx).map(|()| Err(Broken));
                }
            }
        }
    }

    /// Breaks the answer off. Where only the connection's end ends the body, an ordinary end would make the part look whole.
    fn cut(&mut self) -> Broken {
        if self.framing == Framing::UntilClose {
            self.wire.io.reset_on_close();
        }
        Broken
    }

    /// Gives up a client that takes nothing. The system's buffers would hold what it has not taken for minutes more.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.wire.poll_deadline(cx).map(|()| {
            self.wire.io.reset_on_close();
            Err(Broken)
        })
    }

    fn offer_piece(&mut self, cx: &mut Context<'_>, data: &[u8], last: bool) -> Result<(), Broken> {
        if self.framing != Framing::Chunks {
            return self.offer(cx, &[data]);
        }
        let (line, len) = chunk_size_line(data.len());
        let size = line.get(..len).unwrap_or_default();
        match (data.is_empty(), last) {
            (true, false) => Ok(()),
            (true, true) => self.offer(cx, &[b"0\r\n\r\n"]),
            (false, false) => self.offer(cx, &[size, data, b"\r\n"]),
            (false, true) => self.offer(cx, &[size, data, b"\r\n0\r\n\r\n"]),
        }
    }

    /// Offers what is pending and `parts` to the socket, and keeps what it does not take at once.
    fn offer(&mut self, cx: &mut Context<'_>, parts: &[&[u8]]) -> Result<(), Broken> {
        const MOST: usize = 4;
        self.has_begun = true;
        let unsent = self.pending.get(self.sent..).unwrap_or_default();
        let mut slices = [IoSlice::new(&[]); MOST];
        for (slice, part) in slices.iter_mut().zip(std::iter::once(unsent).chain(parts.iter().copied())) {
            *slice = IoSlice::new(part);
        }
        let written =
            match Pin::new(&mut self.wire.io).poll_write_vectored(cx, slices.get(..=parts.len()).unwrap_or_default()) {
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(_)) => return Err(Broken),
                Poll::Pending => 0,
            };
        let of_pending = written.min(unsent.len());
        self.sent += of_pending;
        if self.sent == self.pending.len() {
            self.pending.clear();
            self.sent = 0;
        }
        let mut taken = written - of_pending;
        for part in parts {
            self.pending.extend_from_slice(part.get(taken..).unwrap_or_default());
            taken = taken.saturating_sub(part.len());
        }
        if !self.pending.is_empty() {
            self.wire.set_deadline(STALL);
        }
        Ok(())
    }

    /// Waits until all that is pending has gone.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while self.sent < self.pending.len() {
            let unsent = self.pending.get(self.sent..).unwrap_or_default();
            match Pin::new(&mut self.wire.io).poll_write(cx, unsent) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    self.sent += written;
                    self.wire.set_deadline(STALL);
                }
                Poll::Ready(_) => return Poll::Ready(Err(Broken)),
                Poll::Pending if self.wire.poll_gone(cx).is_ready() => return Poll::Ready(Err(Broken)),
                Poll::Pending => return self.poll_stall(cx),
            }
        }
        self.pending.clear();
        self.sent = 0;
        // A TLS session takes bytes before its socket does, so that a client that stalls shows here.
        match Pin::new(&mut self.wire.io).poll_flush(cx) {
            Poll::Ready(flushed) => {
                self.is_flushing = false;
                Poll::Ready(flushed.map_err(|_| Broken))
            }
            Poll::Pending => {
                if !std::mem::replace(&mut self.is_flushing, true) {
                    self.wire.set_deadline(STALL);
                }
                if self.wire.poll_gone(cx).is_ready() {
                    return Poll::Ready(Err(Broken));
                }
                self.poll_stall(cx)
            }
        }
    }
}
