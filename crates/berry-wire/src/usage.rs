//! What an answer says that it cost in tokens, in every protocol's words. It reads what passes, and nothing depends on it being
//! there: usage that is missing, negative or absurd is none (failure model, U20).
//!
//! Sources, all of 2026-11-25: platform.openai.com/docs/api-reference (chat, responses, embeddings, audio, images),
//! docs.anthropic.com/en/api/messages, ai.google.dev/api/generate-content#UsageMetadata, api-docs.deepseek.com.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// The most that one answer is believed to have cost: the largest context windows are a tenth of it.
const ABSURD: u64 = 100_000_000;

/// The tokens of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the request, those that were read from or written to a cache among them.
    pub input: u64,
    /// Of these, read from a cache.
    pub cached_input: u64,
    /// Of these, written to a cache.
    pub cache_write: u64,
    /// Of the answer, its reasoning among them.
    pub output: u64,
    /// Of these, reasoning.
    pub reasoning: u64,
}

/// Puts together what the parts of one answer say. Of what is said twice the last counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsageReader {
    seen: Counts,
}

/// Tokens under all the names that vendors have for them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Counts {
    #[serde(alias = "promptTokenCount", deserialize_with = "count")]
    prompt_tokens: Option<u64>,
    #[serde(alias = "candidatesTokenCount", deserialize_with = "count")]
    completion_tokens: Option<u64>,
    /// Anthropic, the Responses API; resellers send them beside the two above, and 0 in one of both.
    #[serde(deserialize_with = "count")]
    input_tokens: Option<u64>,
    #[serde(deserialize_with = "count")]
    output_tokens: Option<u64>,
    #[serde(alias = "totalTokenCount", deserialize_with = "count")]
    total_tokens: Option<u64>,
    /// OpenAI, by input.
    prompt_tokens_details: Option<Details>,
    input_tokens_details: Option<Details>,
    /// OpenAI, by output.
    completion_tokens_details: Option<Details>,
    output_tokens_details: Option<Details>,
    /// DeepSeek.
    #[serde(deserialize_with = "count")]
    prompt_cache_hit_tokens: Option<u64>,
    /// Anthropic; beside `input_tokens`, not in it.
    #[serde(deserialize_with = "count")]
    cache_read_input_tokens: Option<u64>,
    #[serde(deserialize_with = "count")]
    cache_creation_input_tokens: Option<u64>,
    /// Gemini; within the prompt.
    #[serde(rename = "cachedContentTokenCount", deserialize_with = "count")]
    cached_content: Option<u64>,
    /// Gemini; beside the candidates.
    #[serde(rename = "thoughtsTokenCount", deserialize_with = "count")]
    thoughts: Option<u64>,
    /// Gemini; beside the prompt.
    #[serde(rename = "toolUsePromptTokenCount", deserialize_with = "count")]
    tool_use_prompt: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    #[serde(deserialize_with = "count")]
    cached_tokens: Option<u64>,
    #[serde(deserialize_with = "count")]
    reasoning_tokens: Option<u64>,
}

/// The places where usage stands: an answer or event itself, Anthropic's `message_start`, and the Responses API's last event.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Part {
    #[serde(alias = "usageMetadata", alias = "usage_metadata")]
    usage: Option<Counts>,
    message: Inner,
    response: Inner,
}

#[derive(Default)]
struct Inner(Option<Counts>);

/// What may stand under `message` and `response` elsewhere is no fault.
impl<'de> Deserialize<'de> for Inner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Any {
            Object { usage: Option<Box<Counts>> },
            Other(IgnoredAny),
        }
        Ok(match Any::deserialize(deserializer)? {
            Any::Object { usage } => Inner(usage.map(|counts| *counts)),
            Any::Other(_) => Inner(None),
        })
    }
}

/// A number of tokens; what is none, is negative or absurd is as if it were not there.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Any {
        Whole(u64),
        Other(IgnoredAny),
    }
    Ok(match Any::deserialize(deserializer)? {
        Any::Whole(count) if count <= ABSURD => Some(count),
        Any::Whole(_) | Any::Other(_) => None,
    })
}

// === impl Usage ===

impl Usage {
    /// All tokens.
    pub fn total(&self) -> u64 {
        self.input + self.output
    }
}

// === impl UsageReader ===

impl UsageReader {
    /// Reads a whole answer, or the data of one event.
    pub fn read(&mut self, json: &[u8]) {
        // Nearly every event has none: a glance is cheaper than reading it.
        if memchr::memmem::find(json, b"\"usage").is_none() {
            return;
        }
        if json.trim_ascii_start().first() == Some(&b'[') {
            return self.read_tail(json);
        }
        if let Ok(part) = serde_json::from_slice::<Part>(json) {
            for counts in [part.message.0, part.response.0, part.usage].into_iter().flatten() {
                self.seen.add(counts);
            }
        }
    }

    /// Reads the end of an answer that is too long to be read whole: usage is the last of its members, or nearly so.
    pub fn read_tail(&mut self, tail: &[u8]) {
        let found = memchr::memmem::rfind(tail, b"\"usage").and_then(|at| tail.get(at..));
        let object = found.and_then(|rest| rest.get(memchr::memchr(b'{', rest)?..));
        let counts = object.and_then(|text| serde_json::Deserializer::from_slice(text).into_iter().next()?.ok());
        if let Some(counts) = counts {
            self.seen.add(counts);
        }
    }

    /// What the answer cost, if it said so.
    pub fn usage(&self) -> Option<Usage> {
        let seen = &self.seen;
        let cached = |details: Option<Details>| details.and_then(|details| details.cached_tokens);
        let details = seen.completion_tokens_details.or(seen.output_tokens_details);
        let reasoning = details.and_then(|details| details.reasoning_tokens);
        let (input, output) =
            (seen.prompt_tokens.max(seen.input_tokens), seen.completion_tokens.max(seen.output_tokens));
        let beside = seen.cache_read_input_tokens.unwrap_or(0) + seen.cache_creation_input_tokens.unwrap_or(0);
        let (input, output) = match (input, output, seen.total_tokens) {
            (None, None, None) => return None,
            // Some answers, of rankings for one, have a total alone.
            (None, None, Some(total)) => (total, 0),
            (input, output, _) => (input.unwrap_or(0), output.unwrap_or(0)),
        };
        Some(Usage {
            input: input + beside + seen.tool_use_prompt.unwrap_or(0),
            cached_input: cached(seen.prompt_tokens_details.or(seen.input_tokens_details))
                .or(seen.prompt_cache_hit_tokens)
                .or(seen.cache_read_input_tokens)
                .or(seen.cached_content)
                .unwrap_or(0),
            cache_write: seen.cache_creation_input_tokens.unwrap_or(0),
            output: output + seen.thoughts.unwrap_or(0),
            reasoning: reasoning.or(seen.thoughts).unwrap_or(0),
        })
    }
}

impl Counts {
    fn add(&mut self, later: Counts) {
        let Counts {
            prompt_tokens,
            completion_tokens,
            input_tokens,
            output_tokens,
            total_tokens,
            prompt_tokens_details,
            input_tokens_details,
            completion_tokens_details,
            output_tokens_details,
            prompt_cache_hit_tokens,
            cache_read_input_tokens,
            cache_creation_input_tokens,
            cached_content,
            thoughts,
            tool_use_prompt,
        } = later;
        for (seen, later) in [
            (&mut self.prompt_tokens, prompt_tokens),
            (&mut self.completion_tokens, completion_tokens),
            (&mut self.input_tokens, input_tokens),
            (&mut self.output_tokens, output_tokens),
            (&mut self.total_tokens, total_tokens),
            (&mut self.prompt_cache_hit_tokens, prompt_cache_hit_tokens),
            (&mut self.cache_read_input_tokens, cache_read_input_tokens),
            (&mut self.cache_creation_input_tokens, cache_creation_input_tokens),
            (&mut self.cached_content, cached_content),
            (&mut self.thoughts, thoughts),
            (&mut self.tool_use_prompt, tool_use_prompt),
        ] {
            *seen = later.or(*seen);
        }
        for (seen, later) in [
            (&mut self.prompt_tokens_details, prompt_tokens_details),
            (&mut self.input_tokens_details, input_tokens_details),
            (&mut self.completion_tokens_details, completion_tokens_details),
            (&mut self.output_tokens_details, output_tokens_details),
        ] {
            *seen = later.or(*seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage_of(parts: &[&str]) -> Option<[u64; 5]> {
        let mut reader = UsageReader::default();
        parts.iter().for_each(|part| reader.read(part.as_bytes()));
        let Usage { input, cached_input, cache_write, output, reasoning } = reader.usage()?;
        Some([input, cached_input, cache_write, output, reasoning])
    }

    #[test]
    fn every_protocols_usage_is_read() {
        for (case, parts, expected) in [
            (
                "chat",
                &[r#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,
                    "prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},
                    "completion_tokens_details":{"reasoning_tokens":2}}}"#][..],
                [10, 4, 0, 5, 2],
            ),
            ("embeddings", &[r#"{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}"#], [8, 0, 0, 0, 0]),
            ("a ranking", &[r#"{"results":[],"usage":{"total_tokens":7}}"#], [7, 0, 0, 0, 0]),
            (
                "DeepSeek",
                &[
                    r#"{"usage":{"prompt_tokens":10,"completion_tokens":1,"prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":4}}"#,
                ],
                [10, 6, 0, 1, 0],
            ),
            (
                "responses",
                &[
                    r#"{"type":"response.completed","response":{"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":3},
                    "output_tokens":4,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":13}}}"#,
                ],
                [9, 3, 0, 4, 1],
            ),
            (
                "a reseller's, by both names",
                &[
                    r#"{"usage":{"prompt_tokens":10,"completion_tokens":5,"input_tokens":0,"output_tokens":0,"total_tokens":15}}"#,
                ],
                [10, 0, 0, 5, 0],
            ),
            (
                "messages, streamed",
                &[
                    r#"{"type":"message_start","message":{"content":[],"usage":{"input_tokens":3,"cache_creation_input_tokens":20,
                       "cache_read_input_tokens":100,"output_tokens":1}}}"#,
                    r#"{"type":"content_block_delta","delta":{"text":"\"usage\""}}"#,
                    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":42}}"#,
                ],
                [123, 100, 20, 42, 0],
            ),
            (
                "Gemini, chunk by chunk",
                &[
                    r#"{"candidates":[],"usageMetadata":{"promptTokenCount":6,"totalTokenCount":6}}"#,
                    r#"{"candidates":[],"usageMetadata":{"promptTokenCount":6,"candidatesTokenCount":5,"thoughtsTokenCount":7,
                       "cachedContentTokenCount":2,"toolUsePromptTokenCount":1,"totalTokenCount":19}}"#,
                ],
                [7, 2, 0, 12, 7],
            ),
            (
                "Gemini's array",
                &[
                    r#"[{"usageMetadata":{"promptTokenCount":1}},{"usageMetadata":{"promptTokenCount":6,"candidatesTokenCount":5}}]"#,
                ],
                [6, 0, 0, 5, 0],
            ),
        ] {
            assert_eq!(usage_of(parts), Some(expected), "{case}");
        }
    }

    #[test]
    fn usage_that_is_missing_or_absurd_is_none() {
        for part in [
            "",
            "{}",
            r#"{"usage":null}"#,
            r#"{"usage":"much"}"#,
            r#"{"usage":{"prompt_tokens":-1,"completion_tokens":"9","total_tokens":1e300}}"#,
            r#"{"usage":{"prompt_tokens":99999999999999999999}}"#,
            r#"{"message":"usage","response":["usage"]}"#,
            r#"{"usage":{"prompt_tokens":1"#,
        ] {
            assert_eq!(usage_of(&[part]), None, "{part}");
        }
        assert_eq!(
            usage_of(&[r#"{"usage":{"prompt_tokens":-5,"completion_tokens":3}}"#]),
            Some([0, 0, 0, 3, 0]),
            "what is good of it counts"
        );
    }

    #[test]
    fn the_last_word_counts() {
        let said = |output: u64| format!(r#"{{"usage":{{"prompt_tokens":1,"completion_tokens":{output}}}}}"#);
        assert_eq!(usage_of(&[&said(9), &said(4), "{}"]), Some([1, 0, 0, 4, 0]));
    }

    #[test]
    fn the_end_of_a_long_answer_is_enough() {
        let mut reader = UsageReader::default();
        reader.read_tail(br#"0.25,0.5]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#);
        assert_eq!(reader.usage().map(|usage| usage.total()), Some(8));
        for tail in [&b"0.25]}"[..], b"\"usage\":{\"prompt", b"\"usage"] {
            let mut reader = UsageReader::default();
            reader.read_tail(tail);
            assert_eq!(reader.usage(), None);
        }
    }
}
