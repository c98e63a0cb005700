//! Where events end, in whatever pieces and framing they come.

use berry_wire::Operation::{ChatCompletions, Responses};
use berry_wire::{Event, EventReader, MAX_EVENT_BYTES, Operation};
use proptest::prelude::*;

use super::{SERVER, chunk, follow};

#[test]
fn between_two_events_is_where_another_may_stand() {
    let mut reader = EventReader::new(ChatCompletions);
    assert!(reader.is_between_events());
    for (bytes, is_between) in
        [(": hi", false), ("\r\n", false), ("\r", true), ("\n", true), ("data", false), (": {}\n", false), ("\n", true)]
    {
        follow(&mut reader, bytes.as_bytes());
        assert_eq!(reader.is_between_events(), is_between, "{bytes:?}");
    }
}

#[test]
fn a_byte_order_mark_counts_for_nothing_at_the_start_alone() {
    let marked = "\u{feff}data: [DONE]\n\n";
    let mut reader = EventReader::new(ChatCompletions);
    let events: Vec<_> = follow(&mut reader, marked.repeat(2).as_bytes()).into_iter().map(|(_, event)| event).collect();
    assert_eq!(events, [Event::End, Event::Quiet]);
}

#[test]
fn an_event_larger_than_the_limit_is_skipped_but_for_the_type_that_it_begins_with() {
    let filler = "x".repeat(MAX_EVENT_BYTES);
    let large = [
        (ChatCompletions, chunk(0, &format!("{{\"content\":\"{filler}\"}}"), "\"stop\""), Event::Content),
        (Responses, format!("data: {{\"type\":\"response.created\",\"x\":\"{filler}\"}}\n\n"), Event::Content),
        (Responses, format!("data: {{\"type\":\"response.completed\",\"x\":\"{filler}\"}}\n\n"), Event::End),
        (Responses, format!("event: error\ndata: {filler}\n\n"), SERVER),
    ];
    for (operation, text, expected) in large {
        for size in [1000, 100_000, text.len()] {
            let mut reader = EventReader::new(operation);
            let events: Vec<_> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|bytes| follow(&mut reader, bytes))
                .map(|(_, event)| event)
                .collect();
            assert_eq!(events, [expected], "{operation:?} in pieces of {size}");
            assert!(reader.is_between_events());
        }
    }
    assert!(size_of::<EventReader>() <= 192, "{}", size_of::<EventReader>());
}

/// One event, as it might be framed: a name, and lines of data.
fn framed() -> impl Strategy<Value = (Option<&'static str>, Vec<&'static str>)> {
    let name = prop_oneof![5 => Just(None), 1 => Just(Some("error")), 1 => Just(Some("ping")), 1 => Just(Some(""))];
    let data = prop::sample::select(vec![
        vec![],
        vec![""],
        vec!["[DONE]"],
        vec!["{\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}"],
        vec!["{\"choices\":[{\"index\":0,", "", "\"delta\":{\"content\":\"a: b\"}}]}"],
        vec!["{\"choices\":", "[{\"index\":2,\"delta\":{},\"finish_reason\": \"stop\"}]}"],
        vec!["{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}"],
        vec!["{", "\"error\":{\"message\":\"no\"}}"],
        vec!["{\"type\":\"response.output_text.delta\",\"sequence_number\":7,\"delta\":\"A\"}"],
        vec!["{\"type\":\"response.completed\",", "\"sequence_number\":12}"],
        vec!["no JSON"],
    ]);
    (name, data)
}

/// The same event in some other framing: line ends, spaces, comments and fields that do not matter.
fn odd((name, data): &(Option<&str>, Vec<&str>), dice: &mut impl Iterator<Item = u8>) -> String {
    let mut roll = |sides: u8| dice.next().unwrap_or(0) % sides;
    let mut lines: Vec<String> = Vec::new();
    for (field, value) in data.iter().map(|value| ("data", value)).chain(name.iter().map(|name| ("event", name))) {
        if roll(4) == 0 {
            lines.push([": hi", ":", "id: 7", "retry: 100", "datax: y"][usize::from(roll(5))].to_owned());
        }
        let colon = match roll(3) {
            0 if value.is_empty() => "",
            1 if !value.starts_with(' ') => ":",
            _ => ": ",
        };
        lines.push(format!("{field}{colon}{value}"));
    }
    lines.push(String::new());
    if lines.len() == 1 {
        lines.insert(0, ": alone".to_owned());
    }
    let mut text = String::new();
    for line in lines {
        let end = ["\n", "\r", "\r\n"][usize::from(roll(3))];
        // An empty line that ends with LF would be the rest of the line end before it.
        let is_rest = line.is_empty() && end == "\n" && text.ends_with('\r');
        text.push_str(&line);
        text.push_str(if is_rest { "\r" } else { end });
    }
    text
}

fn plain((name, data): &(Option<&str>, Vec<&str>)) -> String {
    let name = name.map_or_else(String::new, |name| format!("event: {name}\n"));
    let data: Vec<String> = data.iter().map(|value| format!("data: {value}\n")).collect();
    format!(":\n{name}{}\n", data.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_framing_in_any_pieces_gives_the_same_events(
        written in prop::collection::vec(framed(), 0..8),
        dice in prop::collection::vec(any::<u8>(), 256),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        is_byte_by_byte in any::<bool>(),
        has_mark in any::<bool>(),
    ) {
        for operation in [ChatCompletions, Responses] {
            let mut expected = EventReader::new(operation);
            let text: String = written.iter().map(plain).collect();
            let expected_events: Vec<_> = follow(&mut expected, text.as_bytes()).into_iter().map(|(_, event)| event).collect();

            let mut dice = dice.iter().copied();
            let text: String = written.iter().map(|event| odd(event, &mut dice)).collect();
            let text = if has_mark { format!("\u{feff}{text}") } else { text };
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([text.len()]).collect();
            if is_byte_by_byte {
                ends = (0..=text.len()).collect();
            }
            ends.sort_unstable();
            let mut reader = EventReader::new(operation);
            let (mut events, mut at) = (Vec::new(), 0);
            for end in ends {
                events.extend(follow(&mut reader, &text.as_bytes()[at..end]).into_iter().map(|(_, event)| event));
                at = end;
            }
            prop_assert_eq!(events, expected_events);
            prop_assert_eq!(reader.is_between_events(), !written.is_empty() || !has_mark);
            prop_assert_eq!(reader.finish(), expected.finish());
            prop_assert_eq!(reader.next_sequence(), expected.next_sequence());
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1_usize..40) {
        for operation in Operation::all() {
            let mut reader = EventReader::new(*operation);
            for piece in bytes.chunks(size) {
                follow(&mut reader, piece);
            }
            reader.finish();
        }
    }
}
