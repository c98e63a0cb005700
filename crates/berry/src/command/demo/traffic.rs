//! The sample traffic: one request after the other, so that metrics and health have something to show.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::call::Call;

/// Time between two requests.
const PACE: Duration = Duration::from_millis(300);

const LONGEST: Duration = Duration::from_secs(30);

/// Requests to send in turn.
pub(super) struct Traffic {
    calls: Vec<Call>,
    tally: Tally,
}

/// How they went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    sent: u64,
    answered: u64,
}

impl Traffic {
    pub(super) fn new(calls: Vec<Call>) -> Self {
        Self { calls, tally: Tally::default() }
    }

    /// Sends until that many have been sent, or for ever.
    pub(super) async fn run(mut self, most: Option<u64>) -> Tally {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for call in self.calls.iter().cycle() {
            if most.is_some_and(|most| self.tally.sent >= most) {
                break;
            }
            pace.tick().await;
            self.tally.sent += 1;
            let status = timeout(LONGEST, send(call)).await;
            self.tally.answered += u64::from(matches!(status, Ok(Ok(200))));
        }
        self.tally
    }
}

/// Sends a request and reads its answer to the end. Gives the status.
async fn send(call: &Call) -> io::Result<u16> {
    let mut stream = TcpStream::connect(call.authority()).await?;
    stream.write_all(call.request().as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    status.and_then(|digits| digits.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

// === impl Tally ===

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sample requests, {} of them answered with 200", self.sent, self.answered)
    }
}
