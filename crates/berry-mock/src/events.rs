//! Cuts recorded bytes into what is written at once, and multiplies content events. The pieces joined are the
//! recording, byte for byte.

use bytes::Bytes;
use memchr::memmem;

/// A part of an answer that is written at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Bytes(Bytes),
    /// This many filler bytes, which need not be held.
    Fill(u64),
}

impl Piece {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Fill(len) => *len,
        }
    }
}

/// The events of a stream: each with the blank line that ends it. A JSON array is cut after its commas.
pub(crate) fn events(body: &Bytes) -> Vec<Bytes> {
    let marks: &[&[u8]] = if body.first() == Some(&b'[') { &[b"\n,\r\n"] } else { &[b"\n\n", b"\r\n\r\n", b"\r\r"] };
    let mut rest = body.clone();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let end = |mark: &&[u8]| memmem::find(&rest, mark).map(|at| at + mark.len());
        let end = marks.iter().filter_map(end).min().unwrap_or(rest.len());
        events.push(rest.split_to(end));
    }
    events
}

/// The same stream with `count` content events, which are those with the mark, in turn.
pub(crate) fn repeat(events: Vec<Bytes>, mark: &str, count: usize) -> Vec<Bytes> {
    let has_content = |event: &Bytes| memmem::find(event, mark.as_bytes()).is_some();
    let Some(first) = events.iter().position(has_content) else {
        return events;
    };
    let last = events.iter().rposition(has_content).unwrap_or(first);
    let content: Vec<Bytes> = events[first..=last].iter().filter(|event| has_content(event)).cloned().collect();
    let middle = content.into_iter().cycle().take(count);
    events[..first].iter().cloned().chain(middle).chain(events[last + 1..].iter().cloned()).collect()
}

/// The body with `filler` bytes put in where its content begins; without a mark, nothing.
pub(crate) fn blow_up(body: &Bytes, mark: Option<&str>, filler: u64) -> Option<Vec<Piece>> {
    let mark = mark?.as_bytes();
    let at = memmem::find(body, mark)? + mark.len();
    Some(vec![Piece::Bytes(body.slice(..at)), Piece::Fill(filler), Piece::Bytes(body.slice(at..))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::RECORDINGS;

    #[test]
    fn cut_into_events_every_recording_stays_what_it_was() {
        for row in RECORDINGS {
            let events = events(&Bytes::from_static(row.body));
            assert_eq!(events.concat(), row.body, "{}", row.file);
            assert!(
                !row.is_stream() || row.name == "error-event" || row.name.ends_with("error-event") || events.len() > 1,
                "{}",
                row.file
            );
        }
    }

    #[test]
    fn repeated_content_keeps_what_stands_around_it() {
        let events = ["start", "c1", "c2", "stop"].map(|s| Bytes::from_static(s.as_bytes())).to_vec();
        assert_eq!(repeat(events.clone(), "c", 5), ["start", "c1", "c2", "c1", "c2", "c1", "stop"]);
        assert_eq!(repeat(events.clone(), "c", 0), ["start", "stop"]);
        assert_eq!(repeat(events.clone(), "nothing", 5), events);
    }

    #[test]
    fn a_blown_up_answer_is_as_much_longer() {
        let pieces = blow_up(&Bytes::from_static(b"{\"content\": \"x\"}"), Some("\"content\": \""), 1000).unwrap();
        assert_eq!(pieces.iter().map(Piece::len).sum::<u64>(), 1016);
    }
}
