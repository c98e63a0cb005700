//! `berry completions`: what a shell needs to complete this command line.

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use super::Cli;
use crate::outcome::{Outcome, Status};
use crate::terminal;

/// Prints the completion script for a shell
///
/// For bash: `berry completions bash > /etc/bash_completion.d/berry`.
#[derive(Args)]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Outcome {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "berry", &mut script);
        terminal::out(&String::from_utf8_lossy(&script));
        Ok(Status::Done)
    }
}
