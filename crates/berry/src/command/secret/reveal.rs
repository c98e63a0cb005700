//! `berry secret reveal`: sealed values in clear, for the eyes of who has the key file.

use std::collections::HashMap;

use berry_config::quoted;
use clap::Args;

use super::{Document, Which, values};
use crate::command::ConfigPath;
use crate::outcome::{Outcome, Status};
use crate::terminal;

/// Prints secrets in clear on stdout
///
/// A single field is printed alone, several as `path = "value"`.
#[derive(Args)]
pub(super) struct Reveal {
    #[command(flatten)]
    which: Which,
    /// Write them into the file in place of the sealed values, and print none
    #[arg(long)]
    in_place: bool,
    #[command(flatten)]
    config: ConfigPath,
}

impl Reveal {
    pub(super) fn run(self) -> Outcome {
        let document = Document::read(self.config.into_path())?;
        let chosen = document.chosen(&self.which)?;
        let sealed = chosen.iter().filter(|field| field.is_sealed).count();
        let clear = document.clear(&chosen)?;
        if self.in_place {
            document.rewrite(&HashMap::from_iter(clear))?;
            terminal::out(&format!("{} now in clear in {}\n", values(sealed), document.path.display()));
            return Ok(Status::Done);
        }
        match clear.as_slice() {
            [(_, secret)] if !self.which.all => terminal::out(&format!("{}\n", secret.expose())),
            several => {
                several
                    .iter()
                    .for_each(|(path, secret)| terminal::out(&format!("{path} = {}\n", quoted(secret.expose()))));
            }
        }
        Ok(Status::Done)
    }
}
