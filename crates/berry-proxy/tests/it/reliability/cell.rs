//! One cell of the table: a fault, one dialect, a stream or a plain answer, with a second backend or without.

use std::rc::Rc;
use std::sync::Arc;

use berry_mock::{Gate, Mock, Recording, Script};
use berry_proxy::net::{SystemClock, TcpConnector};
use berry_proxy::ports::{Clock, Incoming};
use berry_proxy::{Gateway, Live, Worker, serve_connection};
use tokio::io::{DuplexStream, duplex};

use crate::harness::{ALICE, Connection, Dialect, Response, fault, fixture, mock, request, snapshot};
use crate::streaming::opening;

/// A fault, and what comes of it for a stream and for a plain answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) fault: &'static str,
    stream: Seen,
    plain: Seen,
    /// Limits of the provider that has the fault.
    limits: &'static str,
}

/// What comes of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is none: the backend's own answer, whole.
    Own,
    /// The backend's refusal is the answer: nothing is repaired.
    Passes(u16),
    /// The backend does not know the model: the second answers, or the refusal is the answer.
    Unknown,
    /// The second answers, unseen; without one, this code is told.
    Fails(&'static str),
    /// The same with `upstream_overloaded`, told as an overload and not as a rate limit.
    Overloads,
    /// The stream has begun, and ends with an error event of this code.
    Breaks(&'static str),
    /// The stream has begun, and ends with the backend's own error event.
    Theirs,
    /// OpenAI, Anthropic and Gemini, each by itself.
    Each(&'static [Seen; 3]),
}

/// A cell of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) row: Row,
    pub(super) dialect: Dialect,
    pub(super) stream: bool,
    pub(super) has_second: bool,
}

/// How a dialect tells of an overload: status, and OpenAI's and Anthropic's type or Gemini's status.
const OVERLOAD: [(Dialect, u16, &str); 3] = [
    (Dialect::OpenAi, 503, "server_error"),
    (Dialect::Anthropic, 529, "overloaded_error"),
    (Dialect::Gemini, 503, "UNAVAILABLE"),
];

// === impl Row ===

impl Row {
    pub(super) const fn of(fault: &'static str, stream: Seen, plain: Seen) -> Self {
        Row { fault, stream, plain, limits: "" }
    }

    pub(super) const fn within(mut self, limits: &'static str) -> Self {
        self.limits = limits;
        self
    }

    /// Whether the upstream's pooled connection is what is at fault.
    fn is_of_pool(&self) -> bool {
        self.fault == "stale"
    }
}

// === impl Cell ===

impl Cell {
    /// Asks, and fails the test unless client and upstreams saw what the table says.
    pub(super) async fn check(self) {
        let (one, two) = (mock().await, mock().await);
        let worker = self.gateway(&one, &two);
        let mut client = client(&worker);
        if self.row.is_of_pool() {
            one.script(fault(self.row.fault));
            client.send(self.request()).await;
            assert_eq!(client.response().await.status, 200);
        }
        let gate = Gate::new();
        let script = Script::new().fault(fault(self.row.fault));
        let begins = matches!(self.seen(), Seen::Breaks(_) | Seen::Theirs);
        one.script(if begins { script.gate(&gate) } else { script });
        client.send(self.request()).await;
        gate.let_through(opening(self.dialect));
        let (status, fields) = client.head().await.expect("no answer");
        gate.open();
        let answer = client.body(status, fields).await;
        self.judge(&answer);
        self.judge_route(&answer, [&one, &two]);
    }

    fn gateway(&self, one: &Mock, two: &Mock) -> Rc<Worker> {
        let kind = match self.dialect {
            Dialect::OpenAi => "openai",
            Dialect::Anthropic => "claude",
            Dialect::Gemini => "gemini",
        };
        let text = std::fs::read_to_string(fixture("twins.toml")).unwrap();
        let places = [
            ("${one}", one.url()),
            ("${two}", two.url()),
            ("${type}", kind.into()),
            ("${limits}", self.row.limits.into()),
        ];
        let text = places.iter().fold(text, |text, (place, value)| text.replace(place, value));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let live = Arc::new(Live::default());
        let gateway = Gateway::new(snapshot(&text, &live, clock.now()), live, clock.clone());
        Worker::new(gateway, Rc::new(TcpConnector::new()), clock, 1)
    }

    fn request(&self) -> String {
        let model = if self.has_second { "pair" } else { "alone" };
        let path = match (self.dialect, self.stream) {
            (Dialect::OpenAi, _) => "/v1/chat/completions".to_owned(),
            (Dialect::Anthropic, _) => "/v1/messages".to_owned(),
            (Dialect::Gemini, false) => format!("/v1beta/models/{model}:generateContent"),
            (Dialect::Gemini, true) => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
        };
        let body = match self.dialect {
            Dialect::Gemini => r#"{"contents":[]}"#.to_owned(),
            _ => format!(r#"{{"model":"{model}","stream":{},"messages":[],"max_tokens":9}}"#, self.stream),
        };
        request(&path, &[("x-api-key", ALICE)], &body)
    }

    fn seen(&self) -> Seen {
        match if self.stream { self.row.stream } else { self.row.plain } {
            Seen::Each(each) => each[self.dialect as usize],
            seen => seen,
        }
    }

    /// Whether the second backend is what answers.
    fn is_repaired(&self) -> bool {
        self.has_second && matches!(self.seen(), Seen::Fails(_) | Seen::Overloads | Seen::Unknown)
    }

    fn judge(&self, answer: &Response) {
        assert!(answer.complete, "{self:?}: {}", answer.text());
        match self.seen() {
            _ if self.is_repaired() => self.judge_whole(answer, true),
            Seen::Own => self.judge_whole(answer, false),
            Seen::Passes(status) => self.judge_refusal(answer, status),
            Seen::Unknown => self.judge_refusal(answer, 404),
            Seen::Fails(code) => self.dialect.assert_told(answer, code, &format!("{self:?}")),
            Seen::Overloads => self.judge_overload(answer),
            Seen::Breaks(code) => self.judge_error_event(answer, code),
            Seen::Theirs => self.judge_their_event(answer),
            Seen::Each(_) => panic!("{self:?}: a row within a row"),
        }
    }

    /// A whole answer, as recorded, with its one end; but for faults that are about its very bytes.
    fn judge_whole(&self, answer: &Response, exactly: bool) {
        let recorded = self.recording().body;
        assert_eq!(answer.status, 200, "{self:?}: {}", answer.text());
        let ends_as_recorded = answer.body.ends_with(&recorded[recorded.len() - 20..]);
        let is_longer = answer.body.len() > 1 << 19;
        match self.row.fault {
            "bigevent-1" | "huge-1" if !exactly => assert!(is_longer && ends_as_recorded, "{self:?}"),
            "malformed" if !exactly => assert!(ends_as_recorded, "{self:?}: {}", answer.text()),
            _ => assert!(answer.body == recorded, "{self:?}: {}", answer.text()),
        }
    }

    fn judge_refusal(&self, answer: &Response, status: u16) {
        assert_eq!(answer.status, status, "{self:?}: {}", answer.text());
        assert!(answer.json()["error"]["message"].is_string(), "{self:?}: {}", answer.text());
        assert!(!answer.text().contains("upstream_"), "{self:?}: its own words: {}", answer.text());
    }

    fn judge_overload(&self, answer: &Response) {
        let (_, status, kind) = OVERLOAD.into_iter().find(|row| row.0 == self.dialect).unwrap();
        let body = answer.json();
        let said = if self.dialect == Dialect::Gemini { &body["error"]["status"] } else { &body["error"]["type"] };
        assert_eq!((answer.status, said), (status, &kind.into()), "{self:?}: {body}");
        assert!(answer.field("retry-after").is_some(), "{self:?}");
        assert!(self.dialect != Dialect::OpenAi || answer.code() == "upstream_overloaded", "{self:?}: {body}");
    }

    /// What had come, and then one error event in the place of the end.
    fn judge_error_event(&self, answer: &Response, code: &str) {
        let text = answer.text();
        let (before, event) = split_last(&text);
        self.judge_beginning(answer, before);
        let (name, data) = event.rsplit_once("data: ").unwrap();
        let error = &serde_json::from_str::<serde_json::Value>(data).unwrap()["error"];
        let timed_out = code == "upstream_timeout";
        match self.dialect {
            Dialect::OpenAi => assert_eq!((name, &error["code"]), ("", &code.into()), "{self:?}: {event}"),
            Dialect::Anthropic => {
                let kind = if timed_out { "timeout_error" } else { "api_error" };
                assert_eq!((name, &error["type"]), ("event: error\n", &kind.into()), "{self:?}: {event}");
            }
            Dialect::Gemini => {
                let status = if timed_out { "DEADLINE_EXCEEDED" } else { "INTERNAL" };
                assert_eq!((name, &error["status"]), ("", &status.into()), "{self:?}: {event}");
            }
        }
    }

    fn judge_their_event(&self, answer: &Response) {
        let text = answer.text();
        let (before, event) = split_last(&text);
        self.judge_beginning(answer, before);
        assert_eq!(event.as_bytes(), recorded(self.dialect, "error-event", ".sse").body, "{self:?}");
    }

    /// The beginning of the recorded stream, in whole events and without its end.
    fn judge_beginning(&self, answer: &Response, before: &str) {
        let recorded = self.recording().body;
        assert_eq!(answer.status, 200, "{self:?}: {}", answer.text());
        assert!(before.len() > 50 && recorded.starts_with(before.as_bytes()), "{self:?}: {before}");
        let ends = ["[DONE]", "message_stop", "finishReason", "\"finish_reason\":\"stop\""];
        assert!(ends.iter().all(|end| !answer.text().contains(end)), "{self:?}: an end: {}", answer.text());
    }

    /// Whom the request went to, and that the client is told so.
    fn judge_route(&self, answer: &Response, [one, two]: [&Mock; 2]) {
        let (backend, attempts) = if self.is_repaired() { ("two/m", 2) } else { ("one/m", 1) };
        let told = (answer.field("berry-backend"), answer.field("berry-attempts"));
        assert_eq!(told, (Some(backend), Some(&*attempts.to_string())), "{self:?}");
        // A connection that was stale costs a request more, and counts as no attempt.
        let expected = if self.row.is_of_pool() { 3 } else { 1 };
        let asked = (one.journal().len(), two.journal().len());
        assert_eq!(asked, (expected, attempts - 1), "{self:?}");
    }

    /// What a sound backend answers.
    fn recording(&self) -> &'static Recording {
        // Who answers before the body has come does not know that it asks for a stream.
        let is_known = self.row.fault != "early" || self.dialect == Dialect::Gemini;
        let stream = self.stream && is_known;
        let name = match (self.dialect, stream) {
            (Dialect::OpenAi, false) => "chat",
            (Dialect::OpenAi, true) => "chat-stream",
            (Dialect::Anthropic, false) => "messages",
            (Dialect::Anthropic, true) => "messages-stream",
            (Dialect::Gemini, false) => "generate",
            (Dialect::Gemini, true) => "stream",
        };
        recorded(self.dialect, name, if stream { ".sse" } else { ".json" })
    }
}

fn recorded(dialect: Dialect, name: &str, ending: &str) -> &'static Recording {
    let vendor = match dialect {
        Dialect::OpenAi => berry_mock::Dialect::OpenAi,
        Dialect::Anthropic => berry_mock::Dialect::Anthropic,
        Dialect::Gemini => berry_mock::Dialect::Gemini,
    };
    let is_it = |row: &&Recording| row.dialect == vendor && row.name == name && row.file.ends_with(ending);
    berry_mock::RECORDINGS.iter().find(is_it).unwrap()
}

/// A client's connection.
fn client(worker: &Rc<Worker>) -> Connection<DuplexStream> {
    let (ours, theirs) = duplex(64 * 1024);
    let incoming = Incoming { peer: ([127, 0, 0, 1], 5).into(), open: Box::new(move || Ok(Box::new(theirs))) };
    tokio::task::spawn_local(serve_connection(worker.clone(), incoming, None));
    Connection::over(ours)
}

/// What stands before the last event, and the last event.
fn split_last(text: &str) -> (&str, &str) {
    let trimmed = text.trim_end();
    let ends = ["\n\n", "\r\n\r\n"].map(|end| trimmed.rfind(end).map_or(0, |at| at + end.len()));
    text.split_at(ends.into_iter().max().unwrap())
}
