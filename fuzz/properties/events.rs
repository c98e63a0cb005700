//! What holds of every stream, whatever stands in it: where its events end and what they say does not depend on the pieces in
//! which it came, nor on the kind of its line ends; and what is passed without a look changes nothing of what is looked at.
//!
//! The first byte names the operation, `A` for the first one; the second seeds the cuts; the rest is the stream.

mod cut;

use berry_vocab::{Code, Failure};
use berry_wire::{Ending, Event, EventReader, Operation, render_event_after};

use cut::cut;

/// Short streams are repeated up to this length where events are passed without a look, which only long reads are.
const LONG: usize = 4096;

/// What a stream was read as.
#[derive(Debug, PartialEq)]
struct Reading {
    /// The events, each with where it ends.
    events: Vec<(usize, Event)>,
    is_between_events: bool,
    next_sequence: u64,
    ending: Ending,
}

pub(crate) fn check(input: &[u8]) {
    let [operation, seed, stream @ ..] = input else { return };
    let all = Operation::all();
    let operation = all[usize::from(operation.wrapping_sub(b'A')) % all.len()];
    let whole = read(operation, stream, [stream]);
    assert_eq!(read(operation, stream, cut(stream, *seed)), whole, "in pieces");
    assert_eq!(read(operation, stream, stream.chunks(1)), whole, "byte by byte");
    line_ends_are_all_the_same(operation, stream, &whole);
    an_event_of_ours_may_follow(operation, stream);
    if !stream.is_empty() {
        let long = stream.repeat(LONG.div_ceil(stream.len()));
        skipping_changes_nothing_of_the_rest(operation, &long, usize::from(*seed));
    }
}

fn read<'s>(operation: Operation, stream: &[u8], pieces: impl IntoIterator<Item = &'s [u8]>) -> Reading {
    let mut reader = EventReader::new(operation);
    let (mut events, mut before) = (Vec::new(), 0);
    for piece in pieces {
        let mut at = 0;
        while let Some((taken, event)) = reader.next(&piece[at..]) {
            assert!(taken > 0 && taken <= piece.len() - at, "took {taken} of {}", piece.len() - at);
            at += taken;
            events.push((after_line_end(stream, before + at), event));
        }
        before += piece.len();
    }
    conclude(reader, events)
}

/// The same, with events passed without a look wherever the reader lets them.
fn read_skipping(operation: Operation, stream: &[u8], size: usize) -> Reading {
    let mut reader = EventReader::new(operation);
    let (mut events, mut before) = (Vec::new(), 0);
    for piece in stream.chunks(size) {
        let mut at = 0;
        loop {
            let skipped = reader.skip(&piece[at..]);
            assert!(skipped <= piece.len() - at);
            at += skipped;
            let Some((taken, event)) = reader.next(&piece[at..]) else { break };
            at += taken;
            events.push((after_line_end(stream, before + at), event));
        }
        before += piece.len();
    }
    conclude(reader, events)
}

fn conclude(mut reader: EventReader, events: Vec<(usize, Event)>) -> Reading {
    let is_between_events = reader.is_between_events();
    let ending = reader.finish();
    assert_eq!(reader.finish(), ending, "asked again");
    Reading { events, is_between_events, next_sequence: reader.next_sequence(), ending }
}

/// The LF of a CR LF that was cut apart after an event is counted to the next one: for the comparison, to this.
fn after_line_end(stream: &[u8], at: usize) -> usize {
    at + usize::from(stream[at - 1] == b'\r' && stream.get(at) == Some(&b'\n'))
}

/// With LF alone, the events are those that end with an empty line.
fn line_ends_are_all_the_same(operation: Operation, stream: &[u8], whole: &Reading) {
    let mut plain = Vec::with_capacity(stream.len());
    for (at, byte) in stream.iter().enumerate() {
        match byte {
            b'\r' if stream.get(at + 1) == Some(&b'\n') => {}
            b'\r' => plain.push(b'\n'),
            other => plain.push(*other),
        }
    }
    let reading = read(operation, &plain, [&plain[..]]);
    let mut lines: Vec<&[u8]> = plain.split(|byte| *byte == b'\n').collect();
    let rest = lines.pop().unwrap_or_default();
    assert_eq!(reading.events.len(), lines.iter().filter(|line| line.is_empty()).count());
    let is_between = rest.is_empty() && lines.last().is_none_or(|line| line.is_empty());
    assert_eq!(reading.is_between_events, is_between);
    let says = |reading: &Reading| reading.events.iter().map(|(_, event)| *event).collect::<Vec<_>>();
    assert_eq!(says(&reading), says(whole));
    assert_eq!((reading.ending, reading.next_sequence), (whole.ending, whole.next_sequence));
    assert_eq!(reading.is_between_events, whole.is_between_events);
}

/// Where the reader says that it stands between two events, one that Berry writes is read as one, and as an error.
fn an_event_of_ours_may_follow(operation: Operation, stream: &[u8]) {
    let mut reader = EventReader::new(operation);
    let mut rest = stream;
    while let Some((taken, _)) = reader.next(rest) {
        rest = &rest[taken..];
    }
    if reader.is_between_events() {
        let failure = Failure::new(Code::UpstreamTruncated, "the stream ended early");
        let ours = render_event_after(&failure, operation, "r-1", reader.next_sequence());
        let read = reader.next(&ours);
        assert!(matches!(read, Some((taken, Event::Error(_))) if taken == ours.len()), "{read:?}");
        assert!(matches!(reader.finish(), Ending::Failed(_)));
    }
}

/// What is looked at says the same as without skipping; the last event is always looked at, and decides where only it can.
fn skipping_changes_nothing_of_the_rest(operation: Operation, long: &[u8], seed: usize) {
    let whole = read(operation, long, [long]);
    for size in [long.len(), LONG / 2 + 8 * seed] {
        let skipping = read_skipping(operation, long, size);
        for (at, event) in &skipping.events {
            let same = whole.events.binary_search_by_key(at, |(at, _)| *at).map(|found| whole.events[found].1);
            assert_eq!(same, Ok(*event), "up to {at}, in pieces of {size}");
        }
        assert_eq!(skipping.events.last(), whole.events.last(), "in pieces of {size}");
        assert_eq!(skipping.is_between_events, whole.is_between_events);
        let Some(((_, last), before)) = whole.events.split_last() else { continue };
        let is_first_error = !before.iter().any(|(_, event)| matches!(event, Event::Error(_)));
        if is_first_error && whole.is_between_events && matches!(last, Event::End | Event::Error(_)) {
            assert_eq!(skipping.ending, whole.ending, "in pieces of {size}");
        }
    }
}
