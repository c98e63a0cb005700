//! `berry audit`: the audit log, from the files alone, with or without a gateway that runs.

mod tail;
mod verify;

use clap::{Args, Subcommand};

use crate::outcome::{Failure, Outcome};

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

// === impl Audit ===

impl Audit {
    pub(super) fn run(self) -> Outcome {
        match self.action {
            Action::Verify(verify) => verify.run(),
            Action::Tail(tail) => tail.run(),
        }
    }
}

fn unreadable(data: &std::path::Path, error: &std::io::Error) -> Failure {
    let message = match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no audit log in {}", data.display()),
        _ => format!("the audit log in {} cannot be read: {error}", data.display()),
    };
    Failure::new(message, "name the data directory of the gateway with --config or --data, as a user who may read it")
}
