//! The right recording for each request, byte for byte.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod harness;

use berry_mock::{Dialect, Mock, Options, RECORDINGS, Script};
use harness::{ask, chat, mock, post};

/// Requests, and the recording each is answered with.
const CASES: &[(&str, &str, &str)] = &[
    ("/v1/chat/completions", r#"{"model":"m"}"#, "openai/chat.json"),
    ("/chat/completions", r#"{"model":"m","stream":true}"#, "openai/chat-stream.sse"),
    ("/openai/deployments/d/chat/completions?api-version=1", r#"{"model":"m"}"#, "openai/chat.json"),
    (
        "/v1/chat/completions",
        r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        "openai/chat-stream-usage.sse",
    ),
    ("/v1/chat/completions", r#"{"tools":[{}]}"#, "openai/chat-tool.json"),
    ("/v1/chat/completions", r#"{"tools":[{}],"stream":true}"#, "openai/chat-tool-stream.sse"),
    (
        "/v1/chat/completions",
        r#"{"tools":[{}],"stream":true,"stream_options":{"include_usage":true}}"#,
        "openai/chat-tool-stream-usage.sse",
    ),
    ("/v1/chat/completions", r#"{"tools":[{},{}]}"#, "openai/chat-tools-parallel.json"),
    ("/v1/chat/completions", r#"{"tools":[{},{}],"stream":true}"#, "openai/chat-tools-parallel-stream.sse"),
    ("/v1/chat/completions", r#"{"tools":[{},{}],"parallel_tool_calls":false}"#, "openai/chat-tool.json"),
    ("/v1/chat/completions", r#"{"tools":[{}],"tool_choice":"none"}"#, "openai/chat.json"),
    ("/v1/chat/completions", r#"{"tools":[{}],"messages":[{"role":"tool","content":"17"}]}"#, "openai/chat.json"),
    ("/v1/chat/completions", r#"{"response_format":{"type":"json_schema"}}"#, "openai/chat-schema.json"),
    (
        "/v1/chat/completions",
        r#"{"response_format":{"type":"json_schema"},"stream":true}"#,
        "openai/chat-schema-stream.sse",
    ),
    ("/v1/chat/completions", r#"{"reasoning_effort":"low"}"#, "openai/chat-reasoning.json"),
    (
        "/v1/chat/completions",
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}]}"#,
        "openai/chat-image.json",
    ),
    ("/v1/completions", r#"{"prompt":"x"}"#, "openai/completions.json"),
    ("/v1/completions", r#"{"prompt":"x","stream":true}"#, "openai/completions-stream.sse"),
    (
        "/v1/completions",
        r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        "openai/completions-stream-usage.sse",
    ),
    ("/v1/responses", r#"{"input":"x"}"#, "openai/responses.json"),
    ("/v1/responses", r#"{"input":"x","stream":true}"#, "openai/responses-stream.sse"),
    ("/v1/responses", r#"{"tools":[{}]}"#, "openai/responses-tool.json"),
    ("/v1/responses", r#"{"tools":[{}],"stream":true}"#, "openai/responses-tool-stream.sse"),
    ("/v1/responses", r#"{"tools":[{}],"input":[{"type":"function_call_output"}]}"#, "openai/responses.json"),
    ("/v1/responses", r#"{"text":{"format":{"type":"json_schema"}}}"#, "openai/responses-schema.json"),
    ("/v1/responses", r#"{"reasoning":{"effort":"high"}}"#, "openai/responses-reasoning.json"),
    ("/v1/embeddings", r#"{"input":"x"}"#, "openai/embeddings.json"),
    ("/v1/embeddings", r#"{"input":["x","y","z"]}"#, "openai/embeddings-batch.json"),
    ("/v1/embeddings", r#"{"input":[1,2,3]}"#, "openai/embeddings.json"),
    ("/v1/embeddings", r#"{"input":"x","encoding_format":"base64"}"#, "openai/embeddings-base64.json"),
    ("/v1/embeddings", r#"{"input":["x","y","z"],"encoding_format":"base64"}"#, "openai/embeddings-base64-batch.json"),
    ("/v1/moderations", r#"{"input":"x"}"#, "openai/moderations.json"),
    ("/v1/images/generations", r#"{"prompt":"x"}"#, "openai/images-generations.json"),
    ("/v1/images/generations", r#"{"prompt":"x","stream":true}"#, "openai/images-generations-stream.sse"),
    (
        "/v1/images/edits",
        "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--",
        "openai/images-edits.json",
    ),
    (
        "/v1/images/edits",
        "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--b--",
        "openai/images-edits-stream.sse",
    ),
    ("/v1/images/variations", "", "openai/images-variations.json"),
    ("/v1/audio/transcriptions", "", "openai/transcriptions.json"),
    (
        "/v1/audio/transcriptions",
        "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b\r\nContent-Disposition: form-data; name=\"response_format\"\r\n\r\ntext\r\n--b--",
        "openai/transcriptions.txt",
    ),
    ("/v1/audio/transcriptions", r#"{"stream":true}"#, "openai/transcriptions-stream.sse"),
    ("/v1/audio/translations", "", "openai/translations.json"),
    ("/v1/audio/speech", r#"{"input":"x"}"#, "openai/speech.mp3"),
    ("/v1/audio/speech", r#"{"input":"x","stream_format":"sse"}"#, "openai/speech-stream.sse"),
    ("/v1/rerank", r#"{"query":"x"}"#, "openai/rerank.json"),
    ("/v1/messages", r#"{"model":"m"}"#, "anthropic/messages.json"),
    ("/v1/messages", r#"{"stream":true}"#, "anthropic/messages-stream.sse"),
    ("/v1/messages", r#"{"tools":[{}]}"#, "anthropic/messages-tool.json"),
    ("/v1/messages", r#"{"tools":[{}],"stream":true}"#, "anthropic/messages-tool-stream.sse"),
    ("/v1/messages", r#"{"tools":[{},{}]}"#, "anthropic/messages-tools-parallel.json"),
    ("/v1/messages", r#"{"tools":[{},{}],"stream":true}"#, "anthropic/messages-tools-parallel-stream.sse"),
    (
        "/v1/messages",
        r#"{"tools":[{}],"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t"}]}]}"#,
        "anthropic/messages.json",
    ),
    ("/v1/messages", r#"{"thinking":{"type":"enabled"}}"#, "anthropic/messages-thinking.json"),
    ("/v1/messages", r#"{"thinking":{"type":"disabled"}}"#, "anthropic/messages.json"),
    ("/v1/messages", r#"{"thinking":{"type":"enabled"},"stream":true}"#, "anthropic/messages-thinking-stream.sse"),
    (
        "/v1/messages",
        r#"{"messages":[{"role":"user","content":[{"type":"image","source":{"media_type":"image/png"}}]}]}"#,
        "anthropic/messages-image.json",
    ),
    ("/v1/messages/count_tokens", r#"{"model":"m"}"#, "anthropic/count-tokens.json"),
    ("/v1/projects/p/locations/l/publishers/anthropic/models/c:rawPredict", "{}", "anthropic/messages.json"),
    (
        "/v1/projects/p/locations/l/publishers/anthropic/models/c:streamRawPredict",
        "{}",
        "anthropic/messages-stream.sse",
    ),
    ("/v1beta/models/g:generateContent", "{}", "gemini/generate.json"),
    ("/v1/models/g:generateContent", "{}", "gemini/generate.json"),
    ("/v1beta/models/g:generateContent", r#"{"tools":[{"functionDeclarations":[{}]}]}"#, "gemini/generate-tool.json"),
    (
        "/v1beta/models/g:generateContent",
        r#"{"tools":[{"functionDeclarations":[{},{}]}]}"#,
        "gemini/generate-tools-parallel.json",
    ),
    (
        "/v1beta/models/g:generateContent",
        r#"{"tools":[{"functionDeclarations":[{}]}],"contents":[{"parts":[{"functionResponse":{}}]}]}"#,
        "gemini/generate.json",
    ),
    (
        "/v1beta/models/g:generateContent",
        r#"{"generationConfig":{"responseSchema":{}}}"#,
        "gemini/generate-schema.json",
    ),
    (
        "/v1beta/models/g:generateContent",
        r#"{"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}"#,
        "gemini/generate-thinking.json",
    ),
    (
        "/v1beta/models/g:generateContent",
        r#"{"contents":[{"parts":[{"inlineData":{"data":""}}]}]}"#,
        "gemini/generate-image.json",
    ),
    ("/v1beta/models/g:streamGenerateContent?alt=sse", "{}", "gemini/stream.sse"),
    ("/v1beta/models/g:streamGenerateContent", "{}", "gemini/stream.json"),
    (
        "/v1beta/models/g:streamGenerateContent?alt=sse&key=k",
        r#"{"tools":[{"functionDeclarations":[{}]}]}"#,
        "gemini/stream-tool.sse",
    ),
    (
        "/v1beta/models/g:streamGenerateContent?alt=sse",
        r#"{"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}"#,
        "gemini/stream-thinking.sse",
    ),
    ("/v1beta/models/g:countTokens", "{}", "gemini/count-tokens.json"),
    ("/v1beta/models/g:embedContent", "{}", "gemini/embed.json"),
    ("/v1beta/models/g:batchEmbedContents", "{}", "gemini/batch-embed.json"),
];

fn bytes_of(file: &str) -> &'static [u8] {
    RECORDINGS.iter().find(|row| row.file == file).unwrap().body
}

#[tokio::test]
async fn each_request_is_answered_with_its_recording_byte_for_byte() {
    let mock = mock().await;
    for (path, body, file) in CASES {
        let answer = ask(&mock, &post(path, body)).await.parse();
        assert_eq!(answer.status, 200, "{path} {body}");
        assert!(answer.whole && answer.body == bytes_of(file), "{path} {body}: not {file}");
    }
    let stats = mock.stats();
    assert_eq!((stats.requests, stats.cancelled, stats.faults), (CASES.len() as u64, 0, 0));
}

#[tokio::test]
async fn every_recording_is_served_byte_for_byte_by_its_name() {
    let mock = mock().await;
    for row in RECORDINGS {
        let path = match row.dialect {
            Dialect::OpenAi => "/v1/chat/completions".to_owned(),
            Dialect::Anthropic => "/v1/messages".to_owned(),
            Dialect::Gemini => format!("/v1beta/models/mock-play-{}:generateContent", row.name),
        };
        let request = post(&path, &format!(r#"{{"model":"mock-play-{}"}}"#, row.name));
        let served = ask(&mock, &request).await.parse().body;
        let same_name = RECORDINGS.iter().find(|other| other.dialect == row.dialect && other.name == row.name).unwrap();
        assert!(served == same_name.body, "{}", row.file);
    }
}

#[tokio::test]
async fn models_are_listed_in_the_dialect_of_the_request() {
    let mock = mock().await;
    for (head, file) in [
        ("GET /v1/models HTTP/1.1\r\n\r\n", "openai/models.json"),
        ("GET /v1/models HTTP/1.1\r\nanthropic-version: 2023-06-01\r\n\r\n", "anthropic/models.json"),
        ("GET /v1beta/models?pageSize=50 HTTP/1.1\r\n\r\n", "gemini/models.json"),
        ("GET /v1/models HTTP/1.1\r\nx-goog-api-key: k\r\n\r\n", "gemini/models.json"),
        ("GET /v1/models/gpt-4o-mini HTTP/1.1\r\n\r\n", "openai/model.json"),
        ("GET /v1/models/claude HTTP/1.1\r\nanthropic-version: 2023-06-01\r\n\r\n", "anthropic/model.json"),
        ("GET /v1beta/models/gemini-2.5-flash HTTP/1.1\r\n\r\n", "gemini/model.json"),
    ] {
        assert!(ask(&mock, head).await.parse().body == bytes_of(file), "{head}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_in_the_dialect_and_the_right_one_let_in_wherever_it_stands() {
    let options = Options { require_key: Some("sk-right".into()), ..Options::default() };
    let mock = Mock::start(options).await.unwrap();
    for (path, file) in [
        ("/v1/chat/completions", "openai/error-401.json"),
        ("/v1/messages", "anthropic/error-401.json"),
        ("/v1beta/models/g:generateContent", "gemini/error-401.json"),
    ] {
        let answer = ask(&mock, &post(path, "{}")).await.parse();
        assert!(answer.status == 401 && answer.body == bytes_of(file), "{path}");
        for field in
            ["Authorization: Bearer sk-right", "x-api-key: sk-right", "api-key: sk-right", "x-goog-api-key: sk-right"]
        {
            let request = post(path, "{}").replacen("\r\n", &format!("\r\n{field}\r\n"), 1);
            assert_eq!(ask(&mock, &request).await.parse().status, 200, "{path} {field}");
        }
        assert_eq!(ask(&mock, &post(&format!("{path}?key=sk-right"), "{}")).await.parse().status, 200);
        let wrong = post(path, "{}").replacen("\r\n", "\r\nx-api-key: sk-wrong\r\n", 1);
        assert_eq!(ask(&mock, &wrong).await.parse().status, 401);
    }
}

#[tokio::test]
async fn an_unknown_path_or_an_unserved_dialect_is_404() {
    let options = Options { dialects: vec![Dialect::Anthropic], ..Options::default() };
    let mock = Mock::start(options).await.unwrap();
    assert_eq!(ask(&mock, &post("/v1/messages", "{}")).await.parse().status, 200);
    assert_eq!(ask(&mock, &chat("m", false)).await.parse().status, 404);
    assert_eq!(ask(&mock, &post("/v1/nothing", "{}")).await.parse().status, 404);
}

#[tokio::test]
async fn chunks_sets_the_number_of_content_events() {
    let mock = mock().await;
    for (path, body, mark) in [
        ("/v1/chat/completions", r#"{"model":"mock-chunks-500","stream":true}"#, "\"delta\":{\"content\""),
        ("/v1/messages", r#"{"model":"mock-chunks-500","stream":true}"#, "text_delta"),
        ("/v1/responses", r#"{"model":"mock-chunks-500","stream":true}"#, "\"type\":\"response.output_text.delta\""),
        ("/v1beta/models/mock-chunks-500:streamGenerateContent?alt=sse", "{}", "\"text\""),
    ] {
        let answer = ask(&mock, &post(path, body)).await.parse();
        let content = answer.text().matches(mark).count();
        // The chat's first event has a role beside its empty content; Gemini's last is content too.
        assert_eq!(content, 500, "{path}");
    }
}

#[tokio::test]
async fn scripts_win_over_the_model_name_and_are_taken_in_turn() {
    let mock = mock().await;
    mock.script(Script::new().json(418, "{}").header("x-extra", "yes"));
    mock.script(Script::new().sse("data: one\n\ndata: two\n\n"));
    mock.script(Script::new().raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: a\rb\r\n\r\nhi"));
    let first = ask(&mock, &chat("mock-500", false)).await.parse();
    assert_eq!((first.status, first.field("x-extra")), (418, Some("yes")));
    assert_eq!(ask(&mock, &chat("mock-500", true)).await.parse().text(), "data: one\n\ndata: two\n\n");
    assert!(ask(&mock, &chat("m", true)).await.text().contains("x: a\rb"));
    assert_eq!(mock.scripts_left(), 0);
    assert_eq!(ask(&mock, &chat("mock-500", false)).await.parse().status, 500);
}
