//! The one request that all clients send: a chat request with the head fields, and the order of keys, of OpenAI's Python
//! client, because that is what a gateway meets most. `messages` stands before `model`: whoever looks for the model has
//! to get past the prompt.

use std::fmt::Write as _;

const BEGIN: &str = r#"{"messages":[{"role":"system","content":"You are a patient teacher. Answer in plain words."},{"role":"user","content":""#;
/// Short enough to make 284 bytes with `gpt-4o-mini`, and with an escape of each common kind.
const SHORT: &str = r#"Why does a \"keep-alive\" connection cost less than a new one?\nThree sentences, no list, and one example if you have one."#;
/// A long prompt is this, over and over: letters outside ASCII, escapes, quoted JSON and code.
const PARAGRAPH: &str = concat!(
    r#"Zürich, 3. März: the café’s ledger says \"12 % more guests\" — 値上げ前と比べて — and the owner asks: \"pourquoi?\" "#,
    r#"See also {\"page\": 7, \"note\": null}.\n\tfor row in ledger:\n\t\ttotal += row[\"price\"] * row[\"count\"]  # 合計\n"#,
);

/// A chat request's body of this many bytes; one of 0 is small, of 284 bytes with a common model's name.
pub(crate) fn body(model: &str, size: usize, stream: bool) -> Vec<u8> {
    let mut end = String::from("\"}],\"model\":\"");
    escape(model, &mut end);
    end.push_str(r#"","max_tokens":256"#);
    end.push_str(if stream { r#","stream":true}"# } else { "}" });
    let mut text = String::with_capacity(BEGIN.len() + end.len() + size.max(SHORT.len()));
    text.push_str(BEGIN);
    if size == 0 {
        text.push_str(SHORT);
    } else {
        let room = size.saturating_sub(BEGIN.len() + end.len());
        (0..room / PARAGRAPH.len()).for_each(|_| text.push_str(PARAGRAPH));
        (0..room % PARAGRAPH.len()).for_each(|_| text.push('.'));
    }
    text.push_str(&end);
    text.into_bytes()
}

/// Head and body in one piece, so that they leave by one write.
pub(crate) fn write(authority: &str, path: &str, key: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut head = format!("POST {path} HTTP/1.1\r\nHost: {authority}\r\n");
    head.push_str("Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nAccept: application/json\r\n");
    head.push_str("Content-Type: application/json\r\nUser-Agent: OpenAI/Python 2.8.0\r\nX-Stainless-Lang: python\r\n");
    head.push_str("X-Stainless-Package-Version: 2.8.0\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\n");
    head.push_str(
        "X-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.13.5\r\nX-Stainless-Async: false\r\n",
    );
    head.push_str("x-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\n");
    // Writing to a string does not fail.
    if let Some(key) = key {
        let _ = write!(head, "Authorization: Bearer {key}\r\n");
    }
    let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A JSON string's inside.
fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\0'..='\x1f' => {
                let _ = write!(out, "\\u{:04x}", letter as u32);
            }
            _ => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn read(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn a_small_request_has_284_bytes() {
        assert_eq!(body("gpt-4o-mini", 0, false).len(), 284);
    }

    #[test]
    fn every_body_is_json_of_the_size_asked_for() {
        for size in [400, 1_000, 12_345, 1_000_000] {
            let body = body("gpt-4o-mini", size, true);
            assert_eq!(body.len(), size);
            assert_eq!(read(&body)["stream"], true);
        }
        assert_eq!(read(&body("a\"b\\c\nd", 0, false))["model"], "a\"b\\c\nd");
        assert!(read(&body("m", 1, false))["messages"].is_array());
    }

    #[test]
    fn a_long_prompt_holds_what_is_not_ascii_and_stands_before_the_model() {
        let body = String::from_utf8(body("gpt-4o-mini", 5_000, false)).unwrap();
        assert!(!body.is_ascii() && body.contains(r#"\""#) && body.contains(r"\n"));
        assert!(body.find(r#""messages""#).unwrap() < body.find(r#""model""#).unwrap());
    }

    #[test]
    fn the_head_tells_the_length_and_carries_the_key() {
        let request = String::from_utf8(write("127.0.0.1:1", "/v1/x", Some("sk-1"), b"{}")).unwrap();
        assert!(request.starts_with("POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"));
        assert!(request.contains("Authorization: Bearer sk-1\r\n"));
        assert!(request.ends_with("Content-Length: 2\r\n\r\n{}"));
    }
}
