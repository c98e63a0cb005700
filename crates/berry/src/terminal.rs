//! What people read: stdout and stderr. The only place that writes to them beside the log, so that a closed pipe never
//! panics and colours appear on terminals only.

use std::io::{IsTerminal as _, Write as _};

use berry_config::Colour;

/// Writes to stdout. A reader that has gone away is no failure: `berry completions bash | head -1` may end early.
pub(crate) fn out(text: &str) {
    let _ = try_out(text);
}

/// As that. `false`: nobody reads any more.
pub(crate) fn try_out(text: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// Writes to stderr.
pub(crate) fn err(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Whether stderr shows colours: it is a terminal, and nobody has asked for none (<https://no-color.org>).
pub(crate) fn err_colour() -> Colour {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted && std::io::stderr().is_terminal() { Colour::Always } else { Colour::Never }
}

/// The text as stdout shows it in bold and in this ANSI colour.
pub(crate) fn out_bold(colour: &str, text: &str) -> String {
    out_in(&format!("1;{colour}"), text)
}

/// The text as stdout shows it in this ANSI colour.
pub(crate) fn out_in(colour: &str, text: &str) -> String {
    match std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        true => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
        false => text.to_owned(),
    }
}

/// The text as stderr shows it in bold and in this ANSI colour.
pub(crate) fn err_bold(colour: &str, text: &str) -> String {
    match err_colour() {
        Colour::Always => format!("\u{1b}[1;{colour}m{text}\u{1b}[0m"),
        Colour::Never => text.to_owned(),
    }
}
