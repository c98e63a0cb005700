//! The log: what is written, in which form, to where. Lines leave through a bounded queue and a thread of its own, so that a
//! slow terminal or a full pipe never holds up a request (failure model, P8).
//!
//! The forms are Berry's own, since a value that a client sent must not be able to forge a line, a colour or a field.

mod line;
mod queue;

use std::io::IsTerminal as _;

use berry_config::{LogFormat, Telemetry};
use tracing::Event;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::outcome::{Failure, Status};
use crate::terminal;
use line::Form;
use queue::Queue;

/// The running log. What is in its queue is written when this is dropped.
pub(crate) struct Log {
    _flusher: queue::Flusher,
}

/// Starts the log of this process. `RUST_LOG` wins over the file.
pub(crate) fn start(telemetry: &Telemetry) -> Result<Log, Failure> {
    let filter = filter(telemetry)?;
    let form = match telemetry.log_format {
        LogFormat::Json => Form::Json,
        LogFormat::Text if std::io::stderr().is_terminal() => Form::Text(terminal::err_colour()),
        LogFormat::Text => Form::Text(berry_config::Colour::Never),
    };
    let (queue, flusher) = queue::start(std::io::stderr())
        .map_err(|error| Failure::new(format!("the log's thread cannot be started: {error}"), ""))?;
    tracing_subscriber::registry()
        .with(Lines { form, queue }.with_filter(filter))
        .try_init()
        .map_err(|error| Failure::new(format!("the log cannot be started: {error}"), ""))?;
    Ok(Log { _flusher: flusher })
}

fn filter(telemetry: &Telemetry) -> Result<Targets, Failure> {
    if let Some(text) = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty()) {
        match text.parse() {
            Ok(filter) => return Ok(filter),
            // Set for another program as often as for Berry: no reason not to start.
            Err(error) => terminal::err(&format!(
                "warning: RUST_LOG is not understood ({error}), the file's log_level is used\n"
            )),
        }
    }
    telemetry.log_level.parse().map_err(|error| {
        Failure::with(
            Status::BadConfig,
            format!("[telemetry] log_level is not understood: {error}"),
            "write a level (error, warn, info, debug, trace), or a list like \"info,berry_proxy=debug\"",
        )
    })
}

/// Writes each event as a line.
struct Lines {
    form: Form,
    queue: Queue,
}

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.queue.push(self.form.line(event));
    }
}
