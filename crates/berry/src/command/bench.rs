//! `berry bench`: load for a gateway, and what it cost those who waited.

use std::time::Duration;

use berry_bench::{LIMITS, Options, Plan, Problem, Report};
use clap::Args;

use super::serve::main_runtime;
use super::{Format, mock};
use crate::outcome::{Failure, Outcome, Status};
use crate::{limits, terminal};

/// Measures a gateway under load: each client asks again as soon as it has its answer
///
/// It asks for chat completions, as OpenAI's Python client does, over HTTP/1. Requests under way at the end are waited for. Ends
/// with 1 if no request was answered well. `berry mock --burst --journal 0` is a provider to measure a gateway with;
/// scripts/benchmark.sh measures Berry beside nginx and HAProxy.
#[derive(Args)]
pub(crate) struct Bench {
    /// The gateway; without a path, its /v1/chat/completions
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:3000")]
    url: String,
    /// How many clients ask at once
    #[arg(long, short, value_name = "N", default_value_t = 16)]
    concurrency: usize,
    /// For how long requests are begun: 10s, 500ms
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = mock::time)]
    time: Duration,
    /// How many requests are begun at most
    #[arg(long, short, value_name = "N")]
    requests: Option<u64>,
    /// Bytes of each body [default: 284, with a common model's name]
    #[arg(long, value_name = "BYTES", default_value_t = 0, hide_default_value = true)]
    size: usize,
    /// The model that is asked for
    #[arg(long, value_name = "MODEL", default_value = "gpt-4o-mini")]
    model: String,
    /// The user's token
    #[arg(long, value_name = "TOKEN", env = "BERRY_TOKEN", hide_env_values = true)]
    key: Option<String>,
    /// Ask for streams, and count their events
    #[arg(long)]
    stream: bool,
    /// Over how long the clients begin
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = mock::time)]
    ramp: Duration,
    /// How long answers may take once no further request is begun
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = mock::time)]
    patience: Duration,
    /// Open this many streams and hold them open for --time, in place of asking again and again; tells on stderr when all are open
    #[arg(long, value_name = "N", conflicts_with_all = ["concurrency", "requests"])]
    idle: Option<usize>,
    /// Let the load go to another machine than this one
    #[arg(long)]
    allow_remote: bool,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Bench {
    pub(super) fn run(self) -> Outcome {
        limits::raise_open_files();
        let format = self.format;
        let holds = self.idle.is_some();
        let plan = Plan::new(&self.options()).map_err(refusal)?;
        let report = main_runtime()?.block_on(async {
            if holds {
                berry_bench::hold(plan, |open| terminal::err(&format!("{open} streams are open\n"))).await
            } else {
                berry_bench::load(plan).await
            }
        });
        print(&report, format);
        let good = report.ok > 0 || report.held.is_some_and(|held| held > 0);
        Ok(if good { Status::Done } else { Status::Failed })
    }

    fn options(self) -> Options {
        Options {
            url: self.url,
            concurrency: self.idle.unwrap_or(self.concurrency),
            duration: self.time,
            requests: self.requests,
            size: self.size,
            model: self.model,
            key: self.key.filter(|key| !key.is_empty()),
            stream: self.stream || self.idle.is_some(),
            ramp: self.ramp,
            patience: self.patience,
            pause: None,
            allow_remote: self.allow_remote,
        }
    }
}

fn refusal(problem: Problem) -> Failure {
    let remedy = match &problem {
        Problem::OutOfBounds(..) => format!("{}; a run lasts at most {:?}", problem.remedy(), LIMITS.duration),
        _ => problem.remedy().to_owned(),
    };
    Failure::with(Status::Usage, problem, remedy)
}

fn print(report: &Report, format: Format) {
    match format {
        Format::Human => terminal::out(&report.to_string()),
        // Numbers and names of errors only: this cannot fail.
        Format::Json => terminal::out(&format!("{}\n", serde_json::to_string(report).unwrap_or_default())),
    }
}
