//! The command line: one file and one variant for each command. Flags win over the environment, and that over the file.

mod audit;
mod bench;
mod check;
mod completions;
mod config;
mod demo;
mod init;
mod mock;
mod secret;
mod serve;
mod token;

use std::ffi::OsString;
use std::path::PathBuf;

use berry_config::data_directory;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::outcome::Outcome;

/// Berry stands between your programs and LLM providers: one binary, one TOML file.
///
/// Without a command it runs the gateway, as `berry serve` does.
#[derive(Parser)]
#[command(name = "berry", version, args_conflicts_with_subcommands = true, after_help = AFTER)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Serve,
}

const AFTER: &str = "\
Exit status: 0 done, 1 what was checked does not hold or something stands in the way, 2 wrong usage, 78 bad configuration.
New here? `berry demo` shows it at work, `berry init` writes a configuration to start from.";

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    #[command(visible_alias = "generate-config")]
    Init(init::Init),
    #[command(visible_alias = "validate-config")]
    Check(check::Check),
    /// Tries every provider, as `berry check --connect` does
    #[command(hide = true)]
    HealthCheck(check::Check),
    Config(config::Config),
    Secret(secret::Secret),
    Token(token::Token),
    Audit(audit::Audit),
    Mock(mock::Mock),
    Bench(bench::Bench),
    Completions(completions::Completions),
}

/// Where the configuration is.
#[derive(Args)]
struct ConfigPath {
    /// The configuration file [default: ./config.toml]
    #[arg(long = "config", value_name = "FILE", env = "CONFIG_PATH", hide_env_values = true)]
    path: Option<OsString>,
}

/// Where the data directory is, and the configuration that it belongs to.
#[derive(Args)]
struct DataPath {
    #[command(flatten)]
    config: ConfigPath,
    /// The data directory, also a copy of one [default: storage.path of the configuration]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// A configuration file and the data directory that belongs to it.
struct Place {
    file: PathBuf,
    data: PathBuf,
}

/// For whom something is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

// === impl Cli ===

impl Cli {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        match self.command {
            None => self.serve.run(),
            Some(Command::Serve(serve)) => serve.run(),
            Some(Command::Demo(demo)) => demo.run(),
            Some(Command::Init(init)) => init.run(),
            Some(Command::Check(check)) => check.run(),
            Some(Command::HealthCheck(check)) => check.connecting().run(),
            Some(Command::Config(config)) => config.run(),
            Some(Command::Secret(secret)) => secret.run(),
            Some(Command::Token(token)) => token.run(),
            Some(Command::Audit(audit)) => audit.run(),
            Some(Command::Mock(mock)) => mock.run(),
            Some(Command::Bench(bench)) => bench.run(),
            Some(Command::Completions(completions)) => completions.run(),
        }
    }
}

// === impl ConfigPath ===

impl ConfigPath {
    /// The file to read. A variable that is set to nothing counts as not set.
    fn into_path(self) -> PathBuf {
        let path = self.path.filter(|path| !path.is_empty());
        path.map_or_else(|| PathBuf::from("config.toml"), PathBuf::from)
    }
}

// === impl DataPath ===

impl DataPath {
    /// Finds them also where the configuration does not hold.
    fn find(self) -> Place {
        let file = self.config.into_path();
        let data = self.data.unwrap_or_else(|| data_directory(&file));
        Place { file, data }
    }
}
