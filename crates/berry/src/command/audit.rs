//! `berry audit`: the audit log, from the files alone, with or without a gateway that runs.

mod tail;
mod verify;

use std::path::PathBuf;

use berry_config::{load_file, render};
use clap::{Args, Subcommand, ValueEnum};

use super::ConfigPath;
use crate::outcome::{Failure, Outcome, Status};
use crate::terminal;

/// Reads the audit log: who changed what, whom Berry refused, and whether the record is whole
#[derive(Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Verify(verify::Verify),
    Tail(tail::Tail),
}

/// Where the log is.
#[derive(Args)]
struct Place {
    #[command(flatten)]
    config: ConfigPath,
    /// The data directory, in place of the configuration's storage.path; also a copy of one
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

// === impl Audit ===

impl Audit {
    pub(super) fn run(self) -> Outcome {
        match self.action {
            Action::Verify(verify) => verify.run(),
            Action::Tail(tail) => tail.run(),
        }
    }
}

// === impl Place ===

impl Place {
    fn data(self) -> Result<PathBuf, Failure> {
        if let Some(data) = self.data {
            return Ok(data);
        }
        let loaded = load_file(&self.config.into_path());
        loaded.config.map(|config| config.data_dir).ok_or_else(|| {
            terminal::err(&render(&loaded.problems, &loaded.origin, terminal::err_colour()));
            let message = "the configuration does not say where the data directory is";
            Failure::with(Status::BadConfig, message, "correct it, or name the data directory with --data")
        })
    }
}

fn unreadable(data: &std::path::Path, error: &std::io::Error) -> Failure {
    let message = match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no audit log in {}", data.display()),
        _ => format!("the audit log in {} cannot be read: {error}", data.display()),
    };
    Failure::new(message, "name the data directory of the gateway with --config or --data, as a user who may read it")
}
