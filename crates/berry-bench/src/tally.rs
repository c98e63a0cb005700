//! What all clients of a run add up to, while it runs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::connection::Failure;
use crate::percentiles::Percentiles;
use crate::reader::Reader;
use crate::report::Report;

/// The sum so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    latency: Vec<Duration>,
    ttft: Vec<Duration>,
    refusals: Vec<Duration>,
    errors: BTreeMap<String, u64>,
    events: u64,
    ended: u64,
    broken: u64,
    bytes: u64,
    pub(crate) connections: u64,
    /// Requests that have been begun, and those of them that are neither answered nor failed.
    pub(crate) begun: u64,
    pub(crate) under_way: u64,
    last_end: Option<Instant>,
}

impl Tally {
    pub(crate) fn begin(&mut self) {
        self.begun += 1;
        self.under_way += 1;
    }

    /// The first event of a stream has come.
    pub(crate) fn first_event(&mut self, begun: Instant) {
        self.ttft.push(begun.elapsed());
    }

    /// An answer has come to its end. Says whether it is a good one.
    pub(crate) fn answer(&mut self, reader: &Reader, begun: Instant) -> bool {
        let now = Instant::now();
        self.end(now);
        self.bytes += reader.body;
        let good = (200..300).contains(&reader.status);
        if good {
            self.latency.push(now - begun);
        } else {
            self.error(&format!("http_{}", reader.status), 1);
            if matches!(reader.status, 429 | 503) && reader.has_wait {
                self.refusals.push(now - begun);
            }
        }
        if let Some(events) = &reader.events {
            self.events += events.count;
            match (events.ended, events.errors) {
                (true, 0) => self.ended += 1,
                (false, 1) => self.broken += 1,
                _ => {}
            }
        }
        good
    }

    /// A request has failed.
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.end(Instant::now());
        self.error(failure.name(), 1);
    }

    fn end(&mut self, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.last_end = Some(now);
    }

    pub(crate) fn error(&mut self, kind: &str, count: u64) {
        if count > 0 {
            *self.errors.entry(kind.to_owned()).or_default() += count;
        }
    }

    /// The sum of a run that began then.
    pub(crate) fn report(&mut self, start: Instant) -> Report {
        let seconds = self.last_end.map_or(0.0, |end| (end - start).as_secs_f64());
        let ok = self.latency.len() as u64;
        Report {
            ok,
            held: None,
            errors: std::mem::take(&mut self.errors),
            seconds,
            rps: if seconds > 0.0 { ok as f64 / seconds } else { 0.0 },
            latency_us: Percentiles::of(&mut self.latency),
            ttft_us: Percentiles::of(&mut self.ttft),
            refusals: self.refusals.len() as u64,
            refusal_us: Percentiles::of(&mut self.refusals),
            events: self.events,
            ended_streams: self.ended,
            broken_streams: self.broken,
            bytes: self.bytes,
            connections: self.connections,
        }
    }
}
