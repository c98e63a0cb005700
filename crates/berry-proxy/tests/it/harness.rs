//! The plumbing of the tests: a gateway with scripted providers, a raw HTTP/1 client, and a clock that tests move.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use berry_mock::{Mock, Options};
use berry_proxy::net::{SystemClock, SystemDisk, TcpConnector, TcpPort};
use berry_proxy::ports::{Clock, Listener};
use berry_proxy::{Gateway, Live, Snapshot, Surroundings, Workers, WorkersOptions};
use berry_vocab::Moment;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const ALICE: &str = "token-of-alice-1234567";
pub(crate) const ROOT: &str = "token-of-the-admin-user";
pub(crate) const BOB: &str = "token-of-bob-123456789";
pub(crate) const FORCER: &str = "token-of-the-forcer-12";

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// The system's clock, which a test may move forward.
pub(crate) struct TestClock {
    system: SystemClock,
    ahead_nanos: AtomicU64,
}

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.ahead_nanos.fetch_add(by.as_nanos() as u64, Relaxed);
    }

    fn ahead(&self) -> Duration {
        Duration::from_nanos(self.ahead_nanos.load(Relaxed))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Moment {
        self.system.now().after(self.ahead())
    }

    fn instant(&self, moment: Moment) -> tokio::time::Instant {
        self.system.instant(Moment::ZERO.after(moment.since(Moment::ZERO).saturating_sub(self.ahead())))
    }

    fn unix_millis(&self) -> u64 {
        self.system.unix_millis() + self.ahead().as_millis() as u64
    }
}

/// A gateway on a free port, with the four providers of the fixture behind it.
pub(crate) struct Berry {
    pub(crate) address: SocketAddr,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) first: Mock,
    pub(crate) second: Mock,
    pub(crate) claude: Mock,
    pub(crate) google: Mock,
    parting: Parting,
    stop: Option<Stop>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Berry {
    /// Starts it with the fixture file `pair.toml`.
    pub(crate) async fn start() -> Self {
        Self::with(|text| text).await
    }

    /// Starts it with the fixture file, changed.
    pub(crate) async fn with(change: impl FnOnce(String) -> String) -> Self {
        Self::before([mock().await, mock().await, mock().await, mock().await], change, None).await
    }

    /// Starts it without repeated visits, so that each failure is seen once.
    pub(crate) async fn without_retries() -> Self {
        Self::with(without_retries).await
    }

    /// Starts it before these providers, behind a TLS listener if there is a configuration for one.
    pub(crate) async fn before(
        [first, second, claude, google]: [Mock; 4],
        change: impl FnOnce(String) -> String,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let text = pair([&first.url(), &second.url(), &claude.url(), &google.url()]);
        let clock = Arc::new(TestClock { system: SystemClock::new(), ahead_nanos: AtomicU64::new(0) });
        let (running, stop, thread) = run(change(text), clock.clone(), tls);
        let (address, gateway, parting) = running;
        Self { address, gateway, clock, first, second, claude, google, parting, stop: Some(stop), thread: Some(thread) }
    }

    /// The provider that speaks a dialect; for OpenAI's the first.
    pub(crate) fn provider(&self, dialect: Dialect) -> &Mock {
        match dialect {
            Dialect::OpenAi => &self.first,
            Dialect::Anthropic => &self.claude,
            Dialect::Gemini => &self.google,
        }
    }

    /// Asks Alice's usual question of a dialect.
    pub(crate) async fn ask(&self, dialect: Dialect) -> Response {
        self.post(dialect.path(), &[bearer(ALICE).as_field()], dialect.body()).await
    }

    /// Begins to drain: no further requests, those in flight go on.
    pub(crate) fn drain(&mut self) {
        self.gateway.advance(berry_proxy::Phase::Draining);
        self.stop.take().unwrap().send(PATIENCE).unwrap();
    }

    /// As when the listener has moved.
    pub(crate) fn part(&self) {
        (self.parting)(None);
    }

    /// How many requests the first and the second provider have received.
    pub(crate) fn asked(&self) -> (usize, usize) {
        (self.first.journal().len(), self.second.journal().len())
    }

    /// Sends raw bytes on a connection of their own, and reads the answer.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> Response {
        let mut connection = self.connect().await;
        connection.send(bytes).await;
        connection.response().await
    }

    /// A connection to the gateway.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::over(TcpStream::connect(self.address).await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.raw(head("GET", path, fields, None)).await
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)], body: &str) -> Response {
        self.raw(request(path, fields, body)).await
    }

    /// A chat request of Alice's for `model`.
    pub(crate) async fn chat(&self, model: &str) -> Response {
        self.chat_as(ALICE, model).await
    }

    pub(crate) async fn chat_as(&self, token: &str, model: &str) -> Response {
        self.post("/v1/chat/completions", &[bearer(token).as_field()], &chat_body(model)).await
    }
}

impl Drop for Berry {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        if !std::thread::panicking() {
            let snapshot = self.gateway.snapshot();
            let health = berry_proxy::report::health(&self.gateway, &snapshot).to_json();
            let limits = berry_proxy::report::rate_limit_usage(&self.gateway, &snapshot, None);
            look_for_secrets(&format!("{health:?} {limits:?}"));
            look_for_secrets(&berry_proxy::report::metrics(&self.gateway, &snapshot));
        }
    }
}

/// Fails where a key or token of the fixture's stands in what a gateway tells (promise 5). Every gateway and every answer of these
/// tests is looked through.
fn look_for_secrets(told: &str) {
    const KEYS: [&str; 4] =
        ["sk-first-0123456789", "sk-second-0123456789", "sk-ant-api03-0123456789", "AIzaSyA-0123456789"];
    for secret in KEYS.into_iter().chain([ALICE, BOB, ROOT, FORCER]) {
        assert!(!told.contains(secret), "{secret} stands in {told}");
    }
}

/// Tells a gateway to stop, and how long what is in flight may take.
type Stop = tokio::sync::oneshot::Sender<Duration>;

/// Lets its connections go.
type Parting = Box<dyn Fn(Option<Arc<rustls::ServerConfig>>) + Send>;

/// Runs a gateway on a thread of its own until it is told to stop.
fn run(
    text: String,
    clock: Arc<TestClock>,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> ((SocketAddr, Arc<Gateway>, Parting), Stop, std::thread::JoinHandle<()>) {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let mut port = TcpPort::bind(([127, 0, 0, 1], 0).into()).unwrap();
            let (gateway, workers) = start(&text, clock, tls);
            tell.send((port.local_addr().unwrap(), gateway, workers.parting())).unwrap();
            let accept = async {
                loop {
                    workers.serve(port.accept().await);
                }
            };
            let limit = tokio::select! { () = accept => Duration::ZERO, limit = stopped => limit.unwrap_or_default() };
            workers.drain(limit).await;
        });
    });
    (told.recv().unwrap(), stop, thread)
}

fn start(text: &str, clock: Arc<TestClock>, tls: Option<Arc<rustls::ServerConfig>>) -> (Arc<Gateway>, Workers) {
    let live = Arc::new(Live::default());
    let gateway = Gateway::new(snapshot(text, &live, clock.now()), live, clock.clone());
    let connector: fn() -> Rc<dyn berry_proxy::ports::Connector> = || Rc::new(TcpConnector::new());
    let options = WorkersOptions { threads: 1, tls, seed: 1, connector, open_files: 1 << 20, checks: false };
    let clock: Arc<dyn Clock> = clock;
    let workers = Workers::start(&gateway, &clock, &options).unwrap();
    (gateway, workers)
}

/// The fixture file `pair.toml` with the URLs of its providers: first, second, claude, google.
pub(crate) fn pair(urls: [&str; 4]) -> String {
    let text = std::fs::read_to_string(fixture("pair.toml")).unwrap();
    let places = ["${first}", "${second}", "${claude}", "${google}"];
    places.iter().zip(urls).fold(text, |text, (place, url)| text.replace(place, url))
}

/// The configuration without repeated visits.
pub(crate) fn without_retries(text: String) -> String {
    text.replace("[settings]\n", "[settings]\nmax_retries = 0\n")
}

/// The configuration with a fresh connection for each request, on which a break is not taken for a stale one.
pub(crate) fn without_pools(text: String) -> String {
    text.replace("api_key = \"", "pool_max_idle_per_host = 0\napi_key = \"")
}

/// The snapshot of a configuration.
pub(crate) fn snapshot(text: &str, live: &Live, now: Moment) -> Snapshot {
    let loaded = berry_config::load(text, Path::new("test.toml"));
    let errors: Vec<String> = loaded.errors().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
    let config = loaded.config.unwrap_or_else(|| panic!("the fixture is bad: {errors:#?}"));
    Snapshot::build(&config, &Surroundings { live, disk: &SystemDisk, workers: 1, now }).unwrap()
}

pub(crate) fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) async fn mock() -> Mock {
    Mock::start(Options::default()).await.unwrap()
}

/// Waits for a condition of a mock's journal, and fails the test when it does not come.
pub(crate) async fn journal(
    mock: &Mock,
    holds: impl FnMut(&[berry_mock::Received]) -> bool,
) -> Vec<berry_mock::Received> {
    within(mock.wait_for(holds)).await
}

/// Fails the test when `future` takes too long.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// A raw HTTP/1 connection.
pub(crate) struct Connection<S = TcpStream> {
    pub(crate) stream: S,
    /// How long it waits for anything.
    pub(crate) patience: Duration,
    read: Vec<u8>,
}

/// An answer, taken apart by hand.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end as its framing has it.
    pub(crate) complete: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, patience: PATIENCE, read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Reads what has come; `false`: the connection is over.
    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(self.patience, self.stream.read_buf(&mut self.read)).await;
        read.expect("it takes too long").is_ok_and(|read| read > 0)
    }

    /// The head of an answer.
    pub(crate) async fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let end = loop {
            match self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end,
                None if self.more().await => {}
                None => return None,
            }
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let field = |line: &str| {
            line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).unwrap()
        };
        Some((status, lines.map(field).collect()))
    }

    /// The whole answer.
    pub(crate) async fn response(&mut self) -> Response {
        let (status, fields) = self.head().await.expect("the connection ended without an answer");
        self.body(status, fields).await
    }

    /// What follows such a head.
    pub(crate) async fn body(&mut self, status: u16, fields: Vec<(String, String)>) -> Response {
        let mut response = Response { status, fields, body: Vec::new(), complete: false };
        if let Some(length) = response.field("content-length").map(|length| length.parse::<usize>().unwrap()) {
            while self.read.len() < length && self.more().await {}
            response.complete = self.read.len() >= length;
            response.body = self.read.drain(..length.min(self.read.len())).collect();
        } else if response.field("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk().await {
                response.complete = chunk.is_empty();
                response.body.extend_from_slice(&chunk);
                if chunk.is_empty() {
                    break;
                }
            }
        } else if status >= 200 {
            response.body = self.rest().await;
        }
        look_for_secrets(&format!("{:?} {}", response.fields, response.text()));
        response
    }

    /// What comes until the connection is over.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// The head of an answer to HEAD, which has no body.
    pub(crate) async fn bodiless(&mut self) -> Response {
        let (status, fields) = self.head().await.expect("the connection ended without an answer");
        Response { status, fields, body: Vec::new(), complete: true }
    }

    /// The next chunk of a chunked body; the last is empty, and nothing comes after a cut.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line_end = loop {
            match self.read.windows(2).position(|window| window == b"\r\n") {
                Some(end) => break end,
                None if self.more().await => {}
                None => return None,
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&self.read[..line_end]).unwrap(), 16).unwrap();
        while self.read.len() < line_end + 2 + size + 2 {
            if !self.more().await {
                return None;
            }
        }
        let chunk = self.read[line_end + 2..line_end + 2 + size].to_vec();
        self.read.drain(..line_end + 2 + size + 2);
        Some(chunk)
    }

    /// Whether the gateway closes the connection without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && !self.more().await
    }

    /// Chunks until so many bytes have come.
    pub(crate) async fn chunks(&mut self, bytes: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < bytes {
            body.extend(self.chunk().await.expect("the body ended early"));
        }
        body
    }
}

impl Response {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The error code of OpenAI's dialect.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// In whose way a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
}

pub(crate) const DIALECTS: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini];

/// The contract's table of codes: status, OpenAI's type, Anthropic's type, Gemini's status.
const CODES: [(&str, u16, &str, &str, &str); 26] = [
    ("invalid_json", 400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    ("json_depth", 400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    ("invalid_request", 400, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    ("auth_missing_or_invalid", 401, "authentication_error", "authentication_error", "UNAUTHENTICATED"),
    ("ip_forbidden", 403, "permission_error", "permission_error", "PERMISSION_DENIED"),
    ("model_forbidden", 403, "permission_error", "permission_error", "PERMISSION_DENIED"),
    ("model_not_found", 404, "invalid_request_error", "not_found_error", "NOT_FOUND"),
    ("route_not_found", 404, "invalid_request_error", "not_found_error", "NOT_FOUND"),
    ("method_not_allowed", 405, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    ("body_too_large", 413, "invalid_request_error", "request_too_large", "INVALID_ARGUMENT"),
    ("unsupported_media", 415, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    ("request_timeout", 408, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    ("expectation_failed", 417, "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    ("rate_limited", 429, "rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    ("concurrency_limited", 429, "rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    ("upstream_overloaded", 429, "rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    ("upstream_connect", 502, "server_error", "api_error", "INTERNAL"),
    ("upstream_error", 502, "server_error", "api_error", "INTERNAL"),
    ("upstream_auth", 502, "server_error", "api_error", "INTERNAL"),
    ("upstream_disconnected", 502, "server_error", "api_error", "INTERNAL"),
    ("upstream_truncated", 502, "server_error", "api_error", "INTERNAL"),
    ("upstream_bad_response", 502, "server_error", "api_error", "INTERNAL"),
    ("upstream_timeout", 504, "server_error", "timeout_error", "DEADLINE_EXCEEDED"),
    ("no_backend", 503, "server_error", "overloaded_error", "UNAVAILABLE"),
    ("shutdown", 503, "server_error", "overloaded_error", "UNAVAILABLE"),
    ("internal", 500, "server_error", "api_error", "INTERNAL"),
];

impl Dialect {
    /// Where it is usually asked.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Dialect::OpenAi => "/v1/chat/completions",
            Dialect::Anthropic => "/v1/messages",
            Dialect::Gemini => "/v1beta/models/gemini:generateContent",
        }
    }

    /// What is usually asked: of a model with one backend.
    pub(crate) fn body(self) -> &'static str {
        match self {
            Dialect::OpenAi => r#"{"model":"single","messages":[]}"#,
            Dialect::Anthropic => r#"{"model":"claude","messages":[],"max_tokens":9}"#,
            Dialect::Gemini => r#"{"contents":[]}"#,
        }
    }

    /// Fails the test unless the answer tells this code in this dialect, as the contract has it.
    pub(crate) fn assert_told(self, answer: &Response, code: &str, case: &str) {
        let row = CODES.iter().find(|row| row.0 == code).unwrap_or_else(|| panic!("the table lacks {code}"));
        assert_eq!(answer.status, row.1, "{self:?} {case}: {}", answer.text());
        assert_eq!(answer.field("content-type"), Some("application/json"), "{self:?} {case}");
        let body = answer.json();
        let message = body["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty() && !message.contains("127.0.0.1"), "{self:?} {case}: {message}");
        match self {
            Dialect::OpenAi => {
                assert_eq!((&body["error"]["code"], &body["error"]["type"]), (&code.into(), &row.2.into()), "{case}");
            }
            Dialect::Anthropic => {
                assert_eq!((&body["type"], &body["error"]["type"]), (&"error".into(), &row.3.into()), "{case}");
                assert_eq!(body["request_id"], answer.field("request-id").unwrap(), "{case}");
            }
            Dialect::Gemini => {
                assert_eq!(
                    (&body["error"]["code"], &body["error"]["status"]),
                    (&row.1.into(), &row.4.into()),
                    "{case}"
                );
            }
        }
        assert!(
            !matches!(row.1, 429 | 503) || answer.field("retry-after").is_some(),
            "{self:?} {case}: no retry-after"
        );
    }
}

/// A fault of the mock's, by its name.
pub(crate) fn fault(name: &str) -> berry_mock::Fault {
    berry_mock::Fault::parse(name).unwrap()
}

/// A field line's value with the token in it.
pub(crate) struct Bearer(String);

pub(crate) fn bearer(token: &str) -> Bearer {
    Bearer(format!("Bearer {token}"))
}

impl Bearer {
    pub(crate) fn as_field(&self) -> (&str, &str) {
        ("authorization", &self.0)
    }
}

/// How a chat stream ends.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// An event of a chat stream that says `text`.
pub(crate) fn event(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

/// Bytes as one chunk of an HTTP/1 body.
pub(crate) fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// The end of a chunked body.
pub(crate) const LAST: &str = "0\r\n\r\n";

pub(crate) fn chat_body(model: &str) -> String {
    format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],"model":"{model}"}}"#)
}

pub(crate) fn stream_body(model: &str) -> String {
    format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],"model":"{model}","stream":true}}"#)
}

pub(crate) fn head(method: &str, path: &str, fields: &[(&str, &str)], length: Option<usize>) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = length.map(|length| format!("content-length: {length}\r\n")).unwrap_or_default();
    format!("{method} {path} HTTP/1.1\r\nhost: berry\r\n{fields}{length}\r\n")
}

/// A whole POST request with a JSON body.
pub(crate) fn request(path: &str, fields: &[(&str, &str)], body: &str) -> String {
    let has_type = fields.iter().any(|(name, _)| *name == "content-type");
    let fields: Vec<(&str, &str)> =
        fields.iter().copied().chain((!has_type).then_some(("content-type", "application/json"))).collect();
    head("POST", path, &fields, Some(body.len())) + body
}
