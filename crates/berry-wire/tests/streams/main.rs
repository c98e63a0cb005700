//! Streams as the vendors send them, followed as the gateway does: the recorded ones whole and cut short, single events one by
//! one, their ends, and any framing in any pieces.

#![expect(clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod ends;
mod framing;
mod recorded;
mod says;

use berry_wire::{Complaint, Ending, Event, EventReader, Operation};

const SERVER: Event = Event::Error(Complaint::Server);

/// The events of a piece of a stream, each with where it ends.
fn follow(reader: &mut EventReader, bytes: &[u8]) -> Vec<(usize, Event)> {
    let mut events = Vec::new();
    let mut at = 0;
    while let Some((taken, event)) = reader.next(&bytes[at..]) {
        at += taken;
        events.push((at, event));
    }
    events
}

fn events(operation: Operation, text: impl AsRef<[u8]>) -> (Vec<Event>, Ending) {
    let mut reader = EventReader::new(operation);
    let events = follow(&mut reader, text.as_ref()).into_iter().map(|(_, event)| event).collect();
    (events, reader.finish())
}

/// What a stream has come to.
fn ending(operation: Operation, text: impl AsRef<[u8]>) -> Ending {
    events(operation, text).1
}

/// A chunk of a chat.
fn chunk(index: u32, delta: &str, finish_reason: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":{index},\"delta\":{delta},\"finish_reason\":{finish_reason}}}]}}\n\n")
}
