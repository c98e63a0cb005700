//! What a run came to, for programs (by serde) and for people.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::percentiles::Percentiles;

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Requests that were answered with 2xx, to the end.
    pub ok: u64,
    /// Streams that were held open together, and still were at the end; none if that was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
    /// All others, by kind: `connect`, `write`, `closed`, `malformed`, `timeout`, and `http_` with the status.
    pub errors: BTreeMap<String, u64>,
    /// From the beginning to the end of the last answer.
    pub seconds: f64,
    /// Good answers a second.
    pub rps: f64,
    /// From the request to the end of its answer.
    pub latency_us: Option<Percentiles>,
    /// From the request to the first event of its stream.
    pub ttft_us: Option<Percentiles>,
    /// Those of the others that say when to come again: 429 or 503 with retry-after.
    pub refusals: u64,
    /// From such a request to the end of its answer.
    pub refusal_us: Option<Percentiles>,
    /// Events of all streams.
    pub events: u64,
    /// Streams that ended with `[DONE]`, and without an error.
    pub ended_streams: u64,
    /// Streams that ended with one error event, and without `[DONE]`.
    pub broken_streams: u64,
    /// Bytes of all bodies of answers.
    pub bytes: u64,
    /// Connections that were opened.
    pub connections: u64,
}

impl Report {
    /// How many requests failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.held {
            Some(held) => writeln!(f, "{held} streams held open, {} failed", self.failed())?,
            None => writeln!(
                f,
                "{} answers in {:.2} s: {:.0} a second, {} failed, {} connections",
                self.ok,
                self.seconds,
                self.rps,
                self.failed(),
                self.connections
            )?,
        }
        for (name, times) in
            [("latency", self.latency_us), ("first event", self.ttft_us), ("refused in", self.refusal_us)]
        {
            if let Some(t) = times {
                let [p50, p90, p99, p999, max] = [t.p50, t.p90, t.p99, t.p999, t.max].map(|micros| micros / 1000.0);
                writeln!(
                    f,
                    "{name:<12} ms: p50 {p50:.3}, p90 {p90:.3}, p99 {p99:.3}, p99.9 {p999:.3}, longest {max:.3}"
                )?;
            }
        }
        if self.events > 0 {
            writeln!(f, "{:<12} {}, and {} streams with their [DONE]", "events", self.events, self.ended_streams)?;
        }
        for (kind, count) in &self.errors {
            writeln!(f, "{:<12} {kind}: {count}", "failed")?;
        }
        Ok(())
    }
}
