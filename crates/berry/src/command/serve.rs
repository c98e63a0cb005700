//! `berry serve`: runs the gateway.

use std::net::SocketAddr;

use berry_config::{data_directory, parse_listen, render};
use clap::Args;

use super::ConfigPath;
use crate::assemble::Assembly;
use crate::outcome::{Failure, Outcome, Status};
use crate::reload::{Place, Source, log_problems};
use crate::{audit, limits, logging, panics, signals, terminal};

/// Runs the gateway (the default command)
///
/// SIGTERM and SIGINT drain it: requests in flight finish, then it ends with 0. A second signal ends it at once. SIGHUP has it
/// read its configuration again, which it also does by itself when the file changes.
#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    config: ConfigPath,
    /// Address of the data listener, in place of the file's server.listen
    #[arg(long, value_name = "ADDR", env = "BIND_ADDRESS", hide_env_values = true)]
    listen: Option<String>,
    /// Where the configuration does not hold, start with the one that ran last, until the file is mended
    #[arg(long)]
    last_good: bool,
}

impl Serve {
    pub(super) fn run(self) -> Outcome {
        let listen = self.listen()?;
        let mut source = Source::first(Place { path: self.config.into_path(), listen });
        let is_bad = source.loaded.config.is_none();
        if is_bad {
            terminal::err(&render(&source.loaded.problems, &source.loaded.origin, terminal::err_colour()));
        }
        if is_bad && self.last_good {
            source = source.last_good()?;
        }
        let loaded = &source.loaded;
        let Some(config) = &loaded.config else {
            audit::note_bad_start(&data_directory(&source.place.path));
            return Ok(Status::BadConfig);
        };
        // Lives to the end of this function: what is left in its queue is written when it is dropped.
        let log = logging::start(&config.telemetry)?;
        panics::log_them();
        if is_bad {
            tracing::error!(
                "the configuration does not hold: starting with the one that ran last, until the file is mended"
            );
        }
        log_problems(&loaded.problems, &loaded.origin);
        run(source, log.level())
    }

    fn listen(&self) -> Result<Option<SocketAddr>, Failure> {
        let Some(text) = self.listen.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let refuse = |error: berry_config::ListenError| {
            Failure::with(Status::Usage, format!("--listen or BIND_ADDRESS: `{text}` {error}"), error.remedy())
        };
        parse_listen(text).map(Some).map_err(refuse)
    }
}

fn run(source: Source, level: logging::Level) -> Outcome {
    // The listeners and the admin plane live on this thread, the data plane on its own: a slow page of the admin's cannot hold
    // up a request, nor a flood of requests the page that shows it.
    limits::raise_open_files();
    let runtime = main_runtime()?;
    let outcome = runtime.block_on(async {
        let mut signals = signals::Signals::new()?;
        Box::pin(Assembly::new(source, level)?.run(&mut signals)).await;
        Ok(Status::Done)
    });
    // A look at the configuration file that hangs in the system does not hold the process up.
    runtime.shutdown_background();
    outcome
}

/// The event loop of the main thread.
pub(super) fn main_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let failure = |error| {
        Failure::new(format!("no event loop can be had: {error}"), "look at the limits of this process (ulimit -a)")
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failure)
}
