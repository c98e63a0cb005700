//! What a request asks for: dialect and operation by its path, model and traits by its body.
//!
//! The body is scanned by serde_json, on purpose by other code than Berry's own reader.

use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

use crate::journal::Received;

/// A vendor's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's, and that of the many who speak it.
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Google's for Gemini.
    Gemini,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the vendors' own names")]
pub enum Operation {
    Chat,
    Completions,
    Responses,
    Embeddings,
    BatchEmbeddings,
    Moderations,
    ImagesGenerations,
    ImagesEdits,
    ImagesVariations,
    Transcriptions,
    Translations,
    Speech,
    Rerank,
    Messages,
    CountTokens,
    Generate,
    Models,
    Model,
}

/// What a recording may require of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trait {
    /// Offers tools, and the last message is not a tool's result.
    Tools,
    /// As `Tools`, with more than one tool and parallel calls not forbidden.
    ParallelTools,
    JsonSchema,
    Thinking,
    Image,
    /// Asks for usage at the end of the stream.
    Usage,
    Base64,
    /// Several inputs.
    Batch,
    PlainText,
    /// A Gemini stream that is not asked for as SSE.
    JsonArray,
}

/// A request, understood.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) dialect: Dialect,
    pub(crate) operation: Operation,
    pub(crate) model: String,
    pub(crate) stream: bool,
    traits: Vec<Trait>,
}

/// Suffixes of paths, the longer ones first where one ends with another.
const PATHS: &[(&str, Dialect, Operation)] = &[
    ("/chat/completions", Dialect::OpenAi, Operation::Chat),
    ("/completions", Dialect::OpenAi, Operation::Completions),
    ("/responses", Dialect::OpenAi, Operation::Responses),
    ("/embeddings", Dialect::OpenAi, Operation::Embeddings),
    ("/moderations", Dialect::OpenAi, Operation::Moderations),
    ("/images/generations", Dialect::OpenAi, Operation::ImagesGenerations),
    ("/images/edits", Dialect::OpenAi, Operation::ImagesEdits),
    ("/images/variations", Dialect::OpenAi, Operation::ImagesVariations),
    ("/audio/transcriptions", Dialect::OpenAi, Operation::Transcriptions),
    ("/audio/translations", Dialect::OpenAi, Operation::Translations),
    ("/audio/speech", Dialect::OpenAi, Operation::Speech),
    ("/rerank", Dialect::OpenAi, Operation::Rerank),
    ("/messages", Dialect::Anthropic, Operation::Messages),
    ("/messages/count_tokens", Dialect::Anthropic, Operation::CountTokens),
];

/// Verbs after the colon of a Google path; the last is whether it streams.
const VERBS: &[(&str, Dialect, Operation, bool)] = &[
    ("generateContent", Dialect::Gemini, Operation::Generate, false),
    ("streamGenerateContent", Dialect::Gemini, Operation::Generate, true),
    ("countTokens", Dialect::Gemini, Operation::CountTokens, false),
    ("embedContent", Dialect::Gemini, Operation::Embeddings, false),
    ("batchEmbedContents", Dialect::Gemini, Operation::BatchEmbeddings, false),
    // Anthropic's models at Google's.
    ("rawPredict", Dialect::Anthropic, Operation::Messages, false),
    ("streamRawPredict", Dialect::Anthropic, Operation::Messages, true),
];

/// The dialect that an unknown path, or a refused request, is answered in.
pub(crate) fn dialect_of(request: &Received) -> Dialect {
    let (path, _) = split_query(&request.path);
    if request.header("x-goog-api-key").is_some() || path.contains("/v1beta") || path.contains(':') {
        Dialect::Gemini
    } else if request.header("anthropic-version").is_some() || path.contains("/messages") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

/// The request's path and query.
pub(crate) fn split_query(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

// === impl Ask ===

impl Ask {
    /// Reads a request; none if its path is not served.
    pub(crate) fn read(request: &Received) -> Option<Ask> {
        let (path, query) = split_query(&request.path);
        let path = path.trim_end_matches('/');
        if request.method == "GET" {
            return Ask::read_listing(request, path);
        }
        let verb = path.rsplit_once(':').and_then(|(head, verb)| {
            let row = VERBS.iter().find(|row| row.0 == verb)?;
            Some((head.rsplit('/').next().unwrap_or_default(), row))
        });
        if let Some((model, &(_, dialect, operation, stream))) = verb {
            let mut ask = Ask { dialect, operation, model: model.to_owned(), stream, traits: Vec::new() };
            ask.look_into(&request.body);
            if dialect == Dialect::Gemini && stream && !query.split('&').any(|pair| pair == "alt=sse") {
                ask.traits.push(Trait::JsonArray);
            }
            return Some(Ask { model: model.to_owned(), stream, ..ask });
        }
        let &(_, dialect, operation) = PATHS.iter().find(|row| path.ends_with(row.0))?;
        let mut ask = Ask { dialect, operation, model: String::new(), stream: false, traits: Vec::new() };
        ask.look_into(&request.body);
        Some(ask)
    }

    /// `GET …/models` and `GET …/models/ID`.
    fn read_listing(request: &Received, path: &str) -> Option<Ask> {
        let (operation, model) = match path.rsplit_once("/models") {
            Some((_, "")) => (Operation::Models, ""),
            Some((_, id)) => (Operation::Model, id.strip_prefix('/')?),
            None => return None,
        };
        let dialect = dialect_of(request);
        Some(Ask { dialect, operation, model: model.to_owned(), stream: false, traits: Vec::new() })
    }

    pub(crate) fn has(&self, what: Trait) -> bool {
        self.traits.contains(&what)
    }

    fn look_into(&mut self, body: &[u8]) {
        if let Ok(scan) = serde_json::from_slice::<Scan<'_>>(body) {
            self.model = scan.model.as_deref().unwrap_or_default().to_owned();
            self.stream = scan.stream == Some(true) || scan.stream_format.as_deref() == Some("sse");
            self.traits = scan.traits();
        } else if let Some(model) = form_field(body, "model") {
            self.model = model.to_owned();
            self.stream = form_field(body, "stream") == Some("true");
            if form_field(body, "response_format") == Some("text") {
                self.traits.push(Trait::PlainText);
            }
        }
    }
}

/// The value of a field of a multipart form, when it stands on one line.
fn form_field<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let mark = format!("name=\"{name}\"");
    let rest = &body[memmem::find(body, mark.as_bytes())?..];
    let rest = &rest[memmem::find(rest, b"\r\n\r\n")? + 4..];
    std::str::from_utf8(&rest[..memmem::find(rest, b"\r\n")?]).ok()
}

/// The fields that choose a recording; all else is skipped.
#[derive(Deserialize)]
struct Scan<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(borrow, default)]
    stream_format: Option<Cow<'a, str>>,
    #[serde(default)]
    stream_options: Option<Value>,
    #[serde(default)]
    tools: Option<Value>,
    #[serde(default)]
    tool_choice: Option<Value>,
    #[serde(default)]
    parallel_tool_calls: Option<bool>,
    #[serde(default)]
    response_format: Option<Value>,
    #[serde(default)]
    text: Option<Value>,
    #[serde(default, rename = "generationConfig")]
    generation_config: Option<Value>,
    #[serde(default)]
    thinking: Option<Value>,
    #[serde(default)]
    reasoning: Option<Value>,
    #[serde(default)]
    reasoning_effort: Option<Value>,
    #[serde(borrow, default)]
    encoding_format: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    contents: Option<&'a RawValue>,
}

impl Scan<'_> {
    fn traits(&self) -> Vec<Trait> {
        let tools = self.tools();
        [
            (tools > 1 && self.parallel_tool_calls != Some(false), Trait::ParallelTools),
            (tools > 0, Trait::Tools),
            (self.wants_schema(), Trait::JsonSchema),
            (self.wants_thinking(), Trait::Thinking),
            (self.shows_image(), Trait::Image),
            (at(&self.stream_options, "/include_usage") == Some(&Value::Bool(true)), Trait::Usage),
            (self.encoding_format.as_deref() == Some("base64"), Trait::Base64),
            (self.input.is_some_and(|raw| is_batch(raw.get())), Trait::Batch),
            (self.response_format == Some("text".into()), Trait::PlainText),
        ]
        .into_iter()
        .filter_map(|(present, what)| present.then_some(what))
        .collect()
    }

    /// How many tools may be called now: none after a tool's result, so that an agent's loop ends.
    fn tools(&self) -> usize {
        let Some(Value::Array(tools)) = &self.tools else {
            return 0;
        };
        let refused = self.tool_choice == Some("none".into()) || at(&self.tool_choice, "/type") == Some(&"none".into());
        if refused || self.ends_with_result() {
            return 0;
        }
        let declared = |tool: &Value| tool.get("functionDeclarations").and_then(Value::as_array).map_or(1, Vec::len);
        tools.iter().map(declared).sum()
    }

    fn ends_with_result(&self) -> bool {
        let talk = self.messages.or(self.contents).or(self.input).map_or("", RawValue::get);
        let Ok(turns) = serde_json::from_str::<Vec<Value>>(talk) else {
            return false;
        };
        let Some(last) = turns.last() else { return false };
        let list = |name| last.get(name).and_then(Value::as_array).into_iter().flatten();
        last["role"] == "tool"
            || last["type"] == "function_call_output"
            || list("content").any(|block| block["type"] == "tool_result")
            || list("parts").any(|part| part.get("functionResponse").is_some())
    }

    fn wants_schema(&self) -> bool {
        at(&self.response_format, "/type") == Some(&"json_schema".into())
            || at(&self.text, "/format/type") == Some(&"json_schema".into())
            || ["/responseSchema", "/responseJsonSchema"].iter().any(|path| at(&self.generation_config, path).is_some())
    }

    fn wants_thinking(&self) -> bool {
        let kind = at(&self.thinking, "/type");
        kind == Some(&"enabled".into())
            || kind == Some(&"adaptive".into())
            || at(&self.reasoning, "/effort").is_some()
            || self.reasoning_effort.is_some()
            || at(&self.generation_config, "/thinkingConfig/includeThoughts") == Some(&Value::Bool(true))
    }

    fn shows_image(&self) -> bool {
        let talk = self.messages.or(self.contents).map_or("", RawValue::get).as_bytes();
        let shows = |mark: &str| memmem::find(talk, mark.as_bytes()).is_some();
        shows("\"image_url\"") || shows("\"inlineData\"") || shows("\"inline_data\"") || shows("\"media_type\"")
    }
}

fn at<'a>(value: &'a Option<Value>, pointer: &str) -> Option<&'a Value> {
    value.as_ref()?.pointer(pointer).filter(|found| !found.is_null())
}

/// Several texts, not the tokens of one.
fn is_batch(raw: &str) -> bool {
    raw.starts_with('[') && serde_json::from_str::<Vec<String>>(raw).is_ok_and(|texts| texts.len() > 1)
}
