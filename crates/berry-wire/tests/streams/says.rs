//! What single events say, before content has come and after it.

use berry_wire::Operation::{Audio, ChatCompletions, Completions, Images, Messages, Responses, StreamGenerateContent};
use berry_wire::{Complaint, Event, EventReader, Operation};

use super::{SERVER, chunk, events};

fn first_event(operation: Operation, text: &str) -> Event {
    let (_, event) = EventReader::new(operation).next(text.as_bytes()).unwrap_or_else(|| panic!("no event: {text}"));
    event
}

/// Events as the first of a stream, by their data alone.
const FIRST: &[(Operation, &[(&str, Event)])] = &[
    (
        ChatCompletions,
        &[
            ("", Event::Quiet),
            (r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#, Event::Quiet),
            (r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null}}]}"#, Event::Quiet),
            (r#"{"choices":[{"index":0,"delta":{},"finish_reason":""}],"error":null}"#, Event::Quiet),
            (r#"{"choices":[],"usage":{"prompt_tokens":5}}"#, Event::Quiet),
            (r#"{"choices":[{"index":0,"delta":{"content":" "}}]}"#, Event::Content),
            (r#"{"choices":[{"index":0,"delta":{"content":"\"error\":1"}}]}"#, Event::Content),
            (r#"{"choices":[{"index":0,"delta":{"reasoning_content":"Hm"}}]}"#, Event::Content),
            (r#"{"choices":[{"index":0,"delta":{"reasoning":"Hm"}}]}"#, Event::Content),
            (r#"{"choices":[{"index":0,"delta":{"refusal":"No"}}]}"#, Event::Content),
            (r#"{"choices":[{"index":0,"delta":{"audio":{"id":"a","data":"AAAA"}}}]}"#, Event::Content),
            (
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
                Event::Content,
            ),
            (r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#, Event::Content),
            (r#"{"error":{"message":"no","type":"server_error"}}"#, SERVER),
            (r#"{"error":"no"}"#, SERVER),
            (r#"{"choices":[],"error":{"code":502,"message":"no"}}"#, SERVER),
            (r#"{"type":"error","message":"no"}"#, SERVER),
            ("<html>", SERVER),
            (r#"{"choices":[{"#, SERVER),
            ("[DONE]", Event::End),
        ],
    ),
    (
        Completions,
        &[
            (r#"{"choices":[{"text":"","index":0,"finish_reason":null}]}"#, Event::Quiet),
            (r#"{"choices":[{"text":"\n","index":0,"finish_reason":null}]}"#, Event::Content),
        ],
    ),
    (
        Responses,
        &[
            (r#"{"type":"response.created","response":{"instructions":"Be brief","error":null}}"#, Event::Quiet),
            (r#"{"type":"response.queued","response":{"model":"m"}}"#, Event::Quiet),
            (r#"{"type":"response.in_progress","response":{"model":"m"}}"#, Event::Quiet),
            (r#"{"type":"keepalive","sequence_number":3}"#, Event::Quiet),
            (
                r#"{"type":"response.output_item.added","item":{"id":"m","type":"message","status":"in_progress","content":[],"role":"assistant"}}"#,
                Event::Quiet,
            ),
            (
                r#"{"type":"response.output_item.added","item":{"id":"rs","type":"reasoning","summary":[]}}"#,
                Event::Quiet,
            ),
            (
                r#"{"type":"response.content_part.added","item_id":"m","part":{"type":"output_text","annotations":[],"text":""}}"#,
                Event::Quiet,
            ),
            (r#"{"type":"response.output_text.delta","delta":"","obfuscation":"kq7"}"#, Event::Quiet),
            ("[DONE]", Event::Quiet),
            (r#"{"type":"response.output_text.delta","delta":"A"}"#, Event::Content),
            (r#"{"delta":"A","type":"response.output_text.delta"}"#, Event::Content),
            (r#"{"type":"response.refusal.delta","delta":"No"}"#, Event::Content),
            (r#"{"type":"response.reasoning_summary_text.delta","delta":"Hm"}"#, Event::Content),
            (r#"{"type":"response.function_call_arguments.delta","delta":"{"}"#, Event::Content),
            (
                r#"{"type":"response.output_item.added","item":{"type":"function_call","name":"f","arguments":""}}"#,
                Event::Content,
            ),
            (r#"{"type":"response.web_search_call.searching","item_id":"ws"}"#, Event::Content),
            (r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"no"}}}"#, SERVER),
            (r#"{"type":"error","code":"server_error","message":"no"}"#, SERVER),
            (r#"{"error":{"message":"no"}}"#, SERVER),
            (r#"{"type":"response.completed","response":{"error":null}}"#, Event::End),
            (r#"{"response":{},"type":"response.incomplete"}"#, Event::End),
        ],
    ),
    (
        Messages,
        &[
            (r#"{"type":"message_start","message":{"model":"m","role":"assistant","content":[]}}"#, Event::Quiet),
            (r#"{"type": "ping"}"#, Event::Quiet),
            (r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#, Event::Quiet),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
                Event::Quiet,
            ),
            (r#"{"type":"content_block_stop","index":0}"#, Event::Quiet),
            (r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":""}}"#, Event::Quiet),
            (
                r#"{"type":"content_block_start","content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
                Event::Content,
            ),
            (
                r#"{"type":"content_block_start","content_block":{"type":"redacted_thinking","data":"Em"}}"#,
                Event::Content,
            ),
            (r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"A"}}"#, Event::Content),
            (r#"{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"Hm"}}"#, Event::Content),
            (
                r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{"}}"#,
                Event::Content,
            ),
            (r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{}}"#, Event::Content),
            (r#"{"type":"an_event_of_tomorrow"}"#, Event::Content),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                Event::Error(Complaint::Overloaded),
            ),
            (r#"{"type":"message_stop"}"#, Event::End),
        ],
    ),
    (
        StreamGenerateContent,
        &[
            (r#"{"usageMetadata": {"promptTokenCount": 8},"modelVersion": "m","responseId": "r"}"#, Event::Quiet),
            (r#"{"candidates": [{"content": {"role": "model"},"index": 0}]}"#, Event::Quiet),
            (r#"{"candidates": [{"content": {"parts": [{"text": ""}],"role": "model"}}]}"#, Event::Quiet),
            (r#"{"candidates": [{"content": {"parts": [{"text": "A"}],"role": "model"}}]}"#, Event::Content),
            (r#"{"candidates": [{"content": {"parts": [{"text": "Hm","thought": true}]}}]}"#, Event::Content),
            (
                r#"{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f","args": {}}}]}}]}"#,
                Event::Content,
            ),
            (r#"{"candidates": [{"content": {"parts": [{"inlineData": {"data": "iV"}}]}}]}"#, Event::Content),
            (r#"{"candidates": [{"finishReason": "SAFETY"}]}"#, Event::Content),
            (r#"{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}"#, Event::Content),
            (r#"{"error":{"code":503,"message":"no","status":"UNAVAILABLE"}}"#, Event::Error(Complaint::Overloaded)),
        ],
    ),
    (
        Audio,
        &[
            (r#"{"type":"speech.audio.delta","audio":"//uQ"}"#, Event::Content),
            (r#"{"type":"error","error":{"message":"no"}}"#, SERVER),
            (r#"{"type":"speech.audio.done","usage":{}}"#, Event::End),
            (r#"{"type":"transcript.text.done","text":"A"}"#, Event::End),
        ],
    ),
    (
        Images,
        &[
            (r#"{"type":"image_edit.partial_image","b64_json":"iV"}"#, Event::Content),
            (r#"{"type":"image_generation.completed","b64_json":"iV"}"#, Event::End),
        ],
    ),
];

#[test]
fn a_first_event_is_content_only_if_a_client_waits_for_it() {
    for (operation, rows) in FIRST {
        for (data, expected) in *rows {
            assert_eq!(first_event(*operation, &format!("data: {data}\n\n")), *expected, "{operation:?} {data}");
        }
    }
    assert_eq!(first_event(ChatCompletions, ": PROCESSING\n\n"), Event::Quiet);
    assert_eq!(first_event(ChatCompletions, "event: ping\nid: 7\nretry: 100\n\n"), Event::Quiet);
    assert_eq!(first_event(ChatCompletions, "event: error\ndata: Internal Server Error\n\n"), SERVER);
    assert_eq!(first_event(ChatCompletions, "event: error\ndata: {\"message\":\"no\"}\n\n"), SERVER);
}

#[test]
fn what_matters_is_found_after_content_too_and_nothing_else_is_taken_for_it() {
    let hi = chunk(0, r#"{"content":"hi"}"#, "null");
    for (text, expected) in [
        (r#"{"choices":[],"error":{"code":502}}"#, SERVER),
        (r#"{"error" : "no"}"#, SERVER),
        (r#"{"error":null,"choices":[]}"#, Event::Content),
        (r#"{"error":{},"choices":[{"index":0,"delta":{"content":"x"}}]}"#, Event::Content),
        (r#"{"choices":[{"index":0,"delta":{"content":"\"error\":{\"a\":1}"}}]}"#, Event::Content),
        (r#"{"choices":[{"index":0,"delta":{"tool":{"error":{"a":"b"}}}}]}"#, Event::Content),
        (r#"{"choices":[{"index":0,"delta":{"content":"error"}}]}"#, Event::Content),
        ("<html>", Event::Content),
        (r#"{"choices":[{"index":1"#, Event::Content),
        ("[DONE]", Event::End),
    ] {
        let text = format!("{hi}data: {text}\n\n");
        assert_eq!(events(ChatCompletions, &text).0, [Event::Content, expected], "{text}");
    }
    let tool = "data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"tool_use\",\"name\":\"f\"}}\n\n";
    let say = |text: &str| format!("{tool}data: {text}\n\nevent: ping\ndata: {{\"type\": \"ping\"}}\n\n");
    for (text, expected) in [
        (r#"{"type":"content_block_delta","delta":{"text":"\"type\":\"message_stop\""}}"#, Event::Content),
        (r#"{"delta":{"text":"x"},"type":"content_block_delta"}"#, Event::Content),
        (r#"{"type" : "message_stop"}"#, Event::End),
        (r#"{"x":0,"type":"message_stop"}"#, Event::End),
        (r#"{"x":0,"type":"error"}"#, SERVER),
    ] {
        assert_eq!(events(Messages, say(text)).0, [Event::Content, expected, Event::Quiet], "{text}");
    }
}
