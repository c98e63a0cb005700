//! `berry config diff`: what changed from one generation to another, or to the file of today.

use berry_config::{load_file, redacted_diff};
use clap::Args;

use super::{history_of, refuse};
use crate::command::DataPath;
use crate::outcome::{Failure, Outcome, Status};
use crate::terminal;

/// Prints what changed from a generation to another one, without secrets
///
/// Lines that differ in a secret alone look the same in both forms.
#[derive(Args)]
pub(super) struct Diff {
    /// From this generation
    #[arg(value_name = "N")]
    from: u64,
    /// To this one [default: the file as it is now]
    #[arg(value_name = "M")]
    to: Option<u64>,
    #[command(flatten)]
    place: DataPath,
}

impl Diff {
    pub(super) fn run(self) -> Outcome {
        let place = self.place.find();
        let archive = history_of(&place)?;
        let old = archive.text(self.from).map_err(refuse)?;
        let (new, name) = match self.to {
            Some(to) => (archive.text(to).map_err(refuse)?, format!("generation {to}")),
            None => (load_file(&place.file).text, place.file.display().to_string()),
        };
        if new.is_empty() && !place.file.exists() {
            return Err(Failure::new(
                format!("there is no file {name} to compare with"),
                "name a second generation, or the file with --config",
            ));
        }
        let diff = redacted_diff(old.expose(), new.expose(), &place.file);
        if !diff.is_empty() {
            terminal::out(&coloured(&format!("--- generation {}\n+++ {name}\n{diff}", self.from)));
        }
        Ok(Status::Done)
    }
}

/// As it is shown on a terminal; elsewhere as it is.
fn coloured(diff: &str) -> String {
    let line = |line: &str| {
        let colour = match line.as_bytes().first() {
            Some(b'+') => "32",
            Some(b'-') => "31",
            Some(b'@') => "36",
            _ => return format!("{line}\n"),
        };
        terminal::out_in(colour, line) + "\n"
    };
    diff.lines().map(line).collect()
}
