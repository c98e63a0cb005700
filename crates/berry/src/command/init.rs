//! `berry init`: a configuration to start from.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::outcome::{Outcome, Status};
use crate::{files, random, terminal};

/// Writes a commented configuration to start from
#[derive(Args)]
pub(crate) struct Init {
    /// The file to write, which must not exist yet; - for stdout
    #[arg(long, short, value_name = "FILE", default_value = "config.toml")]
    output: PathBuf,
    /// Show every key with its default
    #[arg(long)]
    advanced: bool,
}

impl Init {
    pub(super) fn run(self) -> Outcome {
        let token = random::token()?;
        let text = berry_config::starter(self.advanced, &token);
        if self.output == Path::new("-") {
            terminal::out(&text);
            return Ok(Status::Done);
        }
        // It holds a token, and keys will be put in.
        files::create(&self.output, &text)?;
        terminal::out(&next_steps(&self.output, &token));
        Ok(Status::Done)
    }
}

fn next_steps(path: &Path, token: &str) -> String {
    // The default needs no flag.
    let flag = if path == Path::new("config.toml") { String::new() } else { format!(" --config {}", path.display()) };
    format!(
        "wrote {path} (mode 0600), with a token of your own\n\n\
         Next:\n  \
         1. put your provider's key into {path}\n  \
         2. berry check{flag}\n  \
         3. berry serve{flag}\n  \
         4. curl http://127.0.0.1:3000/v1/models -H 'Authorization: Bearer {token}'\n",
        path = path.display()
    )
}
