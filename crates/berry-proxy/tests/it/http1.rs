//! HTTP/1 to clients: what is well-formed is served in order, what could be read in two ways is refused before anything is
//! forwarded.

use crate::harness::{ALICE, Berry, DIALECTS, Dialect, Response, chat_body, fault, head, journal, request};

const PATH: &str = "/v1/chat/completions";

/// A chat request with more field lines.
fn with_fields(fields: &str, body: &str) -> String {
    format!("POST {PATH} HTTP/1.1\r\nhost: b\r\nx-api-key: {ALICE}\r\n{fields}\r\n{body}")
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let berry = Berry::start().await;
    let mut connection = berry.connect().await;
    for dialect in DIALECTS.iter().cycle().take(12) {
        connection.send(request(dialect.path(), &[("x-api-key", ALICE)], dialect.body())).await;
        let answer = connection.response().await;
        assert_eq!((answer.status, answer.field("connection")), (200, None));
    }
    connection.send(request(PATH, &[("x-api-key", ALICE), ("connection", "close")], &chat_body("chat"))).await;
    let answer = connection.response().await;
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn a_refused_request_leaves_the_connection_of_use() {
    let berry = Berry::start().await;
    let mut connection = berry.connect().await;
    for (path, token, body, status) in [
        (PATH, ALICE, "no JSON", 400),
        (PATH, "token-nobody-knows-12", "{}", 401),
        (PATH, ALICE, r#"{"model":"nothing"}"#, 404),
        ("/v1/nothing", ALICE, "{}", 404),
        ("/health", ALICE, "{}", 405),
        (PATH, ALICE, r#"{"model":"chat"}"#, 200),
    ] {
        connection.send(request(path, &[("x-api-key", token)], body)).await;
        assert_eq!(connection.response().await.status, status, "{path} {body}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_one_at_a_time() {
    let berry = Berry::start().await;
    berry.first.script(fault("slow-50"));
    let mut connection = berry.connect().await;
    let all: String = (0..8)
        .map(|i| match i % 3 {
            2 => head("GET", "/health/live", &[("x-request-id", &*format!("r{i}"))], None),
            _ => request(PATH, &[("x-api-key", ALICE), ("x-request-id", &*format!("r{i}"))], &chat_body("chat")),
        })
        .collect();
    connection.send(all).await;
    for i in 0..8 {
        let answer = connection.response().await;
        assert_eq!((answer.status, answer.field("x-request-id")), (200, Some(&*format!("r{i}"))));
    }
}

#[tokio::test]
async fn more_pipelined_requests_than_are_read_ahead_are_all_answered() {
    let berry = Berry::start().await;
    let mut connection = berry.connect().await;
    let all: String = (0..600)
        .map(|i| match i % 100 {
            0 => request(PATH, &[("x-api-key", ALICE), ("x-request-id", &*format!("r{i}"))], &chat_body("chat")),
            _ => head(
                "GET",
                "/health/live",
                &[("x-request-id", &*format!("r{i}")), ("x-filler", "of some length")],
                None,
            ),
        })
        .collect();
    assert!(all.len() > 3 * 16 * 1024);
    connection.send(all).await;
    for i in 0..600 {
        let answer = connection.response().await;
        assert_eq!((answer.status, answer.field("x-request-id")), (200, Some(&*format!("r{i}"))));
    }
}

#[tokio::test]
async fn pipelined_streams_do_not_mix() {
    let berry = Berry::start().await;
    let body = r#"{"model":"single","stream":true}"#;
    let mut connection = berry.connect().await;
    connection.send(request(PATH, &[("x-api-key", ALICE)], body).repeat(3)).await;
    let expected = berry_mock::named(berry_mock::Dialect::OpenAi, "chat-stream").unwrap().body;
    for _ in 0..3 {
        assert!(connection.response().await.body == expected);
    }
}

#[tokio::test]
async fn head_is_answered_as_get_without_its_body() {
    let berry = Berry::start().await;
    let mut connection = berry.connect().await;
    for path in ["/", "/health", "/health/ready", "/v1/models"] {
        let get = berry.get(path, &[("x-api-key", ALICE)]).await;
        connection.send(head("HEAD", path, &[("x-api-key", ALICE)], None)).await;
        let answer = connection.bodiless().await;
        assert_eq!((answer.status, answer.field("content-length")), (200, get.field("content-length")), "{path}");
    }
    connection.send(head("GET", "/health/live", &[], None)).await;
    assert_eq!(connection.response().await.status, 200, "nothing of a body stands between");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_in_the_dialect_that_the_path_looks_like() {
    let berry = Berry::start().await;
    for (dialect, method, path, allow) in [
        (Dialect::OpenAi, "GET", "/nothing", None),
        (Dialect::OpenAi, "POST", "/v1/files", None),
        (Dialect::OpenAi, "GET", "/v1/responses/resp_1", None),
        (Dialect::Anthropic, "POST", "/v1/messages/batches", None),
        (Dialect::Gemini, "POST", "/v1beta/models/x:fly", None),
        (Dialect::Gemini, "POST", "/v1beta/files", None),
        (Dialect::OpenAi, "GET", PATH, Some("POST")),
        (Dialect::OpenAi, "DELETE", PATH, Some("POST")),
        (Dialect::OpenAi, "POST", "/v1/models", Some("GET")),
        (Dialect::OpenAi, "PUT", "/health", Some("GET")),
        (Dialect::Anthropic, "GET", "/v1/messages", Some("POST")),
        (Dialect::Gemini, "GET", "/v1beta/models/gemini:generateContent", Some("POST")),
    ] {
        let answer = berry.raw(head(method, path, &[("x-api-key", ALICE)], Some(0))).await;
        let code = if allow.is_some() { "method_not_allowed" } else { "route_not_found" };
        dialect.assert_told(&answer, code, path);
        assert_eq!(answer.field("allow"), allow, "{method} {path}");
        assert!(answer.field("x-request-id").is_some());
    }
}

#[tokio::test]
async fn expect_100_is_answered_once_the_caller_is_known() {
    let berry = Berry::start().await;
    let body = chat_body("chat");
    let mut connection = berry.connect().await;
    for _ in 0..2 {
        let fields = [("x-api-key", ALICE), ("expect", "100-continue")];
        connection.send(head("POST", PATH, &fields, Some(body.len()))).await;
        assert_eq!(connection.head().await.unwrap().0, 100);
        assert!(berry.asked().0 <= 1);
        connection.send(&body).await;
        assert_eq!(connection.response().await.status, 200);
    }
    assert_eq!(berry.first.journal()[0].header("expect"), None);
}

#[tokio::test]
async fn expect_100_gets_the_final_status_where_the_body_is_not_wanted() {
    let berry = Berry::start().await;
    for (token, length, path, status) in [
        ("token-nobody-knows-12", 10, PATH, 401),
        (ALICE, 1_000_001, PATH, 413),
        (ALICE, 10, "/v1/nothing", 404),
        (ALICE, 10, "/health", 405),
    ] {
        let mut connection = berry.connect().await;
        connection.send(head("POST", path, &[("x-api-key", token), ("expect", "100-continue")], Some(length))).await;
        let answer = connection.response().await;
        assert_eq!((answer.status, answer.field("connection")), (status, Some("close")), "{path}");
        assert!(connection.is_closed().await);
    }
}

#[tokio::test]
async fn a_body_that_comes_unasked_after_expect_needs_no_100() {
    let berry = Berry::start().await;
    let body = chat_body("chat");
    let fields = [("x-api-key", ALICE), ("expect", "100-continue")];
    let mut connection = berry.connect().await;
    connection.send(head("POST", PATH, &fields, Some(body.len())) + &body).await;
    assert_eq!(connection.response().await.status, 200);
}

#[tokio::test]
async fn any_other_expectation_is_417_in_the_clients_dialect() {
    let berry = Berry::start().await;
    for dialect in DIALECTS {
        let fields = [("x-api-key", ALICE), ("expect", "tea"), ("x-request-id", "mine")];
        let answer = berry.post(dialect.path(), &fields, dialect.body()).await;
        dialect.assert_told(&answer, "expectation_failed", "tea");
        assert_eq!(answer.field("x-request-id"), Some("mine"));
    }
    assert_eq!(berry.asked(), (0, 0));
}

/// Sends bytes that are no good request; they must get that status and a close, and nothing must reach a backend.
async fn assert_refused(berry: &Berry, case: &str, bytes: impl AsRef<[u8]>, status: u16) -> Response {
    let mut connection = berry.connect().await;
    connection.send(bytes).await;
    let answer = connection.response().await;
    assert_eq!(answer.status, status, "{case}: {}", answer.text());
    assert_eq!(answer.field("connection"), Some("close"), "{case}");
    assert!(connection.is_closed().await, "{case}: bytes follow");
    assert_eq!(berry.asked(), (0, 0), "{case}: something was forwarded");
    answer
}

#[tokio::test]
async fn field_lines_that_can_be_read_in_two_ways_are_refused() {
    let berry = Berry::start().await;
    for (case, fields) in [
        ("both lengths", "content-length: 16\r\ntransfer-encoding: chunked\r\n"),
        ("both lengths, other order", "transfer-encoding: chunked\r\ncontent-length: 16\r\n"),
        ("both lengths, the length 0", "transfer-encoding: chunked\r\ncontent-length: 0\r\n"),
        ("both lengths, an odd coding", "content-length: 16\r\ntransfer-encoding: xchunked\r\n"),
        ("equal lengths twice", "content-length: 16\r\ncontent-length: 16\r\n"),
        ("different lengths", "content-length: 16\r\ncontent-length: 17\r\n"),
        ("a list of equal lengths", "content-length: 16, 16\r\n"),
        ("a list of lengths", "content-length: 16,17\r\n"),
        ("a signed length", "content-length: +16\r\n"),
        ("a negative length", "content-length: -16\r\n"),
        ("a hexadecimal length", "content-length: 0x10\r\n"),
        ("an empty length", "content-length:\r\n"),
        ("a length with a blank", "content-length: 1 6\r\n"),
        ("a length with a point", "content-length: 16.0\r\n"),
        ("a length beyond 64 bits", "content-length: 18446744073709551632\r\n"),
        ("a length in other digits", "content-length: \u{661}\u{666}\r\n"),
        ("chunked twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        ("chunked and another", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"),
        ("space before the colon", "content-length : 16\r\n"),
        ("tab before the colon", "content-length\t: 16\r\n"),
        ("space before the name", " content-length: 16\r\n"),
        ("a folded line", "x-a: b\r\n c\r\ncontent-length: 16\r\n"),
        ("a line folded by a tab", "x-a: b\r\n\tc\r\ncontent-length: 16\r\n"),
        ("a folded length", "content-length:\r\n 16\r\n"),
        ("a folded coding", "transfer-encoding:\r\n chunked\r\n"),
        ("a bare LF at a line's end", "x-a: b\ncontent-length: 16\r\n"),
        ("a bare CR at a line's end", "x-a: b\rcontent-length: 16\r\n"),
        ("CR CR LF", "x-a: b\r\r\ncontent-length: 16\r\n"),
        ("a bare LF alone", "\ncontent-length: 16\r\n"),
        ("a bare CR alone", "\rcontent-length: 16\r\n"),
        ("NUL in a value", "x-a: b\0c\r\ncontent-length: 16\r\n"),
        ("NUL in a name", "x-\0a: b\r\ncontent-length: 16\r\n"),
        ("an escape in a value", "x-a: \x1b[2J\r\ncontent-length: 16\r\n"),
        ("DEL in a value", "x-a: \x7f\r\ncontent-length: 16\r\n"),
        ("no colon", "x-a\r\ncontent-length: 16\r\n"),
        ("no name", ": b\r\ncontent-length: 16\r\n"),
        ("a blank in a name", "x a: b\r\ncontent-length: 16\r\n"),
        ("a bracket in a name", "x[a]: b\r\ncontent-length: 16\r\n"),
        ("a quote in a name", "\"x\": b\r\ncontent-length: 16\r\n"),
        ("other letters in a name", "x-\u{e4}: b\r\ncontent-length: 16\r\n"),
        ("a twin of content-length", "content_length: 16\r\n"),
        ("a twin of transfer-encoding", "transfer_encoding: chunked\r\n"),
        ("a twin of x-api-key", "x_api_key: x\r\ncontent-length: 16\r\n"),
        ("a twin of berry-backend", "berry_backend: x\r\ncontent-length: 16\r\n"),
        ("a second host", "host: b\r\ncontent-length: 16\r\n"),
        ("another host", "HOST: c\r\ncontent-length: 16\r\n"),
    ] {
        assert_refused(&berry, case, with_fields(fields, r#"{"model":"chat"}"#), 400).await;
    }
}

#[tokio::test]
async fn request_lines_that_are_not_as_the_rfc_has_them_are_refused() {
    let berry = Berry::start().await;
    for (line, status) in [
        ("POST  /v1/chat/completions HTTP/1.1", 400),
        ("POST /v1/chat/completions  HTTP/1.1", 400),
        ("POST /v1/chat/completions HTTP/1.1 ", 400),
        (" POST /v1/chat/completions HTTP/1.1", 400),
        ("POST\t/v1/chat/completions HTTP/1.1", 400),
        ("POST /v1/chat/completions\tHTTP/1.1", 400),
        ("POST /v1/chat completions HTTP/1.1", 400),
        ("POST /v1/chat/completions", 400),
        ("POST HTTP/1.1", 400),
        ("POST", 400),
        ("POST /v1/chat/completions http/1.1", 400),
        ("POST /v1/chat/completions HTTP/1.1\0", 400),
        ("POST /v1/chat/completions\0 HTTP/1.1", 400),
        ("POST /v1/chat/completions#x HTTP/1.1", 400),
        ("POST /v1/ch\u{e4}t HTTP/1.1", 400),
        ("PO(ST /v1/chat/completions HTTP/1.1", 400),
        ("P\u{d6}ST /v1/chat/completions HTTP/1.1", 400),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ /v1/chat/completions HTTP/1.1", 400),
        ("POST /v1/chat/completions HTTP/1.2", 505),
        ("POST /v1/chat/completions HTTP/2.0", 505),
        ("POST /v1/chat/completions HTTP/0.9", 505),
        ("\u{feff}POST /v1/chat/completions HTTP/1.1", 400),
        ("\r\n\r\nPOST /v1/chat/completions HTTP/1.1", 400),
        ("\nPOST /v1/chat/completions HTTP/1.1", 400),
    ] {
        let text =
            format!("{line}\r\nhost: b\r\nx-api-key: {ALICE}\r\ncontent-length: 16\r\n\r\n{{\"model\":\"chat\"}}");
        assert_refused(&berry, line, text, status).await;
    }
    for (case, bytes) in [
        ("a TLS hello", &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..]),
        ("lines that end with LF", b"GET /health HTTP/1.1\nhost: b\n\n"),
        ("no host", b"GET /health HTTP/1.1\r\n\r\n"),
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("garbage", b"\x00\x01\x02\x03\r\n\r\n"),
    ] {
        assert_refused(&berry, case, bytes, 400).await;
    }
}

#[tokio::test]
async fn a_preface_of_http2_that_comes_late_or_broken_is_refused() {
    let berry = Berry::start().await;
    assert_refused(&berry, "a broken preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 505).await;
    let mut connection = berry.connect().await;
    connection.send("GET /health/live HTTP/1.1\r\nhost: b\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(connection.response().await.status, 200);
    assert_eq!(connection.response().await.status, 505);
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn malformed_chunks_are_refused_and_nothing_of_the_body_is_forwarded() {
    let berry = Berry::start().await;
    let good = "10\r\n{\"model\":\"chat\"}\r\n";
    for (case, body) in [
        ("no size", "\r\n"),
        ("a size that is no number", "g\r\n"),
        ("a signed size", "+10\r\n{\"model\":\"chat\"}\r\n0\r\n\r\n"),
        ("a negative size", "-1\r\n"),
        ("a size with 0x", "0x10\r\n{\"model\":\"chat\"}\r\n0\r\n\r\n"),
        ("a blank before the size", " 10\r\n{\"model\":\"chat\"}\r\n0\r\n\r\n"),
        ("a size with a bare LF", "10\n{\"model\":\"chat\"}\r\n0\r\n\r\n"),
        ("a size with a bare CR", "10\r{\"model\":\"chat\"}\r\n0\r\n\r\n"),
        ("a size beyond 64 bits", "fffffffffffffffff0\r\n"),
        ("a chunk that is longer than its size", "f\r\n{\"model\":\"chat\"}\r\n0\r\n\r\n"),
        ("a chunk that is shorter than its size", "11\r\n{\"model\":\"chat\"}\r\n0\r\n\r\n"),
        ("a chunk that ends with LF", "10\r\n{\"model\":\"chat\"}\n0\r\n\r\n"),
        ("a bare LF in an extension", "10;a\nb\r\n{\"model\":\"chat\"}\r\n0\r\n\r\n"),
        ("NUL in an extension", "10;a\0b\r\n{\"model\":\"chat\"}\r\n0\r\n\r\n"),
    ] {
        assert_refused(&berry, case, with_fields("transfer-encoding: chunked\r\n", body), 400).await;
    }
    for (case, end) in [
        ("an end with LF", "0\r\n\n"),
        ("a trailer with LF", "0\r\nx: y\n\r\n"),
        ("NUL in a trailer", "0\r\nx: \0\r\n\r\n"),
    ] {
        let body = format!("{good}{end}");
        assert_refused(&berry, case, with_fields("transfer-encoding: chunked\r\n", &body), 400).await;
    }
    let endless = format!("10;{}", "x".repeat(20_000));
    assert_refused(&berry, "an endless extension", with_fields("transfer-encoding: chunked\r\n", &endless), 400).await;
}

#[tokio::test]
async fn other_transfer_codings_are_501() {
    let berry = Berry::start().await;
    for coding in ["gzip", "gzip, chunked", "identity", "chunked, gzip", "\"chunked\"", "chunked;q=1", "x"] {
        assert_refused(&berry, coding, with_fields(&format!("transfer-encoding: {coding}\r\n"), "0\r\n\r\n"), 501)
            .await;
    }
}

#[tokio::test]
async fn connect_and_trace_are_refused() {
    let berry = Berry::start().await;
    for line in
        ["CONNECT first:443", "CONNECT /v1/chat/completions", "TRACE /", "TRACE /v1/chat/completions", "TRACE *"]
    {
        let answer = berry.raw(format!("{line} HTTP/1.1\r\nhost: b\r\nx-api-key: {ALICE}\r\n\r\n")).await;
        assert!(matches!(answer.status, 405 | 501), "{line}: {}", answer.status);
    }
    assert_eq!(berry.asked(), (0, 0));
}

#[tokio::test]
async fn an_upgrade_is_not_taken_up_and_does_not_cross() {
    let berry = Berry::start().await;
    for upgrade in ["h2c", "websocket"] {
        let settings =
            [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", upgrade), ("http2-settings", "AAMAAABk")];
        let fields: Vec<(&str, &str)> = settings.into_iter().chain([("x-api-key", ALICE)]).collect();
        assert_eq!(berry.post(PATH, &fields, &chat_body("chat")).await.status, 200);
        let received = berry.first.journal().pop().unwrap();
        for name in ["connection", "upgrade", "http2-settings"] {
            assert_eq!(received.header(name), None, "{name}");
        }
    }
}

#[tokio::test]
async fn a_target_in_absolute_form_is_served_by_its_path() {
    let berry = Berry::start().await;
    for target in ["http://b/v1/chat/completions", "https://elsewhere:1/v1/chat/completions?x=http://y"] {
        let body = chat_body("chat");
        let text = format!(
            "POST {target} HTTP/1.1\r\nhost: b\r\nx-api-key: {ALICE}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(berry.raw(text).await.status, 200, "{target}");
        let received = berry.first.journal().pop().unwrap();
        assert!(received.path.starts_with(PATH), "{}", received.path);
        assert_eq!(received.header("host"), Some(&*berry.first.addr().to_string()));
    }
    let encoded =
        berry.raw(format!("POST /v1/chat%2fcompletions HTTP/1.1\r\nhost: b\r\nx-api-key: {ALICE}\r\n\r\n")).await;
    assert_eq!(encoded.status, 404, "an encoded slash is no slash");
}

#[tokio::test]
async fn a_head_may_arrive_in_two_parts_split_anywhere() {
    let berry = Berry::start().await;
    let body = chat_body("chat");
    let text = request(PATH, &[("x-api-key", ALICE), ("x-odd", "a\tb")], &body);
    for split in 1..text.len() {
        let mut connection = berry.connect().await;
        connection.send(&text[..split]).await;
        tokio::task::yield_now().await;
        connection.send(&text[split..]).await;
        let answer = connection.response().await;
        assert_eq!(answer.status, 200, "split at {split}: {}", answer.text());
    }
    assert!(berry.first.journal().iter().all(|request| request.text() == body.replace("chat", "gpt-first")));
}

#[tokio::test]
async fn heads_beyond_their_limits_are_414_and_431() {
    let berry = Berry::start().await;
    let long = "a".repeat(9_000);
    assert_refused(&berry, "a long target", format!("GET /{long} HTTP/1.1\r\nhost: b\r\n\r\n"), 414).await;
    assert_refused(&berry, "a target without end", format!("GET /{long}"), 414).await;
    let field = format!("x-long: {}\r\n", "b".repeat(33_000));
    assert_refused(&berry, "a long field", with_fields(&field, ""), 431).await;
    assert_refused(&berry, "a head without end", with_fields(&format!("x: {}", "b".repeat(40_000)), ""), 431).await;
    assert_refused(&berry, "many fields", with_fields(&"x: y\r\n".repeat(101), ""), 431).await;
    let most = with_fields(&format!("{}content-length: 16\r\n", "x: y\r\n".repeat(90)), r#"{"model":"chat"}"#);
    assert_eq!(berry.raw(most).await.status, 200);
}

#[tokio::test]
async fn a_client_that_ends_before_its_body_does_is_dropped_and_nothing_is_forwarded() {
    let berry = Berry::start().await;
    for text in [
        request(PATH, &[("x-api-key", ALICE)], &chat_body("chat")),
        with_fields("transfer-encoding: chunked\r\n", "10\r\n{\"model\":\"chat\"}\r\n0\r\n"),
    ] {
        let mut connection = berry.connect().await;
        connection.send(&text[..text.len() - 1]).await;
        tokio::io::AsyncWriteExt::shutdown(&mut connection.stream).await.unwrap();
        assert!(connection.is_closed().await);
    }
    assert_eq!(berry.chat("chat").await.status, 200);
    assert_eq!(berry.asked(), (1, 0));
}

#[tokio::test]
async fn a_client_that_ends_its_side_after_the_request_counts_as_gone() {
    let berry = Berry::start().await;
    berry.first.script(fault("hang"));
    let mut connection = berry.connect().await;
    connection.send(request(PATH, &[("x-api-key", ALICE)], &chat_body("single"))).await;
    journal(&berry.first, |all| all.len() == 1).await;
    tokio::io::AsyncWriteExt::shutdown(&mut connection.stream).await.unwrap();
    journal(&berry.first, |all| all[0].cancelled).await;
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn a_body_where_none_was_announced_is_the_next_request() {
    let berry = Berry::start().await;
    let mut connection = berry.connect().await;
    connection.send(with_fields("", "GET /health/live HTTP/1.1\r\nhost: b\r\n\r\n")).await;
    Dialect::OpenAi.assert_told(&connection.response().await, "invalid_json", "no body");
    assert_eq!(connection.response().await.status, 200);
}

#[tokio::test]
async fn a_refused_body_is_never_taken_for_a_request() {
    let berry = Berry::start().await;
    let smuggled = format!("GET /v1/models HTTP/1.1\r\nhost: b\r\nx-api-key: {ALICE}\r\n\r\n");
    for token in ["token-nobody-knows-12", ALICE] {
        let fields = format!("content-length: {}\r\n", smuggled.len());
        let text = format!("POST /v1/nothing HTTP/1.1\r\nhost: b\r\nx-api-key: {token}\r\n{fields}\r\n{smuggled}");
        let mut connection = berry.connect().await;
        connection.send(text + "GET /health/live HTTP/1.1\r\nhost: b\r\nx-request-id: last\r\n\r\n").await;
        assert_eq!(connection.response().await.status, 404);
        let next = connection.response().await;
        assert_eq!((next.status, next.field("x-request-id")), (200, Some("last")));
    }
}

#[tokio::test]
async fn http_1_0_is_served_and_closed_unless_it_asks_to_go_on() {
    let berry = Berry::start().await;
    let mut connection = berry.connect().await;
    connection.send("GET /health/live HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let answer = connection.response().await;
    assert_eq!((answer.status, answer.field("connection")), (200, Some("keep-alive")));
    connection.send("GET /health/live HTTP/1.0\r\n\r\n").await;
    assert_eq!(connection.response().await.field("connection"), Some("close"));
    assert!(connection.is_closed().await);
    let chunked = "POST /v1/chat/completions HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_refused(&berry, "chunks in HTTP/1.0", chunked, 400).await;
}

#[tokio::test]
async fn what_was_refused_is_counted() {
    let berry = Berry::start().await;
    for _ in 0..3 {
        assert_refused(&berry, "garbage", "garbage\r\n\r\n", 400).await;
    }
    let text = berry.get("/metrics", &[]).await.text();
    assert!(text.contains("berry_malformed_messages_total{service=\"berry-api\"} 3\n"), "{text}");
}

#[tokio::test]
async fn a_drain_ends_idle_connections_and_lets_a_request_finish() {
    let mut berry = Berry::start().await;
    let mut idle = berry.connect().await;
    idle.send(head("GET", "/health/live", &[], None)).await;
    assert_eq!(idle.response().await.field("connection"), None);
    let gate = berry_mock::Gate::new();
    berry.first.script(berry_mock::Script::new().gate(&gate));
    let mut busy = berry.connect().await;
    busy.send(request(PATH, &[("x-api-key", ALICE)], r#"{"model":"single","stream":true}"#)).await;
    journal(&berry.first, |all| all.len() == 1).await;
    berry.drain();
    assert!(idle.is_closed().await);
    gate.open();
    let answer = busy.response().await;
    assert!(answer.complete && answer.status == 200);
    assert!(busy.is_closed().await);
}
