//! `berry demo`: the gateway at work on a machine that has nothing else: simulated providers, sample users, sample traffic.
//! Only the surroundings are simulated: the configuration is text that goes through the checks of any other, and what runs is
//! what `berry serve` runs.

mod call;
mod sample;
mod traffic;

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use berry_config::render;
use clap::Args;

use super::serve::main_runtime;
use crate::assemble::Assembly;
use crate::outcome::{Failure, Outcome, Status};
use crate::reload::{Place, Source};
use crate::signals::Signals;
use crate::{limits, logging, panics, terminal};
use sample::{Addresses, Providers, Tokens};
use traffic::Traffic;

/// Shows Berry at work: simulated providers, sample users and traffic
///
/// Prints its URLs, a token, and curl lines that work as printed. Ctrl-C ends it.
#[derive(Args)]
pub(crate) struct Demo {
    /// End after that many sample requests
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// End after that many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

impl Demo {
    pub(super) fn run(self) -> Outcome {
        limits::raise_open_files();
        main_runtime()?.block_on(self.show())
    }

    async fn show(self) -> Outcome {
        let addresses = Addresses { data: preferred(3000)?, admin: preferred(3001)? };
        let providers = Providers::start().await?;
        let tokens = Tokens::new()?;
        let file = ConfigFile::write(&sample::configuration(&addresses, &providers, &tokens))?;
        let source = load(&file.path)?;
        let log = logging::start(&source.config()?.telemetry)?;
        panics::log_them();

        let assembly = Assembly::new(source, log.level())?;
        let calls = sample::calls(assembly.urls(), &tokens);
        terminal::out(&welcome(&assembly, &tokens, &file.path, &calls));
        let traffic = tokio::spawn(Traffic::new(sample::traffic(assembly.urls(), &tokens)).run(self.requests));
        let limit = self.seconds.map_or(Duration::MAX, Duration::from_secs);
        let mut signals = Signals::new()?.or(async move {
            let ended = tokio::time::timeout(limit, traffic).await;
            if let Ok(Ok(tally)) = ended {
                terminal::out(&format!("{tally}\n"));
            }
            "the demo is over"
        });
        Box::pin(assembly.run(&mut signals)).await;
        Ok(Status::Done)
    }
}

/// This port of the loopback address if it is free, else any other.
fn preferred(port: u16) -> Result<SocketAddr, Failure> {
    let probe = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    probe(port)
        .or_else(|_| probe(0))
        .map_err(|error| Failure::new(format!("no port of 127.0.0.1 is free: {error}"), ""))
}

fn load(path: &Path) -> Result<Source, Failure> {
    let source = Source::first(Place { path: path.to_owned(), listen: None });
    let loaded = &source.loaded;
    if loaded.config.is_none() {
        terminal::err(&render(&loaded.problems, &loaded.origin, terminal::err_colour()));
        let remedy = "please report this: it is a fault of Berry's";
        return Err(Failure::new("the demo's own configuration does not hold", remedy));
    }
    Ok(source)
}

fn welcome(assembly: &Assembly, tokens: &Tokens, config: &Path, calls: &[call::Call]) -> String {
    let urls = assembly.urls();
    let lines: String = calls.iter().map(|call| format!("\n# {}\n{}\n", call.title, call.curl())).collect();
    format!(
        "Berry's demo is running. Ctrl-C ends it, and nothing stays behind.\n\n\
         \x20 gateway        {data}\n\
         \x20 admin          {admin}\n\
         \x20 configuration  {config}\n\
         \x20 token          {token}   (alice; the file has bob's and the admin's)\n\n\
         Behind it: `budget`, cheap, of whose answers three in ten are errors; `premium`, dear and steady; `claude`, which\n\
         speaks Anthropic's protocol. Alice and Bob send it a few requests a second. Try it in another terminal:\n\
         {lines}\n",
        data = urls.data,
        admin = urls.admin,
        config = config.display(),
        token = tokens.alice,
    )
}

/// The configuration where people can look at it, in a folder that goes away with the demo.
struct ConfigFile {
    folder: PathBuf,
    path: PathBuf,
}

impl ConfigFile {
    fn write(text: &str) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("berry-demo-{}", std::process::id()));
        let failure = |error| {
            Failure::new(
                format!("cannot write {}: {error}", folder.display()),
                "set TMPDIR to a folder that can be written to",
            )
        };
        DirBuilder::new().mode(0o700).create(&folder).map_err(failure)?;
        let file = Self { path: folder.join("config.toml"), folder: folder.clone() };
        let mut open = OpenOptions::new();
        open.write(true).create_new(true).mode(0o600);
        open.open(&file.path).and_then(|mut open| open.write_all(text.as_bytes())).map_err(failure)?;
        Ok(file)
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        // In the folder for temporary files: the system clears away what cannot be cleared here.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
