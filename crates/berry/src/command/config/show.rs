//! `berry config show`: the text of a generation.

use berry_config::redacted;
use clap::Args;

use super::{history_of, refuse};
use crate::command::DataPath;
use crate::outcome::{Outcome, Status};
use crate::terminal;

/// Prints the text of a generation, without its secrets
#[derive(Args)]
pub(super) struct Show {
    /// Its number, see `berry config history`
    #[arg(value_name = "N")]
    generation: u64,
    /// As it is, with the secrets that stand in it
    #[arg(long)]
    reveal: bool,
    /// Of a rollback: the text that stood in the file, and that no generation has
    #[arg(long)]
    replaced: bool,
    #[command(flatten)]
    place: DataPath,
}

impl Show {
    pub(super) fn run(self) -> Outcome {
        let place = self.place.find();
        let archive = history_of(&place)?;
        let text = if self.replaced { archive.replaced_text(self.generation) } else { archive.text(self.generation) };
        let text = text.map_err(refuse)?;
        match self.reveal {
            true => terminal::out(text.expose()),
            false => terminal::out(&redacted(text.expose(), &place.file)),
        }
        Ok(Status::Done)
    }
}
