//! Counts the events of a stream by the beginnings of its lines, however it is cut into pieces.

use memchr::memchr;

/// The line that ends an OpenAI stream well.
const END: &[u8] = b"data: [DONE]";
/// What the line that tells of a failure begins with.
const ERROR: &[u8] = b"data: {\"error\"";
const DATA: usize = b"data:".len();
/// Until here both are alike, and like every line with data.
const FORK: usize = b"data: ".len();

/// The events so far.
#[derive(Debug)]
pub(crate) struct Events {
    /// Lines with data.
    pub(crate) count: u64,
    /// Those of them that tell of a failure.
    pub(crate) errors: u64,
    /// The end has come.
    pub(crate) ended: bool,
    /// The line that this one may be.
    mark: &'static [u8],
    /// How much of `mark` the line has shown so far; none when it is another line, whose rest is skipped.
    alike: Option<usize>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Events { count: 0, errors: 0, ended: false, mark: END, alike: Some(0) }
    }

    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            let Some(before) = self.alike else {
                let Some(end) = memchr(b'\n', bytes) else { return };
                bytes = &bytes[end + 1..];
                self.alike = Some(0);
                continue;
            };
            if before == FORK {
                self.mark = if *first == b'{' { ERROR } else { END };
            }
            let until = if before < FORK { FORK } else { self.mark.len() };
            let alike = bytes.iter().zip(&self.mark[before..until]).take_while(|(a, b)| a == b).count();
            let now = before + alike;
            bytes = &bytes[alike..];
            self.count += u64::from(before < DATA && now >= DATA);
            self.ended |= now == END.len() && self.mark == END;
            self.errors += u64::from(now == ERROR.len());
            self.alike = Some(now).filter(|now| *now < self.mark.len() && (*now == until || bytes.is_empty()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        b": hello\n\ndata: {\"a\":1}\n\nevent: x\ndata: {\"data: \":2}\n\ndat: 3\n\ndata:{}\r\n\r\ndata: [DONE]\n\n";

    #[test]
    fn lines_with_data_are_counted_however_the_stream_is_cut() {
        for size in 1..=STREAM.len() {
            let mut events = Events::new();
            STREAM.chunks(size).for_each(|piece| events.feed(piece));
            assert_eq!((events.count, events.ended), (4, true), "in pieces of {size}");
        }
    }

    #[test]
    fn a_stream_without_its_end_has_not_ended() {
        let mut events = Events::new();
        events.feed(b"data: [DONE");
        assert_eq!((events.count, events.ended), (1, false));
        events.feed(b" x]\n\n data: [DONE]\n\n");
        assert_eq!((events.count, events.ended), (1, false));
    }

    #[test]
    fn events_that_tell_of_a_failure_are_counted_however_the_stream_is_cut() {
        let stream =
            b"data: {\"errors\":1}\n\ndata: {\"error\":{\"x\":\"data: [DONE]\"}}\n\ndata: {\"a\":{\"error\":1}}\n\n";
        for size in 1..=stream.len() {
            let mut events = Events::new();
            stream.chunks(size).for_each(|piece| events.feed(piece));
            assert_eq!((events.count, events.errors, events.ended), (3, 1, false), "in pieces of {size}");
        }
    }
}
