//! `berry config`: the generations of the configuration that ran, and the way back. Reads the data directory itself, so that it
//! works beside a running gateway and without one, and when the file of today cannot be read at all.

mod admin_api;
mod diff;
mod history;
mod rollback;
mod show;

use std::path::{Path, PathBuf};

use berry_config::data_directory;
use berry_store::{Archive, HistoryError};
use clap::{Args, Subcommand};

use super::ConfigPath;
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

/// Where the history is.
#[derive(Args)]
struct Where {
    #[command(flatten)]
    config: ConfigPath,
    /// The data directory [default: storage.path of the configuration]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// A configuration file and the history that belongs to it.
struct Place {
    file: PathBuf,
    data: PathBuf,
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

// === impl Where ===

impl Where {
    fn find(self) -> Place {
        let file = self.config.into_path();
        let data = self.data.unwrap_or_else(|| data_directory(&file));
        Place { file, data }
    }
}

// === impl Place ===

impl Place {
    fn archive(&self) -> Archive {
        Archive::of(&self.data)
    }

    /// Says so where there is no history at all.
    fn must_have_history(&self) -> Result<(), Failure> {
        match self.archive().last() {
            Ok(None) => Err(no_history(&self.data)),
            Ok(Some(_)) => Ok(()),
            Err(error) => Err(refuse(error)),
        }
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
