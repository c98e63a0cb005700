//! The bytes of a client's HTTP/1 connection: what was read and not yet used, the body that is still to come, the time limit.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use berry_http1::{ChunkedReader, Framing, RequestHead};
use berry_vocab::{Code, Failure};
use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use crate::allowance::Allowance;
use crate::client::{BodyError, Client, Pace};
use crate::deadline::Deadline;
use crate::downstream::STALL;
use crate::ports::Io;
use crate::worker::Worker;

/// How much of pipelined requests is read ahead while one is being answered.
const READ_AHEAD: usize = 16 * 1024;

/// For how long, and how much, a closing connection is read from, so that the last answer is not lost to a reset.
#[derive(Clone, Copy)]
struct Linger {
    time: Duration,
    bytes: u64,
}

/// Behind a whole request, or within a body of which too much has come (failure model, C14).
const BRIEFLY: Linger = Linger { time: Duration::from_secs(1), bytes: 64 * 1024 };

/// Before a body that nobody asked for: many clients write all of it before they read their answer.
const PAST_BODY: Linger = Linger { time: Duration::from_secs(5), bytes: 1 << 20 };

/// What a read brought.
pub(super) enum Read {
    /// Bytes, now in the input.
    Some,
    /// The client is gone, or has ended its side.
    End,
}

pub(super) struct Wire {
    pub(super) io: Io,
    /// Read, and not yet used.
    pub(super) input: Vec<u8>,
    pub(super) worker: Rc<Worker>,
    deadline: Deadline,
    /// The part of the request's body that has not been read.
    body: Framing,
    expects_continue: bool,
    /// How its end would go now.
    linger: Linger,
}

impl Wire {
    pub(super) fn new(io: Io, worker: Rc<Worker>) -> Self {
        Self {
            io,
            input: Vec::new(),
            worker,
            deadline: Deadline::default(),
            body: Framing::None,
            expects_continue: false,
            linger: BRIEFLY,
        }
    }

    /// Begins a request whose head has been read.
    pub(super) fn begin(&mut self, head: &RequestHead) {
        self.body = head.framing;
        self.expects_continue = head.expects_continue;
        self.linger = if head.framing == Framing::None { BRIEFLY } else { PAST_BODY };
    }

    /// Moves a head from the front of the input to `head`.
    pub(super) fn take_head(&mut self, length: usize, head: &mut Vec<u8>) {
        std::mem::swap(head, &mut self.input);
        self.input.clear();
        self.input.extend_from_slice(head.get(length..).unwrap_or_default());
        head.truncate(length);
    }

    /// Reads into the input.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let mut scratch = self.worker.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => {
                self.input.extend_from_slice(buffer.filled());
                Poll::Ready(Read::Some)
            }
            _ => Poll::Ready(Read::End),
        }
    }

    pub(super) fn set_deadline(&mut self, limit: Duration) {
        let due = self.worker.now().after(limit);
        self.deadline.set(self.worker.clock.instant(due));
    }

    pub(super) fn lift_deadline(&mut self) {
        self.deadline.lift();
    }

    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.poll(cx)
    }

    /// Drops a body that nobody asked for, if all of it is in the input; `false`: it is not.
    pub(super) fn skip_body(&mut self) -> bool {
        match self.body {
            Framing::None => true,
            Framing::Length(length) if !self.expects_continue && length <= self.input.len() as u64 => {
                self.input.drain(..usize::try_from(length).unwrap_or(usize::MAX));
                self.body = Framing::None;
                self.linger = BRIEFLY;
                true
            }
            _ => false,
        }
    }

    /// Ends Berry's side, then reads on for a while: bytes that lie unread when a socket closes would reset the connection and
    /// take the answer with them.
    pub(super) async fn linger(&mut self) {
        let linger = self.linger;
        let most = linger.bytes.min(self.worker.gateway.snapshot().max_body_bytes.saturating_add(BRIEFLY.bytes));
        let discard = async {
            self.io.shutdown().await?;
            // On the heap, so that it does not lie in the state of every connection.
            let mut sink = vec![0; 4096];
            let mut left = most;
            while left > 0 {
                match self.io.read(&mut sink).await? {
                    0 => break,
                    read => left = left.saturating_sub(read as u64),
                }
            }
            std::io::Result::Ok(())
        };
        let _ = tokio::time::timeout(linger.time, discard).await;
    }

    /// Tells a client that waits for it to send the body.
    async fn invite_body(&mut self) -> Result<(), BodyError> {
        let write = async {
            self.io.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            self.io.flush().await
        };
        match tokio::time::timeout(STALL, write).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(BodyError::Gone),
        }
    }

    /// Reads a body of known length, straight into a buffer of its own.
    async fn read_length(&mut self, length: usize, allowance: &mut Allowance) -> Result<Bytes, BodyError> {
        if length <= self.input.len() {
            allowance.hold(length)?;
            let body = Bytes::copy_from_slice(self.input.get(..length).unwrap_or_default());
            self.input.drain(..length);
            return Ok(body);
        }
        // Memory that a client only announces is reserved, not touched: it becomes resident as bytes arrive.
        let mut body = BytesMut::with_capacity(length);
        body.extend_from_slice(&self.input);
        self.input.clear();
        let pace = Pace::new(self.worker.now());
        while body.len() < length {
            allowance.hold(body.len())?;
            self.set_due(pace, body.len());
            let missing = length - body.len();
            let mut space = (&mut body).limit(missing);
            let mut reading = pin!(self.io.read_buf(&mut space));
            let read = poll_fn(|cx| match reading.as_mut().poll(cx) {
                Poll::Ready(read) => Poll::Ready(read.map_err(|_| BodyError::Gone)),
                Poll::Pending => self.deadline.poll(cx).map(|()| Err(BodyError::too_slow())),
            })
            .await?;
            if read == 0 {
                return Err(BodyError::Gone);
            }
        }
        self.lift_deadline();
        allowance.hold(length)?;
        Ok(body.freeze())
    }

    /// Sets the limit for the next byte of a body.
    fn set_due(&mut self, pace: Pace, received: usize) {
        let due = pace.due(self.worker.now(), received);
        self.deadline.set(self.worker.clock.instant(due));
    }

    async fn read_chunks(&mut self, allowance: &mut Allowance) -> Result<Bytes, BodyError> {
        let (mut reader, mut body) = (ChunkedReader::default(), Vec::new());
        let pace = Pace::new(self.worker.now());
        loop {
            let decoded = reader.decode(&mut self.input).map_err(|fault| {
                BodyError::Refused(Failure::new(Code::InvalidRequest, format!("the body is malformed: {fault}")))
            })?;
            body.extend_from_slice(self.input.get(..decoded.data).unwrap_or_default());
            self.input.drain(..decoded.consumed);
            if let Err(refused) = allowance.hold(body.len()) {
                self.linger = BRIEFLY;
                return Err(refused);
            }
            if decoded.done {
                return Ok(body.into());
            }
            self.set_due(pace, body.len());
            let more = poll_fn(|cx| match self.poll_read(cx) {
                Poll::Ready(Read::Some) => Poll::Ready(Ok(())),
                Poll::Ready(Read::End) => Poll::Ready(Err(BodyError::Gone)),
                Poll::Pending => self.deadline.poll(cx).map(|()| Err(BodyError::too_slow())),
            });
            more.await?;
            self.lift_deadline();
        }
    }
}

impl Client for Wire {
    async fn read_body(&mut self, allowance: &mut Allowance) -> Result<Bytes, BodyError> {
        if let Framing::Length(length) = self.body
            && length > allowance.most
        {
            return Err(BodyError::too_large(allowance.most));
        }
        if std::mem::take(&mut self.expects_continue) && self.body != Framing::None && self.input.is_empty() {
            self.invite_body().await?;
        }
        let body = match self.body {
            Framing::None | Framing::UntilClose => Bytes::new(),
            Framing::Length(length) => {
                self.read_length(usize::try_from(length).unwrap_or(usize::MAX), allowance).await?
            }
            Framing::Chunked => self.read_chunks(allowance).await?,
        };
        self.body = Framing::None;
        self.linger = BRIEFLY;
        Ok(body)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.input.len() < READ_AHEAD {
            match ready!(self.poll_read(cx)) {
                Read::Some => {}
                Read::End => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn deadline(&mut self) -> &mut Deadline {
        &mut self.deadline
    }
}
