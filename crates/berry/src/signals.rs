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
    /// Taken over, so that a terminal that closes does not stop a gateway.
    _hangup: Signal,
    done: Option<Pin<Box<dyn Future<Output = Reason>>>>,
}

impl Signals {
    /// Takes SIGTERM, SIGINT and SIGHUP over from the system's defaults.
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            _hangup: take(SignalKind::hangup())?,
            done: None,
        })
    }

    /// Ends also when this is done.
    pub(crate) fn or(mut self, done: impl Future<Output = Reason> + 'static) -> Self {
        self.done = Some(Box::pin(done));
        self
    }

    /// Waits until something asks to end, and names it. A hangup does not.
    pub(crate) async fn end(&mut self) -> Reason {
        let done = async {
            match &mut self.done {
                Some(done) => done.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            reason = done => {
                // A future that has ended may not be asked again.
                self.done = None;
                reason
            }
        }
    }
}

/// SIGHUP, by which operators have the configuration read again.
pub(crate) struct Hangups(Signal);

impl Hangups {
    /// From now on none is missed.
    pub(crate) fn new() -> Result<Self, Failure> {
        take(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

fn take(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(format!("signals cannot be received: {error}"), ""))
}
