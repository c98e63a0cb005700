//! `berry secret`: the secrets that stand in the configuration, sealed and shown by hand. The gateway opens them by itself.

mod keygen;
mod reveal;
mod rotate;
mod seal;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use berry_config::{KeyFileFault, Keyring, SecretField, SecretFields, read_keys, render};
use clap::{Args, Subcommand};

use crate::outcome::{Failure, Outcome, Status};
use crate::{files, terminal};

/// Seals the secrets that stand in the configuration, so that the file gives none away
#[derive(Args)]
pub(crate) struct Secret {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Keygen(keygen::Keygen),
    Seal(seal::Seal),
    Reveal(reveal::Reveal),
    Rotate(rotate::Rotate),
}

/// The fields that a command is about.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// A field as `berry check` names it, like providers.openai.api_key; a list or table stands for all in it
    #[arg(long = "field", value_name = "PATH")]
    fields: Vec<String>,
    /// All fields of the file that hold a secret
    #[arg(long)]
    all: bool,
}

/// A configuration, and the secrets in it.
struct Document {
    path: PathBuf,
    fields: SecretFields,
}

// === impl Secret ===

impl Secret {
    pub(super) fn run(self) -> Outcome {
        match self.action {
            Action::Keygen(keygen) => keygen.run(),
            Action::Seal(seal) => seal.run(),
            Action::Reveal(reveal) => reveal.run(),
            Action::Rotate(rotate) => rotate.run(),
        }
    }
}

// === impl Document ===

impl Document {
    fn read(path: PathBuf) -> Result<Self, Failure> {
        match SecretFields::read(&path) {
            Ok(fields) => Ok(Self { path, fields }),
            Err(problems) => {
                terminal::err(&render(&problems, &path, terminal::err_colour()));
                let message = format!("the secrets of {} cannot be found", path.display());
                Err(Failure::with(Status::BadConfig, message, ""))
            }
        }
    }

    fn key_file(&self) -> &Path {
        self.fields.key_file()
    }

    fn keys(&self) -> Result<Keyring, Failure> {
        read_keys(self.key_file()).map_err(|fault: KeyFileFault| Failure::new(&fault, fault.remedy()))
    }

    /// The chosen fields, in the order of the file.
    fn chosen(&self, which: &Which) -> Result<Vec<&SecretField>, Failure> {
        if which.all {
            return Ok(self.fields.all().iter().collect());
        }
        let mut chosen = Vec::new();
        for path in &which.fields {
            let found = self.fields.under(path).map_err(|remedy| {
                Failure::new(format!("no secret stands at `{path}` in {}", self.path.display()), remedy)
            })?;
            chosen.extend(found);
        }
        Ok(chosen)
    }

    /// What the fields hold, by path. The key file is read only if one of them is sealed.
    fn clear<'f>(&self, fields: &[&'f SecretField]) -> Result<Vec<(&'f str, berry_vocab::Secret)>, Failure> {
        let keys = fields.iter().any(|field| field.is_sealed).then(|| self.keys()).transpose()?;
        let clear = |field: &&'f SecretField| match &keys {
            Some(keys) if field.is_sealed => Ok((field.path.as_str(), open(keys, field)?)),
            _ => Ok((field.path.as_str(), field.text.clone())),
        };
        fields.iter().map(clear).collect()
    }

    /// Writes new values, by path, into the file.
    fn rewrite(&self, new: &HashMap<&str, berry_vocab::Secret>) -> Result<(), Failure> {
        files::replace(&self.path, &self.fields.rewritten(|field| new.get(field.path.as_str()).cloned()))
    }
}

/// What is sealed in a field.
fn open(keys: &Keyring, field: &SecretField) -> Result<berry_vocab::Secret, Failure> {
    keys.open(&field.path, field.text.expose())
        .map_err(|fault| Failure::new(format!("`{}` {}", field.path, fault.told()), fault.remedy(&field.path)))
}

/// The sealed form of a field's secret.
fn seal(keys: &Keyring, field: &SecretField, clear: &berry_vocab::Secret) -> Result<berry_vocab::Secret, Failure> {
    let sealed = keys.seal(&field.path, clear).ok_or_else(|| {
        Failure::new("the system gives no random bytes", "make getrandom(2) or /dev/urandom available to Berry")
    })?;
    Ok(berry_vocab::Secret::new(sealed))
}

/// "1 value", "2 values".
fn values(count: usize) -> String {
    format!("{count} value{}", if count == 1 { "" } else { "s" })
}
