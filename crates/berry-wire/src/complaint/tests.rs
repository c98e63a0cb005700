//! Recorded bodies of errors, and what each complains of.

use Complaint::*;
use Protocol::{Anthropic, Gemini, OpenAi};

use super::PlainFault::{Garbled, Told};
use super::*;

#[test]
fn a_status_alone_says_what_is_wrong() {
    for (statuses, expected) in [
        (&[401, 403, 407][..], Auth),
        (&[402], Quota),
        (&[404, 405, 410, 424, 498], Model),
        (&[408], Timeout),
        (&[429], RateLimit),
        (&[529], Overloaded),
        (&[400, 409, 413, 415, 422, 431, 499], Client),
        (&[421, 425, 426, 500, 502, 503, 504, 599, 0, 204, 302, 999], Server),
    ] {
        for &status in statuses {
            assert_eq!(complaint_of_status(status), expected, "{status}");
            for body in ["", "{", "null", "[]", "<html>", r#"{"error":"no"}"#, r#"{"error":{}}"#, r#"{"error":null}"#] {
                for protocol in Protocol::ALL {
                    assert_eq!(complaint(protocol, status, body.as_bytes()), expected, "{protocol} {status} {body}");
                }
            }
        }
    }
}

/// As documented, or as seen in threads; `rows.rs` says where.
const BODIES: &[(Protocol, u16, &str, Complaint)] = &[
    (
        Anthropic,
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."}}"#,
        Quota,
    ),
    (
        Anthropic,
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.0: Your credit balance is too low, said the user"}}"#,
        Client,
    ),
    (Anthropic, 200, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Overloaded),
    (Anthropic, 500, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Overloaded),
    (Anthropic, 403, r#"{"type":"error","error":{"type":"billing_error","message":"x"}}"#, Quota),
    // DeepSeek, spoken to in Anthropic's protocol.
    (Anthropic, 402, r#"{"error":{"type":"invalid_request_error","message":"Insufficient Balance"}}"#, Quota),
    (
        OpenAi,
        402,
        r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}"#,
        Quota,
    ),
    (OpenAi, 429, r#"{"error":{"type":"insufficient_quota","code":null}}"#, Quota),
    (OpenAi, 429, r#"{"error":{"type":"billing_not_active","code":"billing_not_active"}}"#, Quota),
    (OpenAi, 403, r#"{"error":{"code":"model_not_found","type":"invalid_request_error"}}"#, Model),
    (OpenAi, 400, r#"{"error":{"code":"model_not_found"}}"#, Model),
    (OpenAi, 400, r#"{"error":{"code":"previous_response_not_found","param":"previous_response_id"}}"#, Client),
    (OpenAi, 503, r#"{"error":{"code":null,"type":"service_unavailable","message":"x"}}"#, Overloaded),
    (OpenAi, 503, r#"{"error":{"type":"overloaded_error"}}"#, Overloaded),
    (OpenAi, 503, r#"{"error":{"code":"server_is_overloaded"}}"#, Overloaded),
    (OpenAi, 500, r#"{"error":{"code":"engine_overloaded"}}"#, Overloaded),
    (OpenAi, 503, r#"{"error":{"type":"server_error"}}"#, Server),
    (OpenAi, 400, r#"{"error":{"code":"context_length_exceeded"}}"#, Client),
    (OpenAi, 403, r#"{"error":{"code":"unsupported_country_region_territory"}}"#, Auth),
    (OpenAi, 413, r#"{"error":{"type":"tokens","code":"rate_limit_exceeded"}}"#, Client),
    (
        OpenAi,
        403,
        r#"{"error":{"code":403,"message":"flagged","metadata":{"reasons":["violence"],"flagged_input":"x"}}}"#,
        Client,
    ),
    (OpenAi, 403, r#"{"error":{"code":403,"message":"no access","metadata":null}}"#, Auth),
    (OpenAi, 429, r#"{"error":{"code":"1113","message":"x"}}"#, Quota),
    (OpenAi, 429, r#"{"error":{"code":1302,"message":"x"}}"#, RateLimit),
    (OpenAi, 400, r#"{"error":{"code":"1211","message":"x"}}"#, Model),
    (OpenAi, 429, r#"{"error":{"message":"x","type":"exceeded_current_quota_error"}}"#, Quota),
    (OpenAi, 429, r#"{"error":{"message":"x","type":"engine_overloaded_error"}}"#, Overloaded),
    (OpenAi, 429, r#"{"error":{"message":"x","type":"rate_limit_reached_error"}}"#, RateLimit),
    (OpenAi, 400, r#"{"error":{"code":"Arrearage","type":"Arrearage"}}"#, Quota),
    (OpenAi, 400, r#"{"code":"Arrearage","message":"x","request_id":"r"}"#, Quota),
    (OpenAi, 403, r#"{"error":{"code":"AccountOverdueError","type":"Forbidden"}}"#, Quota),
    (OpenAi, 429, r#"{"error":{"code":"ServerOverloaded","type":"TooManyRequests"}}"#, Overloaded),
    (OpenAi, 404, r#"{"error":{"code":"InvalidEndpointOrModel.NotFound","type":"NotFound"}}"#, Model),
    // Google under OpenAI's paths.
    (OpenAi, 503, r#"[{"error":{"code":503,"message":"x","status":"UNAVAILABLE"}}]"#, Overloaded),
    (
        OpenAi,
        400,
        r#"[{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
        Auth,
    ),
    (Gemini, 400, r#"{"error":{"code":400,"status":"FAILED_PRECONDITION"}}"#, Model),
    (Gemini, 504, r#"{"error":{"code":504,"status":"DEADLINE_EXCEEDED"}}"#, Timeout),
    (
        Gemini,
        403,
        r#"{"error":{"code":403,"status":"PERMISSION_DENIED","details":[{},{"reason":"BILLING_DISABLED"}]}}"#,
        Quota,
    ),
];

#[test]
fn the_vendors_own_words_say_it_better_than_the_status() {
    for &(protocol, status, body, expected) in BODIES {
        assert_eq!(complaint(protocol, status, body.as_bytes()), expected, "{protocol} {status} {body}");
    }
}

#[test]
fn an_error_without_a_status_is_known_by_its_words_or_by_its_number() {
    for (protocol, body, expected) in [
        (OpenAi, r#"{"error":{"code":429,"message":"x"}}"#, RateLimit),
        (OpenAi, r#"{"error":{"code":"502","message":"x"}}"#, Server),
        (OpenAi, r#"{"error":{"code":402}}"#, Quota),
        (OpenAi, r#"{"error":{"code":403,"metadata":{"reasons":["x"]}}}"#, Client),
        (OpenAi, r#"{"error":{"code":7}}"#, Server),
        (OpenAi, r#"{"error":{"type":"invalid_request_error","code":null}}"#, Client),
        (OpenAi, r#"{"error":{"type":"server_error","code":null}}"#, Server),
        (OpenAi, r#"{"type":"error","code":"server_error","message":"x","param":null}"#, Server),
        (OpenAi, r#"{"type":"error","code":"rate_limit_exceeded","message":"x"}"#, RateLimit),
        (OpenAi, r#"{"type":"error","error":{"code":"insufficient_quota"}}"#, Quota),
        (OpenAi, r#"{"type":"response.failed","response":{"error":{"code":"invalid_prompt"}}}"#, Client),
        (OpenAi, r#"{"type":"response.failed","response":{"error":{"code":"server_is_overloaded"}}}"#, Overloaded),
        (OpenAi, r#"{"type":"response.failed","response":{"error":{"code":"vector_store_timeout"}}}"#, Timeout),
        (OpenAi, r#"{"type":"response.failed","response":{"error":{"code":"image_too_large"}}}"#, Client),
        (OpenAi, r#"{"type":"response.failed","response":{"error":null}}"#, Server),
        (Anthropic, r#"{"type":"error","error":{"type":"api_error"}}"#, Server),
        (Anthropic, r#"{"type":"error","error":{"type":"invalid_request_error"}}"#, Client),
        (Anthropic, r#"{"type":"error","error":{"type":"not_found_error"}}"#, Model),
        (Anthropic, r#"{"type":"error","error":{"type":"permission_error"}}"#, Auth),
        (Gemini, r#"[{"candidates":[]},{"error":{"code":503,"status":"UNAVAILABLE"}}]"#, Overloaded),
        (Gemini, r#"{"error":{"code":500,"status":"UNKNOWN"}}"#, Server),
        (OpenAi, "", Server),
        (OpenAi, "upstream connect error", Server),
    ] {
        assert_eq!(of_error_object(protocol, body.as_bytes()), expected, "{protocol} {body}");
    }
}

#[test]
fn a_plain_answer_that_is_none_is_a_fault() {
    use crate::route::Operation::*;
    for operation in [ChatCompletions, Completions, Responses, Embeddings, Moderations, Rerank, Messages, CountTokens]
        .into_iter()
        .chain([GenerateContent, StreamGenerateContent, GeminiCountTokens, EmbedContent, BatchEmbedContents])
    {
        for body in [
            "",
            " \r\n\t",
            "\u{feff}",
            "<!DOCTYPE html><html></html>",
            "\n<HTML>",
            "{",
            r#"{"id":"x","choices":[{"message":{"content":"cut"#,
            r#"{"id":"x","choices":[{"a":1}"#,
            r#"{"id":"x"} trailing"#,
            "ok",
            "null",
            "\"text\"",
            "data: {\"id\":1}\n\n",
            r#"{"id":"x","error":{"message":"x"}}"#,
            r#"{"error":"something"}"#,
            r#"{"error":true}"#,
            "[",
            "[]",
            "[1]",
            r#"[{"error":{"code":500}}]"#,
            r#"[{"a":1},]"#,
            r#"[{"a":1}"#,
        ] {
            assert!(plain_fault(operation, body.as_bytes()).is_some(), "{operation:?} {body}");
        }
    }
    assert_eq!(plain_fault(Messages, br#"{"type":"error","x":1}"#), Some(Told(Server)));
    assert_eq!(plain_fault(Images, br#"{"error":{"code":429}}"#), Some(Told(RateLimit)));
    for bytes in [&b""[..], b"  \n", b"<html><body>502</body></html>"] {
        assert_eq!(plain_fault(Audio, bytes), Some(Garbled));
        assert_eq!(plain_fault(Images, bytes), Some(Garbled));
    }
}

#[test]
fn a_plain_answer_that_tells_of_an_error_has_its_complaint() {
    use crate::route::Operation::*;
    for (operation, body, expected) in [
        (ChatCompletions, r#"{"error":{"code":429,"message":"x"}}"#, RateLimit),
        (ChatCompletions, r#" {"id":"x","choices":[],"error":{"code":"insufficient_quota"}}"#, Quota),
        (
            Responses,
            r#"{"id":"resp_1","status":"failed","error":{"code":"rate_limit_exceeded"},"output":[]}"#,
            RateLimit,
        ),
        (Messages, r#"{"type":"error","error":{"type":"overloaded_error"}}"#, Overloaded),
        (GenerateContent, r#"{"error":{"code":400,"status":"INVALID_ARGUMENT"}}"#, Client),
        (StreamGenerateContent, r#"[{"candidates":[]}, {"error":{"code":503,"status":"UNAVAILABLE"}}]"#, Overloaded),
    ] {
        assert_eq!(plain_fault(operation, body.as_bytes()), Some(Told(expected)), "{body}");
    }
}

#[test]
fn an_unusual_answer_passes() {
    use crate::route::Operation::*;
    let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(400), "]".repeat(400));
    for (operation, body) in [
        (ChatCompletions, r#"{"choices":[]}"#),
        (ChatCompletions, r#"{"object":"chat.completion"}"#),
        (ChatCompletions, "\u{feff} {\"error\":null,\"choices\":[]} \n"),
        (ChatCompletions, r#"{"error":{},"choices":[{}]}"#),
        (ChatCompletions, r#"{"error":"","choices":[{}]}"#),
        (ChatCompletions, r#"{"choices":[{"message":{"content":"\"error\":{\"code\":1}","error":{"x":1}}}]}"#),
        (ChatCompletions, r#"{"type":"error","choices":[]}"#),
        (ChatCompletions, &deep),
        (Messages, r#"{"type":"message","content":[{"type":"error","error":{}}]}"#),
        (StreamGenerateContent, "[{\"candidates\":[]}\n,\r\n{\"candidates\":[]}\n]"),
        (StreamGenerateContent, r#"{"candidates":[]}"#),
        (Rerank, r#"[{"index":0,"score":0.5}]"#),
        (Audio, "plain text"),
        (Audio, r#"{"error":{"code":1}}"#),
        (Images, "\u{89}PNG"),
        (Images, r#"{"data":[]}"#),
    ] {
        assert_eq!(plain_fault(operation, body.as_bytes()), None, "{operation:?} {body}");
    }
    assert_eq!(plain_fault(ChatCompletions, b"{\"choices\":[\"\xff\"]}"), None);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_judged(status: u16, body: Vec<u8>, at in 0..crate::Operation::all().len()) {
        let operation = crate::Operation::all()[at];
        complaint(operation.protocol(), status, &body);
        let _ = (of_error_object(operation.protocol(), &body), plain_fault(operation, &body), is_page(&body));
    }

    #[test]
    fn an_answer_is_good_or_cut(cut in 1..140usize) {
        let whole = br#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"a \"b\" {c}"}}],"usage":{"total_tokens":3},"error":null}"#;
        let body = &whole[..cut.min(whole.len())];
        let fault = plain_fault(crate::Operation::ChatCompletions, body);
        proptest::prop_assert_eq!(fault.is_none(), body.len() == whole.len());
    }
}

#[test]
fn what_an_account_may_lack_is_told_from_other_faults() {
    for (status, body, may) in [
        (
            400,
            r#"{"error":{"code":"previous_response_not_found","message":"Previous response with id 'x' not found."}}"#,
            true,
        ),
        (400, r#"{"error":{"code":"invalid_encrypted_content"}}"#, true),
        (404, r#"{"type":"error","error":{"type":"not_found_error","message":"File not found"}}"#, true),
        (
            403,
            r#"{"error":{"message":"You do not have permission to access the File abc or it may not exist."}}"#,
            true,
        ),
        (404, "", true),
        (
            400,
            r#"{"error":{"code":"context_length_exceeded","message":"This model's maximum context length is 128000 tokens."}}"#,
            false,
        ),
        (
            400,
            r#"{"error":{"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}"#,
            false,
        ),
        (403, r#"{"error":{"code":"unsupported_country_region_territory"}}"#, false),
        (422, r#"{"error":{"message":"file not found"}}"#, false),
        (429, "", false),
    ] {
        assert_eq!(may_lack_state(status, body.as_bytes()), may, "{status} {body}");
    }
}
