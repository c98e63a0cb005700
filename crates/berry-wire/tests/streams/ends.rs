//! What a stream has come to when its connection ends.

use berry_wire::Operation::{ChatCompletions, Messages, Responses};
use berry_wire::{Complaint, Ending, Event, EventReader};

use super::{SERVER, chunk, ending, events, follow};

#[test]
fn a_chat_is_whole_without_done_only_if_every_choice_is_finished() {
    let (hi, end) = (r#"{"content":"hi"}"#, "\"stop\"");
    for (chunks, expected) in [
        (vec![], Ending::Truncated),
        (vec![chunk(0, hi, "null")], Ending::Truncated),
        (vec![chunk(0, hi, end)], Ending::Whole),
        (vec![chunk(0, hi, "null"), chunk(1, hi, "null"), chunk(0, "{}", end)], Ending::Truncated),
        (vec![chunk(0, hi, "null"), chunk(1, hi, "null"), chunk(1, "{}", end)], Ending::Truncated),
        (vec![chunk(1, hi, "null"), chunk(0, hi, end), chunk(1, "{}", end)], Ending::Whole),
        (vec![chunk(0, hi, end), chunk(0, "{}", "null")], Ending::Whole),
        (vec![chunk(0, r#"{"tool_calls":[{"index":1,"id":"c"}]}"#, "null"), chunk(0, "{}", end)], Ending::Whole),
        (
            vec![chunk(0, hi, "null"), chunk(0, r#"{"tool_calls":[{"index":1}]}"#, "\"\""), chunk(0, "{}", end)],
            Ending::Whole,
        ),
        (vec![chunk(0, hi, end), "data: {\"error\":\"no\"}\n\n".into()], Ending::Failed(Complaint::Server)),
        (
            vec![chunk(0, hi, end), "data: {\"error\":\"no\"}\n\ndata: [DONE]\n\n".into()],
            Ending::Failed(Complaint::Server),
        ),
    ] {
        assert_eq!(ending(ChatCompletions, chunks.concat()), expected, "{chunks:?}");
    }
}

/// A response that spent all its tokens on thoughts has no output, and is one all the same; a bare end is none.
#[test]
fn an_end_that_tells_of_an_answer_is_one() {
    let completed = r#"{"type":"response.incomplete","response":{"id":"r","model":"m","output":[]}}"#;
    for (operation, data, has_content) in [
        (Responses, completed, true),
        (Responses, r#"{"type":"response.completed"}"#, false),
        (Messages, r#"{"type":"message_stop"}"#, false),
        (ChatCompletions, "[DONE]", false),
    ] {
        let mut reader = EventReader::new(operation);
        let text = format!("data: {data}\n\n");
        assert_eq!(reader.next(text.as_bytes()), Some((text.len(), Event::End)));
        assert_eq!((reader.has_content(), reader.is_ended()), (has_content, true), "{data}");
    }
}

#[test]
fn a_last_event_without_its_blank_line_counts_and_half_of_one_makes_the_stream_truncated() {
    let hi = chunk(0, r#"{"content":"hi"}"#, "null");
    let end = chunk(0, "{}", "\"stop\"");
    for (last, expected) in [
        ("data: [DONE]".to_owned(), Ending::Whole),
        ("data: [DONE]\n".to_owned(), Ending::Whole),
        (end.trim().to_owned(), Ending::Whole),
        (end[..end.len() - 4].to_owned(), Ending::Truncated),
        (format!("{end}: bye"), Ending::Whole),
        (format!("{end}data: {{\"choices\":["), Ending::Truncated),
        (format!("{end}data: [DONE]\n\ndata: {{"), Ending::Whole),
        ("data: {\"error\":\"no\"}".to_owned(), Ending::Failed(Complaint::Server)),
    ] {
        let mut reader = EventReader::new(ChatCompletions);
        follow(&mut reader, format!("{hi}{last}").as_bytes());
        assert_eq!((reader.finish(), reader.finish()), (expected, expected), "{last}");
    }
}

#[test]
fn a_failed_response_is_an_error_and_a_whole_stream() {
    let text =
        "data: {\"type\":\"response.failed\",\"sequence_number\":2,\"response\":{\"error\":{\"code\":\"x\"}}}\n\n";
    assert_eq!(events(Responses, text), (vec![SERVER], Ending::Whole));
}
