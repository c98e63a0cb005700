//! `berry token`: tokens of users, and the hash that the configuration may hold in a token's place.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use berry_config::{check_token, quoted, token_hash, user_lines};
use clap::{Args, Subcommand};

use crate::outcome::{Failure, Outcome, Status};
use crate::{random, terminal};

/// Makes tokens for users, and the hashes of tokens
#[derive(Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Prints a new random token, and the lines that let its user in
    New {
        /// The user's id
        #[arg(long, value_name = "ID", default_value = "me", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        user: String,
    },
    /// Reads a token from standard input, and prints the line that stands for it in the configuration
    Hash,
}

/// No token is longer.
const LONGEST: u64 = 64 << 10;

impl Token {
    pub(super) fn run(self) -> Outcome {
        match self.action {
            Action::New { user } => new(&user),
            Action::Hash => hash(),
        }
    }
}

fn new(user: &str) -> Outcome {
    let token = random::token()?;
    // The token has the first line for itself, for scripts.
    terminal::out(&format!(
        "{token}\n\n\
         # It is shown this once: the configuration needs its hash alone.\n{}",
        user_lines(user, &token)
    ));
    Ok(Status::Done)
}

fn hash() -> Outcome {
    let unread = |error| Failure::new(format!("standard input cannot be read: {error}"), "pipe the token in, in UTF-8");
    if std::io::stdin().is_terminal() {
        terminal::err("type the token, which is shown, and Enter\n");
    }
    let mut line = String::new();
    std::io::stdin().lock().take(LONGEST).read_line(&mut line).map_err(unread)?;
    let token = berry_vocab::Secret::new(line);
    let text = token.expose().trim_end_matches(['\r', '\n']);
    if let Err(fault) = check_token(text) {
        return Err(Failure::new(
            format!("the token {fault}"),
            "no user could show it; `berry token new` makes a good one",
        ));
    }
    terminal::out(&format!("token_hash = {}\n", quoted(&token_hash(text))));
    Ok(Status::Done)
}
