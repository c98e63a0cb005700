//! Berry, the program: the command line, the one place that assembles everything, signals and the way out. What a request
//! goes through is in `berry-proxy`; nothing here is on its path.

mod assemble;
mod audit;
mod command;
mod files;
mod limits;
mod logging;
mod memory;
mod outcome;
mod panics;
mod random;
mod ready;
mod reload;
mod signals;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let outcome = command::Cli::parse().run();
    outcome.unwrap_or_else(|failure| failure.report()).into()
}
