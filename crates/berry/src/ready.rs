//! What a configuration comes to before anything is opened: all that it names, read and found fit. `berry check`, the start and
//! a reload go the same way, so that none of them takes what another refuses.

use std::thread::available_parallelism;

use berry_config::{Config, Problem, Severity, TlsFiles};
use berry_proxy::net::SystemDisk;
use berry_proxy::{Certificate, ListenerTls, Live, Snapshot, Surroundings};
use berry_vocab::Moment;

use crate::logging;

/// A configuration that can be put into force.
pub(crate) struct Ready {
    pub(crate) snapshot: Snapshot,
    pub(crate) certificates: Listeners<Certificate>,
}

/// One of each listener, where it speaks TLS.
pub(crate) struct Listeners<T> {
    pub(crate) data: Option<T>,
    pub(crate) admin: Option<T>,
}

/// Makes a configuration ready. Opens nothing but the files that it names.
///
/// # Errors
/// All that cannot be used, a line each.
pub(crate) fn make_ready(config: &Config, live: &Live, now: Moment) -> Result<Ready, Vec<String>> {
    let around = Surroundings { live, disk: &SystemDisk, workers: workers(), now };
    let snapshot = Snapshot::build(config, &around);
    let data = certificate("server", config.server.tls.as_ref());
    let admin = certificate("admin", config.admin.tls.as_ref());
    let level = logging::refusal(&config.telemetry);
    // All before any is looked at: everything that is wrong is told at once.
    match (snapshot, data, admin, level) {
        (Ok(snapshot), Ok(data), Ok(admin), None) => Ok(Ready { snapshot, certificates: Listeners { data, admin } }),
        (snapshot, data, admin, level) => {
            let mut unusable = snapshot.err().unwrap_or_default();
            unusable.extend([data.err(), admin.err(), level].into_iter().flatten());
            Err(unusable)
        }
    }
}

/// One worker for each core: nothing of a request crosses threads, so that more would only take turns.
pub(crate) fn workers() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// What cannot be used, as problems of the file.
pub(crate) fn problems(unusable: &[String]) -> impl Iterator<Item = Problem> {
    unusable.iter().map(|message| Problem::about_file(Severity::Error, "", message, ""))
}

fn certificate(table: &str, files: Option<&TlsFiles>) -> Result<Option<Certificate>, String> {
    let read = |files| Certificate::read(files, &SystemDisk).map_err(|error| format!("[{table}] {error}"));
    files.map(read).transpose()
}

// === impl Listeners ===

impl Listeners<Certificate> {
    /// TLS that shows these.
    pub(crate) fn into_tls(self) -> Result<Listeners<ListenerTls>, String> {
        let tls = |certificate: Option<Certificate>| certificate.map(ListenerTls::new).transpose();
        Ok(Listeners { data: tls(self.data)?, admin: tls(self.admin)? })
    }
}
