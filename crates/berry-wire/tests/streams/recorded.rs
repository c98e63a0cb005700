//! Every recorded stream, as it is and cut short.

use std::collections::BTreeSet;
use std::path::PathBuf;

use berry_wire::Operation::{Audio, ChatCompletions, Completions, Images, Messages, Responses, StreamGenerateContent};
use berry_wire::{Ending, Event, EventReader, Operation};

use super::{ending, events, follow};

/// The recorded streams: file, operation, and which event, counted from the end, makes it whole; 0: any clean end is a good one.
const RECORDED: &[(&str, Operation, usize)] = &[
    ("anthropic/messages-stream-pings", Messages, 1),
    ("anthropic/messages-stream", Messages, 1),
    ("anthropic/messages-thinking-stream", Messages, 1),
    ("anthropic/messages-tool-stream", Messages, 1),
    ("anthropic/messages-tools-parallel-stream", Messages, 1),
    ("gemini/stream-thinking", StreamGenerateContent, 1),
    ("gemini/stream-tool", StreamGenerateContent, 1),
    ("gemini/stream", StreamGenerateContent, 1),
    ("openai/chat-schema-stream", ChatCompletions, 2),
    ("openai/chat-stream-comments", ChatCompletions, 2),
    ("openai/chat-stream-crlf", ChatCompletions, 2),
    ("openai/chat-stream-odd", ChatCompletions, 2),
    ("openai/chat-stream-usage", ChatCompletions, 3),
    ("openai/chat-stream", ChatCompletions, 2),
    ("openai/chat-tool-stream-usage", ChatCompletions, 3),
    ("openai/chat-tool-stream", ChatCompletions, 2),
    ("openai/chat-tools-parallel-stream", ChatCompletions, 2),
    ("openai/completions-stream-usage", Completions, 3),
    ("openai/completions-stream", Completions, 2),
    ("openai/images-edits-stream", Images, 0),
    ("openai/images-generations-stream", Images, 0),
    ("openai/responses-stream-failed", Responses, 1),
    ("openai/responses-stream-incomplete", Responses, 1),
    ("openai/responses-stream", Responses, 1),
    ("openai/responses-tool-stream", Responses, 1),
    ("openai/speech-stream", Audio, 0),
    ("openai/transcriptions-stream", Audio, 0),
];

/// The recorded error events, which are streams by themselves.
const ERRORS: &[(&str, Operation)] = &[
    ("anthropic/error-event", Messages),
    ("gemini/error-event", StreamGenerateContent),
    ("openai/error-event", ChatCompletions),
    ("openai/responses-error-event", Responses),
];

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../berry-mock/recorded")
}

fn recorded(name: &str) -> Vec<u8> {
    std::fs::read(directory().join(format!("{name}.sse"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_recorded_stream_has_its_row_and_every_row_its_stream() {
    let mut files = BTreeSet::new();
    for folder in ["anthropic", "gemini", "openai"] {
        for file in std::fs::read_dir(directory().join(folder)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            files.extend(name.strip_suffix(".sse").map(|name| format!("{folder}/{name}")));
        }
    }
    let rows = RECORDED.iter().map(|(name, ..)| name).chain(ERRORS.iter().map(|(name, _)| name));
    assert_eq!(files, rows.map(|name| (*name).to_owned()).collect());
}

#[test]
fn a_recorded_stream_is_whole_from_the_event_on_that_ends_it_and_not_before() {
    for (name, operation, last) in RECORDED {
        let text = recorded(name);
        let mut ends: Vec<usize> =
            follow(&mut EventReader::new(*operation), &text).into_iter().map(|(at, _)| at).collect();
        if ends.last() != Some(&text.len()) {
            ends.push(text.len());
        }
        let first_whole = if *last == 0 { 0 } else { ends.len() - last };
        for (number, end) in ends.iter().enumerate() {
            let expected = if number >= first_whole { Ending::Whole } else { Ending::Truncated };
            assert_eq!(ending(*operation, &text[..*end]), expected, "{name} up to event {number}");
        }
    }
}

#[test]
fn a_recorded_stream_has_content_and_no_error() {
    for (name, operation, _) in RECORDED {
        let (events, _) = events(*operation, recorded(name));
        assert!(events.contains(&Event::Content), "{name}");
        let errors = events.iter().filter(|event| matches!(event, Event::Error(_))).count();
        assert_eq!(errors, usize::from(name.ends_with("-failed")), "{name}");
    }
}

#[test]
fn a_recorded_error_event_is_an_error_and_no_end() {
    for (name, operation) in ERRORS {
        let (events, ending) = events(*operation, recorded(name));
        let [Event::Error(complaint)] = events[..] else { panic!("{name}: {events:?}") };
        assert_eq!(ending, Ending::Failed(complaint), "{name}");
    }
}

#[test]
fn the_next_number_follows_the_last_one_of_a_recorded_stream() {
    for (name, next) in [("responses-stream-failed", 13), ("responses-tool-stream", 14), ("responses-error-event", 10)]
    {
        let mut reader = EventReader::new(Responses);
        follow(&mut reader, &recorded(&format!("openai/{name}")));
        assert_eq!(reader.next_sequence(), next, "{name}");
    }
    let mut reader = EventReader::new(ChatCompletions);
    follow(&mut reader, br#"data: {"sequence_number":5,"choices":[]}"#);
    assert_eq!(reader.next_sequence(), 0);
}
