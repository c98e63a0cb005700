//! Starts the program, reads what it prints, speaks plain HTTP to it, and ends it by its own id. Every wait has an end.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::canary;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const TOKEN: &str = "an-admin-token-for-tests-0123456789";
pub(crate) const USER_TOKEN: &str = "a-user-token-for-tests-0123456789";

/// What clients say, if nothing else.
pub(crate) const PROMPT: &str = "a prompt that nobody else should see";

/// The program, with none of the surroundings' variables that it reads.
pub(crate) fn berry(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berry"));
    command.args(arguments);
    for name in ["CONFIG_PATH", "BIND_ADDRESS", "RUST_LOG", "NO_COLOR", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY"] {
        command.env_remove(name);
    }
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Ended {
    Ended::of(berry(arguments).output().unwrap())
}

/// What a program that ended has said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A folder with a configuration.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn with(text: &str) -> Self {
        let folder = Self(TempDir::new().unwrap());
        std::fs::write(folder.config(), text).unwrap();
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("config.toml")
    }

    pub(crate) fn config_text(&self) -> String {
        self.config().display().to_string()
    }
}

/// A configuration with a model for each pair of public name and the name that the provider is asked for.
pub(crate) fn config(provider: &str, models: &[(&str, &str)], more: &str) -> String {
    let mut text = format!(
        r#"
[server]
listen = "127.0.0.1:0"
predrain_seconds = 0
drain_seconds = 120
[admin]
listen = "127.0.0.1:0"
[providers.mock]
base_url = "{provider}/v1"
api_key = "sk-of-a-simulated-provider"
[users.root]
token = "{TOKEN}"
tags = ["admin"]
[users.alice]
token = "{USER_TOKEN}"
"#
    );
    for (name, backend) in models {
        let _ = write!(text, "[models.{name}]\nbackends = [{{ provider = \"mock\", model = \"{backend}\" }}]\n");
    }
    // Keys of [server] may be set anew, by their lines.
    for line in more.lines() {
        match line.split_once(" = ").map(|(key, _)| format!("{key} = ")).filter(|key| text.contains(key.as_str())) {
            Some(key) => text = replace_line(&text, &key, line),
            None => text = format!("{text}{line}\n"),
        }
    }
    text
}

fn replace_line(text: &str, key: &str, line: &str) -> String {
    let mut done = false;
    let lines = text.lines().map(|old| {
        let hit = !done && old.starts_with(key);
        done |= hit;
        if hit { line } else { old }
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// A program that runs. What it leaves behind is looked through for secrets in the end.
pub(crate) struct Running {
    child: Child,
    /// The configuration of a gateway.
    config: Option<PathBuf>,
    pub(crate) stdout: Heard,
    pub(crate) stderr: Heard,
}

/// What it has printed so far.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<String>>);

impl Heard {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let heard = Heard::default();
        let told = heard.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
                told.0.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        heard
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    /// Waits until it has printed a whole line with this in it.
    pub(crate) fn line_with(&self, part: &str) -> String {
        let find = || self.text().lines().find(|line| line.contains(part)).map(str::to_owned);
        eventually(&format!("`{part}` in the output"), find)
    }
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Heard::of(child.stdout.take().unwrap());
        let stderr = Heard::of(child.stderr.take().unwrap());
        let config = command.get_args().skip_while(|argument| *argument != "--config").nth(1).map(PathBuf::from);
        Self { child, config, stdout, stderr }
    }

    pub(crate) fn serve(folder: &Folder) -> Self {
        Self::start(&mut berry(&["serve", "--config", &folder.config_text()]))
    }

    /// A simulated provider, with its URL.
    pub(crate) fn mock(arguments: &[&str]) -> (Self, String) {
        let all: Vec<&str> = ["mock", "--listen", "127.0.0.1:0"].iter().chain(arguments).copied().collect();
        let mock = Self::start(&mut berry(&all));
        let line = mock.stdout.line_with("simulated provider on ");
        let url = line.rsplit(' ').next().unwrap().to_owned();
        canary::is_mock(url.strip_prefix("http://").unwrap());
        (mock, url)
    }

    /// The addresses of a gateway's data and admin listener, once it is ready.
    pub(crate) fn addresses(&self) -> (String, String) {
        let line = self.stderr.line_with("listening on http://");
        let mut urls = line.split("http://").skip(1);
        let mut next = || urls.next().unwrap().split([',', ' ', '"']).next().unwrap().to_owned();
        (next(), next())
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit status, when it has ended.
    pub(crate) fn status(&mut self) -> Option<i32> {
        eventually("the end of the program", || self.child.try_wait().unwrap()).code()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to end, and gives the exit status.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.status()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Mostly ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let Some(config) = self.config.as_deref().filter(|_| !std::thread::panicking()) else { return };
        for (place, heard) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            canary::look(place, heard.text().as_bytes());
        }
        canary::look_in(&config.with_file_name("data"));
    }
}

/// Asks until there is something, or fails.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ask() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let of_name = |line: &&str| line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        self.head.lines().find(of_name).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }
}

/// A request on a connection of its own. The body goes with its length.
pub(crate) fn send(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let _ = write!(text, "content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// Reads an answer to the end of its connection.
pub(crate) fn receive(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    if canary::is_of_gateway(&stream) {
        canary::look("an answer", &bytes);
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {text:?}"));
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: if is_chunked { unchunked(body) } else { body.to_owned() },
    }
}

fn unchunked(mut text: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, rest) = text.split_once("\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.push_str(&rest[..size]);
        text = &rest[size + 2..];
    }
}

pub(crate) fn get(address: &str, path: &str, token: Option<&str>) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
    receive(send(address, "GET", path, &headers, ""))
}

/// Begins a chat.
pub(crate) fn chat(address: &str, model: &str, stream: &str) -> TcpStream {
    let bearer = format!("Bearer {USER_TOKEN}");
    let body =
        format!(r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    send(address, "POST", "/v1/chat/completions", &headers, &body)
}

/// A gateway that runs, with what is asked of it most.
pub(crate) struct Gateway {
    pub(crate) running: Running,
    pub(crate) data: String,
    pub(crate) admin: String,
}

impl Gateway {
    pub(crate) fn serve(config: &Path) -> Self {
        Self::of(Running::start(&mut berry(&["serve", "--config", &config.display().to_string()])))
    }

    pub(crate) fn of(running: Running) -> Self {
        let (data, admin) = running.addresses();
        Self { running, data, admin }
    }

    /// How often reading it again came to this.
    pub(crate) fn reloads(&self, result: &str) -> u64 {
        let text = get(&self.data, "/metrics", None).body;
        let start = format!("berry_config_reloads_total{{service=\"berry-api\",result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
    }

    pub(crate) fn wait_for(&self, result: &str, count: u64) {
        eventually(&format!("{count} {result}"), || (self.reloads(result) >= count).then_some(()));
    }

    pub(crate) fn generation(&self) -> u64 {
        get(&self.admin, "/admin/system-stats", Some(TOKEN)).json()["generation"].as_u64().unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        receive(send(&self.admin, "POST", path, &[("authorization", &bearer)], body))
    }

    /// The backend that answers a chat.
    pub(crate) fn backend(&self) -> String {
        let answer = receive(chat(&self.data, "m", "false"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("berry-backend").unwrap().to_owned()
    }
}

/// Puts a whole file in the place of another.
pub(crate) fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}
