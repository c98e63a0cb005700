//! What the tests under load share: a gateway in front of many backends, clients by the thousand, and two lengths of each
//! test. The short one runs with all others and asserts no times; `scripts/reliability.sh` runs the long one, which does, and
//! says what it has measured.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use berry_bench::{Options, Plan, Report};

use crate::harness::{Running, TOKEN, USER_TOKEN, get};

/// Whether the long form is asked for.
pub(crate) fn is_long() -> bool {
    std::env::var_os("BERRY_LONG").is_some()
}

/// The value for this length of the tests.
pub(crate) fn by_length<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// Says what has been measured, in the long form.
pub(crate) fn tell(figure: impl Display) {
    if is_long() {
        // Not through the test harness, which keeps it for failures.
        let _ = writeln!(std::io::stderr(), "    {figure}");
    }
}

/// A configuration with one model, `m`, at all these providers under the same name.
pub(crate) fn config(backends: &[String], model: &str, server: &str, settings: &str) -> String {
    let mut text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npredrain_seconds = 0\n{server}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [telemetry]\nlog_level = \"error,berry::assemble=info\"\n[settings]\n{settings}\n\
         [users.root]\ntoken = \"{TOKEN}\"\ntags = [\"admin\"]\n[users.alice]\ntoken = \"{USER_TOKEN}\"\n\
         [models.m]\nstrategy = \"weighted_random\"\n"
    );
    for (number, url) in backends.iter().enumerate() {
        let _ = write!(
            text,
            "[[models.m.backends]]\nprovider = \"p{number}\"\nmodel = \"{model}\"\n\
             [providers.p{number}]\nbase_url = \"{url}/v1\"\napi_key = \"sk-of-a-simulated-provider\"\n"
        );
    }
    text
}

/// Clients of the gateway there, for an hour unless something else ends them.
pub(crate) fn clients(address: &str, concurrency: usize) -> Options {
    Options {
        url: format!("http://{address}"),
        concurrency,
        duration: Duration::from_secs(3600),
        requests: None,
        size: 0,
        model: "m".to_owned(),
        key: Some(USER_TOKEN.to_owned()),
        stream: false,
        ramp: Duration::ZERO,
        patience: Duration::from_secs(30),
        pause: None,
        allow_remote: false,
    }
}

/// Lets them ask, on a thread of their own.
pub(crate) fn ask(options: &Options) -> JoinHandle<Report> {
    on_a_thread(options, berry_bench::load)
}

/// Lets something be done with them, on a thread of its own.
pub(crate) fn on_a_thread<T, F>(options: &Options, what: impl FnOnce(Plan) -> F + Send + 'static) -> JoinHandle<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let options = options.clone();
    spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(what(Plan::new(&options).unwrap()))
    })
}

/// The sum of a metric over all its labels.
pub(crate) fn metric(address: &str, name: &str) -> f64 {
    let text = get(address, "/metrics", None).body;
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// The memory of a gateway, by its admin listener.
pub(crate) fn resident_bytes(gateway: &Running) -> u64 {
    get(&gateway.addresses().1, "/admin/system-stats", Some(TOKEN)).json()["rss_bytes"].as_u64().unwrap()
}
