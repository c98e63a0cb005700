//! `berry secret keygen`: the key file.

use std::path::{Path, PathBuf};

use berry_config::Keyring;
use clap::Args;

use super::Document;
use crate::command::ConfigPath;
use crate::outcome::{Failure, Outcome, Status};
use crate::{files, random, terminal};

/// Makes the key file that opens sealed values
#[derive(Args)]
pub(super) struct Keygen {
    /// The file to write, which must not exist yet; - for stdout [default: security.key_file, else berry.key beside the configuration]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigPath,
}

impl Keygen {
    pub(super) fn run(self) -> Outcome {
        let keys = Keyring::new(random::bytes()?.into());
        let config = self.config.into_path();
        let output = match self.output {
            Some(output) => output,
            None => default_output(&config)?,
        };
        if output == Path::new("-") {
            terminal::out(&keys.to_text());
            return Ok(Status::Done);
        }
        files::create(&output, &keys.to_text())?;
        files::give_to_owner_of(&output, &config);
        terminal::out(&format!(
            "wrote {} (mode 0600)\n\n\
             Keep a copy of it apart from the configuration: without it, what is sealed is lost.\n\
             Next: berry secret seal --all\n",
            output.display()
        ));
        Ok(Status::Done)
    }
}

/// Where the configuration looks for it, whether or not there is one yet.
fn default_output(config: &Path) -> Result<PathBuf, Failure> {
    if config.exists() {
        return Ok(Document::read(config.to_owned())?.key_file().to_owned());
    }
    Ok(config.with_file_name("berry.key"))
}
