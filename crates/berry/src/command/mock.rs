//! `berry mock`: the simulated provider, for tests and for trying out a configuration without an account.

use std::net::SocketAddr;
use std::time::Duration;

use berry_config::parse_listen;
use berry_mock::{Fault, Options};
use clap::Args;

use super::serve::main_runtime;
use crate::outcome::{Failure, Outcome, Status};
use crate::signals::Signals;
use crate::{limits, terminal};

/// Runs a simulated OpenAI, Anthropic and Gemini provider
///
/// It answers with recorded bytes, and breaks the answers on request: by --fault for all requests, or by the model's name for
/// one (`mock-500-p30`, `mock-reset`). GET /__journal shows what it has received, /__stats counts.
#[derive(Args)]
#[command(after_long_help = faults())]
pub(crate) struct Mock {
    /// Where to listen; port 0 is a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3900", value_parser = listen)]
    listen: SocketAddr,
    /// Time to the first byte of an answer: 200ms, 1.5s
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = time)]
    ttfb: Duration,
    /// Events of a stream per second [default: as fast as they can be written]
    #[arg(long, value_name = "EVENTS", value_parser = rate)]
    rate: Option<f64>,
    /// Content events of a stream [default: as recorded]
    #[arg(long, value_name = "N")]
    chunks: Option<usize>,
    /// Write all events that are due in one go, as a vendor with large buffers does
    #[arg(long)]
    burst: bool,
    /// What goes wrong: a name of the list in --help, as in 500-p30 or slow-2000
    #[arg(long, value_name = "FAULT", value_parser = Fault::parse)]
    fault: Option<Fault>,
    /// Shifts which requests a fault with a percentage hits
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The only key that is let in [default: everyone]
    #[arg(long, value_name = "KEY")]
    require_key: Option<String>,
    /// How many requests /__journal keeps
    #[arg(long, value_name = "N", default_value_t = 1000)]
    journal: usize,
}

impl Mock {
    pub(super) fn run(self) -> Outcome {
        limits::raise_open_files();
        let listen = self.listen;
        main_runtime()?.block_on(async {
            let mut signals = Signals::new()?;
            let busy = |error| {
                Failure::new(format!("cannot listen on {listen}: {error}"), "name another address with --listen")
            };
            let mock = berry_mock::Mock::start(self.options()).await.map_err(busy)?;
            terminal::out(&format!("simulated provider on {}\n", mock.url()));
            signals.end().await;
            mock.stop().await;
            Ok(Status::Done)
        })
    }

    fn options(self) -> Options {
        Options {
            listen: self.listen,
            ttfb: self.ttfb,
            rate: self.rate,
            chunks: self.chunks,
            burst: self.burst,
            fault: self.fault,
            seed: self.seed,
            require_key: self.require_key,
            journal_limit: self.journal,
            ..Options::default()
        }
    }
}

fn faults() -> String {
    format!("Faults, each also with -pPERCENT:\n{}", berry_mock::help())
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    parse_listen(text).map_err(|error| format!("{error}; {}", error.remedy()))
}

/// A time as `200ms` or `1.5s`; a bare number is milliseconds.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text {
        _ if text.ends_with("ms") => (text.strip_suffix("ms"), 1e-3),
        _ if text.ends_with('s') => (text.strip_suffix('s'), 1.0),
        _ => (Some(text), 1e-3),
    };
    let seconds = number.and_then(|number| number.trim().parse::<f64>().ok()).map(|number| number * unit);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "write a time like 200ms or 1.5s".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "write a number above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, millis) in [("200ms", 200), ("1.5s", 1500), ("0", 0), ("250", 250), ("2 s", 2000)] {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "soon", "1e30s", "nan"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
