//! What an answer made that only its account has, and what a request refers to.

use Operation::*;

use super::*;

fn hashes(values: &[&str]) -> Vec<u64> {
    let mut hashes: Vec<u64> = values.iter().map(|value| hash(value.as_bytes())).collect();
    hashes.sort_unstable();
    hashes
}

fn sorted(states: States) -> Vec<u64> {
    let mut states = states.to_vec();
    states.sort_unstable();
    states
}

#[test]
fn a_request_is_bound_by_what_only_one_account_knows() {
    for (operation, body, bound) in [
        (Responses, r#"{"previous_response_id":"resp_1","input":"x"}"#, &["resp_1"][..]),
        (Responses, r#"{"previous_response_id" : "resp_1" , "conversation":null}"#, &["resp_1"]),
        (Responses, r#"{"conversation":"conv_1"}"#, &["conv_1"]),
        (Responses, r#"{"conversation": {"x":{"id":"no"},"id" : "conv_1"}}"#, &["conv_1"]),
        (
            Responses,
            r#"{"input":[{"type":"reasoning","encrypted_content":"gAAA="},{"content":[{"type":"input_file","file_id":"file-1"}]}]}"#,
            &["gAAA=", "file-1"],
        ),
        (Responses, r#"{"tools":[{"type":"code_interpreter","container":"cntr_1"}]}"#, &["cntr_1"]),
        (Responses, r#"{"tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}"#, &[]),
        (Messages, r#"{"container":"container_1","messages":[]}"#, &["container_1"]),
        (Messages, r#"{"container":{"id":"container_1","skills":[]}}"#, &["container_1"]),
        (Messages, r#"{"messages":[{"content":[{"source":{"type":"file","file_id":"file_1"}}]}]}"#, &["file_1"]),
        (CountTokens, r#"{"messages":[{"content":[{"source":{"type":"file","file_id":"file_1"}}]}]}"#, &["file_1"]),
        (
            GenerateContent,
            r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://h/files/1"}}]}]}"#,
            &["https://h/files/1"],
        ),
        (StreamGenerateContent, r#"{"cachedContent":"cachedContents/1"}"#, &["cachedContents/1"]),
        (ChatCompletions, r#"{"messages":[{"content":[{"type":"file","file":{"file_id":"file-1"}}]}]}"#, &["file-1"]),
        (ChatCompletions, r#"{"previous_response_id":"resp_1","container":"c","model":"m"}"#, &[]),
    ] {
        assert_eq!(sorted(bound_state(operation, body.as_bytes())), hashes(bound), "{body}");
    }
}

#[test]
fn quoted_text_and_other_values_bind_nothing() {
    for body in [
        r#"{"input":"say \"previous_response_id\":\"resp_1\" and \"file_id\": \"f\""}"#,
        r#"{"input":["file_id","conversation"]}"#,
        r#"{"file_id":"","conversation":{},"container":[1],"encrypted_content":null,"previous_response_id":7}"#,
        r#"{"tools":[{"parameters":{"properties":{"file_id":{"type":"string"},"conversation":{"id":{"type":"x"}}}}}]}"#,
        r#"{"file_id":"cut"#,
        r#"{"file_id""#,
        "",
    ] {
        assert!(bound_state(Responses, body.as_bytes()).is_empty(), "{body}");
    }
}

#[test]
fn what_an_answer_hands_out_is_found_in_the_next_request() {
    for (operation, answer, request) in [
        (
            Responses,
            r#"{"id":"resp_1","object":"response","output":[{"id":"rs_1","type":"message"}]}"#,
            r#"{"previous_response_id":"resp_1"}"#,
        ),
        (
            Responses,
            r#"{"type":"response.created","response":{"id":"resp_1","output":[]}}"#,
            r#"{"previous_response_id":"resp_1"}"#,
        ),
        (
            Responses,
            r#"{"type":"response.output_item.done","item":{"id":"rs_1","type":"reasoning","encrypted_content":"gA\/b\u003d"}}"#,
            r#"{"input":[{"type":"reasoning","id":"rs_1","encrypted_content":"gA/b="}]}"#,
        ),
        (
            Responses,
            r#"{"type":"response.output_item.done","item":{"type":"code_interpreter_call","container_id":"cntr_1"}}"#,
            r#"{"tools":[{"container":"cntr_1"}]}"#,
        ),
        (Messages, r#"{"id":"msg_1","container":{"id":"c_1","expires_at":"x"}}"#, r#"{"container":"c_1"}"#),
        (
            Messages,
            r#"{"type":"message_delta","delta":{"container":{"expires_at":"x","id":"c_1"}}}"#,
            r#"{"container":{"id":"c_1"}}"#,
        ),
    ] {
        let made = made_state(operation, answer.as_bytes());
        assert_eq!(made, bound_state(operation, request.as_bytes()), "{answer}");
        assert_eq!(made.len(), 1, "{answer}");
    }
    let both = r#"{"response":{"id":"resp_1","conversation":{"id":"conv_1"}}}"#;
    assert_eq!(sorted(made_state(Responses, both.as_bytes())), hashes(&["resp_1", "conv_1"]));
}

#[test]
fn other_answers_make_nothing() {
    let answer =
        br#"{"id":"chatcmpl-1","container":{"id":"c"},"encrypted_content":"x","file_id":"f","conversation":"c"}"#;
    for &operation in Operation::all() {
        if !matches!(operation, Responses | Messages) {
            assert!(made_state(operation, answer).is_empty(), "{operation:?}");
        }
    }
    assert!(
        made_state(Responses, br#"{"type":"response.output_text.delta","item_id":"msg_1","delta":"x"}"#).is_empty()
    );
}

#[test]
fn of_many_values_the_last_ones_count() {
    let items: Vec<String> = (0..100).map(|n| format!(r#"{{"encrypted_content":"e{n}"}}"#)).collect();
    let body = format!(r#"{{"previous_response_id":"resp_1","input":[{}]}}"#, items.join(","));
    let states = bound_state(Responses, body.as_bytes());
    assert_eq!(states.len(), MAX_STATES);
    for value in ["resp_1", "e99", "e85"] {
        assert!(states.contains(&hash(value.as_bytes())), "{value}");
    }
    let twice = br#"{"a":{"file_id":"f"},"b":{"file_id":"f"}}"#;
    assert_eq!(bound_state(ChatCompletions, twice).len(), 1);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_looked_through(body: Vec<u8>, text in r#"(\{|\}|"id"|"file_id"|"container"|:|"|\\|a| |,){0,40}"#) {
        for &operation in Operation::all() {
            for body in [&body[..], text.as_bytes()] {
                proptest::prop_assert!(bound_state(operation, body).len() <= MAX_STATES);
                proptest::prop_assert!(made_state(operation, body).len() <= MAX_STATES);
            }
        }
    }
}
