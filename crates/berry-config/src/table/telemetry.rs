//! `[telemetry]`

use crate::checked::Checked;
use crate::config::{LogFormat, Telemetry};
use crate::reader::Reader;
use crate::registry::{Key, Rule, Table, Words};
use crate::rule::suggestion;

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

pub(crate) static TABLE: Table = Table::new(
    "Logs.",
    &[
        Key::new(
            "log_format",
            Rule::Word(Words { now: || vec!["text", "json"], later: &[] }),
            "\"text\"",
            "One readable line an event, or one JSON object.",
        ),
        Key::new(
            "log_level",
            Rule::Text,
            "\"info\"",
            "Least severe level that is logged: error, warn, info, debug or trace; or a filter like \"info,berry_proxy=debug\".",
        ),
    ],
);

pub(crate) fn build(t: &Checked, reader: &mut Reader<'_>) -> Telemetry {
    let log_level = t.text("log_level").unwrap_or_default();
    // Anything with a comma or an equals sign is a filter, which is the logging library's to judge.
    let lone_word = !log_level.contains([',', '=', '[']);
    if lone_word && !LEVELS.contains(&log_level.to_ascii_lowercase().as_str()) {
        let remedy = suggestion(&log_level, LEVELS.iter().copied());
        reader.problems.error(&t.at("log_level"), "`log_level` is none of the known levels", remedy);
    }
    let log_format = if t.text("log_format").as_deref() == Some("json") { LogFormat::Json } else { LogFormat::Text };
    Telemetry { log_format, log_level }
}
