//! `berry secret rotate`: a new key for all sealed values. Wherever it is interrupted, the key file opens the configuration: it
//! holds both keys before the first value is sealed with the new one.

use std::collections::HashMap;

use clap::Args;

use super::{Document, open, seal, values};
use crate::command::ConfigPath;
use crate::outcome::{Outcome, Status};
use crate::{files, random, terminal};

/// Makes a new key and seals all sealed values with it
///
/// The old key stays in the key file, so that earlier versions of the configuration and other files still open.
#[derive(Args)]
pub(super) struct Rotate {
    /// Take old keys out of the key file: what else was sealed with them opens no more
    #[arg(long)]
    drop_old: bool,
    #[command(flatten)]
    config: ConfigPath,
}

impl Rotate {
    pub(super) fn run(self) -> Outcome {
        let document = Document::read(self.config.into_path())?;
        let old = document.keys()?;
        let keys = old.with_new(random::bytes()?.into());
        let mut new = HashMap::new();
        // All before anything is written: one that does not open now would be lost with its key.
        for field in document.fields.all().iter().filter(|field| field.is_sealed) {
            new.insert(field.path.as_str(), seal(&keys, field, &open(&old, field)?)?);
        }
        files::replace(document.key_file(), &keys.to_text())?;
        if !new.is_empty() {
            document.rewrite(&new)?;
        }
        if self.drop_old {
            files::replace(document.key_file(), &keys.without_old().to_text())?;
        }
        terminal::out(&format!(
            "{} has a new key, and {} in {} {} sealed with it\n{}",
            document.key_file().display(),
            values(new.len()),
            document.path.display(),
            if new.len() == 1 { "is" } else { "are" },
            if self.drop_old {
                ""
            } else {
                "Its old keys still open what was sealed before; --drop-old takes them out.\n"
            }
        ));
        Ok(Status::Done)
    }
}
