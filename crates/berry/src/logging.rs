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
use tracing_subscriber::{Registry, reload};

use crate::outcome::{Failure, Status};
use crate::terminal;
use line::Form;
use queue::Queue;

/// The running log. What is in its queue is written when this is dropped.
pub(crate) struct Log {
    level: Level,
    _flusher: queue::Flusher,
}

/// The level of the running log, which may change.
#[derive(Clone)]
pub(crate) struct Level(reload::Handle<Targets, Registry>);

/// Starts the log of this process. `RUST_LOG` wins over the file.
pub(crate) fn start(telemetry: &Telemetry) -> Result<Log, Failure> {
    let (filter, level) = reload::Layer::new(filter(telemetry)?);
    let form = match telemetry.log_format {
        LogFormat::Json => Form::Json,
        LogFormat::Text if std::io::stderr().is_terminal() => Form::Text(terminal::err_colour()),
        LogFormat::Text => Form::Text(berry_config::Colour::Never),
    };
    let (queue, flusher) = queue::start(std::io::stderr(), form)
        .map_err(|error| Failure::new(format!("the log's thread cannot be started: {error}"), ""))?;
    tracing_subscriber::registry()
        .with(Lines { form, queue }.with_filter(filter))
        .try_init()
        .map_err(|error| Failure::new(format!("the log cannot be started: {error}"), ""))?;
    Ok(Log { level: Level(level), _flusher: flusher })
}

impl Log {
    /// What changes its level.
    pub(crate) fn level(&self) -> Level {
        self.level.clone()
    }
}

impl Level {
    /// Logs by another `log_level` from now on, where it is understood.
    pub(crate) fn follow(&self, telemetry: &Telemetry) {
        if let Ok(filter) = filter(telemetry) {
            // Fails only where the log is gone, and with it whoever could read of it.
            let _ = self.0.reload(filter);
        }
    }
}

/// Why a `log_level` cannot be used.
pub(crate) fn refusal(telemetry: &Telemetry) -> Option<String> {
    let error = telemetry.log_level.parse::<Targets>().err()?;
    Some(format!("[telemetry] log_level is not understood: {error}"))
}

fn filter(telemetry: &Telemetry) -> Result<Targets, Failure> {
    if let Some(text) = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty()) {
        match text.parse() {
            Ok(filter) => return Ok(filter),
            // Set for another program as often as for Berry: no reason not to start.
            Err(error) => {
                terminal::err(&format!("warning: RUST_LOG is not understood ({error}), the file's log_level is used\n"))
            }
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

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};

    use berry_config::Colour;
    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the log holds after `events`.
    fn logged(form: Form, events: impl FnOnce()) -> String {
        let sink = Sink::default();
        let (queue, flusher) = queue::start(sink.clone(), form).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Lines { form, queue }), events);
        drop(flusher);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const HOSTILE: &str =
        "x\r\n2026-01-01T00:00:00Z ERROR forged: status=200 \u{1b}[31m\u{9b}2J\u{2028}\u{202e} \"y\" \\ z";

    #[test]
    fn a_value_cannot_forge_a_line_a_colour_or_a_field() {
        let text = logged(Form::Text(Colour::Never), || {
            tracing::info!(model = HOSTILE, user = %HOSTILE, place = ?HOSTILE, "hello {HOSTILE}");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            !text.trim_end().contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}')),
            "{text:?}"
        );
        assert!(text.contains(r#" model="x\r\n2026-01-01T00:00:00Z ERROR forged: status=200 \u{1b}[31m"#), "{text}");
    }

    #[test]
    fn a_json_line_is_one_object_that_gives_the_values_back() {
        let text = logged(Form::Json, || {
            tracing::warn!(
                model = HOSTILE,
                count = 3,
                share = 0.5,
                odd = f64::NAN,
                yes = true,
                none = None::<u64>,
                "hello"
            );
        });
        assert_eq!(text.lines().count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["model"], HOSTILE);
        assert_eq!(line["message"], "hello");
        assert_eq!(line["level"], "WARN");
        assert_eq!((&line["count"], &line["share"], &line["yes"]), (&3.into(), &0.5.into(), &true.into()));
        assert_eq!(line["odd"], "NaN");
        assert!(line.get("none").is_none());
    }

    #[test]
    fn a_long_value_is_cut() {
        let text = logged(Form::Text(Colour::Never), || tracing::info!(model = "ä".repeat(100_000), "hello"));
        assert!(text.len() < 3000, "{}", text.len());
    }

    #[test]
    fn a_reader_that_does_not_read_costs_the_oldest_lines_and_they_are_counted() {
        /// Says that it was asked to write, and does so when it is told to.
        struct Slow(Sender<()>, Receiver<()>, Sink);
        impl Write for Slow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                // An error means that nobody waits, or holds it back, any more.
                let _ = self.0.send(());
                let _ = self.1.recv();
                self.2.write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let ((asked, is_asked), (go, may_go)) = (channel(), channel());
        let sink = Sink::default();
        let (queue, flusher) = queue::start(Slow(asked, may_go, sink.clone()), Form::Json).unwrap();
        let line = |n: usize| format!("{n:06} {}\n", "x".repeat(1000));
        queue.push(line(0));
        is_asked.recv().unwrap();
        (1..6000).for_each(|n| queue.push(line(n)));
        drop(go);
        drop(flusher);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("\"dropped\":"), "the loss is told");
        assert!(text.ends_with(&line(5999)), "the newest are kept");
        assert!(text.len() < 6 << 20, "{}", text.len());
    }
}
