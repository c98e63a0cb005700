//! An event as one line: text for people, JSON for programs.

use std::fmt::{self, Write as _};

use berry_config::Colour;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

/// A longer value is cut (security rule E25).
const LONGEST_VALUE: usize = 2048;

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// `TIME LEVEL target: message key=value …`
    Text(Colour),
    /// `{"timestamp":…,"level":…,"target":…,"message":…,"key":value,…}`
    Json,
}

// === impl Form ===

impl Form {
    /// The event with its line break.
    pub(super) fn line(self, event: &Event<'_>) -> String {
        let mut fields = Fields::new(self);
        event.record(&mut fields);
        self.write(*event.metadata().level(), event.metadata().target(), &fields)
    }

    /// The line that stands for those that were dropped.
    pub(super) fn dropped(self, count: u64) -> String {
        let mut fields = Fields::new(self);
        fields.message.push_str("the log is read too slowly: the oldest lines were dropped");
        fields.name("dropped");
        let _ = write!(fields.rest, "{count}");
        self.write(Level::WARN, module_path!(), &fields)
    }

    fn write(self, level: Level, target: &str, fields: &Fields) -> String {
        let mut line = String::with_capacity(128 + fields.message.len() + fields.rest.len());
        match self {
            Form::Text(colour) => {
                push_time(&mut line);
                let (on, off) = paint(colour, level);
                let _ = write!(line, " {on}{level:5}{off} {target}: {}{}", fields.message, fields.rest);
            }
            Form::Json => {
                line.push_str("{\"timestamp\":\"");
                push_time(&mut line);
                let _ = write!(line, "\",\"level\":\"{level}\",\"target\":");
                push_json(&mut line, target);
                line.push_str(",\"message\":");
                push_json(&mut line, &fields.message);
                line.push_str(&fields.rest);
                line.push('}');
            }
        }
        line.push('\n');
        line
    }
}

fn push_time(line: &mut String) {
    // Fails only where the string would.
    let _ = SystemTime.format_time(&mut Writer::new(line));
}

fn paint(colour: Colour, level: Level) -> (&'static str, &'static str) {
    match (colour, level) {
        (Colour::Never, _) => ("", ""),
        (Colour::Always, Level::ERROR) => ("\u{1b}[31m", "\u{1b}[0m"),
        (Colour::Always, Level::WARN) => ("\u{1b}[33m", "\u{1b}[0m"),
        (Colour::Always, Level::INFO) => ("\u{1b}[32m", "\u{1b}[0m"),
        (Colour::Always, _) => ("\u{1b}[2m", "\u{1b}[0m"),
    }
}

/// Collects an event's fields as they will stand in the line.
struct Fields {
    json: bool,
    message: String,
    rest: String,
}

impl Fields {
    fn new(form: Form) -> Self {
        Self { json: matches!(form, Form::Json), message: String::new(), rest: String::new() }
    }

    /// Numbers and booleans: the same in both forms.
    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field.name());
        let _ = write!(self.rest, "{value}");
    }

    fn text(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = if self.json { bounded(value).to_owned() } else { escaped(bounded(value)) };
            return;
        }
        self.name(field.name());
        match self.json {
            true => push_json(&mut self.rest, bounded(value)),
            false => push_text(&mut self.rest, bounded(value)),
        }
    }

    /// Names are written in the code, so that nothing in them needs care.
    fn name(&mut self, name: &str) {
        let _ = match self.json {
            true => write!(self.rest, ",\"{name}\":"),
            false => write!(self.rest, " {name}="),
        };
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, value);
        } else {
            self.text(field, &value.to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
}

fn bounded(value: &str) -> &str {
    value.get(..value.floor_char_boundary(LONGEST_VALUE)).unwrap_or(value)
}

/// A value in text: as it is where nobody can mistake it, in quotes where it holds a space or anything that could.
fn push_text(out: &mut String, value: &str) {
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(is_plain) {
        out.push_str(value);
        return;
    }
    out.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            _ => push_visible(out, c),
        }
    }
    out.push('"');
}

/// A message: its spaces stay, its control characters do not.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_visible(&mut out, c));
    out
}

/// Line breaks, escapes of terminals, and the marks that turn the direction of writing are shown, not obeyed.
fn push_visible(out: &mut String, c: char) {
    let turns = matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || turns {
        out.extend(c.escape_default());
    } else {
        out.push(c);
    }
}

fn push_json(out: &mut String, value: &str) {
    // A string always serialises.
    out.push_str(&serde_json::to_string(value).unwrap_or_default());
}
