//! HTTP/2 to clients, by prior knowledge: the same answers as over HTTP/1.

use berry_mock::{Gate, Script, named};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::{ALICE, Berry, DIALECTS, Dialect, Response, chat_body, fault, journal, stream_body, within};

const PATH: &str = "/v1/chat/completions";

/// How many of the recorded events it takes until one says something.
const OPENING: usize = 2;

/// A client on a connection of its own.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    /// Ends with the connection.
    pub(crate) connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    pub(crate) async fn connect(berry: &Berry) -> Self {
        Self::over(TcpStream::connect(berry.address).await.unwrap()).await
    }

    pub(crate) async fn over(io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static) -> Self {
        Self::with_window(io, 1 << 20).await
    }

    /// A client that takes so many bytes of an answer before it has been read.
    pub(crate) async fn with_window(
        io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        window: u32,
    ) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    /// Sends a request, and gives its answer once the head is there.
    pub(crate) async fn begin(&self, request: http::Request<Full<Bytes>>) -> hyper::Result<http::Response<Incoming>> {
        let mut sender = self.sender.clone();
        within(sender.ready()).await?;
        within(sender.send_request(request)).await
    }

    /// The whole answer.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
        read(self.begin(post(path, fields, body)).await.unwrap()).await
    }
}

pub(crate) fn post(path: &str, fields: &[(&str, &str)], body: impl Into<Bytes>) -> http::Request<Full<Bytes>> {
    let mut request = http::Request::post(format!("http://berry{path}")).header("content-type", "application/json");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// The whole answer, in the form that the raw client gives.
pub(crate) async fn read(response: http::Response<Incoming>) -> Response {
    let (parts, mut incoming) = response.into_parts();
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let fields = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let mut response = Response { status: parts.status.as_u16(), fields, body: Vec::new(), complete: false };
    loop {
        match within(incoming.frame()).await {
            Some(Ok(frame)) => response.body.extend(frame.into_data().unwrap_or_default()),
            Some(Err(_)) => return response,
            None => {
                response.complete = true;
                return response;
            }
        }
    }
}

#[tokio::test]
async fn requests_of_every_dialect_are_answered() {
    let berry = Berry::start().await;
    let client = Client::connect(&berry).await;
    for dialect in DIALECTS {
        let over_http1 = berry.ask(dialect).await;
        let answer = client.post(dialect.path(), &[("x-api-key", ALICE)], dialect.body()).await;
        assert_eq!((answer.status, answer.complete), (200, true));
        assert_eq!(answer.body, over_http1.body, "{dialect:?}");
        let names = |answer: &Response| {
            let mut names: Vec<String> = answer.fields.iter().map(|(name, _)| name.clone()).collect();
            names.retain(|name| !["content-length", "transfer-encoding"].contains(&name.as_str()));
            names.sort();
            names
        };
        assert_eq!(names(&answer), names(&over_http1));
        let received = berry.provider(dialect).journal();
        assert_eq!(received[0].body, received[1].body);
        assert_eq!(received[0].headers.len(), received[1].headers.len(), "{received:#?}");
    }
}

#[tokio::test]
async fn a_stream_arrives_event_by_event_with_the_same_bytes() {
    let berry = Berry::start().await;
    let client = Client::connect(&berry).await;
    let recording = named(berry_mock::Dialect::OpenAi, "chat-stream-crlf").unwrap();
    let gate = Gate::new();
    berry.first.script(Script::new().play("chat-stream-crlf").gate(&gate));
    gate.let_through(OPENING);
    let mut response = client.begin(post(PATH, &[("x-api-key", ALICE)], stream_body("single"))).await.unwrap();
    let mut body = Vec::new();
    for _ in 0..3 {
        body.extend(within(response.body_mut().frame()).await.unwrap().unwrap().into_data().unwrap());
        assert!(recording.body.starts_with(&body) && body.len() < recording.body.len());
        gate.let_through(1);
    }
    gate.open();
    let rest = read(response).await;
    assert!(rest.complete && [body, rest.body].concat() == recording.body);
}

#[tokio::test]
async fn streams_on_one_connection_do_not_wait_for_each_other() {
    let berry = Berry::start().await;
    let client = Client::connect(&berry).await;
    let gate = Gate::new();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        berry.first.script(Script::new().gate(&gate));
        let request = post(PATH, &[("x-api-key", ALICE)], stream_body("single"));
        let mut sender = client.sender.clone();
        waiting.push(tokio::spawn(async move { read(sender.send_request(request).await.unwrap()).await }));
    }
    journal(&berry.first, |all| all.len() == 50).await;
    assert_eq!(client.post("/v1/messages", &[("x-api-key", ALICE)], Dialect::Anthropic.body()).await.status, 200);
    gate.open();
    let expected = named(berry_mock::Dialect::OpenAi, "chat-stream").unwrap().body;
    for answer in waiting {
        assert!(answer.await.unwrap().body == expected);
    }
}

#[tokio::test]
async fn a_stream_that_the_client_resets_is_cancelled_upstream_and_the_others_go_on() {
    let berry = Berry::start().await;
    let client = Client::connect(&berry).await;
    let gate = Gate::new();
    berry.first.script(Script::new().gate(&gate));
    gate.let_through(OPENING);
    let response = client.begin(post(PATH, &[("x-api-key", ALICE)], stream_body("single"))).await.unwrap();
    drop(response);
    journal(&berry.first, |all| all[0].cancelled).await;

    berry.first.script(fault("hang"));
    let mut sender = client.sender.clone();
    let request = post(PATH, &[("x-api-key", ALICE)], chat_body("single"));
    let waiting = tokio::spawn(async move { sender.send_request(request).await.is_ok() });
    journal(&berry.first, |all| all.len() == 2).await;
    waiting.abort();
    journal(&berry.first, |all| all[1].cancelled).await;
    assert_eq!(client.post(PATH, &[("x-api-key", ALICE)], chat_body("single")).await.status, 200);
}

#[tokio::test]
async fn a_connection_that_breaks_cancels_all_its_requests_upstream() {
    let berry = Berry::start().await;
    let stream = std::net::TcpStream::connect(berry.address).unwrap();
    stream.set_nonblocking(true).unwrap();
    let socket = stream.try_clone().unwrap();
    let client = Client::over(TcpStream::from_std(stream).unwrap()).await;
    for _ in 0..5 {
        berry.first.script(fault("hang"));
        let mut sender = client.sender.clone();
        let request = post(PATH, &[("x-api-key", ALICE)], chat_body("single"));
        tokio::spawn(async move { sender.send_request(request).await.is_ok() });
    }
    journal(&berry.first, |all| all.len() == 5).await;
    let start = std::time::Instant::now();
    socket.shutdown(std::net::Shutdown::Both).unwrap();
    journal(&berry.first, |all| all.iter().all(|request| request.cancelled)).await;
    assert!(start.elapsed() < std::time::Duration::from_millis(1500), "not by the request's time limit");
}

#[tokio::test]
async fn failures_are_told_as_over_http_1() {
    let berry = Berry::without_retries().await;
    let client = Client::connect(&berry).await;
    for dialect in DIALECTS {
        let post = async |fields: &[(&str, &str)], body: &str| {
            client.post(dialect.path(), fields, Bytes::copy_from_slice(body.as_bytes())).await
        };
        dialect.assert_told(&post(&[], "{}").await, "auth_missing_or_invalid", "no token");
        dialect.assert_told(&post(&[("x-api-key", ALICE)], "no JSON").await, "invalid_json", "no JSON");
        let large = "x".repeat(1_000_001);
        dialect.assert_told(&post(&[("x-api-key", ALICE)], &large).await, "body_too_large", "a large body");
        berry.provider(dialect).script(fault("500"));
        dialect.assert_told(&post(&[("x-api-key", ALICE)], dialect.body()).await, "upstream_error", "a 500");
    }
    let missing = client.post("/v1/nothing", &[("x-request-id", "mine")], "").await;
    Dialect::OpenAi.assert_told(&missing, "route_not_found", "no such path");
    assert_eq!(missing.field("x-request-id"), Some("mine"));
}

#[tokio::test]
async fn a_head_that_cannot_be_taken_is_told_so_and_leaves_the_other_streams_alone() {
    let berry = Berry::start().await;
    let client = Client::connect(&berry).await;
    let long = format!("/{}", "a".repeat(9_000));
    let many: Vec<(&str, &str)> = vec![("x-a", "b"); 101];
    assert_eq!(client.post(&long, &[], "").await.status, 414);
    assert_eq!(client.post(PATH, &many, "").await.status, 431);
    assert_eq!(client.post(PATH, &[("content_length", "3")], "").await.status, 400);
    let trace = http::Request::builder().method("TRACE").uri("http://berry/health").body(Full::default()).unwrap();
    let answer = read(client.begin(trace).await.unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (501, "invalid_request"));
    assert_eq!(client.post(PATH, &[("x-api-key", ALICE)], chat_body("single")).await.status, 200);
    assert_eq!(berry.asked(), (1, 0));
}

#[tokio::test]
async fn a_stream_that_upstream_cuts_ends_with_an_error_event_or_a_reset() {
    let berry = Berry::start().await;
    let client = Client::connect(&berry).await;
    berry.first.script(fault("truncate"));
    let answer = client.post(PATH, &[("x-api-key", ALICE)], stream_body("single")).await;
    assert!(answer.complete && answer.text().contains("upstream_truncated"), "{}", answer.text());
    // What is no stream has no event that could tell of it.
    let beginning = format!("{{\"x\":\"{}", "y".repeat(300_000));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 400000\r\n\r\n";
    berry.first.script(Script::new().raw(format!("{head}{beginning}")));
    // A reset may overtake what was sent before it.
    if let Ok(response) = client.begin(post(PATH, &[("x-api-key", ALICE)], chat_body("single"))).await {
        let answer = read(response).await;
        assert!(!answer.complete && beginning.starts_with(&answer.text()), "{}", answer.body.len());
    }
    assert_eq!(client.post(PATH, &[("x-api-key", ALICE)], chat_body("single")).await.status, 200);
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let berry = Berry::start().await;
    let client = Client::connect(&berry).await;
    let body = format!(r#"{{"model":"single","x":"{}"}}"#, "y".repeat(999_000 - 30));
    berry.first.script(fault("huge-5"));
    let answer = client.post(PATH, &[("x-api-key", ALICE)], body.clone()).await;
    assert!(answer.complete && answer.body.len() > 5 << 20, "{}", answer.body.len());
    assert_eq!(berry.first.journal()[0].text(), body.replace("single", "gpt-first"));
}

#[tokio::test]
async fn head_has_no_body() {
    let berry = Berry::start().await;
    let client = Client::connect(&berry).await;
    let request = http::Request::head("http://berry/health").body(Full::default()).unwrap();
    let answer = read(client.begin(request).await.unwrap()).await;
    assert_eq!((answer.status, answer.complete, answer.body.len()), (200, true, 0));
}

#[tokio::test]
async fn a_listener_that_moves_lets_its_connections_end_and_takes_new_ones() {
    let berry = Berry::start().await;
    let (busy, idle) = (Client::connect(&berry).await, Client::connect(&berry).await);
    let gate = Gate::new();
    berry.first.script(Script::new().gate(&gate));
    gate.let_through(OPENING);
    let response = busy.begin(post(PATH, &[("x-api-key", ALICE)], stream_body("single"))).await.unwrap();
    idle.post("/health", &[], "").await;
    let mut plain = berry.connect().await;
    plain.send("GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(plain.response().await.status, 200);
    berry.part();
    within(idle.connection).await.unwrap().unwrap();
    assert!(plain.is_closed().await);
    assert_eq!(berry.get("/health/live", &[]).await.status, 200);
    let newcomer = Client::connect(&berry).await;
    newcomer.post("/health", &[], "").await;
    gate.open();
    let answer = read(response).await;
    assert!(answer.complete && answer.body == named(berry_mock::Dialect::OpenAi, "chat-stream").unwrap().body);
    within(busy.connection).await.unwrap().unwrap();
    assert!(!newcomer.connection.is_finished());
}

#[tokio::test]
async fn a_drain_ends_the_connection_once_its_streams_are_over() {
    let mut berry = Berry::start().await;
    let client = Client::connect(&berry).await;
    let gate = Gate::new();
    berry.first.script(Script::new().gate(&gate));
    gate.let_through(OPENING);
    let response = client.begin(post(PATH, &[("x-api-key", ALICE)], stream_body("single"))).await.unwrap();
    let idle = Client::connect(&berry).await;
    idle.post("/health", &[], "").await;
    berry.drain();
    within(idle.connection).await.unwrap().unwrap();
    gate.open();
    let answer = read(response).await;
    assert!(answer.complete && answer.body == named(berry_mock::Dialect::OpenAi, "chat-stream").unwrap().body);
    within(client.connection).await.unwrap().unwrap();
}
