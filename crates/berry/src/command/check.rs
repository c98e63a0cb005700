//! `berry check`: all that is wrong with a configuration, before it runs.

use berry_config::{Config, Loaded, load_file, render, to_json};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::ConfigPath;
use crate::assemble;
use crate::outcome::{Outcome, Status};
use crate::terminal;

/// Reports every problem of a configuration, with its line and the remedy
///
/// Ends with 1 if one of them is an error, with 0 if there are none or warnings alone.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    config: ConfigPath,
    /// Print the JSON schema of the file, for editors, and check nothing
    #[arg(long)]
    schema: bool,
    /// For people (stderr) or for programs (stdout)
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

impl Check {
    pub(super) fn run(self) -> Outcome {
        if self.schema {
            terminal::out(&format!("{:#}\n", berry_config::schema()));
            return Ok(Status::Done);
        }
        let loaded = load_file(&self.config.into_path());
        // What the file names must be usable too, else `check` would pass what `serve` refuses.
        let unusable = loaded.config.as_ref().map(unusable).unwrap_or_default();
        match self.format {
            Format::Human => print_for_people(&loaded, &unusable),
            Format::Json => print_for_programs(&loaded, &unusable),
        }
        let holds = loaded.config.is_some() && unusable.is_empty();
        Ok(if holds { Status::Done } else { Status::Failed })
    }
}

fn unusable(config: &Config) -> Vec<String> {
    assemble::prepare(config).err().unwrap_or_default()
}

fn print_for_people(loaded: &Loaded, unusable: &[String]) {
    let mut report = assemble::render_unusable(unusable);
    if !loaded.problems.is_empty() {
        report.push_str(&render(&loaded.problems, &loaded.origin, terminal::err_colour()));
    }
    terminal::err(&report);
    if let Some(config) = loaded.config.as_ref().filter(|_| unusable.is_empty()) {
        let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        terminal::out(&format!(
            "{} holds: {}, {}, {}\n",
            loaded.origin.display(),
            count(config.providers.len(), "provider"),
            count(config.models.len(), "model"),
            count(config.users.len(), "user"),
        ));
    }
}

fn print_for_programs(loaded: &Loaded, unusable: &[String]) {
    let mut report = to_json(&loaded.problems);
    if let Some(problems) = report.get_mut("problems").and_then(Value::as_array_mut) {
        // In front, as they are about no line: the list stays in the order of the file.
        let about_no_line = unusable.iter().map(|message| {
            json!({"severity": "error", "line": 1, "column": 1, "path": "", "message": message, "remedy": ""})
        });
        problems.splice(0..0, about_no_line);
    }
    terminal::out(&format!("{report:#}\n"));
}
