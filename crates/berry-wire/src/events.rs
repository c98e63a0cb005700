//! Follows a stream of server-sent events as it passes, without changing or keeping it: has anything come yet that a client
//! waits for, did an error come, is the stream at its end, and where do its events end.
//!
//! It runs on every piece of every stream. An event that lies whole in what was read is judged where it stands; once content
//! has come, it is parsed only if a glance at it cannot rule out that it matters. Where somebody counts, it taps the usage that
//! passes. It is no translation, and knows nothing of Gemini's streams that are one JSON list instead of events.

mod framing;
mod grammar;
mod judge;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::complaint::Complaint;
use crate::route::Operation;
use crate::usage::{Usage, UsageReader};
use framing::{Fields, Framing, fields};
use judge::Judge;

pub(crate) use grammar::{Closing, Form, Grammar, Mark, Piece, Says, Substance};

/// The largest event that is held where it comes in several pieces, and that is judged by more than its beginning.
pub const MAX_EVENT_BYTES: usize = 1 << 20;

/// Reads shorter than this are looked at as a whole.
const SKIPPED_FROM: usize = 2048;

/// How many events at the end of a long read are looked at: a finish reason, the usage, an end, and one to spare.
const LOOKED_AT: usize = 4;

/// How much of a larger one is kept: enough for the type that it begins with.
const BEGINNING_BYTES: usize = 1 << 10;

/// What one event of a stream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing that a client waits for: a comment, a ping, the frame of an answer without anything in it.
    Quiet,
    /// Something that a client waits for. After the first such event, others may be called so without having been read.
    Content,
    /// What went wrong.
    Error(Complaint),
    /// That the stream is at its end.
    End,
    /// Nothing but the usage that Berry asked for, and the client did not: it is to be left out.
    Unasked,
}

/// What a stream has come to when its connection ended cleanly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is whole by its protocol.
    Whole,
    /// An error event came in the place of its end.
    Failed(Complaint),
    /// It stops short of its end.
    Truncated,
}

/// Follows one stream. It is fed all bytes of it, in order.
pub struct EventReader {
    judge: Judge,
    framing: Framing,
    /// A byte order mark may stand before the first event.
    is_first: bool,
    /// What has come of an event that has not ended yet: all of it, or the beginning of one that is too large.
    carry: Vec<u8>,
    /// How much has come of it.
    length: usize,
    tap: Option<Box<Tap>>,
}

/// What counts while a stream passes.
#[derive(Default)]
struct Tap {
    usage: UsageReader,
    /// Events with data.
    events: u32,
    /// Whether an event that holds usage alone was not asked for by the client.
    is_unasked: bool,
}

// === impl EventReader ===

impl EventReader {
    /// A reader for a stream that this operation answers with.
    pub fn new(operation: Operation) -> Self {
        EventReader {
            judge: Judge::new(operation),
            framing: Framing::default(),
            is_first: true,
            carry: Vec::new(),
            length: 0,
            tap: None,
        }
    }

    /// Counts as well what the stream costs. `is_unasked`: whether an event that holds usage alone was asked for by Berry only.
    pub fn with_usage(mut self, is_unasked: bool) -> Self {
        self.tap = Some(Box::new(Tap { is_unasked, ..Tap::default() }));
        self
    }

    /// What the stream said that it cost, as far as it has come.
    pub fn usage(&self) -> Option<Usage> {
        self.tap.as_ref()?.usage.usage()
    }

    /// How many events with data have come, where somebody counts. Most vendors send one for a token.
    pub fn events(&self) -> u32 {
        self.tap.as_ref().map_or(0, |tap| tap.events)
    }

    /// Takes `bytes` up to the end of the next event: how many they are, and what it says. `None`: all were taken, and no event
    /// ended in them. A comment that stands alone is an event too, a quiet one.
    pub fn next(&mut self, bytes: &[u8]) -> Option<(usize, Event)> {
        // The LF of a CR LF that was split after an event belongs to no event.
        let before = self.framing.rest_of_line_end(bytes);
        let bytes = bytes.get(before..)?;
        let Some(end) = self.framing.end_of_event(bytes) else {
            self.hold(bytes);
            return None;
        };
        let text = bytes.get(..end)?;
        let event = if self.length == 0 && end <= MAX_EVENT_BYTES {
            self.judge_whole(text)
        } else {
            self.hold(text);
            self.judge_held()
        };
        self.is_first = false;
        Some((before + end, event))
    }

    /// How many bytes at the front are whole events that pass without a look, because many have come at once: what matters is
    /// the last thing that a stream says, and an error is. Those bytes count as taken. Before content, within an event, and
    /// where something is to be left out, every one is looked at.
    pub fn skip(&mut self, bytes: &[u8]) -> usize {
        let leaves_out = self.tap.as_ref().is_some_and(|tap| tap.is_unasked);
        if bytes.len() < SKIPPED_FROM || !self.is_between_events() || !self.judge.has_content() || leaves_out {
            return 0;
        }
        let last = framing::before_last_events(bytes, 1);
        let ends = last > 0 && self.judge.is_end(&fields(bytes.get(last..).unwrap_or_default()));
        // After a stream's own end nothing of what came before it matters.
        let skipped = if ends { last } else { framing::before_last_events(bytes, LOOKED_AT) };
        if skipped > 0 {
            self.judge.note_skipped();
            if let Some(tap) = &mut self.tap {
                tap.pass(bytes.get(..skipped).unwrap_or_default());
            }
        }
        skipped
    }

    /// Whether what has been taken ends between two events, so that an event of another's may follow it.
    pub fn is_between_events(&self) -> bool {
        self.length == 0
    }

    /// Whether anything has come that a client waits for, if only in the event that ended the stream.
    pub fn has_content(&self) -> bool {
        self.judge.has_content()
    }

    /// Whether the stream's own end has come.
    pub fn is_ended(&self) -> bool {
        self.judge.is_ended()
    }

    /// What the stream has come to, if its connection ended cleanly here. An event that lacks its blank line counts: the
    /// standard discards it, vendors forget the line.
    pub fn finish(&mut self) -> Ending {
        let carry = std::mem::take(&mut self.carry);
        let fields = self.fields(&carry);
        if let Some(tap) = &mut self.tap {
            tap.usage.read(&fields.data);
        }
        let is_readable = self.length <= MAX_EVENT_BYTES && self.judge.judge_rest(&fields);
        self.carry = carry;
        match self.judge.ending() {
            Ending::Whole if !is_readable && !self.judge.is_ended() => Ending::Truncated,
            ending => ending,
        }
    }

    /// The number that the next event has; 0 where events are not numbered. Only those of the Responses API are.
    pub fn next_sequence(&self) -> u64 {
        self.judge.next_number()
    }

    /// Keeps what has come of an event that lies in several pieces.
    fn hold(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
        if self.length <= MAX_EVENT_BYTES {
            self.carry.extend_from_slice(bytes);
            return;
        }
        self.carry.truncate(BEGINNING_BYTES);
        self.carry.shrink_to_fit();
        let missing = BEGINNING_BYTES - self.carry.len();
        self.carry.extend_from_slice(bytes.get(..missing).unwrap_or(bytes));
    }

    fn judge_held(&mut self) -> Event {
        let text = std::mem::take(&mut self.carry);
        if std::mem::take(&mut self.length) <= MAX_EVENT_BYTES {
            return self.judge_whole(&text);
        }
        let fields = self.fields(&text);
        self.judge.judge_beginning(&fields)
    }

    fn judge_whole(&mut self, text: &[u8]) -> Event {
        let fields = self.fields(text);
        let is_unasked = self.tap.as_mut().is_some_and(|tap| tap.take(&fields.data));
        match self.judge.judge(&fields) {
            Event::Quiet | Event::Content if is_unasked => Event::Unasked,
            event => event,
        }
    }

    fn fields<'t>(&self, text: &'t [u8]) -> Fields<'t> {
        let mark = if self.is_first { &b"\xef\xbb\xbf"[..] } else { b"" };
        fields(text.strip_prefix(mark).unwrap_or(text))
    }
}

// === impl Tap ===

impl Tap {
    /// Takes an event's data into account. Says whether it is to be left out.
    fn take(&mut self, data: &[u8]) -> bool {
        self.events += u32::from(!data.is_empty());
        self.usage.read(data);
        self.is_unasked && is_usage_alone(data)
    }

    /// Takes events into account that pass without a look.
    fn pass(&mut self, events: &[u8]) {
        let lines = events.split(|byte| matches!(byte, b'\n' | b'\r'));
        for data in lines.filter_map(|line| line.strip_prefix(b"data:")) {
            self.events += 1;
            self.usage.read(data);
        }
    }
}

/// Whether it is the chunk that OpenAI sends for `stream_options.include_usage`: usage, and no choices
/// (platform.openai.com/docs/api-reference/chat-streaming, 2026-11-25).
fn is_usage_alone(data: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Chunk {
        choices: Vec<IgnoredAny>,
        usage: Option<IgnoredAny>,
    }
    memchr::memmem::find(data, b"\"usage\"").is_some()
        && serde_json::from_slice::<Chunk>(data).is_ok_and(|chunk| chunk.choices.is_empty() && chunk.usage.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(reader: &mut EventReader, mut text: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some((taken, event)) = reader.next(text) {
            events.push(event);
            text = &text[taken..];
            text = &text[reader.skip(text)..];
        }
        events
    }

    const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;

    #[test]
    fn usage_is_counted_however_a_stream_is_cut_and_left_out_where_nobody_asked_for_it() {
        let delta = r#"data: {"choices":[{"index":0,"delta":{"content":"x"}}],"usage":null}"#;
        let text = format!("{}data: {USAGE}\n\ndata: [DONE]\n\n", format!("{delta}\n\n").repeat(100));
        for is_unasked in [false, true] {
            for piece in [1, 7, 100, 100_000] {
                let mut reader = EventReader::new(Operation::ChatCompletions).with_usage(is_unasked);
                let events: Vec<Event> =
                    text.as_bytes().chunks(piece).flat_map(|bytes| read_all(&mut reader, bytes)).collect();
                assert_eq!(events.contains(&Event::Unasked), is_unasked, "{piece}");
                assert_eq!(reader.usage().map(|usage| usage.total()), Some(15), "{piece}");
                assert_eq!((reader.events(), reader.is_ended()), (102, true), "{piece}");
            }
        }
    }

    #[test]
    fn usage_that_passes_without_a_look_is_counted_too() {
        let delta = r#"data: {"choices":[{"index":0,"delta":{"content":"x"}}]}"#;
        let many = format!("{delta}\n\n").repeat(100);
        let text = format!("{delta}\n\ndata: {USAGE}\n\n{many}");
        let mut reader = EventReader::new(Operation::ChatCompletions).with_usage(false);
        assert!(read_all(&mut reader, text.as_bytes()).len() < 10);
        assert_eq!((reader.usage().map(|usage| usage.total()), reader.events()), (Some(15), 102));
    }

    #[test]
    fn of_an_event_that_is_too_large_only_the_beginning_is_kept_and_nothing_after_it() {
        let mut reader = EventReader::new(Operation::ChatCompletions);
        assert_eq!(reader.next(b"data: {\"choices\":\""), None);
        for _ in 0..3 * MAX_EVENT_BYTES / 4096 {
            assert_eq!(reader.next(&[b'x'; 4096]), None);
            assert!(reader.carry.len() <= MAX_EVENT_BYTES);
        }
        assert!(reader.carry.capacity() <= BEGINNING_BYTES, "{}", reader.carry.capacity());
        assert_eq!(reader.next(b"\"}\n\n"), Some((4, Event::Content)));
        assert_eq!(reader.carry.capacity(), 0);
        assert_eq!(reader.next(b"data: [DONE]\n\n"), Some((14, Event::End)));
    }

    #[test]
    fn an_event_that_lies_whole_in_what_was_read_is_not_copied() {
        let mut reader = EventReader::new(Operation::ChatCompletions);
        assert_eq!(reader.next(b"data: {\"choices\":[]}\n\n: hi\n\n"), Some((22, Event::Quiet)));
        assert_eq!(reader.carry.capacity(), 0);
    }
}
