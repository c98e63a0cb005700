//! `GET /admin/system-stats`: the process itself.

use axum::Json;
use axum::extract::State;
use berry_proxy::Phase;
use serde_json::{Value, json};

use crate::Control;
use crate::page::NoParameters;

pub(super) async fn get(State(control): State<Control>, _: NoParameters) -> Json<Value> {
    let gateway = &control.gateway;
    let uptime_ms = gateway.clock().unix_millis().saturating_sub(gateway.started_unix_millis());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "phase": match gateway.phase() {
            Phase::Serving => "serving",
            Phase::Leaving => "leaving",
            Phase::Draining => "draining",
        },
        "generation": gateway.generation(),
        "started_unix": gateway.started_unix_millis() / 1000,
        "uptime_seconds": uptime_ms / 1000,
        "connections": gateway.metrics().connections(),
        "requests": gateway.metrics().requests(),
        "workers": control.workers,
        "pid": std::process::id(),
        "threads": number(&status, "Threads:"),
        "rss_bytes": number(&status, "VmRSS:").map(|kib| kib * 1024),
        "peak_rss_bytes": number(&status, "VmHWM:").map(|kib| kib * 1024),
    }))
}

/// The number of a line of `/proc/self/status`; none where there is no such file.
fn number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_where_the_system_tells_it() {
        let status = "Name:\tberry\nVmHWM:\t    9000 kB\nVmRSS:\t    8192 kB\nThreads:\t4\n";
        assert_eq!(number(status, "VmRSS:"), Some(8192));
        assert_eq!(number(status, "Threads:"), Some(4));
        assert_eq!(number("", "VmRSS:"), None);
    }
}
