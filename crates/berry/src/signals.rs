//! What ends the program: signals, or for a program that ends by itself, its work being done.

use std::pin::Pin;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::outcome::Failure;

/// Why the program is to end, in words for the log.
type Reason = &'static str;

/// The events that ask Berry to end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    done: Option<Pin<Box<dyn Future<Output = Reason>>>>,
}

impl Signals {
    /// Takes SIGTERM, SIGINT and SIGHUP over from the system's defaults.
    pub(crate) fn new() -> Result<Self, Failure> {
        let take =
            |kind| signal(kind).map_err(|error| Failure::new(format!("signals cannot be received: {error}"), ""));
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hangup: take(SignalKind::hangup())?,
            done: None,
        })
    }

    /// Ends also when this is done.
    pub(crate) fn or(mut self, done: impl Future<Output = Reason> + 'static) -> Self {
        self.done = Some(Box::pin(done));
        self
    }

    /// Waits until something asks to end, and names it. A hangup does not: a terminal that closes must not stop a gateway.
    pub(crate) async fn end(&mut self) -> Reason {
        loop {
            let done = async {
                match &mut self.done {
                    Some(done) => done.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => tracing::info!("SIGHUP: the configuration is read at the start only"),
                reason = done => {
                    // A future that has ended may not be asked again.
                    self.done = None;
                    return reason;
                }
            }
        }
    }
}
