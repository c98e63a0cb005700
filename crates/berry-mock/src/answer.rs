//! Decides how a request is answered: recording, script and fault become one `Play`, which `http1` and `http2` perform.
//!
//! A recording's bytes are changed by nothing but a fault or a repetition that somebody asked for.

use bytes::Bytes;
use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep_until};

use crate::ask::{Ask, Dialect, Operation, dialect_of};
use crate::events::{self, Piece};
use crate::fault::{Kind, Wait};
use crate::journal::Received;
use crate::pages;
use crate::recording::{self, Recording};
use crate::script::{Canned, Gate, Script};
use crate::server::Shared;

/// What a connection does about a request.
#[derive(Debug)]
pub(crate) enum Play {
    /// Nothing, until the client leaves.
    Hang,
    /// Resets the connection.
    Drop,
    /// These bytes and a close.
    Raw(Bytes),
    /// An answer, perhaps a broken one.
    Answer(Answer),
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(crate) pieces: Vec<Piece>,
    /// Bytes of the whole body, which may be more than the pieces hold.
    pub(crate) length: u64,
    pub(crate) framing: Framing,
    pub(crate) ending: Ending,
    /// How many 103 heads go before.
    pub(crate) hints: usize,
    /// Bytes after the end.
    pub(crate) extra: &'static [u8],
    pub(crate) pace: Pace,
    pub(crate) burst: bool,
    pub(crate) stream: bool,
}

/// How HTTP/1 tells the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length,
    Chunked,
    Close,
    TwoLengths,
    /// There is none.
    NoBody,
}

/// What follows the pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Whole,
    Reset,
    Close,
    Silence,
}

/// When each piece leaves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    pub(crate) ttfb: Duration,
    /// Between the head and the body.
    pub(crate) gap: Duration,
    pub(crate) rate: Option<f64>,
    pub(crate) gate: Option<Gate>,
}

/// What is known of a request when its answer is decided.
struct Case<'a> {
    request: &'a Received,
    dialect: Dialect,
    operation: Option<Operation>,
    script: Script,
}

/// How the request is to be answered. `earlier` says whether the connection has carried another request before.
pub(crate) fn decide(shared: &Shared, request: &Received, earlier: bool) -> Play {
    if pages::are_asked(&request.path) {
        let page = pages::json(&shared.journal, &request.path);
        let status = if page.is_some() { 200 } else { 404 };
        return Play::Answer(Answer::plain(status, "application/json", page.unwrap_or_default()));
    }
    let ask = Ask::read(request).filter(|ask| shared.serves(ask.dialect));
    let dialect = ask.as_ref().map_or_else(|| dialect_of(request), |ask| ask.dialect);
    if !shared.lets_in(request) {
        return Play::Answer(Answer::error(dialect, 401));
    }
    let script = shared.script_for(request, ask.as_ref().map_or("", |ask| &ask.model));
    let kind = shared.kind_now(&script);
    let case = Case { request, dialect, operation: ask.as_ref().map(|ask| ask.operation), script };
    match kind {
        Kind::Hang => Play::Hang,
        Kind::Drop => Play::Drop,
        Kind::Stale if earlier => Play::Drop,
        Kind::BadHead => Play::Raw(Bytes::from_static(b"\x15\x03\x03 this is no status line\r\n\r\n")),
        kind => case.answer(ask.as_ref(), kind, shared.options.burst),
    }
}

// === impl Case ===

impl Case<'_> {
    fn answer(self, ask: Option<&Ask>, kind: Kind, burst: bool) -> Play {
        let (mut answer, recording) = match &self.script.canned {
            Some(Canned::Raw(bytes)) => return Play::Raw(bytes.clone()),
            Some(Canned::Http { status, content_type, body }) => (Answer::canned(*status, content_type, body), None),
            None => match self.recording(ask) {
                Some(row) => (Answer::recorded(row), Some(row)),
                None => return Play::Answer(Answer::error(self.dialect, 404)),
            },
        };
        answer.burst = burst;
        answer.pace = Pace {
            ttfb: self.script.ttfb.unwrap_or_default(),
            gap: Duration::ZERO,
            rate: self.script.rate,
            gate: self.script.gate.clone(),
        };
        let mark = recording.and_then(|row| row.content);
        if let (true, Some(mark), Some(count)) = (answer.stream, mark, self.script.chunks) {
            answer.map_events(|events| events::repeat(events, mark, count));
        }
        let mut answer = self.spoil(answer, kind, mark);
        for (name, value) in &self.script.headers {
            answer.headers.push((name.clone().into(), value.clone().into()));
        }
        if self.request.http_version == "HTTP/1.0" && answer.framing == Framing::Chunked {
            answer.framing = Framing::Close;
        }
        Play::Answer(answer)
    }

    fn recording(&self, ask: Option<&Ask>) -> Option<&'static Recording> {
        match &self.script.play {
            Some(name) => recording::named(self.dialect, name),
            None => recording::answering(ask?),
        }
    }

    /// The answer as the fault makes it.
    fn spoil(&self, mut answer: Answer, kind: Kind, mark: Option<&str>) -> Answer {
        match kind {
            Kind::Status(status, wait) => {
                return self.keep_pace(Answer::error(self.dialect, status).waiting(self.dialect, wait), answer);
            }
            Kind::Error200 => {
                return self.keep_pace(Answer { status: 200, ..Answer::error(self.dialect, 500) }, answer);
            }
            Kind::FirstErr if !answer.stream => {
                return Answer { status: 200, ..Answer::error(self.dialect, 500) };
            }
            Kind::Html => return Answer::plain(200, "text/html; charset=utf-8", Bytes::from_static(PAGE)),
            Kind::Empty => answer.set_pieces(Vec::new()),
            Kind::NoContent => {
                return Answer { framing: Framing::NoBody, ..Answer::plain(204, "", Bytes::new()) };
            }
            Kind::Redirect => answer = Answer::redirect(),
            Kind::FirstErr => answer.set_pieces(self.error_event()),
            Kind::ErrEvent if answer.stream => {
                answer.halve();
                answer.pieces.extend(self.error_event());
                answer.measure();
            }
            Kind::NoEnd => {
                answer.halve();
                answer.measure();
            }
            Kind::Reset => answer.break_off(Ending::Reset),
            Kind::Truncate => answer.break_off(Ending::Close),
            Kind::Stall => answer.break_off(Ending::Silence),
            Kind::Malformed => answer.garble(),
            Kind::Huge(mib) => answer.blow_up(mark, mib << 20),
            Kind::BigEvent(mib) => answer.blow_up_one_event(mark, mib << 20),
            Kind::Slow(wait) => answer.pace.ttfb = wait,
            Kind::Gap(wait) => answer.pace.gap = wait,
            Kind::BigHead => answer.headers.push(("x-filler".into(), "x".repeat(1 << 20).into())),
            Kind::Split => answer.split(),
            Kind::EarlyHints => answer.hints = 3,
            Kind::NoLen => answer.framing = Framing::Close,
            Kind::DupCl => answer.framing = Framing::TwoLengths,
            Kind::Extra => answer.extra = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nnot asked",
            Kind::Ok | Kind::Early | Kind::Stale | Kind::ErrEvent | Kind::Hang | Kind::Drop | Kind::BadHead => {}
        }
        answer
    }

    /// A fault that replaces the answer still comes as late as the answer would have.
    fn keep_pace(&self, replaced: Answer, answer: Answer) -> Answer {
        Answer { pace: answer.pace, ..replaced }
    }

    fn error_event(&self) -> Vec<Piece> {
        let row = recording::error_event(self.dialect, self.operation.unwrap_or(Operation::Chat));
        row.map(|row| Piece::Bytes(Bytes::from_static(row.body))).into_iter().collect()
    }
}

const PAGE: &[u8] =
    b"<!DOCTYPE html>\n<html><head><title>Just a moment</title></head><body>Bad gateway</body></html>\n";

// === impl Answer ===

impl Answer {
    fn plain(status: u16, content_type: &str, body: Bytes) -> Self {
        let mut headers = Vec::new();
        if !content_type.is_empty() {
            headers.push(("content-type".into(), content_type.to_owned().into()));
        }
        Answer {
            status,
            headers,
            length: body.len() as u64,
            pieces: if body.is_empty() { Vec::new() } else { vec![Piece::Bytes(body)] },
            framing: Framing::Length,
            ending: Ending::Whole,
            hints: 0,
            extra: b"",
            pace: Pace::default(),
            burst: false,
            stream: false,
        }
    }

    fn canned(status: u16, content_type: &str, body: &Bytes) -> Self {
        let mut answer = Answer::plain(status, content_type, body.clone());
        if content_type.starts_with("text/event-stream") {
            answer.make_stream(body);
        }
        answer
    }

    fn recorded(row: &'static Recording) -> Self {
        let body = Bytes::from_static(row.body);
        let mut answer = Answer::plain(row.status(), "", body.clone());
        answer.headers.push(("content-type".into(), row.content_type().into()));
        answer.add_vendor_headers(row.dialect);
        if row.is_stream() {
            answer.make_stream(&body);
        } else if row.dialect == Dialect::Gemini {
            answer.framing = Framing::Chunked;
        }
        answer
    }

    fn error(dialect: Dialect, status: u16) -> Self {
        match recording::error(dialect, status) {
            Some(row) => Answer { status, ..Answer::recorded(row) },
            None => Answer::plain(status, "application/json", Bytes::new()),
        }
    }

    fn redirect() -> Self {
        let mut answer = Answer::plain(302, "", Bytes::new());
        answer.headers.push(("location".into(), "http://127.0.0.1:9/elsewhere".into()));
        answer
    }

    fn make_stream(&mut self, body: &Bytes) {
        self.pieces = events::events(body).into_iter().map(Piece::Bytes).collect();
        self.framing = Framing::Chunked;
        self.stream = true;
        self.headers.push(("cache-control".into(), "no-cache".into()));
    }

    fn add_vendor_headers(&mut self, dialect: Dialect) {
        let fields: &[(&'static str, &'static str)] = match dialect {
            Dialect::OpenAi => &[
                ("x-request-id", "req_0f4c2d6b9a7e4f53a1c8d2e7b6f90a13"),
                ("openai-organization", "org-mock"),
                ("openai-processing-ms", "312"),
                ("openai-version", "2020-10-01"),
                ("x-ratelimit-limit-requests", "10000"),
                ("x-ratelimit-remaining-requests", "9999"),
                ("x-ratelimit-reset-requests", "6ms"),
            ],
            Dialect::Anthropic => &[
                ("request-id", "req_011CSHoEeqs5C35K2UUqR7Fy"),
                ("anthropic-organization-id", "3d5e1f2a-7b8c-4d9e-a0f1-2b3c4d5e6f70"),
                ("anthropic-ratelimit-requests-limit", "50"),
                ("anthropic-ratelimit-requests-remaining", "49"),
            ],
            Dialect::Gemini => &[("server-timing", "gfet4t7; dur=312"), ("x-content-type-options", "nosniff")],
        };
        self.headers.extend(fields.iter().map(|(name, value)| (Cow::from(*name), Cow::from(*value))));
    }

    /// Says when to come again.
    fn waiting(mut self, dialect: Dialect, wait: Option<Wait>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let field: Option<(&str, String)> = wait.map(|wait| match wait {
            Wait::Seconds(s) => ("retry-after", s.to_string()),
            Wait::Millis(ms) => ("retry-after-ms", ms.to_string()),
            Wait::Date(s) => ("retry-after", crate::date::http_date(now + s)),
            Wait::Reset(s) if dialect == Dialect::Anthropic => {
                ("anthropic-ratelimit-requests-reset", crate::date::rfc3339(now + s))
            }
            Wait::Reset(s) => ("x-ratelimit-reset-requests", format!("{s}s")),
        });
        if let Some((name, value)) = field {
            self.headers.retain(|(n, _)| n != name);
            self.headers.push((name.to_owned().into(), value.into()));
        }
        self
    }

    fn set_pieces(&mut self, pieces: Vec<Piece>) {
        self.pieces = pieces;
        self.measure();
    }

    /// Takes the pieces as the whole body.
    fn measure(&mut self) {
        self.length = self.pieces.iter().map(Piece::len).sum();
    }

    fn map_events(&mut self, change: impl FnOnce(Vec<Bytes>) -> Vec<Bytes>) {
        let bytes = |piece| match piece {
            Piece::Bytes(bytes) => Some(bytes),
            Piece::Fill(_) => None,
        };
        let events = std::mem::take(&mut self.pieces).into_iter().filter_map(bytes).collect();
        self.set_pieces(change(events).into_iter().map(Piece::Bytes).collect());
    }

    /// Keeps the first half, and the length of the whole.
    fn halve(&mut self) {
        if self.pieces.len() > 1 {
            self.pieces.truncate(self.pieces.len() / 2);
        } else if let Some(Piece::Bytes(bytes)) = self.pieces.first_mut() {
            bytes.truncate(bytes.len() / 2);
        }
    }

    fn break_off(&mut self, ending: Ending) {
        self.halve();
        self.ending = ending;
    }

    /// Breaks the JSON: of the middle event, or of the whole by leaving off its last quarter.
    fn garble(&mut self) {
        let stream = self.stream;
        self.map_events(|mut events| {
            let middle = events.len() / 2;
            if let Some(event) = events.get_mut(middle) {
                let kept = if stream { event.len() / 2 } else { event.len() * 3 / 4 };
                let end: &[u8] = if stream { b"\n\n" } else { b"" };
                *event = Bytes::from([&event[..kept], end].concat());
            }
            events
        });
    }

    fn blow_up(&mut self, mark: Option<&str>, filler: u64) {
        let (true, Some(mark)) = (self.stream, mark) else {
            return self.blow_up_one_event(mark, filler);
        };
        let size = self.length / self.pieces.len().max(1) as u64;
        let count = usize::try_from(filler / size.max(1) + 1).unwrap_or(usize::MAX);
        self.map_events(|events| events::repeat(events, mark, count));
    }

    fn blow_up_one_event(&mut self, mark: Option<&str>, filler: u64) {
        let blown = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => events::blow_up(bytes, mark, filler),
            Piece::Fill(_) => None,
        };
        let middle = self.pieces.len() / 2;
        if let Some(pieces) = self.pieces.get(middle).and_then(blown) {
            let mut all = std::mem::take(&mut self.pieces);
            all.splice(middle..=middle, pieces);
            self.set_pieces(all);
        }
    }

    fn split(&mut self) {
        self.map_events(|events| {
            events.iter().flat_map(|event| (0..event.len()).map(|i| event.slice(i..=i))).collect()
        });
    }
}

// === impl Pace ===

impl Pace {
    /// Waits until the piece with this number may leave. The first is due at `start`; the others follow at the rate,
    /// counted from there, so that a slow write does not shift the later ones.
    pub(crate) async fn due(&self, start: Instant, index: usize) {
        if let Some(rate) = self.rate.filter(|rate| *rate > 0.0 && index > 0) {
            sleep_until(start + Duration::from_secs_f64(index as f64 / rate)).await;
        }
        if let Some(gate) = &self.gate {
            gate.pass().await;
        }
    }

    /// Whether all pieces are due as soon as the first.
    pub(crate) fn at_once(&self) -> bool {
        self.rate.is_none() && self.gate.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn events_leave_at_the_rate_and_a_late_one_does_not_shift_the_next() {
        let pace = Pace { rate: Some(10.0), ..Pace::default() };
        let start = Instant::now();
        pace.due(start, 0).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        pace.due(start, 1).await;
        assert_eq!(start.elapsed().as_millis(), 100);
        tokio::time::advance(Duration::from_millis(70)).await;
        pace.due(start, 2).await;
        assert_eq!(start.elapsed().as_millis(), 200);
    }
}
