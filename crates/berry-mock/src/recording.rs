//! The recorded answers: one row of a static table for each file under `recorded/`.
//!
//! A row says which requests a recording answers; the first row that fits wins, so the more particular ones stand
//! first. A row that is only for its name is chosen by the model name `mock-play-NAME` or by a script. Where the
//! formats come from is told in `recorded/README.md`.

use crate::ask::{Ask, Dialect, Operation, Trait};

/// A recorded answer.
#[derive(Debug)]
pub struct Recording {
    /// The vendor whose answer it is.
    pub dialect: Dialect,
    /// The file's name without folder and ending.
    pub name: &'static str,
    /// The file under `recorded/`.
    pub file: &'static str,
    /// Its bytes.
    pub body: &'static [u8],
    pub(crate) when: When,
    /// Where a piece of content begins: what marks a stream's content events, and where a huge answer is blown up.
    pub(crate) content: Option<&'static str>,
}

/// Which requests a recording answers.
#[derive(Debug)]
pub(crate) enum When {
    /// A plain answer to the operation, if the request has these traits.
    Plain(Operation, &'static [Trait]),
    /// A stream, likewise.
    Stream(Operation, &'static [Trait]),
    /// An error answer with this status.
    Error(u16),
    /// An error event within a stream of this operation.
    ErrorEvent(&'static [Operation]),
    /// Only by its name.
    Named,
}

macro_rules! recording {
    ($dialect:ident $folder:literal $name:literal . $ending:literal, $when:expr $(, $content:literal)?) => {
        Recording {
            dialect: Dialect::$dialect,
            name: $name,
            file: concat!($folder, "/", $name, ".", $ending),
            body: include_bytes!(concat!("../recorded/", $folder, "/", $name, ".", $ending)),
            when: $when,
            content: content!($($content)?),
        }
    };
}

macro_rules! content {
    () => {
        None
    };
    ($content:literal) => {
        Some($content)
    };
}

macro_rules! openai {
    ($($row:tt)*) => { recording!(OpenAi "openai" $($row)*) };
}

macro_rules! anthropic {
    ($($row:tt)*) => { recording!(Anthropic "anthropic" $($row)*) };
}

macro_rules! gemini {
    ($($row:tt)*) => { recording!(Gemini "gemini" $($row)*) };
}

use Operation::*;
use Trait::*;
use When::{Error, ErrorEvent, Named, Plain, Stream};

/// All recordings.
pub static RECORDINGS: &[Recording] = &[
    // OpenAI: chat
    openai!("chat-tools-parallel"."json", Plain(Chat, &[ParallelTools]), "\"arguments\": \""),
    openai!("chat-tool"."json", Plain(Chat, &[Tools]), "\"arguments\": \""),
    openai!("chat-schema"."json", Plain(Chat, &[JsonSchema]), "\"content\": \""),
    openai!("chat-image"."json", Plain(Chat, &[Image]), "\"content\": \""),
    openai!("chat-reasoning"."json", Plain(Chat, &[Thinking]), "\"content\": \""),
    openai!("chat"."json", Plain(Chat, &[]), "\"content\": \""),
    openai!("chat-length"."json", Named),
    openai!("chat-usage-missing"."json", Named),
    openai!("chat-usage-negative"."json", Named),
    openai!("chat-usage-huge"."json", Named),
    openai!("chat-tools-parallel-stream"."sse", Stream(Chat, &[ParallelTools]), "\"function\":{\"arguments\":\""),
    openai!("chat-tool-stream-usage"."sse", Stream(Chat, &[Tools, Usage]), "\"function\":{\"arguments\":\""),
    openai!("chat-tool-stream"."sse", Stream(Chat, &[Tools]), "\"function\":{\"arguments\":\""),
    openai!("chat-schema-stream"."sse", Stream(Chat, &[JsonSchema]), "\"delta\":{\"content\":\""),
    openai!("chat-stream-usage"."sse", Stream(Chat, &[Usage]), "\"delta\":{\"content\":\""),
    openai!("chat-stream"."sse", Stream(Chat, &[]), "\"delta\":{\"content\":\""),
    openai!("chat-stream-crlf"."sse", Named, "\"delta\":{\"content\":\""),
    openai!("chat-stream-comments"."sse", Named, "\"delta\":{\"content\":\""),
    openai!("chat-stream-odd"."sse", Named),
    // OpenAI: the other operations
    openai!("completions"."json", Plain(Completions, &[]), "\"text\": \""),
    openai!("completions-stream-usage"."sse", Stream(Completions, &[Usage]), "\"text\":\""),
    openai!("completions-stream"."sse", Stream(Completions, &[]), "\"text\":\""),
    openai!("responses-tool"."json", Plain(Responses, &[Tools]), "\"arguments\": \""),
    openai!("responses-schema"."json", Plain(Responses, &[JsonSchema]), "\"text\": \""),
    openai!("responses-reasoning"."json", Plain(Responses, &[Thinking]), "\"text\": \""),
    openai!("responses"."json", Plain(Responses, &[]), "\"text\": \""),
    openai!("responses-tool-stream"."sse", Stream(Responses, &[Tools]), "\"delta\":\""),
    openai!("responses-stream"."sse", Stream(Responses, &[]), "\"delta\":\""),
    openai!("responses-stream-incomplete"."sse", Named, "\"delta\":\""),
    openai!("responses-stream-failed"."sse", Named, "\"delta\":\""),
    openai!("embeddings-base64-batch"."json", Plain(Embeddings, &[Base64, Batch])),
    openai!("embeddings-base64"."json", Plain(Embeddings, &[Base64])),
    openai!("embeddings-batch"."json", Plain(Embeddings, &[Batch])),
    openai!("embeddings"."json", Plain(Embeddings, &[])),
    openai!("moderations"."json", Plain(Moderations, &[])),
    openai!("images-generations"."json", Plain(ImagesGenerations, &[]), "\"b64_json\": \""),
    openai!("images-generations-stream"."sse", Stream(ImagesGenerations, &[]), "\"b64_json\":\""),
    openai!("images-edits"."json", Plain(ImagesEdits, &[]), "\"b64_json\": \""),
    openai!("images-edits-stream"."sse", Stream(ImagesEdits, &[]), "\"b64_json\":\""),
    openai!("images-variations"."json", Plain(ImagesVariations, &[])),
    openai!("transcriptions"."txt", Plain(Transcriptions, &[PlainText])),
    openai!("transcriptions"."json", Plain(Transcriptions, &[]), "\"text\": \""),
    openai!("transcriptions-stream"."sse", Stream(Transcriptions, &[]), "\"delta\":\""),
    openai!("translations"."json", Plain(Translations, &[]), "\"text\": \""),
    openai!("speech"."mp3", Plain(Speech, &[])),
    openai!("speech-stream"."sse", Stream(Speech, &[]), "\"audio\":\""),
    openai!("rerank"."json", Plain(Rerank, &[])),
    openai!("models"."json", Plain(Models, &[])),
    openai!("model"."json", Plain(Model, &[])),
    // OpenAI: errors
    openai!("error-400"."json", Error(400)),
    openai!("error-401"."json", Error(401)),
    openai!("error-402"."json", Error(402)),
    openai!("error-403"."json", Error(403)),
    openai!("error-404"."json", Error(404)),
    openai!("error-413"."json", Error(413)),
    openai!("error-422"."json", Error(422)),
    openai!("error-429"."json", Error(429)),
    openai!("error-500"."json", Error(500)),
    openai!("error-503"."json", Error(503)),
    openai!("error-quota"."json", Named),
    openai!("responses-error-event"."sse", ErrorEvent(&[Responses])),
    openai!("error-event"."sse", ErrorEvent(&[])),
    // Anthropic
    anthropic!("messages-tools-parallel"."json", Plain(Messages, &[ParallelTools]), "\"text\":\""),
    anthropic!("messages-tool"."json", Plain(Messages, &[Tools]), "\"text\":\""),
    anthropic!("messages-thinking"."json", Plain(Messages, &[Thinking]), "\"text\":\""),
    anthropic!("messages-image"."json", Plain(Messages, &[Image]), "\"text\":\""),
    anthropic!("messages"."json", Plain(Messages, &[]), "\"text\":\""),
    anthropic!("messages-cached"."json", Named),
    anthropic!("messages-redacted"."json", Named),
    anthropic!("messages-tools-parallel-stream"."sse", Stream(Messages, &[ParallelTools]), "\"partial_json\":\""),
    anthropic!("messages-tool-stream"."sse", Stream(Messages, &[Tools]), "\"partial_json\":\""),
    anthropic!("messages-thinking-stream"."sse", Stream(Messages, &[Thinking]), "\"text_delta\",\"text\":\""),
    anthropic!("messages-stream"."sse", Stream(Messages, &[]), "\"text_delta\",\"text\":\""),
    anthropic!("messages-stream-pings"."sse", Named, "\"text_delta\",\"text\":\""),
    anthropic!("count-tokens"."json", Plain(CountTokens, &[])),
    anthropic!("models"."json", Plain(Models, &[])),
    anthropic!("model"."json", Plain(Model, &[])),
    anthropic!("error-400"."json", Error(400)),
    anthropic!("error-401"."json", Error(401)),
    anthropic!("error-402"."json", Error(402)),
    anthropic!("error-403"."json", Error(403)),
    anthropic!("error-404"."json", Error(404)),
    anthropic!("error-413"."json", Error(413)),
    anthropic!("error-429"."json", Error(429)),
    anthropic!("error-500"."json", Error(500)),
    anthropic!("error-504"."json", Error(504)),
    anthropic!("error-529"."json", Error(529)),
    anthropic!("error-event"."sse", ErrorEvent(&[])),
    // Gemini
    gemini!("generate-tools-parallel"."json", Plain(Generate, &[ParallelTools])),
    gemini!("generate-tool"."json", Plain(Generate, &[Tools])),
    gemini!("generate-schema"."json", Plain(Generate, &[JsonSchema]), "\"text\": \""),
    gemini!("generate-image"."json", Plain(Generate, &[Image]), "\"text\": \""),
    gemini!("generate-thinking"."json", Plain(Generate, &[Thinking]), "\"text\": \""),
    gemini!("generate"."json", Plain(Generate, &[]), "\"text\": \""),
    gemini!("generate-blocked"."json", Named),
    gemini!("stream"."json", Stream(Generate, &[JsonArray]), "\"text\": \""),
    gemini!("stream-tool"."sse", Stream(Generate, &[Tools])),
    gemini!("stream-thinking"."sse", Stream(Generate, &[Thinking]), "\"text\": \""),
    gemini!("stream"."sse", Stream(Generate, &[]), "\"text\": \""),
    gemini!("count-tokens"."json", Plain(CountTokens, &[])),
    gemini!("embed"."json", Plain(Embeddings, &[])),
    gemini!("batch-embed"."json", Plain(BatchEmbeddings, &[])),
    gemini!("models"."json", Plain(Models, &[])),
    gemini!("model"."json", Plain(Model, &[])),
    gemini!("error-400"."json", Error(400)),
    gemini!("error-401"."json", Error(401)),
    gemini!("error-403"."json", Error(403)),
    gemini!("error-404"."json", Error(404)),
    gemini!("error-413"."json", Error(413)),
    gemini!("error-429"."json", Error(429)),
    gemini!("error-500"."json", Error(500)),
    gemini!("error-503"."json", Error(503)),
    gemini!("error-504"."json", Error(504)),
    gemini!("error-key"."json", Named),
    gemini!("error-retryinfo"."json", Named),
    gemini!("error-event"."sse", ErrorEvent(&[])),
];

/// The recording of that dialect with that name, if there is one.
pub fn named(dialect: Dialect, name: &str) -> Option<&'static Recording> {
    RECORDINGS.iter().find(|row| row.dialect == dialect && row.name == name)
}

/// The recording that answers the request.
pub(crate) fn answering(ask: &Ask) -> Option<&'static Recording> {
    let fits = |traits: &[Trait]| traits.iter().all(|t| ask.has(*t));
    // A vendor that does not stream an operation ignores the wish, as the second pass does.
    let wished = |row: &&Recording, stream: bool| match row.when {
        Plain(operation, traits) => !stream && operation == ask.operation && fits(traits),
        Stream(operation, traits) => stream && operation == ask.operation && fits(traits),
        _ => false,
    };
    let mine = || RECORDINGS.iter().filter(|row| row.dialect == ask.dialect);
    mine().find(|row| wished(row, ask.stream)).or_else(|| mine().find(|row| wished(row, false)))
}

/// The recorded body of an error, and that of a 500 for a status that has none.
pub(crate) fn error(dialect: Dialect, status: u16) -> Option<&'static Recording> {
    let find =
        |status| RECORDINGS.iter().find(|row| row.dialect == dialect && matches!(row.when, Error(s) if s == status));
    find(status).or_else(|| find(500))
}

/// The recorded error event of a stream of this operation.
pub(crate) fn error_event(dialect: Dialect, operation: Operation) -> Option<&'static Recording> {
    RECORDINGS.iter().find(|row| {
        let fits = |operations: &[Operation]| operations.is_empty() || operations.contains(&operation);
        row.dialect == dialect && matches!(row.when, ErrorEvent(operations) if fits(operations))
    })
}

// === impl Recording ===

impl Recording {
    /// The content type that the vendor gives it.
    pub(crate) fn content_type(&self) -> &'static str {
        let ending = self.file.rsplit('.').next().unwrap_or_default();
        match (ending, self.dialect) {
            ("sse", Dialect::Gemini) => "text/event-stream",
            ("sse", _) => "text/event-stream; charset=utf-8",
            ("mp3", _) => "audio/mpeg",
            ("txt", _) => "text/plain; charset=utf-8",
            (_, Dialect::Gemini) => "application/json; charset=UTF-8",
            _ => "application/json",
        }
    }

    /// Whether it is a stream of events.
    pub fn is_stream(&self) -> bool {
        matches!(self.when, Stream(..)) || self.file.ends_with(".sse")
    }

    /// The status that it is sent with when chosen by its name.
    pub(crate) fn status(&self) -> u16 {
        match self.when {
            Error(status) => status,
            Named if matches!(self.name, "error-quota" | "error-retryinfo") => 429,
            Named if self.name == "error-key" => 400,
            _ => 200,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_file_has_a_row_and_every_row_a_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded");
        let mut files = BTreeSet::new();
        for folder in ["openai", "anthropic", "gemini"] {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                files.insert(format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap()));
            }
        }
        let rows: BTreeSet<String> = RECORDINGS.iter().map(|row| row.file.to_owned()).collect();
        assert_eq!(files, rows);
        assert_eq!(rows.len(), RECORDINGS.len(), "a file has two rows");
    }

    #[test]
    fn json_recordings_are_json_and_events_hold_json() {
        for row in RECORDINGS {
            if row.file.ends_with(".json") {
                serde_json::from_slice::<serde_json::Value>(row.body).unwrap_or_else(|e| panic!("{}: {e}", row.file));
            } else if row.is_stream() && row.name != "chat-stream-odd" {
                let text = std::str::from_utf8(row.body).unwrap();
                for data in text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]")
                {
                    serde_json::from_str::<serde_json::Value>(data).unwrap_or_else(|e| panic!("{}: {e}", row.file));
                }
            }
        }
    }

    /// Clients decode these fields, and some refuse the whole answer if they cannot.
    #[test]
    fn what_is_base64_by_its_field_is_well_formed() {
        let fields = ["thoughtSignature", "signature", "data", "b64_json", "audio", "embedding"];
        let mut seen = 0;
        for row in RECORDINGS.iter().filter(|row| !row.file.ends_with(".mp3")) {
            // Quotation marks within a text can only shift where strings are seen to begin, not invent such a field.
            let strings: Vec<&str> = std::str::from_utf8(row.body).unwrap().split('"').collect();
            for part in strings.windows(3) {
                if fields.contains(&part[0]) && part[1].trim() == ":" && !part[2].is_empty() {
                    let digits = part[2].trim_end_matches('=');
                    let digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
                    assert!(
                        part[2].len() % 4 == 0 && part[2].len() - digits.len() <= 2 && digits.bytes().all(digit),
                        "{}: {} {}",
                        row.file,
                        part[0],
                        part[2]
                    );
                    seen += 1;
                }
            }
        }
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn content_marks_are_found_in_their_recordings() {
        for row in RECORDINGS {
            let Some(mark) = row.content else { continue };
            assert!(memchr::memmem::find(row.body, mark.as_bytes()).is_some(), "{}", row.file);
        }
    }
}
