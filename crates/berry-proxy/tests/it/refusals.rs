//! Refusals that reach their client, and ends that show what they are.

use berry_mock::Script;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fragile::BREAK;
use crate::harness::{ALICE, Berry, DIALECTS, Dialect, chunk, event, head};
use crate::heard::Heard;
use crate::http2::{Client, post};
use crate::ports::{FIRST, OK, PATH, SECOND, STREAM, answer, chat, on_pipes};

#[tokio::test]
async fn a_client_that_writes_its_whole_body_before_it_reads_sees_the_refusal() {
    let berry = Berry::start().await;
    let large = format!(r#"{{"model":"chat","x":"{}"}}"#, "y".repeat(950_000));
    let too_large = "y".repeat(1_040_000);
    for (token, body, code) in
        [("token-nobody-knows-12", large, "auth_missing_or_invalid"), (ALICE, too_large, "body_too_large")]
    {
        for _ in 0..5 {
            let mut connection = berry.connect().await;
            connection.send(head("POST", PATH, &[("x-api-key", token)], Some(body.len()))).await;
            let (first, rest) = body.as_bytes().split_at(200_000);
            connection.send(first).await;
            // The answer is there by now, and the client does not look.
            connection.stream.readable().await.unwrap();
            for piece in rest.chunks(10_000) {
                connection.send(piece).await;
                tokio::task::yield_now().await;
            }
            Dialect::OpenAi.assert_told(&connection.response().await, code, "a large body");
            assert!(connection.is_closed().await);
        }
    }
    assert_eq!(berry.asked(), (0, 0));
}

#[tokio::test]
async fn a_body_without_an_end_is_not_read_for_ever() {
    let berry = Berry::start().await;
    for field in [("content-length", "100000000"), ("transfer-encoding", "chunked")] {
        let mut connection = berry.connect().await;
        connection.send(head("POST", PATH, &[("x-api-key", ALICE), field], None)).await;
        let piece = format!("10000\r\n{}\r\n", "y".repeat(1 << 16));
        let mut pieces = 0;
        while connection.stream.write_all(piece.as_bytes()).await.is_ok() {
            pieces += 1;
            assert!(pieces < 1_000, "{}: the body is read on", field.0);
        }
    }
}

#[tokio::test]
async fn fields_that_must_stand_once_are_refused_twice() {
    let berry = Berry::start().await;
    for dialect in DIALECTS {
        for (name, one, other) in [
            ("content-type", "application/json", "multipart/form-data"),
            ("content-encoding", "identity", "gzip"),
            ("berry-backend", "first", "first"),
        ] {
            let fields = [("x-api-key", ALICE), (name, one), ("x-request-id", "mine"), (name, other)];
            let answer = berry.post(dialect.path(), &fields, dialect.body()).await;
            dialect.assert_told(&answer, "invalid_request", name);
            assert_eq!(answer.field("x-request-id"), Some("mine"));
            assert!(answer.text().contains(name), "{}", answer.text());
        }
    }
    let client = Client::connect(&berry).await;
    let fields = [("x-api-key", ALICE), ("content-type", "application/json")];
    let answer = client.post(PATH, &fields, Dialect::OpenAi.body()).await;
    Dialect::OpenAi.assert_told(&answer, "invalid_request", "over HTTP/2");
    assert_eq!(berry.asked(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_has_a_request_id_a_log_line_and_is_counted() {
    let (heard, _guard) = Heard::listen();
    on_pipes(
        |text| text,
        async |gate| {
            let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(9_000));
            let many = format!("GET / HTTP/1.1\r\nhost: b\r\n{}\r\n", "x-a: b\r\n".repeat(101));
            let cases = [
                ("GET / HTTP/1.1\nhost: b\n\n", 400, "invalid_request"),
                (&*long, 414, "header_too_large"),
                (&*many, 431, "header_too_large"),
                ("TRACE / HTTP/1.1\r\nhost: b\r\n\r\n", 501, "invalid_request"),
                ("CONNECT a:1 HTTP/1.1\r\nhost: b\r\n\r\n", 501, "invalid_request"),
                ("GET / HTTP/3.0\r\nhost: b\r\n\r\n", 505, "invalid_request"),
                ("GET / HTTP/1.1\r\nhos", 408, "request_timeout"),
            ];
            for (text, status, code) in cases {
                let mut client = gate.client();
                client.send(text).await;
                let response = client.response().await;
                assert_eq!((response.status, response.code().as_str()), (status, code), "{}", response.text());
                let id = response.field("x-request-id").expect("no id").to_owned();
                assert!(response.field("date").is_some() && client.is_closed().await);
                let lines = heard.requests();
                let parts = [format!("request_id={id} "), format!("status={status} "), format!("outcome={code} ")];
                assert!(lines.len() == 1 && parts.iter().all(|part| lines[0].contains(part)), "{lines:?}");
                assert!(lines[0].contains("route=other "), "{lines:?}");
            }
            let client = Client::over(gate.client().stream).await;
            let trace = http::Request::builder().method("TRACE").uri("http://berry/").body(Default::default()).unwrap();
            let response = client.begin(trace).await.unwrap();
            assert!(response.status() == 501 && response.headers().contains_key("x-request-id"));
            assert_eq!(heard.requests().len(), 1);
            let mut client = gate.client();
            client.send("GET /metrics HTTP/1.1\r\nhost: b\r\n\r\n").await;
            let metrics = client.response().await.text();
            for (status, count) in [(400, 1), (414, 1), (431, 1), (501, 3), (505, 1), (408, 1)] {
                let line = format!("method=\"OTHER\",route=\"other\",status=\"{status}\"}} {count}\n");
                assert!(metrics.contains(&line), "{line}{metrics}");
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_body_that_only_the_end_of_the_connection_ends_is_cut_by_a_reset() {
    let berry = Berry::start().await;
    let body = r#"{"model":"single"}"#;
    let head = format!("POST {PATH} HTTP/1.0\r\nx-api-key: {ALICE}\r\ncontent-length: {}\r\n\r\n", body.len());
    // More than is held, so that it has begun to leave.
    let large = format!("{:x}\r\n{{\"x\":\"{}\"}}\r\n", 300_008, "y".repeat(300_000));
    for (end, is_cut) in [("", true), ("0\r\n\r\n", false)] {
        let fields = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";
        let script = format!("HTTP/1.1 200 OK\r\n{fields}\r\n{large}{end}");
        berry.first.script(Script::new().raw(script));
        let mut connection = berry.connect().await;
        connection.send(format!("{head}{body}")).await;
        let mut bytes = Vec::new();
        let end = crate::harness::within(connection.stream.read_to_end(&mut bytes)).await;
        let kind = end.err().map(|error| error.kind());
        assert_eq!(kind, is_cut.then_some(std::io::ErrorKind::ConnectionReset), "{}", bytes.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_an_answer_is_on_its_way_ends_that_answer_alone() {
    let (heard, _guard) = Heard::listen();
    on_pipes(
        |text| text,
        async |mut gate| {
            let mut other = gate.client();
            chat(&mut other, "any-thing").await;
            let mut second = gate.asked(SECOND).await;

            let mut client = gate.client();
            chat(&mut client, "single").await;
            let mut upstream = gate.asked(FIRST).await;
            answer(&mut upstream, STREAM).await;
            answer(&mut upstream, chunk(event("1"))).await;
            assert_eq!(client.head().await.unwrap().0, 200);
            assert_eq!(client.chunk().await.unwrap(), event("1").as_bytes());
            answer(&mut upstream, BREAK).await;
            assert_eq!(client.chunk().await, None, "the answer is cut");
            assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0);
            let lines = heard.requests();
            assert!(lines.len() == 1 && lines[0].contains("outcome=internal "), "{lines:?}");

            let client = Client::over(gate.client().stream).await;
            let beginning = client.begin(post(PATH, &[("x-api-key", ALICE)], r#"{"model":"single"}"#));
            let serving = async {
                let mut upstream = gate.asked(FIRST).await;
                answer(&mut upstream, STREAM).await;
                answer(&mut upstream, chunk(event("1"))).await;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                answer(&mut upstream, BREAK).await;
            };
            let (response, ()) = tokio::join!(beginning, serving);
            assert!(!crate::http2::read(response.unwrap()).await.complete, "the stream is reset");
            let lines = heard.requests();
            assert!(lines.len() == 1 && lines[0].contains("outcome=internal "), "{lines:?}");
            let head = http::Request::head("http://berry/health/live").body(Default::default()).unwrap();
            assert_eq!(client.begin(head).await.unwrap().status(), 200, "its connection goes on");

            answer(&mut second, OK).await;
            assert_eq!(other.response().await.status, 200, "the request in flight goes on");
            other.send("GET /metrics HTTP/1.1\r\nhost: b\r\n\r\n").await;
            let metrics = other.response().await.text();
            assert!(metrics.contains("berry_panics_total{service=\"berry-api\"} 2\n"), "{metrics}");
        },
    )
    .await;
}
