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
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Berry {
    /// Starts it with the fixture file `pair.toml`.
    pub(crate) async fn start() -> Self {
        Self::with(|text| text).await
    }

    /// Starts it with the fixture file, changed.
    pub(crate) async fn with(change: impl FnOnce(String) -> String) -> Self {
        let [first, second, claude, google] = [mock().await, mock().await, mock().await, mock().await];
        let text = std::fs::read_to_string(fixture("pair.toml")).unwrap();
        let places = [("${first}", &first), ("${second}", &second), ("${claude}", &claude), ("${google}", &google)];
        let text = places.iter().fold(text, |text, (place, mock)| text.replace(place, &mock.url()));
        let clock = Arc::new(TestClock { system: SystemClock::new(), ahead_nanos: AtomicU64::new(0) });
        let (running, stop, thread) = run(change(text), clock.clone());
        let (address, gateway) = running;
        Self { address, gateway, clock, first, second, claude, google, stop: Some(stop), thread: Some(thread) }
    }

    /// Sends raw bytes on a connection of their own, and reads the answer.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> Response {
        let mut connection = self.connect().await;
        connection.send(bytes).await;
        connection.response().await
    }

    /// A connection to the gateway.
    pub(crate) async fn connect(&self) -> Connection {
        Connection { stream: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
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
    }
}

type Stop = tokio::sync::oneshot::Sender<()>;

/// Runs a gateway on a thread of its own until it is told to stop.
fn run(text: String, clock: Arc<TestClock>) -> ((SocketAddr, Arc<Gateway>), Stop, std::thread::JoinHandle<()>) {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let mut port = TcpPort::bind(([127, 0, 0, 1], 0).into()).unwrap();
            let (gateway, workers) = start(&text, clock);
            tell.send((port.local_addr().unwrap(), gateway)).unwrap();
            let accept = async {
                loop {
                    workers.serve(port.accept().await);
                }
            };
            tokio::select! { () = accept => {}, _ = stopped => {} }
            workers.drain(Duration::ZERO).await;
        });
    });
    (told.recv().unwrap(), stop, thread)
}

fn start(text: &str, clock: Arc<TestClock>) -> (Arc<Gateway>, Workers) {
    let live = Arc::new(Live::default());
    let gateway = Gateway::new(snapshot(text, &live, clock.now()), live, clock.clone());
    let connector: fn() -> Rc<dyn berry_proxy::ports::Connector> = || Rc::new(TcpConnector);
    let options = WorkersOptions { threads: 1, tls: None, seed: 1, connector };
    let clock: Arc<dyn Clock> = clock;
    let workers = Workers::start(&gateway, &clock, &options).unwrap();
    (gateway, workers)
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
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
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

impl Connection {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Reads until the connection has brought `end` bytes or more, or is over; `false`: it is over.
    async fn more(&mut self) -> bool {
        within(self.stream.read_buf(&mut self.read)).await.is_ok_and(|read| read > 0)
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
        } else {
            while self.more().await {}
            response.body = std::mem::take(&mut self.read);
        }
        response
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

    /// Whether the gateway has closed the connection.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.read.clear();
        !self.more().await
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
