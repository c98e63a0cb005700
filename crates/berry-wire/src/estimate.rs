//! How many tokens a text may have, by its bytes: for what must be reserved before a vendor has counted, and for answers whose
//! vendor does not. It is no tokenizer, and everything that comes of it is marked as estimated.

use serde::Deserialize;

/// Bytes of ASCII that a token holds on average (help.openai.com, "What are tokens", 2026-11-25).
const ASCII_BYTES: u64 = 4;

/// Bytes of other text. Chinese characters have three, and about a token each.
const OTHER_BYTES: u64 = 3;

/// A run of so many letters and digits without a space is no text but data: a picture or a file in base64.
const DATA_BYTES: usize = 2048;

/// What a picture costs: most vendors' come to 85 to 1,600.
const DATA_TOKENS: u64 = 1000;

/// How many tokens a JSON text has, about.
pub fn estimate_tokens(text: &[u8]) -> u32 {
    let (mut ascii, mut other, mut data, mut run) = (0_u64, 0_u64, 0_u64, 0_usize);
    let mut end_run = |run: &mut usize, ascii: &mut u64| {
        if *run >= DATA_BYTES {
            data += DATA_TOKENS;
        } else {
            *ascii += *run as u64;
        }
        *run = 0;
    };
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'-' | b'_' | b'=' => run += 1,
            0..=127 => {
                end_run(&mut run, &mut ascii);
                ascii += 1;
            }
            128.. => {
                end_run(&mut run, &mut ascii);
                other += 1;
            }
        }
    }
    end_run(&mut run, &mut ascii);
    let tokens = ascii.div_ceil(ASCII_BYTES) + other.div_ceil(OTHER_BYTES) + data;
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

/// How many tokens a request lets its answer have at most; `None`: it does not say.
pub fn output_bound(body: &[u8]) -> Option<u32> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Bounds {
        max_tokens: Option<u64>,
        max_completion_tokens: Option<u64>,
        max_output_tokens: Option<u64>,
        #[serde(rename = "generationConfig", alias = "generation_config")]
        gemini: Gemini,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Gemini {
        #[serde(rename = "maxOutputTokens", alias = "max_output_tokens")]
        max_output_tokens: Option<u64>,
    }
    let bounds: Bounds = serde_json::from_slice(body).ok()?;
    let named =
        [bounds.max_completion_tokens, bounds.max_output_tokens, bounds.gemini.max_output_tokens, bounds.max_tokens];
    let bound = named.into_iter().flatten().next()?;
    Some(u32::try_from(bound).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_counted_by_its_bytes_and_data_as_a_picture() {
        let picture = format!(r#"{{"url":"data:image/png;base64,{}"}}"#, "iVBORw0KGgo".repeat(100_000));
        for (text, tokens) in [
            ("", 0..=0),
            (r#"{"messages":[{"role":"user","content":"What is the weather like in Boston today?"}]}"#, 15..=25),
            ("你好，世界", 4..=6),
            (picture.as_str(), 1000..=1010),
            (&"word ".repeat(10_000), 12_000..=13_000),
        ] {
            let estimate = estimate_tokens(text.as_bytes());
            assert!(tokens.contains(&estimate), "{estimate} for {}", text.chars().take(60).collect::<String>());
        }
    }

    #[test]
    fn a_requests_own_bound_is_found_in_every_protocol() {
        for (body, bound) in [
            (r#"{"max_tokens":100}"#, Some(100)),
            (r#"{"max_tokens":100,"max_completion_tokens":50}"#, Some(50)),
            (r#"{"max_output_tokens":70}"#, Some(70)),
            (r#"{"generationConfig":{"maxOutputTokens":30}}"#, Some(30)),
            (r#"{"max_tokens":99999999999}"#, Some(u32::MAX)),
            (r#"{"max_tokens":null}"#, None),
            (r#"{"max_tokens":-1}"#, None),
            ("{}", None),
            ("--form", None),
        ] {
            assert_eq!(output_bound(body.as_bytes()), bound, "{body}");
        }
    }
}
