//! The one place where a failure becomes bytes, in the dialect of whoever asked.

use berry_vocab::{Failure, Protocol};

use crate::protocol::{EventContext, spec};
use crate::route::Operation;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Its HTTP status.
    pub status: u16,
    /// Its body: JSON.
    pub body: Vec<u8>,
}

/// The error answer, before the commit point.
pub fn render(failure: &Failure, protocol: Protocol, request_id: &str) -> Rendered {
    Rendered { status: status(failure, protocol), body: (spec(protocol).error)(failure, request_id) }
}

/// The status of the error answer alone.
pub fn status(failure: &Failure, protocol: Protocol) -> u16 {
    (spec(protocol).status)(failure)
}

/// The event that ends a stream after the commit point.
pub fn render_event(failure: &Failure, operation: Operation, request_id: &str) -> Vec<u8> {
    render_event_after(failure, operation, request_id, 0)
}

/// The same, where the number that the event has in its stream is known. Only the Responses API numbers its events.
pub fn render_event_after(failure: &Failure, operation: Operation, request_id: &str, sequence: u64) -> Vec<u8> {
    (spec(operation.protocol()).event)(failure, EventContext { operation, request_id, sequence })
}

/// A backend's own error answer as the event that ends a stream of the same dialect. `None`: it is no JSON object.
pub fn error_event(operation: Operation, body: &[u8]) -> Option<Vec<u8>> {
    let text = body.trim_ascii();
    let _: &serde_json::value::RawValue = serde_json::from_slice(text).ok().filter(|_| text.starts_with(b"{"))?;
    // Line ends stand between the parts of JSON alone, and would end the event's line.
    let line: Vec<u8> = text.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    let name = match operation {
        Operation::Messages | Operation::Responses => Some("error"),
        _ => None,
    };
    Some(crate::protocol::sse(name, &line))
}

#[cfg(test)]
mod tests {
    use berry_vocab::Code;
    use serde_json::Value;

    use super::*;

    fn rendered(failure: &Failure, protocol: Protocol) -> (u16, String) {
        let Rendered { status, body } = render(failure, protocol, "req-1");
        (status, String::from_utf8(body).unwrap())
    }

    #[test]
    fn each_dialect_has_its_own_shape() {
        let failure = Failure::new(Code::InvalidRequest, "say \"model\"\n").param("model");
        assert_eq!(
            rendered(&failure, Protocol::OpenAi),
            (400, r#"{"error":{"message":"say \"model\"\n","type":"invalid_request_error","param":"model","code":"invalid_request"}}"#.to_owned())
        );
        assert_eq!(
            rendered(&failure, Protocol::Anthropic),
            (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"say \"model\"\n"},"request_id":"req-1"}"#.to_owned())
        );
        assert_eq!(
            rendered(&failure, Protocol::Gemini),
            (400, r#"{"error":{"code":400,"message":"say \"model\"\n","status":"INVALID_ARGUMENT"}}"#.to_owned())
        );
    }

    #[test]
    fn a_used_up_budget_is_told_so_that_each_sdk_stops_retrying() {
        let failure = Failure::new(Code::BudgetExceeded, "used up");
        let (status, body) = rendered(&failure, Protocol::OpenAi);
        assert_eq!(status, 429);
        assert!(body.contains(r#""type":"insufficient_quota","param":null,"code":"insufficient_quota""#), "{body}");
        let (status, body) = rendered(&failure, Protocol::Anthropic);
        assert!(status == 402 && body.contains("billing_error"), "{status} {body}");
        let (status, body) = rendered(&failure, Protocol::Gemini);
        assert!(status == 429 && body.contains("RESOURCE_EXHAUSTED"), "{status} {body}");
    }

    #[test]
    fn overload_is_told_apart_from_a_rate_limit() {
        let limit = Failure::new(Code::UpstreamOverloaded, "busy");
        let overload = limit.clone().overload();
        for (failure, protocol, expected, word) in [
            (&limit, Protocol::OpenAi, 429, "rate_limit_error"),
            (&overload, Protocol::OpenAi, 503, "server_error"),
            (&limit, Protocol::Anthropic, 429, "rate_limit_error"),
            (&overload, Protocol::Anthropic, 529, "overloaded_error"),
            (&limit, Protocol::Gemini, 429, r#""code":429,"message":"busy","status":"RESOURCE_EXHAUSTED""#),
            (&overload, Protocol::Gemini, 503, r#""code":503,"message":"busy","status":"UNAVAILABLE""#),
        ] {
            let (status, body) = rendered(failure, protocol);
            assert!(status == expected && body.contains(word), "{protocol}: {status} {body}");
        }
    }

    #[test]
    fn a_body_that_is_too_large_has_anthropics_own_type() {
        let (status, body) = rendered(&Failure::new(Code::BodyTooLarge, "big"), Protocol::Anthropic);
        assert!(status == 413 && body.contains("request_too_large"), "{body}");
    }

    #[test]
    fn every_code_renders_as_json_in_every_dialect() {
        for &code in Code::ALL {
            for protocol in Protocol::ALL {
                let Rendered { status, body } = render(&Failure::new(code, "x"), protocol, "r");
                let body: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(body["error"]["message"], "x");
                assert!((400..600).contains(&status));
                if protocol == Protocol::Gemini {
                    assert_eq!(body["error"]["code"], status);
                }
            }
        }
    }

    #[test]
    fn a_backends_own_error_fits_into_a_stream_on_one_line() {
        let body = b"{\n  \"error\": {\"message\": \"no\"}\n}";
        let event = |operation| String::from_utf8(error_event(operation, body).unwrap()).unwrap();
        assert_eq!(event(Operation::ChatCompletions), "data: {  \"error\": {\"message\": \"no\"}}\n\n");
        assert!(event(Operation::Messages).starts_with("event: error\ndata: {"));
        assert_eq!(error_event(Operation::Messages, b"<html>"), None);
    }

    #[test]
    fn a_stream_ends_with_the_error_event_of_its_dialect() {
        let failure = Failure::new(Code::UpstreamDisconnected, "the backend broke off");
        let event = |operation| String::from_utf8(render_event_after(&failure, operation, "req-1", 7)).unwrap();
        assert_eq!(
            event(Operation::ChatCompletions),
            "data: {\"error\":{\"message\":\"the backend broke off\",\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_disconnected\"}}\n\n"
        );
        assert_eq!(
            event(Operation::Responses),
            "event: error\ndata: {\"type\":\"error\",\"code\":\"upstream_disconnected\",\"message\":\"the backend broke off\",\"param\":null,\"sequence_number\":7}\n\n"
        );
        assert_eq!(
            event(Operation::Messages),
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"the backend broke off\"},\"request_id\":\"req-1\"}\n\n"
        );
        assert_eq!(
            event(Operation::StreamGenerateContent),
            "data: {\"error\":{\"code\":502,\"message\":\"the backend broke off\",\"status\":\"INTERNAL\"}}\n\n"
        );
        for &operation in Operation::all() {
            let event = event(operation);
            assert!(event.ends_with("\n\n") && event.trim_end().lines().count() <= 2, "{event}");
        }
    }
}
