//! Metrics of the data plane: plain atomics in places fixed beforehand, so that recording takes no lock and allocates nothing,
//! and what a client sends can never make a new label. Written out in Prometheus' text format (version 0.0.4).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use berry_http1::Method;
use berry_policy::Calls;

use crate::routes::Route;

/// Upper bounds of the buckets of times, in seconds: up to 600 s, as long answers take.
const BUCKETS: [f64; 18] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 240.0, 400.0, 600.0];

/// Upper bounds for Berry's own share of the time, in seconds.
const OVERHEAD_BUCKETS: [f64; 18] = [
    0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// Statuses that are counted each by itself; any other counts as `other`.
const STATUSES: [u16; 36] = [
    200, 201, 202, 204, 206, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 413, 414, 415, 416, 417, 421, 422,
    424, 425, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 529,
];

const METHODS: [Method; 5] = [Method::Get, Method::Head, Method::Post, Method::Options, Method::Other];

/// A distribution of times.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64; 18],
    buckets: [AtomicU64; 19],
    sum_micros: AtomicU64,
}

/// What the listener and the path of a request record.
#[derive(Debug)]
pub struct Metrics {
    routes: Vec<RouteMetrics>,
    /// Time that was Berry's own, not the upstream's.
    pub(crate) overhead: Histogram,
    /// Open connections of clients.
    pub(crate) connections: AtomicI64,
    /// Clients that left before their answer was complete.
    pub(crate) disconnects: AtomicU64,
    /// Messages that were no HTTP, or could be read in two ways.
    pub(crate) malformed: AtomicU64,
    /// Requests whose handling panicked.
    pub(crate) panics: AtomicU64,
}

#[derive(Debug)]
struct RouteMetrics {
    requests: [[AtomicU64; STATUSES.len() + 1]; METHODS.len()],
    duration: Histogram,
}

/// Writes Prometheus' text format.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

// === impl Histogram ===

impl Histogram {
    /// For whole requests and first tokens.
    pub fn of_requests() -> Self {
        Self::new(&BUCKETS)
    }

    fn new(bounds: &'static [f64; 18]) -> Self {
        Self { bounds, buckets: Default::default(), sum_micros: AtomicU64::new(0) }
    }

    /// Counts one time.
    pub fn record(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = self.bounds.iter().position(|&bound| seconds <= bound).unwrap_or(self.bounds.len());
        if let Some(count) = self.buckets.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        self.sum_micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        let route = |_| RouteMetrics {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            duration: Histogram::of_requests(),
        };
        Self {
            routes: (0..Route::count()).map(route).collect(),
            overhead: Histogram::new(&OVERHEAD_BUCKETS),
            connections: AtomicI64::new(0),
            disconnects: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// Counts a request that has ended.
    pub(crate) fn record_request(&self, method: Method, route: Route, status: u16, duration: Duration) {
        let Some(of_route) = self.routes.get(route.index()) else {
            return;
        };
        let row = METHODS.iter().position(|&m| m == method).unwrap_or(METHODS.len() - 1);
        let column = STATUSES.binary_search(&status).unwrap_or(STATUSES.len());
        if let Some(count) = of_route.requests.get(row).and_then(|row| row.get(column)) {
            count.fetch_add(1, Relaxed);
        }
        of_route.duration.record(duration);
    }

    /// Open connections of clients.
    pub fn connections(&self) -> i64 {
        self.connections.load(Relaxed)
    }

    /// Calls that have ended, and those of them that failed with a status of the server's. Pages of Berry's own are none.
    pub fn calls(&self) -> Calls {
        let mut calls = Calls::default();
        for route in Route::calls().filter_map(|route| self.routes.get(route.index())) {
            for row in &route.requests {
                for (column, count) in row.iter().enumerate() {
                    let count = count.load(Relaxed);
                    calls.ended += count;
                    calls.failed += if STATUSES.get(column).is_some_and(|status| *status >= 500) { count } else { 0 };
                }
            }
        }
        calls
    }

    /// Requests that have ended, over all routes.
    pub fn requests(&self) -> u64 {
        self.routes.iter().flat_map(|route| route.requests.iter().flatten()).map(|count| count.load(Relaxed)).sum()
    }

    /// Writes them out.
    pub(crate) fn expose(&self, out: &mut Exposition) {
        out.family("http_requests_total", "counter", "Requests that have ended.");
        for (route, of_route) in Route::all().zip(&self.routes) {
            for (method, row) in METHODS.iter().zip(&of_route.requests) {
                for (column, count) in row.iter().enumerate().filter(|(_, count)| count.load(Relaxed) > 0) {
                    let status = STATUSES.get(column).map_or_else(|| "other".to_owned(), u16::to_string);
                    let labels = [("method", method.as_str()), ("route", route.label()), ("status", &status)];
                    out.sample("http_requests_total", &labels, count.load(Relaxed) as f64);
                }
            }
        }
        out.family("http_request_duration_seconds", "histogram", "Time to the last byte of an answer.");
        for (route, of_route) in Route::all().zip(&self.routes) {
            out.histogram("http_request_duration_seconds", &[("route", route.label())], &of_route.duration);
        }
        out.family(
            "berry_overhead_seconds",
            "histogram",
            "Time until the answer begins that was Berry's own, not the upstream's.",
        );
        out.histogram("berry_overhead_seconds", &[], &self.overhead);
        out.family("active_connections", "gauge", "Open connections of clients.");
        out.sample("active_connections", &[], self.connections() as f64);
        for (name, help, count) in [
            (
                "berry_client_disconnects_total",
                "Clients that left before their answer was complete.",
                &self.disconnects,
            ),
            (
                "berry_malformed_messages_total",
                "Messages that were no HTTP, or could be read in two ways.",
                &self.malformed,
            ),
            ("berry_panics_total", "Requests whose handling panicked.", &self.panics),
        ] {
            out.family(name, "counter", help);
            out.sample(name, &[], count.load(Relaxed) as f64);
        }
    }
}

// === impl Exposition ===

impl Exposition {
    /// Begins a metric: one help and type line for all its samples.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Writes one sample. Every one carries `service="berry-api"`.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        self.text.push_str("{service=\"berry-api\"");
        for (label, text) in labels {
            let _ = write!(self.text, ",{label}=\"");
            text.chars().for_each(|c| match c {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            });
            self.text.push('"');
        }
        let _ = writeln!(self.text, "}} {value}");
    }

    /// Writes the buckets, sum and count of a distribution, unless it is empty.
    pub fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let counts: Vec<u64> = histogram.buckets.iter().map(|count| count.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return;
        }
        let mut below = 0;
        for (i, count) in counts.iter().enumerate() {
            below += count;
            let bound = histogram.bounds.get(i).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            let with_bound: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&format!("{name}_bucket"), &with_bound, below as f64);
        }
        self.sample(&format!("{name}_sum"), labels, histogram.sum_micros.load(Relaxed) as f64 / 1e6);
        self.sample(&format!("{name}_count"), labels, total as f64);
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_sorted_so_that_the_search_finds_them() {
        assert!(STATUSES.is_sorted());
    }

    #[test]
    fn samples_are_escaped_and_histograms_cumulative() {
        let mut out = Exposition::default();
        out.sample("x", &[("model", "a\"b\\c\nd")], 2.0);
        let histogram = Histogram::of_requests();
        histogram.record(Duration::from_millis(3));
        histogram.record(Duration::from_secs(3));
        histogram.record(Duration::from_secs(700));
        out.histogram("h", &[], &histogram);
        let text = out.into_text();
        assert!(text.starts_with("x{service=\"berry-api\",model=\"a\\\"b\\\\c\\nd\"} 2\n"), "{text}");
        assert!(text.contains("h_bucket{service=\"berry-api\",le=\"0.005\"} 1\n"));
        assert!(text.contains("h_bucket{service=\"berry-api\",le=\"5\"} 2\n"));
        assert!(text.contains("h_bucket{service=\"berry-api\",le=\"+Inf\"} 3\n"));
        assert!(
            text.contains("h_count{service=\"berry-api\"} 3\n")
                && text.contains("h_sum{service=\"berry-api\"} 703.003\n")
        );
    }

    #[test]
    fn a_request_is_counted_once_under_its_labels() {
        let metrics = Metrics::default();
        metrics.record_request(Method::Post, Route::Unknown, 404, Duration::from_millis(1));
        metrics.record_request(Method::Post, Route::Unknown, 299, Duration::from_millis(1));
        let mut out = Exposition::default();
        metrics.expose(&mut out);
        let text = out.into_text();
        assert!(
            text.contains(
                "http_requests_total{service=\"berry-api\",method=\"POST\",route=\"other\",status=\"404\"} 1\n"
            ),
            "{text}"
        );
        assert!(text.contains("status=\"other\"} 1\n"));
        assert_eq!(metrics.requests(), 2);
    }
}
