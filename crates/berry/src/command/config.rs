//! `berry config`: the generations of the configuration that ran, and the way back. Reads the data directory itself, so that it
//! works beside a running gateway and without one, and when the file of today cannot be read at all.

mod admin_api;
mod diff;
mod history;
mod rollback;
mod show;

use std::path::Path;

use berry_store::{Archive, HistoryError};
use clap::{Args, Subcommand};

use super::Place;
use crate::outcome::{Failure, Outcome, Status};

/// Shows the versions of the configuration that ran, and goes back to one
#[derive(Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    History(history::History),
    Show(show::Show),
    Diff(diff::Diff),
    Rollback(rollback::Rollback),
}

// === impl Config ===

impl Config {
    pub(super) fn run(self) -> Outcome {
        match self.action {
            Action::History(history) => history.run(),
            Action::Show(show) => show.run(),
            Action::Diff(diff) => diff.run(),
            Action::Rollback(rollback) => rollback.run(),
        }
    }
}

fn archive(place: &Place) -> Archive {
    Archive::of(&place.data)
}

/// The history, or a word where there is none at all.
fn history_of(place: &Place) -> Result<Archive, Failure> {
    let archive = archive(place);
    match archive.last() {
        Ok(None) => Err(no_history(&place.data)),
        Ok(Some(_)) => Ok(archive),
        Err(error) => Err(refuse(error)),
    }
}

fn no_history(data: &Path) -> Failure {
    Failure::with(
        Status::Failed,
        format!("there is no history in {}", data.display()),
        "a gateway keeps one from its first start on; name its data directory with --data, its configuration with --config",
    )
}

fn refuse(error: HistoryError) -> Failure {
    let remedy = error.remedy();
    Failure::new(error, remedy)
}
