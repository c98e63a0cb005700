//! Counts the events of a stream by the beginnings of its lines, however it is cut into pieces.

use memchr::memchr;

/// The line that ends an OpenAI stream. Its first bytes are those of every line with data.
const END: &[u8] = b"data: [DONE]";
const DATA: usize = b"data:".len();

/// The events so far.
#[derive(Debug)]
pub(crate) struct Events {
    /// Lines with data.
    pub(crate) count: u64,
    /// The end has come.
    pub(crate) ended: bool,
    /// How much of `END` the line has shown so far; none when it is another line, whose rest is skipped.
    like_end: Option<usize>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Events { count: 0, ended: false, like_end: Some(0) }
    }

    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some(before) = self.like_end else {
                let Some(end) = memchr(b'\n', bytes) else { return };
                bytes = &bytes[end + 1..];
                self.like_end = Some(0);
                continue;
            };
            let alike = bytes.iter().zip(&END[before..]).take_while(|(a, b)| a == b).count();
            let now = before + alike;
            bytes = &bytes[alike..];
            self.count += u64::from(before < DATA && now >= DATA);
            self.ended |= now == END.len();
            self.like_end = Some(now).filter(|now| *now < END.len() && bytes.is_empty());
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
}
