//! `berry check`: all that is wrong with a configuration, before it runs.

use berry_config::{Loaded, Problem, load_file, render, to_json};
use berry_proxy::checks::ProviderTest;
use clap::Args;

use super::{ConfigPath, Format};
use crate::outcome::{Failure, Outcome, Status};
use crate::terminal;
use crate::{assemble, ready};

/// Reports every problem of a configuration, with its line and the remedy
///
/// Ends with 1 if one of them is an error, with 0 if there are none or warnings alone.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    config: ConfigPath,
    /// Also try every provider: does it answer, does it take the key, does it know the models
    #[arg(long)]
    connect: bool,
    /// Print the JSON schema of the file, for editors, and check nothing
    #[arg(long)]
    schema: bool,
    /// For people (stderr) or for programs (stdout)
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Check {
    /// Also tries every provider.
    pub(super) fn connecting(mut self) -> Self {
        self.connect = true;
        self
    }

    pub(super) fn run(self) -> Outcome {
        if self.schema {
            terminal::out(&format!("{:#}\n", berry_config::schema()));
            return Ok(Status::Done);
        }
        let loaded = load_file(&self.config.into_path());
        // What the file names must be usable too, else `check` would pass what `serve` refuses.
        let (prepared, unusable) = match loaded.config.as_ref().map(assemble::prepare) {
            Some(Ok(prepared)) => (Some(prepared), Vec::new()),
            Some(Err(unusable)) => (None, unusable),
            None => (None, Vec::new()),
        };
        let holds = prepared.is_some();
        let tests = match prepared.filter(|_| self.connect) {
            Some(prepared) => Some(connect(prepared)?),
            None => None,
        };
        match self.format {
            Format::Human => print_for_people(&loaded, &unusable, tests.as_deref()),
            Format::Json => print_for_programs(&loaded, &unusable, tests.as_deref()),
        }
        let all_answer = tests.unwrap_or_default().iter().all(|test| test.went_well);
        Ok(if holds && all_answer { Status::Done } else { Status::Failed })
    }
}

/// Tries every provider.
fn connect(prepared: assemble::Prepared) -> Result<Vec<ProviderTest>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(format!("there is no event loop: {error}"), "look at the limits of this process (ulimit -a)")
    })?;
    Ok(runtime.block_on(assemble::test_providers(prepared)))
}

fn print_for_people(loaded: &Loaded, unusable: &[String], tests: Option<&[ProviderTest]>) {
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
    print_tests(tests.unwrap_or_default());
}

/// One line for each provider: whether it answers, with which status, in what time, and what was found.
fn print_tests(tests: &[ProviderTest]) {
    let widest = tests.iter().map(|test| test.provider.chars().count()).max().unwrap_or_default();
    for test in tests {
        let mark = if test.went_well { terminal::out_bold("32", "ok    ") } else { terminal::out_bold("31", "failed") };
        let status = test.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let millis = test.took.as_millis();
        terminal::out(&format!("{mark}  {:<widest$}  {status:>3}  {millis:>5} ms  {}\n", test.provider, test.message));
    }
}

fn print_for_programs(loaded: &Loaded, unusable: &[String], tests: Option<&[ProviderTest]>) {
    // In front, as they are about no line: the list stays in the order of the file.
    let about_no_line = ready::problems(unusable);
    let problems: Vec<Problem> = about_no_line.chain(loaded.problems.iter().cloned()).collect();
    let mut report = to_json(&problems);
    if let Some(tests) = tests {
        report["providers"] = tests.iter().map(ProviderTest::to_json).collect();
    }
    terminal::out(&format!("{report:#}\n"));
}
