//! What the simulation's clients and providers say in each protocol, as rows. It shares no reader and no writer with the code
//! under test.

/// One protocol, as its clients ask and its providers answer.
pub(super) struct Speech {
    /// The word of the configuration.
    pub(super) backend_type: &'static str,
    /// Where a plain answer is asked for, and where a stream is.
    pub(super) paths: [&'static str; 2],
    /// The request's body; `{q}` is the question, `{stream}` whether it wants a stream.
    ask: &'static str,
    /// A plain answer; `{text}` is what it says.
    plain: &'static str,
    /// What comes before the first meaningful event of a stream.
    opening: &'static str,
    /// A meaningful event.
    delta: &'static str,
    /// What ends a stream, event by event.
    closing: &'static [&'static str],
    /// What can be found in a stream that may pass for whole when its connection ends cleanly.
    pub(super) end_mark: &'static str,
    /// What only the real end holds; a stream with it must have no error.
    pub(super) last_word: Option<&'static str>,
    /// A provider's own error.
    pub(super) error: &'static str,
    /// What stands before the data of an error event.
    pub(super) error_event: &'static str,
}

pub(super) static SPEECHES: [Speech; 3] = [
    Speech {
        backend_type: "openai",
        paths: ["/v1/chat/completions", "/v1/chat/completions"],
        ask: r#"{"model":"m","messages":[{"role":"user","content":"{q}"}],"stream":{stream}}"#,
        plain: r#"{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"{text}"},"finish_reason":"stop"}]}"#,
        opening: "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n",
        delta: "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"{text}\"},\"finish_reason\":null}]}\n\n",
        closing: &[
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            "data: [DONE]\n\n",
        ],
        end_mark: "\"finish_reason\":\"stop\"",
        last_word: Some("data: [DONE]\n\n"),
        error: r#"{"error":{"message":"theirs","type":"server_error","param":null,"code":null}}"#,
        error_event: "data: {\"error\":",
    },
    Speech {
        backend_type: "anthropic",
        paths: ["/v1/messages", "/v1/messages"],
        ask: r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"{q}"}],"stream":{stream}}"#,
        plain: r#"{"type":"message","role":"assistant","content":[{"type":"text","text":"{text}"}],"stop_reason":"end_turn"}"#,
        opening: "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
        delta: "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"{text}\"}}\n\n",
        closing: &[
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ],
        end_mark: "event: message_stop\ndata:",
        last_word: Some("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
        error: r#"{"type":"error","error":{"type":"api_error","message":"theirs"}}"#,
        error_event: "event: error\ndata: {\"type\":\"error\",",
    },
    Speech {
        backend_type: "gemini",
        paths: ["/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent?alt=sse"],
        ask: r#"{"contents":[{"role":"user","parts":[{"text":"{q}"}]}]}"#,
        plain: r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"{text}"}]},"finishReason":"STOP","index":0}]}"#,
        opening: "",
        delta: "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"{text}\"}]},\"index\":0}]}\n\n",
        closing: &[
            "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\".\"}]},\"finishReason\":\"STOP\",\"index\":0}]}\n\n",
        ],
        end_mark: "\"finishReason\":\"STOP\"",
        // Its end is the clean end of the connection behind a finishReason.
        last_word: None,
        error: r#"{"error":{"code":500,"message":"theirs","status":"INTERNAL"}}"#,
        error_event: "data: {\"error\":",
    },
];

impl Speech {
    /// The request of question number `id`, from its head on.
    pub(super) fn request(&self, id: usize, stream: bool) -> String {
        let path = self.paths[usize::from(stream)];
        let body = self.ask.replace("{q}", &format!("q{id}.")).replace("{stream}", &stream.to_string());
        crate::harness::request(path, &[("x-api-key", super::plan::TOKEN)], &body)
    }

    pub(super) fn plain(&self, text: &str) -> String {
        self.plain.replace("{text}", text)
    }

    /// The body of an error status, in the words that vendors have for it.
    pub(super) fn refusal(&self, status: u16) -> String {
        #[rustfmt::skip]
        const WORDS: [(u16, [&str; 3]); 6] = [
            (400, ["invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"]),
            (401, ["invalid_request_error", "authentication_error", "UNAUTHENTICATED"]),
            (403, ["invalid_request_error", "permission_error",     "PERMISSION_DENIED"]),
            (429, ["rate_limit_error",      "rate_limit_error",     "RESOURCE_EXHAUSTED"]),
            (529, ["server_error",          "overloaded_error",     "UNAVAILABLE"]),
            (0,   ["server_error",          "api_error",            "INTERNAL"]),
        ];
        let words = WORDS.iter().find(|(of, _)| *of == status || *of == 0).map(|(_, words)| *words).unwrap_or_default();
        let others = WORDS[5].1;
        let code = self.error.replace("500", &status.to_string());
        others.iter().zip(words).fold(code, |text, (usual, word)| text.replace(usual, word))
    }

    /// A whole stream of `count` meaningful events, event by event.
    pub(super) fn events(&self, text: &str, count: u64) -> Vec<String> {
        let deltas = (0..count).map(|i| self.delta.replace("{text}", &format!("{text}-{i}")));
        let opening = (!self.opening.is_empty()).then(|| self.opening.to_owned());
        opening.into_iter().chain(deltas).chain(self.closing.iter().map(|event| (*event).to_owned())).collect()
    }

    /// The provider's own error, as an event.
    pub(super) fn their_error_event(&self) -> String {
        match self.backend_type {
            "anthropic" => format!("event: error\ndata: {}\n\n", self.error),
            _ => format!("data: {}\n\n", self.error),
        }
    }
}

/// The number of the question that a request's text asks.
pub(super) fn question(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("\"q")?;
    rest.split_once('.')?.0.parse().ok()
}
