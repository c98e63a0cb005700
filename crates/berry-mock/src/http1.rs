//! HTTP/1 by hand, on the raw socket: what is written is exactly what was decided, however broken.
//!
//! It reads leniently, because it is there to play a server, not to guard one. A client that closes its sending half
//! is taken to be gone, also in the middle of an answer.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::{Instant, sleep};

use crate::answer::{Answer, Ending, Framing, Play, decide};
use crate::events::Piece;
use crate::journal::Received;
use crate::server::{Shared, Wire};

/// Serves one connection to its end.
pub(crate) async fn serve<W: Wire>(wire: W, shared: Arc<Shared>, number: u64) {
    let (reader, writer) = split(wire);
    let mut connection = Connection { reader, writer, unread: BytesMut::new(), shared, number, served: 0 };
    // An error is the client's leaving, which the journal has noted.
    let farewell = connection.run().await.unwrap_or(Farewell::Close);
    let wire = connection.reader.unsplit(connection.writer);
    if farewell == Farewell::Reset {
        wire.reset_on_close();
    }
}

/// How much is read at once, at least.
const READ: usize = 8 << 10;

struct Connection<W> {
    reader: ReadHalf<W>,
    writer: WriteHalf<W>,
    /// Read, but not yet used.
    unread: BytesMut,
    shared: Arc<Shared>,
    number: u64,
    served: u64,
}

/// How the connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Farewell {
    Close,
    Reset,
}

/// A request's head.
struct Head {
    received: Received,
    body: BodyLength,
    expects_continue: bool,
    keep_alive: bool,
}

enum BodyLength {
    Known(usize),
    Chunked,
}

impl<W: Wire> Connection<W> {
    async fn run(&mut self) -> io::Result<Farewell> {
        while let Some(mut head) = self.read_head().await? {
            let early = self.is_early(&head).await?;
            if !early && let Err(gone) = self.read_body(&mut head).await {
                drop(self.shared.journal.open(head.received));
                return Err(gone);
            }
            let play = decide(&self.shared, &head.received, self.served > 0);
            self.served += 1;
            let ticket = self.shared.journal.open(head.received);
            let keep_alive = head.keep_alive && !early;
            let after = tokio::select! {
                after = perform(&mut self.writer, play, keep_alive, &self.shared) => after?,
                () = gone(&mut self.reader, &mut self.unread, early) => return Ok(Farewell::Close),
            };
            match after {
                After::Next => ticket.complete(),
                After::Done => {
                    ticket.complete();
                    self.linger().await;
                    return Ok(Farewell::Close);
                }
                After::Cut(farewell) => {
                    ticket.cut();
                    return Ok(farewell);
                }
            }
        }
        Ok(Farewell::Close)
    }

    /// The next request's head; none when the client, or the mock, closes the idle connection.
    async fn read_head(&mut self) -> io::Result<Option<Head>> {
        let mut closing = self.shared.closing.subscribe();
        loop {
            if let Some(end) = memmem::find(&self.unread, b"\r\n\r\n") {
                let bytes = self.unread.split_to(end + 4);
                let text = String::from_utf8_lossy(&bytes[..end]);
                return Head::parse(&text, self.number).map(Some).ok_or_else(|| io::Error::other("no request head"));
            }
            let idle = self.unread.is_empty();
            self.unread.reserve(READ);
            tokio::select! {
                read = self.reader.read_buf(&mut self.unread) => if read? == 0 { return Ok(None) },
                _ = closing.changed(), if idle => return Ok(None),
            }
        }
    }

    /// Whether to answer before the body: known from script or options, or by the model name near its start.
    async fn is_early(&mut self, head: &Head) -> io::Result<bool> {
        let path = &head.received.path;
        if matches!(head.body, BodyLength::Known(0)) {
            return Ok(false);
        }
        if head.expects_continue && !self.shared.is_early(path, b"") {
            self.writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            self.writer.flush().await?;
        }
        loop {
            if self.shared.is_early(path, &self.unread) {
                return Ok(true);
            }
            let all = match head.body {
                BodyLength::Known(length) => self.unread.len() >= length,
                BodyLength::Chunked => memmem::find(&self.unread, b"\r\n0\r\n").is_some(),
            };
            // A client that has left is found again, and noted, when the body is read.
            if all || self.unread.len() > 4 << 10 || self.more().await.is_err() {
                return Ok(false);
            }
        }
    }

    async fn read_body(&mut self, head: &mut Head) -> io::Result<()> {
        match head.body {
            BodyLength::Known(length) => {
                // A length that lies costs address space only.
                self.unread.reserve(length.saturating_sub(self.unread.len()).min(64 << 20));
                while self.unread.len() < length {
                    if let Err(gone) = self.more().await {
                        head.received.body = self.unread.split().freeze();
                        return Err(gone);
                    }
                }
                head.received.body = self.unread.split_to(length).freeze();
            }
            BodyLength::Chunked => {
                let mut body = BytesMut::new();
                let read = self.read_chunks(&mut body).await;
                head.received.body = body.freeze();
                read?;
            }
        }
        Ok(())
    }

    async fn read_chunks(&mut self, body: &mut BytesMut) -> io::Result<()> {
        loop {
            let line = self.read_line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
            if size == 0 {
                while !self.read_line().await?.is_empty() {}
                return Ok(());
            }
            while self.unread.len() < size + 2 {
                self.more().await?;
            }
            body.extend_from_slice(&self.unread[..size]);
            self.unread.advance(size + 2);
        }
    }

    async fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = memmem::find(&self.unread, b"\r\n") {
                let line = self.unread.split_to(end + 2);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        self.unread.reserve(READ);
        match self.reader.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Closes the sending half, and reads on until the client has closed its own: unread bytes would make the close a
    /// reset, which could overtake the answer.
    async fn linger(&mut self) {
        if self.writer.shutdown().await.is_ok() {
            while self.more().await.is_ok() {
                self.unread.clear();
            }
        }
    }
}

/// Reads on while an answer is played, and ends when the client has gone. The rest of a body that is not waited for
/// is thrown away; pipelined requests are kept, up to a point.
async fn gone<W: Wire>(reader: &mut ReadHalf<W>, unread: &mut BytesMut, throw_away: bool) {
    loop {
        if throw_away {
            unread.clear();
        }
        match reader.read_buf(unread).await {
            Ok(0) | Err(_) => return,
            Ok(_) if unread.len() > 1 << 20 => std::future::pending().await,
            Ok(_) => {}
        }
    }
}

// === impl Head ===

impl Head {
    fn parse(text: &str, connection: u64) -> Option<Head> {
        let mut lines = text.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, path, version) = (first.next()?, first.next()?, first.next()?);
        let http_version = if version == "HTTP/1.0" { "HTTP/1.0" } else { "HTTP/1.1" };
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        });
        let received = Received {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.collect(),
            http_version,
            connection,
            ..Received::default()
        };
        let is = |name, word: &str| received.header(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
        let chunked = is("transfer-encoding", "chunked");
        let length = received.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        Some(Head {
            body: if chunked { BodyLength::Chunked } else { BodyLength::Known(length) },
            expects_continue: is("expect", "100-continue"),
            keep_alive: !is("connection", "close") && (version != "HTTP/1.0" || is("connection", "keep-alive")),
            received,
        })
    }
}

// === answering ===

/// What follows an answer.
enum After {
    /// The next request.
    Next,
    /// A close, the answer being whole.
    Done,
    /// The end that the fault wants.
    Cut(Farewell),
}

async fn perform<W: Wire>(out: &mut WriteHalf<W>, play: Play, keep_alive: bool, shared: &Shared) -> io::Result<After> {
    match play {
        Play::Hang => std::future::pending().await,
        Play::Drop => Ok(After::Cut(Farewell::Reset)),
        Play::Raw(bytes) => {
            out.write_all(&bytes).await?;
            out.flush().await?;
            Ok(After::Done)
        }
        Play::Answer(answer) => {
            if answer.stream {
                shared.journal.counters.streams.fetch_add(1, Relaxed);
            }
            let keep_alive = keep_alive && !matches!(answer.framing, Framing::Close | Framing::TwoLengths);
            send(out, &answer, keep_alive).await?;
            match answer.ending {
                Ending::Whole if keep_alive => Ok(After::Next),
                Ending::Whole => Ok(After::Done),
                Ending::Reset => Ok(After::Cut(Farewell::Reset)),
                Ending::Close => {
                    out.shutdown().await?;
                    Ok(After::Cut(Farewell::Close))
                }
                Ending::Silence => std::future::pending().await,
            }
        }
    }
}

/// Writes the answer: the head with the first piece, each further piece by itself, the end with the last.
async fn send<W: Wire>(out: &mut WriteHalf<W>, answer: &Answer, keep_alive: bool) -> io::Result<()> {
    if !answer.pace.ttfb.is_zero() {
        sleep(answer.pace.ttfb).await;
    }
    let mut pending = Vec::from(head(answer, keep_alive));
    if !answer.pace.gap.is_zero() {
        write(out, &mut pending).await?;
        sleep(answer.pace.gap).await;
    }
    let start = Instant::now();
    let together = answer.burst && answer.pace.at_once();
    for (index, piece) in answer.pieces.iter().enumerate() {
        if answer.pace.gate.is_some() {
            // A test that holds the body back is to see the head.
            write(out, &mut pending).await?;
        }
        answer.pace.due(start, index).await;
        match piece {
            Piece::Bytes(bytes) => frame(&mut pending, bytes, answer.framing),
            Piece::Fill(length) => fill(out, &mut pending, *length, answer.framing).await?,
        }
        if index + 1 < answer.pieces.len() && (!together || pending.len() > 16 << 10) {
            write(out, &mut pending).await?;
        }
    }
    if answer.ending == Ending::Whole && answer.framing == Framing::Chunked {
        pending.extend_from_slice(b"0\r\n\r\n");
    }
    pending.extend_from_slice(answer.extra);
    write(out, &mut pending).await
}

async fn write<W: Wire>(out: &mut WriteHalf<W>, pending: &mut Vec<u8>) -> io::Result<()> {
    if !pending.is_empty() {
        out.write_all(pending).await?;
        out.flush().await?;
        pending.clear();
    }
    Ok(())
}

fn frame(pending: &mut Vec<u8>, bytes: &[u8], framing: Framing) {
    if framing == Framing::Chunked {
        pending.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        pending.extend_from_slice(bytes);
        pending.extend_from_slice(b"\r\n");
    } else {
        pending.extend_from_slice(bytes);
    }
}

/// A block of filler.
pub(crate) static FILLER: Bytes = Bytes::from_static(&[b'x'; 64 << 10]);

async fn fill<W: Wire>(out: &mut WriteHalf<W>, pending: &mut Vec<u8>, length: u64, framing: Framing) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let block = left.min(FILLER.len() as u64);
        frame(pending, &FILLER[..block as usize], framing);
        write(out, pending).await?;
        left -= block;
    }
    Ok(())
}

/// The head, and the 103 heads before it.
fn head(answer: &Answer, keep_alive: bool) -> String {
    let mut text = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n".repeat(answer.hints);
    let reason = http::StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    // Writing to a string does not fail.
    let _ = write!(text, "HTTP/1.1 {} {}\r\n", answer.status, reason.unwrap_or("Unknown"));
    for (name, value) in &answer.headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let _ = match answer.framing {
        Framing::Length => write!(text, "content-length: {}\r\n", answer.length),
        Framing::TwoLengths => {
            write!(text, "content-length: {}\r\ncontent-length: {}\r\n", answer.length, answer.length + 7)
        }
        Framing::Chunked => write!(text, "transfer-encoding: chunked\r\n"),
        Framing::Close | Framing::NoBody => Ok(()),
    };
    if !keep_alive {
        text.push_str("connection: close\r\n");
    }
    text + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Options;
    use std::time::Duration;
    use tokio::io::{DuplexStream, duplex};

    impl Wire for DuplexStream {
        fn reset_on_close(&self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_starts_after_its_ttfb_and_each_event_is_a_write_at_its_time() {
        let options = Options { ttfb: Duration::from_secs(2), rate: Some(4.0), chunks: Some(10), ..Options::default() };
        let (mut client, server) = duplex(64 << 10);
        let serving = tokio::spawn(serve(server, Shared::new(options), 1));
        let request = "POST /v1/messages HTTP/1.1\r\ncontent-length: 15\r\n\r\n{\"stream\":true}";
        client.write_all(request.as_bytes()).await.unwrap();
        let start = Instant::now();
        let mut arrivals = Vec::new();
        let mut bytes = Vec::with_capacity(64 << 10);
        while !bytes.ends_with(b"0\r\n\r\n") {
            assert!(client.read_buf(&mut bytes).await.unwrap() > 0);
            arrivals.push(start.elapsed().as_millis());
        }
        // message_start, content_block_start, ping, 10 deltas, content_block_stop, message_delta, message_stop
        let due: Vec<u128> = (0..16).map(|event| 2000 + event * 250).collect();
        assert_eq!(arrivals, due);
        drop(client);
        serving.await.unwrap();
    }
}
