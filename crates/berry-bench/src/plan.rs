//! What is asked for, and what of it may be done: load goes to this machine only unless somebody says otherwise, and it
//! always ends.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use thiserror::Error;

use crate::request;

/// What is asked for. It may hold a key, so it has no Debug.
#[derive(Clone)]
pub struct Options {
    /// `http://HOST:PORT`, with or without a path.
    pub url: String,
    /// How many clients there are at once, or how many streams are held open.
    pub concurrency: usize,
    /// For how long requests are begun, or streams held; those under way at the end are waited for.
    pub duration: Duration,
    /// How many requests are begun at most.
    pub requests: Option<u64>,
    /// About how many bytes each body has; 0 is a small chat request.
    pub size: usize,
    /// The model that is asked for.
    pub model: String,
    /// The token, sent as Bearer.
    pub key: Option<String>,
    /// Asks for streams, and counts their events.
    pub stream: bool,
    /// Over how long the clients begin.
    pub ramp: Duration,
    /// How long an answer may take once no further request is begun.
    pub patience: Duration,
    /// How long a client waits after a failure before it asks again; by default a little longer each time.
    pub pause: Option<Duration>,
    /// Lets the load go to other machines.
    pub allow_remote: bool,
}

/// The most that may be asked for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Clients at once.
    pub concurrency: usize,
    /// Bytes of a body.
    pub size: usize,
    /// Requests of a run: each one's time is kept.
    pub requests: u64,
    /// Length of a run.
    pub duration: Duration,
}

/// The most that may be asked for.
pub const LIMITS: Limits =
    Limits { concurrency: 60_000, size: 64 << 20, requests: 5_000_000, duration: Duration::from_secs(3600) };

/// What has been checked and can be done.
pub struct Plan {
    pub(crate) addr: SocketAddr,
    /// Head and body, as they are sent.
    pub(crate) request: Vec<u8>,
    pub(crate) concurrency: usize,
    pub(crate) duration: Duration,
    pub(crate) requests: u64,
    pub(crate) stream: bool,
    pub(crate) ramp: Duration,
    pub(crate) patience: Duration,
    pub(crate) pause: Option<Duration>,
}

/// Why it cannot be done.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Problem {
    #[error("`{0}` is no URL of the form http://HOST:PORT/PATH")]
    Url(String),
    #[error("`{0}` cannot be resolved")]
    Unresolved(String, #[source] std::io::Error),
    #[error("{0} is not this machine")]
    Remote(SocketAddr),
    #[error("{0} is out of bounds: it must be between {1} and {2}")]
    OutOfBounds(&'static str, u64, u64),
    #[error("the {0} cannot stand in a header field")]
    Unprintable(&'static str),
}

// === impl Plan ===

impl Plan {
    /// Checks what is asked for; a host's name is resolved here, once.
    pub fn new(options: &Options) -> Result<Self, Problem> {
        let most = LIMITS.duration.as_secs();
        within("the number of clients", options.concurrency as u64, 1, LIMITS.concurrency as u64)?;
        within("the size of the body", options.size as u64, 0, LIMITS.size as u64)?;
        within("the number of requests", options.requests.unwrap_or(1), 1, LIMITS.requests)?;
        for (name, time) in
            [("the time", options.duration), ("the ramp", options.ramp), ("the patience", options.patience)]
        {
            within(name, time.as_secs(), 0, most)?;
        }
        let (authority, path) = split_url(&options.url).ok_or_else(|| Problem::Url(options.url.clone()))?;
        let key = options.key.as_deref();
        for (name, text) in [("URL", authority), ("URL", path), ("key", key.unwrap_or_default())] {
            if !text.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
                return Err(Problem::Unprintable(name));
            }
        }
        let addr = resolve(authority)?;
        if !options.allow_remote && !addr.ip().to_canonical().is_loopback() {
            return Err(Problem::Remote(addr));
        }
        let body = request::body(&options.model, options.size, options.stream);
        Ok(Plan {
            addr,
            request: request::write(authority, path, key, &body),
            concurrency: options.concurrency,
            duration: options.duration,
            requests: options.requests.unwrap_or(LIMITS.requests),
            stream: options.stream,
            ramp: options.ramp,
            patience: options.patience,
            pause: options.pause,
        })
    }

    /// How long after the start this client begins.
    pub(crate) fn delay(&self, client: usize) -> Duration {
        self.ramp.mul_f64(client as f64 / self.concurrency as f64)
    }
}

fn within(name: &'static str, value: u64, least: u64, most: u64) -> Result<(), Problem> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(Problem::OutOfBounds(name, least, most)) }
}

/// Host with port, and the path, which is that of chat if there is none.
fn split_url(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() || path == "/" { "/v1/chat/completions" } else { path };
    (!authority.is_empty() && !authority.contains('@') && !path.contains('#')).then_some((authority, path))
}

fn resolve(authority: &str) -> Result<SocketAddr, Problem> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let unresolved = |error| Problem::Unresolved(authority.to_owned(), error);
    let mut found = with_port.to_socket_addrs().map_err(unresolved)?;
    found.next().ok_or_else(|| unresolved(std::io::ErrorKind::NotFound.into()))
}

// === impl Problem ===

impl Problem {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Problem::Url(_) => "name a gateway in the clear, as in http://127.0.0.1:3000",
            Problem::Unresolved(..) => "name the address itself, as in http://127.0.0.1:3000",
            Problem::Remote(_) => "--allow-remote lets load go there; ask those whose machine it is first",
            Problem::OutOfBounds(..) => "ask for less, or run it several times",
            Problem::Unprintable(_) => "leave out spaces, and what is not ASCII",
        }
    }
}

#[cfg(test)]
impl Options {
    pub(crate) fn sample(url: &str) -> Self {
        Options {
            url: url.to_owned(),
            concurrency: 1,
            duration: Duration::from_secs(5),
            requests: None,
            size: 0,
            model: "gpt-4o-mini".to_owned(),
            key: None,
            stream: false,
            ramp: Duration::ZERO,
            patience: Duration::from_secs(5),
            pause: None,
            allow_remote: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(options: &Options) -> Problem {
        Plan::new(options).err().unwrap()
    }

    #[test]
    fn load_goes_to_this_machine_only_unless_somebody_says_otherwise() {
        for url in
            ["http://127.0.0.1:3000", "http://127.1.2.3:80/x", "http://[::1]:3000/", "http://[::ffff:127.0.0.1]:9"]
        {
            assert!(Plan::new(&Options::sample(url)).is_ok(), "{url}");
        }
        for url in ["http://192.0.2.1:3000", "http://0.0.0.0:3000", "http://[2001:db8::1]:3000"] {
            let mut options = Options::sample(url);
            assert!(matches!(problem(&options), Problem::Remote(_)), "{url}");
            options.allow_remote = true;
            assert!(Plan::new(&options).is_ok(), "{url}");
        }
    }

    #[test]
    fn what_is_no_plain_url_is_refused() {
        for url in ["127.0.0.1:3000", "https://127.0.0.1", "http://", "http:///x", "http://a@127.0.0.1:1", ""] {
            assert!(matches!(problem(&Options::sample(url)), Problem::Url(_)), "{url}");
        }
        let forged = Options::sample("http://127.0.0.1:1/a\r\nx: y");
        assert!(matches!(problem(&forged), Problem::Unprintable("URL")));
        let forged = Options { key: Some("a\r\nx: y".to_owned()), ..Options::sample("http://127.0.0.1:1") };
        assert!(matches!(problem(&forged), Problem::Unprintable("key")));
    }

    #[test]
    fn a_run_is_bounded_in_everything() {
        let sample = || Options::sample("http://127.0.0.1:1");
        for options in [
            Options { concurrency: 0, ..sample() },
            Options { concurrency: 60_001, ..sample() },
            Options { requests: Some(0), ..sample() },
            Options { requests: Some(u64::MAX), ..sample() },
            Options { size: 1 << 30, ..sample() },
            Options { duration: Duration::MAX, ..sample() },
            Options { ramp: Duration::from_secs(4000), ..sample() },
        ] {
            assert!(matches!(problem(&options), Problem::OutOfBounds(..)));
        }
    }

    #[test]
    fn clients_begin_evenly_over_the_ramp() {
        let options = Options { concurrency: 4, ramp: Duration::from_secs(2), ..Options::sample("http://127.0.0.1:1") };
        let plan = Plan::new(&options).unwrap();
        assert_eq!([0, 1, 3].map(|client| plan.delay(client).as_millis()), [0, 500, 1500]);
    }
}
