//! `berry serve`: runs the gateway.

use std::net::SocketAddr;

use berry_config::{Config, Loaded, load_file, parse_listen, render};
use clap::Args;

use super::ConfigPath;
use crate::assemble::Assembly;
use crate::outcome::{Failure, Outcome, Status};
use crate::{limits, logging, panics, signals, terminal};

/// Runs the gateway (the default command)
///
/// SIGTERM and SIGINT drain it: requests in flight finish, then it ends with 0. A second signal ends it at once.
#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    config: ConfigPath,
    /// Address of the data listener, in place of the file's server.listen
    #[arg(long, value_name = "ADDR", env = "BIND_ADDRESS", hide_env_values = true)]
    listen: Option<String>,
}

impl Serve {
    pub(super) fn run(self) -> Outcome {
        let listen = self.listen()?;
        let loaded = load_file(&self.config.into_path());
        let Some(config) = &loaded.config else {
            terminal::err(&render(&loaded.problems, &loaded.origin, terminal::err_colour()));
            return Ok(Status::BadConfig);
        };
        let mut config = config.clone();
        if let Some(listen) = listen {
            config.server.listen = listen;
        }
        // Lives to the end of this function: what is left in its queue is written when it is dropped.
        let _log = logging::start(&config.telemetry)?;
        panics::log_them();
        log_warnings(&loaded);
        run(&config)
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

fn run(config: &Config) -> Outcome {
    // The listeners and the admin plane live on this thread, the data plane on its own: a slow page of the admin's cannot hold
    // up a request, nor a flood of requests the page that shows it.
    limits::raise_open_files();
    let runtime = main_runtime()?;
    runtime.block_on(async {
        let mut signals = signals::Signals::new()?;
        Assembly::new(config)?.run(&mut signals).await;
        Ok(Status::Done)
    })
}

/// The event loop of the main thread.
pub(super) fn main_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let failure = |error| {
        Failure::new(format!("no event loop can be had: {error}"), "look at the limits of this process (ulimit -a)")
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failure)
}

/// The file may be used, but somebody should look at it: one line each, as the log may be read by programs.
fn log_warnings(loaded: &Loaded) {
    for problem in &loaded.problems {
        tracing::warn!(
            place = format!("{}:{}:{}", loaded.origin.display(), problem.line, problem.column),
            key = problem.path,
            remedy = problem.remedy,
            "{}",
            problem.message
        );
    }
}
