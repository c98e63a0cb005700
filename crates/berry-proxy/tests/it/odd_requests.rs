//! Requests that are odd and sound: each reaches the backend as what the log says that it was, with the body that was sent, and as
//! nothing else (failure model, C19 and C20). What is not sound stands in `http1.rs`; none of that reaches a backend.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::harness::{ALICE, Connection};
use crate::heard::Heard;
use crate::ports::{FIRST, Gate, OK, PATH, on_pipes};

const BODY: &str = r#"{"model":"single"}"#;
const SENT: &str = r#"{"model":"gpt-first"}"#;

/// A chat with this start of its head, these further field lines, and what follows the head.
fn chat(line: &str, fields: &str, body: &str) -> String {
    format!("{line}\r\nhost: b\r\nx-api-key: {ALICE}\r\nx-request-id: odd\r\n{fields}\r\n{body}")
}

fn with_length(line: &str, fields: &str) -> String {
    chat(line, &format!("{fields}content-length: {}\r\n", BODY.len()), BODY)
}

/// The next request that comes on a connection to a backend.
async fn received(upstream: &mut DuplexStream) -> (String, String) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(SENT.as_bytes()) {
        assert!(upstream.read_buf(&mut bytes).await.unwrap() > 0, "{}", String::from_utf8_lossy(&bytes));
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn an_odd_request_reaches_the_backend_as_what_was_logged() {
    let post = format!("POST {PATH} HTTP/1.1");
    let chunked = |coding: &str, body: &str| chat(&post, &format!("transfer-encoding: {coding}\r\n"), body);
    let (a, b) = BODY.split_at(5);
    let cases = [
        ("the absolute form", with_length(&format!("POST http://b{PATH} HTTP/1.1"), "")),
        ("the absolute form of another host", with_length(&format!("POST http://evil:1{PATH} HTTP/1.1"), "")),
        ("a query", with_length(&format!("POST {PATH}?a=b&model=c HTTP/1.1"), "")),
        ("a query with a target in it", with_length(&format!("POST {PATH}?http://evil/v1/models HTTP/1.1"), "")),
        ("an empty query", with_length(&format!("POST {PATH}? HTTP/1.1"), "")),
        ("no white space behind the colon", with_length(&post, "x-a:b\r\n")),
        ("much white space around a value", with_length(&post, "x-a: \t b \t \r\n")),
        ("an empty value", with_length(&post, "x-a:\r\n")),
        ("a tab in a value", with_length(&post, "x-a: b\tc\r\n")),
        ("other letters in a value", with_length(&post, "x-a: \u{e4}\r\n")),
        ("a field many times", with_length(&post, &"x-a: b\r\n".repeat(60))),
        ("names in capitals", with_length(&post, "X-A: B\r\nACCEPT: */*\r\n")),
        ("a name of all odd letters", with_length(&post, "!#$%&'*+-.^_`|~9: b\r\n")),
        ("zeros before the length", chat(&post, &format!("content-length: 000{}\r\n", BODY.len()), BODY)),
        ("fields that Connection names", with_length(&post, "connection: x-a, content-type, keep-alive\r\nx-a: b\r\n")),
        ("an upgrade", with_length(&post, "connection: upgrade\r\nupgrade: h2c\r\n")),
        ("te and trailer", with_length(&post, "te: trailers\r\ntrailer: x-a\r\n")),
        ("another method by a header", with_length(&post, "x-http-method-override: DELETE\r\nx-method: GET\r\n")),
        ("another path by a header", with_length(&post, "x-original-url: /v1/models\r\nx-rewrite-url: /\r\n")),
        ("another host by a header", with_length(&post, "x-forwarded-host: evil\r\nforwarded: host=evil\r\n")),
        ("chunks", chunked("chunked", &format!("5\r\n{a}\r\nd\r\n{b}\r\n0\r\n\r\n"))),
        ("chunks in capitals", chunked("Chunked", &format!("12\r\n{BODY}\r\n0\r\n\r\n"))),
        ("sizes in capitals", chunked("chunked", &format!("5\r\n{a}\r\nD\r\n{b}\r\n0\r\n\r\n"))),
        ("zeros before a size", chunked("chunked", &format!("00012\r\n{BODY}\r\n000\r\n\r\n"))),
        ("extensions of chunks", chunked("chunked", &format!("12;a=b;c=\"d\"\r\n{BODY}\r\n0;e\r\n\r\n"))),
        (
            "trailers",
            chunked("chunked", &format!("12\r\n{BODY}\r\n0\r\nx-api-key: other\r\ncontent-length: 3\r\n\r\n")),
        ),
        (
            "a chunk for each byte",
            chunked(
                "chunked",
                &(BODY.bytes().map(|b| format!("1\r\n{}\r\n", b as char)).collect::<String>() + "0\r\n\r\n"),
            ),
        ),
    ];
    for (case, text) in cases {
        let (heard, _guard) = Heard::listen();
        on_pipes(|text| text, async |mut gate| forwarded(&mut gate, case, &text, &heard).await).await;
    }
}

/// Sends a request, with another behind it that must stay one of its own.
async fn forwarded(gate: &mut Gate, case: &str, text: &str, heard: &Heard) {
    let mut client: Connection<DuplexStream> = gate.client();
    client.send(format!("{text}GET /health/live HTTP/1.1\r\nhost: b\r\nx-request-id: next\r\n\r\n")).await;
    let (to, mut upstream) = gate.opened.recv().await.unwrap();
    assert_eq!(to, FIRST, "{case}");
    let (head, body) = received(&mut upstream).await;
    assert_eq!(head.lines().next(), Some(&*format!("POST {PATH}{} HTTP/1.1", query(text))), "{case}");
    assert_eq!(body, SENT, "{case}");
    let head = head.to_ascii_lowercase();
    let count = |name: &str| head.lines().filter(|line| line.starts_with(&format!("{name}:"))).count();
    assert_eq!((count("content-length"), count("host"), count("authorization")), (1, 1, 1), "{case}: {head}");
    for name in ["x-a", "x-api-key", "transfer-encoding", "upgrade", "te", "trailer", "forwarded", "x-original-url"] {
        assert_eq!(count(name), 0, "{case}: {head}");
    }
    assert!(head.contains(&format!("content-length: {}", SENT.len())) && !head.contains("evil/\r"), "{case}: {head}");
    upstream.write_all(OK.as_bytes()).await.unwrap();
    let answer = client.response().await;
    assert_eq!((answer.status, answer.field("x-request-id")), (200, Some("odd")), "{case}: {}", answer.text());
    let next = client.response().await;
    assert_eq!((next.status, next.field("x-request-id")), (200, Some("next")), "{case}: {}", next.text());
    let lines = heard.requests();
    let told = |line: &str, parts: &[&str]| parts.iter().all(|part| line.contains(part));
    assert!(
        lines.len() == 2
            && told(
                &lines[0],
                &["request_id=odd ", "method=POST ", &format!("route={PATH} "), "model=single ", "attempts=1 "]
            )
            && told(&lines[1], &["request_id=next ", "method=GET ", "route=/health/live ", "attempts=0 "]),
        "{case}: {lines:?}"
    );
    assert!(gate.opened.try_recv().is_err(), "{case}: a second request was forwarded");
}

/// What of the target crosses behind the path.
fn query(text: &str) -> &str {
    let target = text.split(' ').nth(1).unwrap_or_default();
    target.split_once(PATH).map_or("", |(_, behind)| behind)
}
