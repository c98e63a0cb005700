//! Connections: reuse, pipelining, chunked requests, the journal, stopping, HTTP/2 and TLS.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod harness;

use berry_mock::{Mock, Options, Script, Stats};
use bytes::Bytes;
use harness::{chat, drain, faulty, mock, post, read_until};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

fn recorded(name: &str) -> &'static [u8] {
    berry_mock::named(berry_mock::Dialect::OpenAi, name).unwrap().body
}

#[tokio::test]
async fn a_connection_is_kept_and_pipelined_requests_are_answered_in_order() {
    let mock = mock().await;
    let mut stream = TcpStream::connect(mock.addr()).await.unwrap();
    let both = chat("m", false) + &post("/v1/moderations", "{}");
    stream.write_all(both.as_bytes()).await.unwrap();
    read_until(&mut stream, |bytes| bytes.ends_with(recorded("moderations"))).await;
    let journal = mock.wait_for(|journal| journal.len() == 2 && journal[1].completed).await;
    assert_eq!(journal[0].path, "/v1/chat/completions");
    assert_eq!((journal[0].connection, journal[1].connection), (1, 1));
    assert_eq!(mock.stats().connections, 1);
}

#[tokio::test]
async fn the_journal_holds_the_request_as_it_came() {
    let mock = mock().await;
    let mut stream = TcpStream::connect(mock.addr()).await.unwrap();
    let request = "POST /v1/embeddings?a=b HTTP/1.1\r\nX-One: 1\r\nhost: h\r\nX-One: 2\r\nTransfer-Encoding: chunked\r\nconnection: close\r\n\r\n\
                   5;x=y\r\n{\"inp\r\n9\r\nut\":\"hi\"}\r\n0\r\ntrailer: t\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    drain(&mut stream).await;
    let received = mock.wait_for(|journal| journal[0].completed).await.remove(0);
    assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", "/v1/embeddings?a=b"));
    assert_eq!(received.text(), r#"{"input":"hi"}"#);
    assert_eq!(received.http_version, "HTTP/1.1");
    let names: Vec<&str> = received.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["X-One", "host", "X-One", "Transfer-Encoding", "connection"]);
    assert_eq!(received.header("x-one"), Some("1"));
}

#[tokio::test]
async fn a_client_that_leaves_within_its_body_is_noted_with_what_had_come() {
    let mock = mock().await;
    let mut stream = TcpStream::connect(mock.addr()).await.unwrap();
    stream.write_all(b"POST /v1/messages HTTP/1.1\r\ncontent-length: 99\r\n\r\n{\"mod").await.unwrap();
    drop(stream);
    let journal = mock.wait_for(|journal| journal.first().is_some_and(|request| request.cancelled)).await;
    assert_eq!(journal[0].text(), "{\"mod");
}

#[tokio::test]
async fn expect_100_is_answered_before_the_body_is_sent() {
    let mock = mock().await;
    let mut stream = TcpStream::connect(mock.addr()).await.unwrap();
    let head = "POST /v1/messages HTTP/1.1\r\ncontent-length: 2\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, |bytes| bytes == b"HTTP/1.1 100 Continue\r\n\r\n").await;
    stream.write_all(b"{}").await.unwrap();
    assert!(drain(&mut stream).await.text().starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn stopping_closes_everything_and_the_address_can_be_taken_again() {
    let first = mock().await;
    let addr = first.addr();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(chat("mock-hang", false).as_bytes()).await.unwrap();
    first.wait_for(|journal| journal.len() == 1).await;
    first.stop().await;
    assert!(drain(&mut stream).await.bytes.is_empty());
    assert!(TcpStream::connect(addr).await.is_err());
    let again = Mock::start(Options { listen: addr, ..Options::default() }).await.unwrap();
    TcpStream::connect(again.addr()).await.unwrap();
}

#[tokio::test]
async fn idle_connections_are_closed_on_demand() {
    let mock = mock().await;
    let mut stream = TcpStream::connect(mock.addr()).await.unwrap();
    stream.write_all(chat("m", false).as_bytes()).await.unwrap();
    read_until(&mut stream, |bytes| bytes.ends_with(recorded("chat"))).await;
    mock.wait_for(|journal| journal[0].completed).await;
    mock.close_idle();
    let answer = drain(&mut stream).await;
    assert!(answer.bytes.is_empty() && answer.error.is_none());
}

#[tokio::test]
async fn the_journal_keeps_no_more_than_it_may() {
    let mock = Mock::start(Options { journal_limit: 2, ..Options::default() }).await.unwrap();
    for model in ["a", "b", "c"] {
        harness::ask(&mock, &chat(model, false)).await;
    }
    let journal = mock.wait_for(|journal| journal.iter().all(|request| request.completed)).await;
    assert_eq!((journal.len(), mock.stats().requests), (2, 3));
    assert!(journal[0].text().contains("\"b\""));
}

async fn page(mock: &Mock, path: &str) -> serde_json::Value {
    let answer = harness::ask(mock, &format!("GET {path} HTTP/1.1\r\n\r\n")).await.parse();
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")));
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn counters_are_served_as_json() {
    let mock = mock().await;
    harness::ask(&mock, &chat("m", true)).await;
    let stats = page(&mock, "/__stats").await;
    assert_eq!((&stats["streams"], &stats["completed"]), (&1.into(), &1.into()));
}

#[tokio::test]
async fn the_journal_is_served_as_json_oldest_first() {
    let mock = mock().await;
    assert_eq!(page(&mock, "/__journal").await, json!([]));
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b\r\n\r\n\u{fffd}\r\n--b--";
    for request in [
        chat("gpt-4o-mini", false),
        post("/v1/audio/transcriptions", form),
        post("/v1beta/models/gemini-2.5-flash:generateContent?key=k", "{}"),
        "GET /v1/models HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        harness::ask(&mock, &request).await;
    }
    mock.wait_for(|journal| journal.iter().all(|request| request.completed)).await;
    let journal = page(&mock, "/__journal").await;
    let models: Vec<&str> = (0..4).map(|i| journal[i]["model"].as_str().unwrap()).collect();
    assert_eq!(models, ["gpt-4o-mini", "whisper-1", "gemini-2.5-flash", ""]);
    assert_eq!(journal[1]["body"], form);
    let body = r#"{"model":"gpt-4o-mini","stream":false,"messages":[]}"#;
    let first = json!({
        "method": "POST",
        "path": "/v1/chat/completions",
        "model": "gpt-4o-mini",
        "headers": [["Connection", "close"], ["Host", "mock"], ["Content-Length", body.len().to_string()]],
        "body": body,
        "body_bytes": body.len(),
        "completed": true,
        "cancelled": false,
        // The first look into the journal came on the first connection.
        "connection": 2,
        "http_version": "HTTP/1.1",
    });
    assert_eq!(journal[0], first);
}

#[tokio::test]
async fn the_mocks_own_pages_are_not_journaled_and_take_no_script() {
    let mock = faulty("500").await;
    mock.script(Script::new().json(418, "{}"));
    page(&mock, "/__journal?x=y").await;
    page(&mock, "/__stats").await;
    let nothing = harness::ask(&mock, &post("/__nothing", "{}")).await.parse();
    assert_eq!((nothing.status, mock.scripts_left()), (404, 1));
    let mut client = http2(TcpStream::connect(mock.addr()).await.unwrap()).await;
    let over_http2 = http::Request::get(format!("{}/__journal", mock.url())).body(Full::default()).unwrap();
    let answer = client.send_request(over_http2).await.unwrap().into_body().collect().await;
    assert_eq!(answer.unwrap().to_bytes(), "[]");
    let stats = Stats {
        connections: mock.stats().connections,
        open_connections: mock.stats().open_connections,
        ..Stats::default()
    };
    assert_eq!((mock.journal().len(), mock.stats()), (0, stats));
}

#[tokio::test]
async fn the_journals_page_shows_the_beginning_of_a_long_body() {
    let mock = mock().await;
    harness::ask(&mock, &post("/v1/messages", &"é".repeat(50_000))).await;
    let journal = page(&mock, "/__journal").await;
    assert_eq!(journal[0]["body"], "é".repeat(32 << 10));
    assert_eq!(journal[0]["body_bytes"], 100_000);
}

// === HTTP/2 ===

type Client = SendRequest<Full<Bytes>>;

async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Client {
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

fn request(mock: &Mock, model: &str, stream: bool) -> http::Request<Full<Bytes>> {
    let body = format!(r#"{{"model":"{model}","stream":{stream},"messages":[]}}"#);
    http::Request::post(format!("{}/v1/chat/completions", mock.url())).body(Full::from(body)).unwrap()
}

#[tokio::test]
async fn http2_is_spoken_by_prior_knowledge_with_the_same_bytes() {
    let mock = mock().await;
    let mut client = http2(TcpStream::connect(mock.addr()).await.unwrap()).await;
    for (stream, name) in [(false, "chat"), (true, "chat-stream")] {
        let response = client.send_request(request(&mock, "m", stream)).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.into_body().collect().await.unwrap().to_bytes() == recorded(name));
    }
    let journal = mock.wait_for(|journal| journal.iter().filter(|request| request.completed).count() == 2).await;
    assert_eq!(journal[0].http_version, "HTTP/2.0");
    assert_eq!(journal[0].header(":authority"), Some(mock.addr().to_string().as_str()));
}

#[tokio::test]
async fn http2_faults_hit_their_stream_and_no_other() {
    let mock = mock().await;
    let mut client = http2(TcpStream::connect(mock.addr()).await.unwrap()).await;
    assert!(client.send_request(request(&mock, "mock-drop", true)).await.is_err());
    let reset = client.send_request(request(&mock, "mock-reset", true)).await.unwrap();
    assert!(reset.into_body().collect().await.is_err());
    let cut = client.send_request(request(&mock, "mock-truncate", true)).await.unwrap();
    let cut = cut.into_body().collect().await.unwrap().to_bytes();
    assert!(recorded("chat-stream").starts_with(&cut) && cut.len() < recorded("chat-stream").len());
    let response = client.send_request(request(&mock, "mock-503", false)).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(mock.stats().connections, 1);
}

#[tokio::test]
async fn http2_cancellation_is_noted() {
    let mock = mock().await;
    let mut client = http2(TcpStream::connect(mock.addr()).await.unwrap()).await;
    let stalled = client.send_request(request(&mock, "mock-stall", true)).await.unwrap();
    drop(stalled);
    mock.wait_for(|journal| journal[0].cancelled).await;
    let hanging = client.send_request(request(&mock, "mock-hang", true));
    tokio::select! {
        _ = hanging => panic!("it answered"),
        _ = mock.wait_for(|journal| journal.len() == 2) => {}
    }
    mock.wait_for(|journal| journal[1].cancelled).await;
}

#[cfg(feature = "tls")]
mod tls {
    use super::*;
    use berry_mock::Tls;
    use rustls::pki_types::ServerName;
    use std::sync::Arc;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    async fn connect(mock: &Mock, cert: &rcgen::Certificate, alpn: &[&str]) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(mock.addr()).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    }

    #[tokio::test]
    async fn alpn_chooses_the_http_version() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let tls = Some(Tls::new(made.cert.pem(), made.signing_key.serialize_pem()));
        let mock = Mock::start(Options { tls, ..Options::default() }).await.unwrap();
        let mut client = http2(connect(&mock, &made.cert, &["h2", "http/1.1"]).await).await;
        let response = client.send_request(request(&mock, "m", false)).await.unwrap();
        assert!(response.into_body().collect().await.unwrap().to_bytes() == recorded("chat"));
        let mut stream = connect(&mock, &made.cert, &["http/1.1"]).await;
        stream.write_all(chat("m", false).as_bytes()).await.unwrap();
        let journal = mock.wait_for(|journal| journal.len() == 2 && journal[1].completed).await;
        assert_eq!((journal[0].http_version, journal[1].http_version), ("HTTP/2.0", "HTTP/1.1"));
    }
}
