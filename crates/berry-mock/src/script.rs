//! How requests are to be answered: the options of a mock, what a model name asks for, and scripts pushed by a test.
//!
//! A script wins over the model name, the model name over the options.

use bytes::Bytes;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

use crate::ask::Dialect;
use crate::fault::Fault;

/// How a mock runs; the default listens on a free port of the loopback address and answers at once.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 is a free one.
    pub listen: SocketAddr,
    /// Time to the first byte of an answer.
    pub ttfb: Duration,
    /// Events per second of a stream; none: as fast as they can be written.
    pub rate: Option<f64>,
    /// How many content events a stream has; none: as many as recorded.
    pub chunks: Option<usize>,
    /// Writes all events that are due at once in one go, as a vendor with large buffers does, not each on its own.
    pub burst: bool,
    /// A fault for all requests, unless the model name or a script says otherwise.
    pub fault: Option<Fault>,
    /// Shifts which requests a fault with a percentage hits.
    pub seed: u64,
    /// The only credential that is let in; none: everyone.
    pub require_key: Option<String>,
    /// Dialects that are served; empty: all.
    pub dialects: Vec<Dialect>,
    /// How many requests the journal keeps; older ones are forgotten.
    pub journal_limit: usize,
    /// Serves TLS with this certificate.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::Tls>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ttfb: Duration::ZERO,
            rate: None,
            chunks: None,
            burst: false,
            fault: None,
            seed: 0,
            require_key: None,
            dialects: Vec::new(),
            journal_limit: 10_000,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// How one request is to be answered; what is not said stays as the model name and the options have it.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(crate) fault: Option<Fault>,
    pub(crate) ttfb: Option<Duration>,
    pub(crate) rate: Option<f64>,
    pub(crate) chunks: Option<usize>,
    pub(crate) play: Option<String>,
    pub(crate) canned: Option<Canned>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) gate: Option<Gate>,
}

/// An answer that is no recording.
#[derive(Clone, Debug)]
pub(crate) enum Canned {
    Http {
        status: u16,
        content_type: String,
        body: Bytes,
    },
    /// Bytes instead of an HTTP answer; the connection is closed after them.
    Raw(Bytes),
}

/// Holds answers back: each write of body bytes takes one permit, so a test says when each event leaves.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Gate::new()
    }
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Gate(Arc::new(Semaphore::new(0)))
    }

    /// Lets this many further writes through.
    pub fn let_through(&self, writes: usize) {
        self.0.add_permits(writes);
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

impl Script {
    /// A script that says nothing.
    pub fn new() -> Self {
        Script::default()
    }

    /// Plays this fault.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Waits before the first byte.
    #[must_use]
    pub fn ttfb(mut self, wait: Duration) -> Self {
        self.ttfb = Some(wait);
        self
    }

    /// Paces a stream: events per second.
    #[must_use]
    pub fn rate(mut self, events_per_second: f64) -> Self {
        self.rate = Some(events_per_second);
        self
    }

    /// Gives a stream this many content events.
    #[must_use]
    pub fn chunks(mut self, count: usize) -> Self {
        self.chunks = Some(count);
        self
    }

    /// Plays the recording of that name (`chat-stream-crlf`), whatever the request asks for.
    #[must_use]
    pub fn play(mut self, name: &str) -> Self {
        self.play = Some(name.to_owned());
        self
    }

    /// Answers this status and JSON.
    #[must_use]
    pub fn json(self, status: u16, body: impl Into<Bytes>) -> Self {
        self.answer(status, "application/json", body)
    }

    /// Answers 200 and this stream of events, each event its own write.
    #[must_use]
    pub fn sse(self, body: impl Into<Bytes>) -> Self {
        self.answer(200, "text/event-stream; charset=utf-8", body)
    }

    /// Answers this.
    #[must_use]
    pub fn answer(mut self, status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.canned = Some(Canned::Http { status, content_type: content_type.to_owned(), body: body.into() });
        self
    }

    /// Writes these bytes in place of an HTTP answer and closes (HTTP/1 only).
    #[must_use]
    pub fn raw(mut self, bytes: impl Into<Bytes>) -> Self {
        self.canned = Some(Canned::Raw(bytes.into()));
        self
    }

    /// Adds a header field to the answer.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Holds the answer's body back at this gate.
    #[must_use]
    pub fn gate(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// What a model name asks for: after `mock-`, any of `ttfb-MS`, `rate-EVENTS`, `chunks-N`, and then a fault or
    /// `play-RECORDING`. Of a name with more in front (`openai/mock-500`) the part from `mock-` counts.
    pub(crate) fn of_model(model: &str) -> Script {
        let mut script = Script::default();
        let Some(start) = model.find("mock-") else {
            return script;
        };
        let mut rest = &model[start + "mock-".len()..];
        loop {
            if let Some((millis, tail)) = setting(rest, "ttfb-") {
                script.ttfb = Some(Duration::from_millis(millis));
                rest = tail;
            } else if let Some((events, tail)) = setting(rest, "rate-") {
                script.rate = Some(events as f64);
                rest = tail;
            } else if let Some((count, tail)) = setting(rest, "chunks-") {
                script.chunks = usize::try_from(count).ok();
                rest = tail;
            } else {
                break;
            }
        }
        match rest.strip_prefix("play-") {
            Some(name) => script.play = Some(name.to_owned()),
            None => script.fault = Fault::parse(rest).ok(),
        }
        script
    }

    /// This script, and for all that it does not say, `other`.
    pub(crate) fn over(self, other: Script) -> Script {
        // A canned answer or a recording by name stands for the whole answer, so no lesser fault touches it.
        let whole = self.canned.is_some() || self.play.is_some();
        Script {
            fault: self.fault.or(other.fault.filter(|_| !whole)),
            ttfb: self.ttfb.or(other.ttfb),
            rate: self.rate.or(other.rate),
            chunks: self.chunks.or(other.chunks),
            play: self.play.or(other.play.filter(|_| self.canned.is_none())),
            canned: self.canned.or(other.canned),
            headers: [self.headers, other.headers].concat(),
            gate: self.gate.or(other.gate),
        }
    }
}

impl From<Fault> for Script {
    fn from(fault: Fault) -> Self {
        Script::new().fault(fault)
    }
}

fn setting<'a>(text: &'a str, name: &str) -> Option<(u64, &'a str)> {
    let rest = text.strip_prefix(name)?;
    let end = rest.find('-').unwrap_or(rest.len());
    let number = rest[..end].parse().ok()?;
    Some((number, rest[end..].trim_start_matches('-')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;

    #[test]
    fn a_model_name_sets_pace_and_fault() {
        let script = Script::of_model("openai/mock-ttfb-200-rate-50-chunks-500-reset-p30");
        assert_eq!(script.ttfb, Some(Duration::from_millis(200)));
        assert_eq!(script.rate, Some(50.0));
        assert_eq!(script.chunks, Some(500));
        assert_eq!(script.fault, Some(Fault { kind: Kind::Reset, percent: 30 }));
    }

    #[test]
    fn a_model_name_without_the_mark_or_with_another_word_sets_nothing() {
        for model in ["gpt-4o-mini", "500", "mock-gpt", "mock-", "mock"] {
            let script = Script::of_model(model);
            assert!(script.fault.is_none() && script.ttfb.is_none() && script.play.is_none(), "{model}");
        }
    }

    #[test]
    fn a_model_name_can_name_a_recording() {
        assert_eq!(Script::of_model("mock-play-chat-stream-crlf").play.as_deref(), Some("chat-stream-crlf"));
    }
}
