//! Signals, as events that whoever runs the gateway waits for.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask Berry to end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes SIGTERM, SIGINT and SIGHUP over from the system's defaults.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until one asks to end, and names it. A hangup does not: a terminal that closes must not stop a gateway.
    pub(crate) async fn end(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => tracing::info!("SIGHUP: nothing to do, the configuration is read at the start only"),
            }
        }
    }
}
