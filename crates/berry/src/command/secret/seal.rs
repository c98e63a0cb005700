//! `berry secret seal`: from clear text to sealed values, in the file itself.

use std::collections::HashMap;

use clap::Args;

use super::{Document, Which, seal, values};
use crate::command::ConfigPath;
use crate::outcome::{Outcome, Status};
use crate::terminal;

/// Seals secrets that stand in clear, in place: comments and order stay
///
/// A sealed value opens only in the field that it was sealed for.
#[derive(Args)]
pub(super) struct Seal {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    config: ConfigPath,
}

impl Seal {
    pub(super) fn run(self) -> Outcome {
        let document = Document::read(self.config.into_path())?;
        let clear: Vec<_> = document.chosen(&self.which)?.into_iter().filter(|field| !field.is_sealed).collect();
        let shown = document.path.display();
        if clear.is_empty() {
            terminal::out(&format!("nothing of this stands in clear in {shown}, which is left as it is\n"));
            return Ok(Status::Done);
        }
        let keys = document.keys()?;
        let mut new = HashMap::new();
        for field in &clear {
            new.insert(field.path.as_str(), seal(&keys, field, &field.text)?);
        }
        document.rewrite(&new)?;
        let list: String = clear.iter().map(|field| format!("  {}\n", field.path)).collect();
        terminal::out(&format!(
            "sealed {} in {shown} with {}\n{list}\
             Copies made before (of editors, backups, version control) hold them in clear.\n",
            values(clear.len()),
            document.key_file().display()
        ));
        Ok(Status::Done)
    }
}
