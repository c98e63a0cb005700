//! What a client sends reaches the backend with the same bytes, and what the backend answers reaches the client so; of the heads
//! only what the contract lists crosses.

use berry_mock::{Fault, Kind, RECORDINGS, Recording, Script};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::harness::{
    ALICE, Berry, Connection, DIALECTS, Dialect, FORCER, Response, bearer, chat_body, head, request, without_retries,
};

/// A body that no serialiser would write: `MODEL` stands for the model's literal.
const ODD: &str = "\r\n { \"z\\u00e9\" : 1e400 ,\t\"big\":123456789012345678901234567890, \"a\":\"\\u0041\\/\\ud83d\\ude00\",\n\
                   \"dup\":1,\"dup\":{\"model\":\"inner\",\"stream\":7}, \"model\" : MODEL ,\"neg\":-0.0E+00 , \"nul\":null, \
                   \"\u{e9}\":\"\u{65e5}\u{672c}\" , \"messages\":[ ] } \n";

const OPENAI: [&str; 11] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/audio/speech",
    "/v1/rerank",
    "/v1/images/edits",
    "/v1/audio/transcriptions",
    "/v1/chat/completions?a=b&key=kept",
];

const FORMS: [&str; 4] =
    ["/v1/images/edits", "/v1/images/variations", "/v1/audio/transcriptions", "/v1/audio/translations"];

const GEMINI: [&str; 6] = [
    "generateContent",
    "streamGenerateContent",
    "streamGenerateContent?alt=sse",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
];

fn odd(model: &str) -> String {
    ODD.replace("MODEL", model)
}

#[tokio::test]
async fn openai_bodies_reach_the_backend_with_the_same_bytes_but_for_the_model() {
    let berry = Berry::start().await;
    for path in OPENAI {
        for asked in [r#""single""#, r#""sing\u006ce""#] {
            let answer = berry.post(path, &[bearer(ALICE).as_field()], &odd(asked)).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let received = berry.first.journal().pop().unwrap();
            assert_eq!((received.text(), received.path.as_str()), (odd(r#""gpt-first""#), path));
        }
        let same = odd(r#""gpt-\u0034o""#);
        assert_eq!(berry.post(path, &[bearer(ALICE).as_field()], &same).await.status, 200);
        assert_eq!(berry.first.journal().pop().unwrap().text(), same, "a name that stays keeps its escapes");
    }
}

#[tokio::test]
async fn anthropic_bodies_reach_the_backend_with_the_same_bytes_but_for_the_model() {
    let berry = Berry::start().await;
    for path in ["/v1/messages", "/v1/messages/count_tokens", "/v1/messages?beta=true"] {
        let answer = berry.post(path, &[("x-api-key", ALICE)], &odd(r#""claude""#)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let received = berry.claude.journal().pop().unwrap();
        assert_eq!((received.text(), received.path.as_str()), (odd(r#""claude-sonnet-4-5""#), path));
    }
}

#[tokio::test]
async fn gemini_bodies_reach_the_backend_with_the_same_bytes_and_the_model_in_the_path() {
    let berry = Berry::start().await;
    for verb in GEMINI {
        for version in ["v1beta", "v1"] {
            let path = format!("/{version}/models/gemini:{verb}");
            let answer = berry.post(&path, &[("x-goog-api-key", ALICE)], &odd(r#""models/gemini""#)).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let received = berry.google.journal().pop().unwrap();
            assert_eq!(received.text(), odd(r#""models/gemini-2.5-flash""#), "{path}");
            assert_eq!(received.path, format!("/v1beta/models/gemini-2.5-flash:{verb}"));
        }
    }
    let path = format!("/v1beta/models/gemini:batchEmbedContents?key={ALICE}");
    let body =
        |model: &str| format!(r#"{{ "requests":[{{"model" : "models/{model}","content":{{}}}},{{"model":"x"}}] }}"#);
    assert_eq!(berry.post(&path, &[], &body("gemini")).await.status, 200);
    let received = berry.google.journal().pop().unwrap();
    assert_eq!(received.text(), body("gemini-2.5-flash"), "a nested name changes with the path");
    assert_eq!(received.path, "/v1beta/models/gemini-2.5-flash:batchEmbedContents", "the client's token stays");
}

#[tokio::test]
async fn forms_reach_the_backend_with_the_same_bytes_but_for_the_model() {
    let berry = Berry::start().await;
    let content_type = r#"multipart/form-data; boundary="--odd boundary'()+_,-./:=?""#;
    let form = |model: &str| {
        let mark = "----odd boundary'()+_,-./:=?";
        let mut body = format!(
            "\r\n{mark}  \r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".bin\"\r\n\
             content-type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend((0..=255).cycle().take(70_000));
        body.extend_from_slice(
            format!(
                "\r\n--almost\r\n{mark}\r\nCONTENT-DISPOSITION:form-data;name=model\r\n\r\n{model}\r\n\
                 {mark}\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\nde\r\n{mark}--\r\nepilogue"
            )
            .as_bytes(),
        );
        body
    };
    for path in FORMS {
        let sent = form("single");
        let fields = [("authorization", &*format!("Bearer {ALICE}")), ("content-type", content_type)];
        let answer = berry.raw([head("POST", path, &fields, Some(sent.len())).into_bytes(), sent].concat()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let received = berry.first.journal().pop().unwrap();
        assert!(received.body == form("gpt-first"), "{path}");
        assert_eq!((received.path.as_str(), received.header("content-type")), (path, Some(content_type)));
    }
}

#[tokio::test]
async fn a_chunked_body_reaches_the_backend_whole_and_with_a_length() {
    let berry = Berry::start().await;
    let body = odd(r#""single""#);
    let chunks: String = body.chars().map(|c| format!("{:X};x=y\r\n{c}\r\n", c.len_utf8())).collect();
    let head = head("POST", "/v1/chat/completions", &[("x-api-key", ALICE), ("transfer-encoding", "chunked")], None);
    assert_eq!(berry.raw(format!("{head}{chunks}0\r\nx-trailer: y\r\n\r\n")).await.status, 200);
    let received = berry.first.journal().pop().unwrap();
    assert_eq!((received.text(), received.header("transfer-encoding")), (odd(r#""gpt-first""#), None));
}

fn dialect(recording: &Recording) -> Dialect {
    match recording.dialect {
        berry_mock::Dialect::OpenAi => Dialect::OpenAi,
        berry_mock::Dialect::Anthropic => Dialect::Anthropic,
        berry_mock::Dialect::Gemini => Dialect::Gemini,
    }
}

/// Where recordings are asked for whose names begin so; all others by chat.
const PATHS: &[(Dialect, &str, &str)] = &[
    (Dialect::OpenAi, "responses", "/v1/responses"),
    (Dialect::OpenAi, "completions", "/v1/completions"),
    (Dialect::OpenAi, "embeddings", "/v1/embeddings"),
    (Dialect::OpenAi, "images", "/v1/images/generations"),
    (Dialect::OpenAi, "speech", "/v1/audio/speech"),
    (Dialect::OpenAi, "trans", "/v1/audio/speech"),
    (Dialect::Anthropic, "count-tokens", "/v1/messages/count_tokens"),
    (Dialect::Gemini, "stream", "/v1beta/models/gemini:streamGenerateContent"),
    (Dialect::Gemini, "count-tokens", "/v1beta/models/gemini:countTokens"),
    (Dialect::Gemini, "embed", "/v1beta/models/gemini:embedContent"),
    (Dialect::Gemini, "batch-embed", "/v1beta/models/gemini:batchEmbedContents"),
];

fn path(recording: &Recording) -> &'static str {
    let dialect = dialect(recording);
    let row = PATHS.iter().find(|(of, name, _)| *of == dialect && recording.name.starts_with(name));
    row.map_or(dialect.path(), |(.., path)| path)
}

/// What the provider itself answers.
async fn directly(berry: &Berry, recording: &Recording) -> Response {
    let dialect = dialect(recording);
    let stream = tokio::net::TcpStream::connect(berry.provider(dialect).addr()).await.unwrap();
    let mut connection = Connection::over(stream);
    connection.send(request(path(recording), &[], dialect.body())).await;
    connection.response().await
}

/// Recordings that are judged as a failure of the backend: streams that tell of an error, and a refused key that is a 400.
fn is_failure(recording: &Recording) -> bool {
    ["error-event", "stream-failed", "error-key"].iter().any(|end| recording.name.ends_with(end))
}

#[tokio::test]
async fn every_recorded_answer_reaches_the_client_with_the_same_bytes() {
    let berry = Berry::without_retries().await;
    let mut seen = 0;
    for recording in RECORDINGS.iter().filter(|recording| !is_failure(recording)) {
        let dialect = dialect(recording);
        let script = || Script::new().play(recording.name);
        berry.provider(dialect).script(script());
        let expected = directly(&berry, recording).await;
        if !matches!(expected.status, 200 | 400 | 404 | 413 | 422) {
            continue;
        }
        berry.provider(dialect).script(script());
        let answer = berry.post(path(recording), &[("x-api-key", ALICE)], dialect.body()).await;
        assert!(answer.complete, "{}", recording.file);
        assert!(answer.body == expected.body, "{}: {}", recording.file, answer.text());
        assert_eq!(answer.status, expected.status, "{}", recording.file);
        assert_eq!(answer.field("content-type"), expected.field("content-type"), "{}", recording.file);
        seen += 1;
    }
    assert!(seen > 85, "only {seen} recordings were played");
}

#[tokio::test]
async fn an_answer_keeps_its_bytes_however_the_provider_sends_them() {
    let berry = Berry::start().await;
    for kind in [Kind::Split, Kind::EarlyHints, Kind::NoLen, Kind::Extra, Kind::Ok] {
        for recording in RECORDINGS.iter().filter(|r| ["chat", "chat-stream-crlf", "chat-stream-odd"].contains(&r.name))
        {
            berry.first.script(Script::new().play(recording.name).fault(Fault::always(kind)));
            let answer = berry.ask(Dialect::OpenAi).await;
            assert!(answer.status == 200 && answer.body == recording.body, "{kind:?} {}", recording.name);
            assert_eq!(answer.field("berry-attempts"), Some("1"), "{kind:?} {}", recording.name);
        }
    }
}

#[tokio::test]
async fn an_answer_in_any_framing_of_http_1_reaches_the_client_whole() {
    let berry = Berry::start().await;
    for (case, fields, body) in [
        (
            "chunks with extensions and trailers",
            "transfer-encoding: chunked",
            "2;a=b\r\n{ \r\n1\r\n}\r\n0\r\nx-t: y\r\n\r\n",
        ),
        ("equal lengths twice", "content-length: 3\r\nContent-Length: 3", "{ }"),
        ("no length", "x-a: b", "{ }"),
        ("a length and close", "connection: close\r\ncontent-length: 3", "{ }"),
    ] {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let text = format!("{version} 200 Fine by me\r\ncontent-type: application/json\r\n{fields}\r\n\r\n{body}");
            berry.first.script(Script::new().raw(text));
            let answer = berry.ask(Dialect::OpenAi).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "{ }"), "{case} {version}");
            assert!(answer.complete && answer.field("berry-attempts") == Some("1"), "{case} {version}");
        }
    }
}

#[tokio::test]
async fn errors_that_the_client_made_pass_with_status_and_body() {
    let berry = Berry::start().await;
    for dialect in DIALECTS {
        for status in [400, 404, 413, 422] {
            let body = format!("{{\"error\" : {{\"code\":\"odd-{status}\"}}}}\n");
            berry.provider(dialect).script(Script::new().json(status, body.clone()));
            let answer = berry.ask(dialect).await;
            assert_eq!((answer.status, answer.text()), (status, body), "{dialect:?}");
            assert!(answer.field("berry-backend").is_some() && answer.field("x-request-id").is_some());
        }
    }
}

#[tokio::test]
async fn only_the_listed_request_headers_cross() {
    let berry = Berry::start().await;
    let crossing = [
        ("content-type", "application/json; charset=utf-8"),
        ("Accept", "text/event-stream"),
        ("USER-AGENT", "a client/1.0"),
        ("openai-beta", "assistants=v2"),
        ("anthropic-version", "2023-01-01"),
        ("anthropic-beta", "tools"),
        ("x-goog-api-client", "genai"),
        ("x-stainless-os", "Linux"),
        ("X-Stainless-Retry-Count", "0"),
        ("x-title", "t"),
        ("http-referer", "https://r.example"),
        ("originator", "o"),
        ("session_id", "s"),
        ("conversation_id", "c"),
        ("idempotency-key", "i"),
        ("traceparent", "00-0-0-00"),
        ("tracestate", "x=y"),
        ("x-trace", "by forward_request_headers"),
    ];
    let staying = [
        ("authorization", "Bearer token-of-the-forcer-12"),
        ("x-api-key", FORCER),
        ("api-key", FORCER),
        ("x-goog-api-key", FORCER),
        ("berry-backend", "second"),
        ("cookie", "a=b"),
        ("forwarded", "for=1.2.3.4"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-real-ip", "1.2.3.4"),
        ("via", "1.1 proxy"),
        ("accept-encoding", "gzip, br"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("upgrade", "h2c"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic eDp5"),
        ("proxy-connection", "keep-alive"),
        ("x-request-id", "mine"),
        ("x-team", "not the provider's"),
        ("x-anything", "else"),
    ];
    let fields: Vec<(&str, &str)> = crossing.iter().chain(&staying).copied().collect();
    assert_eq!(berry.post("/v1/chat/completions", &fields, &chat_body("any-thing")).await.status, 200);
    let received = berry.second.journal().pop().unwrap();
    for (name, value) in crossing {
        assert_eq!(received.header(name), Some(value), "{name}");
    }
    for (name, value) in [
        ("authorization", "Bearer sk-second-0123456789"),
        ("accept-encoding", "identity"),
        ("x-team", "berries"),
        ("host", &*berry.second.addr().to_string()),
        ("content-length", &*chat_body("any-thing").len().to_string()),
    ] {
        let all: Vec<&str> =
            received.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect();
        assert_eq!(all, [value], "{name}");
    }
    assert_eq!(received.headers.len(), crossing.len() + 5, "nothing else crosses: {:#?}", received.headers);
}

#[tokio::test]
async fn a_header_that_connection_names_stays_with_its_hop() {
    let berry = Berry::start().await;
    let fields = [("x-api-key", ALICE), ("connection", "keep-alive, X-Title"), ("x-title", "t"), ("openai-beta", "b")];
    assert_eq!(berry.post("/v1/chat/completions", &fields, &chat_body("chat")).await.status, 200);
    let received = berry.first.journal().pop().unwrap();
    assert_eq!((received.header("x-title"), received.header("openai-beta")), (None, Some("b")));
    assert_eq!(received.header("connection"), None);
    let fields = [("x-api-key", ALICE), ("connection", "keep-alive"), ("connection", "x-title"), ("x-title", "t")];
    assert_eq!(berry.post("/v1/chat/completions", &fields, &chat_body("chat")).await.status, 200);
    assert_eq!(berry.first.journal().pop().unwrap().header("x-title"), None, "whichever line names it");
}

#[tokio::test]
async fn a_providers_odd_field_names_do_not_spoil_its_answer() {
    let berry = Berry::start().await;
    let text = "HTTP/1.1 200 OK\r\nx_request_id: 5\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    berry.first.script(Script::new().raw(text));
    let answer = berry.ask(Dialect::OpenAi).await;
    assert_eq!((answer.status, answer.field("berry-attempts")), (200, Some("1")));
}

#[tokio::test]
async fn each_provider_gets_its_own_key_and_what_its_protocol_needs() {
    let berry = Berry::start().await;
    for (dialect, name, value) in [
        (Dialect::OpenAi, "authorization", "Bearer sk-first-0123456789"),
        (Dialect::Anthropic, "x-api-key", "sk-ant-api03-0123456789"),
        (Dialect::Gemini, "x-goog-api-key", "AIzaSyA-0123456789"),
    ] {
        berry.ask(dialect).await;
        let received = berry.provider(dialect).journal().pop().unwrap();
        assert_eq!(received.header(name), Some(value));
        let version = (dialect == Dialect::Anthropic).then_some("2023-06-01");
        assert_eq!(received.header("anthropic-version"), version, "{dialect:?}");
    }
}

#[tokio::test]
async fn only_the_listed_response_headers_cross() {
    let berry = Berry::start().await;
    let script = [
        ("openai-model", "m"),
        ("retry-after-ms", "5"),
        ("x-should-retry", "false"),
        ("x-extra", "by forward_response_headers"),
        ("set-cookie", "a=b"),
        ("server", "cloud"),
        ("x-powered-by", "php"),
        ("alt-svc", "h3"),
        ("strict-transport-security", "max-age=1"),
        ("access-control-allow-origin", "*"),
        ("trailer", "x"),
        ("keep-alive", "timeout=5"),
    ]
    .iter()
    .fold(Script::new(), |script, (name, value)| script.header(name, value));
    berry.second.script(script);
    let answer = berry.chat("any-thing").await;
    let mut names: Vec<&str> = answer.fields.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "berry-attempts",
        "berry-backend",
        "berry-upstream-request-id",
        "content-length",
        "content-type",
        "date",
        "openai-model",
        "openai-processing-ms",
        "retry-after-ms",
        "x-extra",
        "x-request-id",
        "x-should-retry",
    ];
    assert_eq!(names, expected);
    assert_eq!(answer.field("berry-backend"), Some("second/any-thing"));
    assert_eq!(answer.field("berry-attempts"), Some("1"));
    let own = answer.field("x-request-id").unwrap();
    assert_eq!(own.len(), 36, "a fresh id");
    assert_ne!(answer.field("berry-upstream-request-id"), Some(own));
    assert!(answer.field("berry-upstream-request-id").unwrap().starts_with("req_"));
}

#[tokio::test]
async fn an_answer_in_a_coding_that_is_not_known_keeps_its_bytes_and_the_name_of_the_coding() {
    let berry = Berry::start().await;
    let coded = b"\x1f\x9d\x90 not really \0\xff";
    let script = Script::new().answer(200, "application/json", &coded[..]).header("content-encoding", "compress");
    berry.first.script(script);
    let answer = berry.ask(Dialect::OpenAi).await;
    assert_eq!((answer.field("content-encoding"), answer.body.as_slice()), (Some("compress"), &coded[..]));
}

#[tokio::test]
async fn a_well_formed_request_id_is_echoed_and_any_other_replaced() {
    let berry = Berry::start().await;
    let longest = "x".repeat(128);
    for id in ["a", "A.b_c:d-9", &*longest] {
        let answer = berry.get("/health/live", &[("x-request-id", id)]).await;
        assert_eq!(answer.field("x-request-id"), Some(id));
    }
    let too_long = "x".repeat(129);
    for id in ["", "a b", "a/b", "<script>", "\u{e9}", &*too_long] {
        let answer = berry.get("/health/live", &[("x-request-id", id)]).await;
        assert_ne!(answer.field("x-request-id"), Some(id));
        assert_eq!(answer.field("x-request-id").unwrap().len(), 36);
    }
}

#[tokio::test]
async fn anthropic_routes_carry_request_id_too_and_others_do_not() {
    let berry = Berry::start().await;
    for dialect in DIALECTS {
        let fields = [("x-api-key", ALICE), ("x-request-id", "mine-1")];
        let answer = berry.post(dialect.path(), &fields, dialect.body()).await;
        assert_eq!(answer.field("x-request-id"), Some("mine-1"));
        let expected = (dialect == Dialect::Anthropic).then_some("mine-1");
        assert_eq!(answer.field("request-id"), expected, "{dialect:?}");
    }
    let failed = berry.post("/v1/messages", &[("x-request-id", "mine-2")], "{}").await;
    assert_eq!((failed.status, failed.field("request-id")), (401, Some("mine-2")));
}

#[tokio::test]
async fn a_model_whose_backends_speak_another_protocol_is_refused_clearly() {
    let berry = Berry::start().await;
    for (dialect, path, body, spoken) in [
        (Dialect::OpenAi, "/v1/chat/completions", r#"{"model":"claude"}"#, "anthropic"),
        (Dialect::OpenAi, "/v1/embeddings", r#"{"model":"gemini"}"#, "gemini"),
        (Dialect::Anthropic, "/v1/messages", r#"{"model":"chat"}"#, "openai"),
        (Dialect::Gemini, "/v1beta/models/claude:generateContent", "{}", "anthropic"),
        (Dialect::Gemini, "/v1/models/chat:countTokens", "{}", "openai"),
    ] {
        let answer = berry.post(path, &[("x-api-key", ALICE)], body).await;
        dialect.assert_told(&answer, "invalid_request", path);
        let message = answer.json()["error"]["message"].as_str().unwrap().to_lowercase();
        assert!(message.contains("protocol") && message.contains(spoken), "{message}");
    }
    assert_eq!(berry.asked(), (0, 0));
}

#[tokio::test]
async fn a_bad_body_is_refused_in_the_clients_dialect() {
    let berry = Berry::start().await;
    let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    let json = "application/json";
    for (case, content_type, body, code) in [
        ("no JSON", json, "hello", "invalid_json"),
        ("an empty body", json, "", "invalid_json"),
        ("an array", json, "[{}]", "invalid_json"),
        ("a cut object", json, r#"{"model":"single","messages":["#, "invalid_json"),
        ("trailing data", json, r#"{"model":"single"} x"#, "invalid_json"),
        ("a byte order mark", json, "\u{feff}{\"model\":\"single\"}", "invalid_json"),
        ("deep nesting", json, &deep, "json_depth"),
        ("text", "text/plain", "{}", "unsupported_media"),
        ("a form where none belongs", "multipart/form-data; boundary=x", "--x--", "unsupported_media"),
    ] {
        for dialect in DIALECTS {
            let fields = [("x-api-key", ALICE), ("content-type", content_type)];
            let answer = berry.post(dialect.path(), &fields, body).await;
            dialect.assert_told(&answer, code, case);
        }
    }
    for dialect in DIALECTS {
        for coding in ["gzip", "br", "identity, gzip"] {
            let fields = [("x-api-key", ALICE), ("content-encoding", coding)];
            let answer = berry.post(dialect.path(), &fields, dialect.body()).await;
            dialect.assert_told(&answer, "unsupported_media", coding);
        }
    }
    for (case, body) in [
        ("no model", r#"{"messages":[]}"#),
        ("a model that is no string", r#"{"model":1}"#),
        ("two models", r#"{"model":"single","model":"claude"}"#),
        ("two models by escape", r#"{"model":"single","m\u006fdel":"claude"}"#),
        ("stream twice", r#"{"model":"claude","stream":true,"stream":false}"#),
        ("backend twice", r#"{"model":"claude","backend":"first","backend":"claude"}"#),
        ("stream that is no boolean", r#"{"model":"claude","stream":"yes"}"#),
    ] {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            let answer = berry.post(dialect.path(), &[("x-api-key", ALICE)], body).await;
            dialect.assert_told(&answer, "invalid_request", case);
        }
    }
    let received = [&berry.first, &berry.claude, &berry.google].map(|mock| mock.journal().len());
    assert_eq!(received, [0, 0, 0], "nothing of it reaches a backend");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_by_its_length_and_by_its_chunks() {
    let berry = Berry::start().await;
    for dialect in DIALECTS {
        let mut connection = berry.connect().await;
        connection.send(head("POST", dialect.path(), &[("x-api-key", ALICE)], Some(1_000_001))).await;
        let answer = connection.response().await;
        dialect.assert_told(&answer, "body_too_large", "by its length");
        assert_eq!(answer.field("connection"), Some("close"));

        let mut connection = berry.connect().await;
        let fields = [("x-api-key", ALICE), ("transfer-encoding", "chunked")];
        connection.send(head("POST", dialect.path(), &fields, None)).await;
        connection.send([b"f4241\r\n".as_slice(), &[b' '; 1_000_001]].concat()).await;
        dialect.assert_told(&connection.response().await, "body_too_large", "by its chunks");
    }
    let largest = format!(r#"{{"model":"single","x":"{}"}}"#, "x".repeat(1_000_000 - 25));
    assert_eq!(largest.len(), 1_000_000);
    assert_eq!(berry.post("/v1/chat/completions", &[("x-api-key", ALICE)], &largest).await.status, 200);
}

/// A JSON text with odd white space, escapes, numbers and repeated keys.
fn json() -> impl Strategy<Value = String> {
    let space = prop_oneof![4 => Just(String::new()), 1 => "[ \t\r\n]{1,5}"];
    let string =
        "\"([ -!#-\\[\\]-~\u{e9}\u{65e5}\u{1f600}]|\\\\[nrtbf/\\\\\"]|\\\\u00[0-9a-f]{2}|\\\\ud83d\\\\ude00){0,8}\"";
    let number = "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?";
    let leaf = prop_oneof![Just("null".to_owned()), Just("true".to_owned()), number, string];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let spaced = (space.clone(), inner, space.clone()).prop_map(|(a, value, b)| a + &value + &b);
        let member = (space.clone(), string, space.clone(), spaced.clone())
            .prop_map(|(a, key, b, value)| format!("{a}{key}{b}:{value}"));
        prop_oneof![
            prop::collection::vec(spaced, 0..5).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

#[test]
fn any_generated_body_reaches_the_backend_with_the_same_bytes_but_for_the_model() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let berry = runtime.block_on(Berry::with(without_retries));
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let bodies = (json(), json(), prop::bool::ANY);
    runner
        .run(&bodies, |(before, after, stream)| {
            let body = |model: &str| {
                format!("{{\"before\" :{before}, \"model\":\"{model}\",\"after\":{after} ,\"stream\": {stream}\n}}")
            };
            let answer = runtime.block_on(berry.post("/v1/chat/completions", &[("x-api-key", ALICE)], &body("single")));
            prop_assert_eq!(answer.status, 200, "{}", answer.text());
            prop_assert_eq!(berry.first.journal().pop().unwrap().text(), body("gpt-first"));
            Ok(())
        })
        .unwrap();
}
