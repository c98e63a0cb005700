//! Reads an answer as it comes, in pieces of any size, keeping none of it: status, where it ends, how long its body is and
//! which events are in it. It is lenient where that does no harm, as it judges speed and not syntax.

use std::str;

use memchr::memmem;

use crate::events::Events;

/// The answer to one request.
#[derive(Debug)]
pub(crate) struct Reader {
    state: State,
    /// A head that came in pieces.
    head: Vec<u8>,
    pub(crate) status: u16,
    /// The connection may carry another request.
    pub(crate) reusable: bool,
    /// The answer says when to come again.
    pub(crate) has_wait: bool,
    /// Bytes of the body, without its framing.
    pub(crate) body: u64,
    /// What is counted of a stream; none when a plain answer is expected.
    pub(crate) events: Option<Events>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// This much of the body is to come.
    Length(u64),
    /// The body ends with the connection.
    UntilClose,
    /// In the line with a chunk's size, of which this has been read; `Extension` is what may follow there.
    ChunkSize(u64),
    Extension(u64),
    Chunk(u64),
    /// The line's end after a chunk.
    ChunkEnd,
    /// After the last chunk; whether the line has something in it.
    Trailer {
        filled: bool,
    },
    Whole,
}

/// The answer makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A head beyond this is no head.
const HEAD: usize = 64 << 10;
/// A chunk beyond this is taken for nonsense, so that no size overflows.
const CHUNK: u64 = 1 << 40;

impl Reader {
    pub(crate) fn new(stream: bool) -> Self {
        let events = stream.then(Events::new);
        Reader { state: State::Head, head: Vec::new(), status: 0, reusable: true, has_wait: false, body: 0, events }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// Nothing of the answer has come.
    pub(crate) fn is_untouched(&self) -> bool {
        self.state == State::Head && self.head.is_empty()
    }

    /// Takes the next bytes.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        if self.state == State::Head && !self.head.is_empty() {
            let mut all = std::mem::take(&mut self.head);
            all.extend_from_slice(bytes);
            return self.feed(&all);
        }
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)?..];
        }
        Ok(())
    }

    /// The connection has been closed: true if the answer is whole by that.
    pub(crate) fn close(&mut self) -> bool {
        self.reusable = false;
        if self.state == State::UntilClose {
            self.state = State::Whole;
        }
        self.is_whole()
    }

    /// Takes some of the bytes, at least one, and says how many.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        Ok(match self.state {
            State::Head => self.take_head(bytes)?,
            State::Length(left) => {
                let taken = self.take_body(bytes, left);
                let left = left - taken as u64;
                self.state = if left == 0 { State::Whole } else { State::Length(left) };
                taken
            }
            State::UntilClose => self.take_body(bytes, u64::MAX),
            State::Chunk(left) => {
                let taken = self.take_body(bytes, left);
                let left = left - taken as u64;
                self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                taken
            }
            State::ChunkSize(_) | State::Extension(_) | State::ChunkEnd | State::Trailer { .. } => {
                self.state = self.state.after(bytes[0])?;
                1
            }
            // Something after the end: whatever it is, it answers no request.
            State::Whole => return Err(Malformed),
        })
    }

    fn take_body(&mut self, bytes: &[u8], most: u64) -> usize {
        let taken = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
        self.body += taken as u64;
        if let Some(events) = &mut self.events {
            events.feed(&bytes[..taken]);
        }
        taken
    }

    fn take_head(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            self.head.extend_from_slice(bytes);
            return if bytes.len() > HEAD { Err(Malformed) } else { Ok(bytes.len()) };
        };
        let head = str::from_utf8(&bytes[..end]).map_err(|_| Malformed)?;
        let mut lines = head.split("\r\n");
        let line = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
        self.status = line.and_then(|line| line.get(2..5)?.parse().ok()).ok_or(Malformed)?;
        // Heads of 1xx go before the answer's own.
        if self.status >= 200 {
            self.state = self.framing(lines)?;
        }
        Ok(end + 4)
    }

    fn framing<'a>(&mut self, fields: impl Iterator<Item = &'a str>) -> Result<State, Malformed> {
        let mut state = State::UntilClose;
        for (name, value) in fields.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                state = State::Length(value.parse().map_err(|_| Malformed)?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                state = State::ChunkSize(0);
            } else if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
                self.reusable = false;
            } else if name.eq_ignore_ascii_case("retry-after") {
                self.has_wait = true;
            }
        }
        let empty = state == State::Length(0) || matches!(self.status, 204 | 304);
        Ok(if empty { State::Whole } else { state })
    }
}

impl State {
    /// The state after one byte of what frames chunks.
    fn after(self, byte: u8) -> Result<State, Malformed> {
        Ok(match (self, byte) {
            (State::ChunkSize(0) | State::Extension(0), b'\n') => State::Trailer { filled: false },
            (State::ChunkSize(size) | State::Extension(size), b'\n') => State::Chunk(size),
            (State::ChunkSize(size), b'\r' | b';' | b' ') => State::Extension(size),
            (State::ChunkSize(size), digit) => {
                let digit = char::from(digit).to_digit(16).ok_or(Malformed)?;
                let size = size * 16 + u64::from(digit);
                if size > CHUNK {
                    return Err(Malformed);
                }
                State::ChunkSize(size)
            }
            (State::ChunkEnd, b'\r') => State::ChunkEnd,
            (State::ChunkEnd, b'\n') => State::ChunkSize(0),
            (State::ChunkEnd, _) => return Err(Malformed),
            (State::Trailer { filled: false }, b'\n') => State::Whole,
            (State::Trailer { filled: true }, b'\n') => State::Trailer { filled: false },
            (State::Trailer { filled }, b'\r') => State::Trailer { filled },
            (State::Trailer { .. }, _) => State::Trailer { filled: true },
            (other, _) => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], piece: usize) -> Result<Reader, Malformed> {
        let mut reader = Reader::new(true);
        bytes.chunks(piece).try_for_each(|piece| reader.feed(piece))?;
        Ok(reader)
    }

    /// Reads it in pieces of every size: status, body, events and whether it is whole must come out the same.
    fn outcome(bytes: &[u8]) -> (u16, u64, u64, bool) {
        let one = |size| {
            let reader = read(bytes, size).unwrap();
            (reader.status, reader.body, reader.events.as_ref().unwrap().count, reader.is_whole())
        };
        let first = one(1);
        (2..=bytes.len()).for_each(|size| assert_eq!(one(size), first, "in pieces of {size}"));
        first
    }

    #[test]
    fn a_body_with_a_length_ends_there() {
        assert_eq!(outcome(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: y\r\n\r\nhello"), (200, 5, 0, true));
        assert_eq!(outcome(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello"), (200, 5, 0, false));
        assert_eq!(outcome(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"), (503, 0, 0, true));
        assert_eq!(outcome(b"HTTP/1.1 204 None\r\n\r\n"), (204, 0, 0, true));
    }

    #[test]
    fn chunks_are_taken_apart_and_their_events_counted() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            8\r\ndata: 1\n\r\nA;name=x\r\n\ndata: 2\n\n\r\n0e\r\ndata: [DONE]\n\n\r\n0\r\ntrailer: x\r\n\r\n";
        assert_eq!(outcome(answer), (200, 32, 3, true));
        assert!(read(answer, 7).unwrap().events.unwrap().ended);
    }

    #[test]
    fn a_stream_that_breaks_off_is_not_whole() {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for rest in [&b"8\r\ndata: 1\n"[..], b"8\r\ndata: 1\n\r\n", b"3\r\nabc\r\n0\r\n", b""] {
            let mut reader = read(&[&head, rest].concat(), 100).unwrap();
            assert!(!reader.is_whole() && !reader.close());
        }
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let mut reader = read(b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n", 4).unwrap();
        assert!(!reader.is_whole());
        assert!(reader.close() && reader.is_whole() && !reader.reusable);
    }

    #[test]
    fn heads_of_1xx_are_passed_over() {
        let answer = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(outcome(answer), (200, 2, 0, true));
    }

    #[test]
    fn a_connection_that_is_to_be_closed_is_not_used_again() {
        let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 1\r\n\r\nx";
        assert!(!read(answer, 100).unwrap().reusable);
    }

    #[test]
    fn an_answer_may_say_when_to_come_again() {
        for (field, says) in [("Retry-After: 1", true), ("x-retry-after: 1", false)] {
            let answer = format!("HTTP/1.1 503 Busy\r\n{field}\r\ncontent-length: 0\r\n\r\n");
            assert_eq!(read(answer.as_bytes(), 100).unwrap().has_wait, says);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(HEAD));
        for text in [
            "SSH-2.0-x\r\n\r\n".to_owned(),
            "HTTP/1.1 2xx OK\r\n\r\n".to_owned(),
            "HTTP/1.1\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxy".to_owned(),
            format!("{chunked}xyz\r\n"),
            format!("{chunked}ffffffffffffffffffff\r\n"),
            format!("{chunked}1\r\nab"),
            endless,
        ] {
            assert!(read(text.as_bytes(), text.len()).is_err(), "{text}");
        }
    }
}
