//! The ports at the edges: listener, connector, clock, disk and audit. The assembly hands them in (dice too, as a seed), so that the
//! same gateway runs on sockets and on in-memory pipes with a clock of the test's own.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use berry_vocab::{Code, Moment, ProviderId, UserId};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::{client, server};

/// A byte stream in both directions: a socket, a TLS session on one, or a pipe in memory.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// From now on, closing it tells the peer that something was cut, where it has a way to say so. What the peer has not
    /// taken yet is given up.
    fn reset_on_close(&mut self) {}
}

impl Stream for TcpStream {
    fn reset_on_close(&mut self) {
        // Where the system refuses, the connection is broken already.
        let _ = SockRef::from(&*self).set_linger(Some(Duration::ZERO));
    }
}

impl Stream for DuplexStream {}

impl<T: Stream> Stream for BufWriter<T> {
    fn reset_on_close(&mut self) {
        self.get_mut().reset_on_close();
    }
}

impl<T: Stream> Stream for server::TlsStream<T> {
    fn reset_on_close(&mut self) {
        self.get_mut().0.reset_on_close();
    }
}

impl<T: Stream> Stream for client::TlsStream<T> {
    fn reset_on_close(&mut self) {
        self.get_mut().0.reset_on_close();
    }
}

impl<T: Stream + ?Sized> Stream for Box<T> {
    fn reset_on_close(&mut self) {
        (**self).reset_on_close();
    }
}

/// Any such stream. The indirect call costs nanoseconds beside a system call.
pub type Io = Box<dyn Stream>;

/// A future of a port's method.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A connection that came in, not yet bound to a worker's event loop.
pub struct Incoming {
    /// The peer's address.
    pub peer: SocketAddr,
    /// Binds it to the event loop of the thread that calls this.
    pub open: Box<dyn FnOnce() -> io::Result<Io> + Send>,
}

/// Where connections come in.
pub trait Listener {
    /// Waits for the next connection. Errors of single connections and passing shortages are its own to handle.
    fn accept(&mut self) -> PortFuture<'_, Incoming>;
}

/// Where a connection is to go.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    /// Host name or IP address (IPv6 without brackets).
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Whether a link-local address may be connected to.
    pub allow_link_local: bool,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFault {
    /// The name has no address.
    Resolve,
    /// Every address is one that the configuration forbids (link-local, cloud metadata).
    Forbidden,
    /// Refused, unreachable or reset.
    Refused,
    /// Not within the time limit.
    TimedOut,
    /// The TLS handshake failed.
    Tls,
    /// The proxy on the way refused.
    Proxy,
}

impl fmt::Display for ConnectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectFault::Resolve => "the name does not resolve",
            ConnectFault::Forbidden => "the address is link-local, which needs allow_link_local",
            ConnectFault::Refused => "the connection was refused",
            ConnectFault::TimedOut => "no connection in time",
            ConnectFault::Tls => "the TLS handshake failed",
            ConnectFault::Proxy => "the proxy refused",
        })
    }
}

/// A connection that went out.
pub struct Connected {
    /// Its bytes.
    pub io: Io,
    /// The address that it leads to, where there is one.
    pub peer: Option<IpAddr>,
}

/// How connections go out.
pub trait Connector {
    /// Opens a connection. Time limits are the caller's.
    fn connect<'a>(&'a self, to: Address<'a>) -> PortFuture<'a, Result<Connected, ConnectFault>>;

    /// Whether an idle connection that leads to `peer` may still serve requests to `to`. Asked every few seconds for as long as
    /// there are such connections.
    fn is_current(&self, to: Address<'_>, peer: IpAddr) -> bool {
        let _ = (to, peer);
        true
    }
}

/// Time. Waiting goes through the runtime's timer, which tests pause; both must tell the same time.
pub trait Clock: Send + Sync {
    /// Monotonic time.
    fn now(&self) -> Moment;
    /// The runtime's instant for a moment, to wait for it.
    fn instant(&self, moment: Moment) -> Instant;
    /// Wall time, in milliseconds since 1970.
    fn unix_millis(&self) -> u64;
}

/// Files that the configuration names: certificates and keys.
pub trait Disk {
    /// Reads a whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// Where what must be accounted for is noted.
pub trait Audit: Send + Sync {
    /// Takes note of how a request ended. Never waits, and never fails for the caller.
    fn note(&self, ended: &Ended<'_>);

    /// Takes note that a provider refused one of its keys, which is named by its place among them (failure model, U7). As little as
    /// that does it wait or fail.
    fn note_key_refused(&self, refused: &KeyRefused<'_>);

    /// How it does.
    fn standing(&self) -> AuditStanding;
}

/// A key that a provider refused.
#[derive(Clone, Copy, Debug)]
pub struct KeyRefused<'a> {
    /// Whose key it is.
    pub provider: &'a ProviderId,
    /// Its place among the provider's keys, from 1.
    pub key: usize,
    /// Whether others are left, so that this one is put aside.
    pub is_put_aside: bool,
    /// When, in milliseconds since 1970.
    pub unix_millis: u64,
    /// The request that it was refused for.
    pub request_id: &'a str,
}

/// A request that ended, and is to be noted.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Why it is.
    pub occasion: Occasion,
    /// When it began, in milliseconds since 1970.
    pub unix_millis: u64,
    /// Whose it was, where that is known.
    pub user: Option<&'a UserId>,
    /// What was asked: the route's label.
    pub route: &'static str,
    /// The public model, where it is known to exist.
    pub model: Option<&'a str>,
    /// `provider/model` of the last attempt.
    pub backend: Option<&'a str>,
    /// What came of it, in the words of the log.
    pub outcome: &'static str,
    /// The client's address, where it is known.
    pub ip: Option<IpAddr>,
    /// Its id.
    pub request_id: &'a str,
}

/// Why a request is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Berry refused it.
    Refused(Code),
    /// Its user named the backend.
    Forced,
    /// All requests are.
    Asked,
}

/// How the audit log does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditStanding {
    /// Why it cannot be written, if it cannot.
    pub failing: Option<String>,
    /// The number of the newest record.
    pub records: u64,
    /// What was not recorded.
    pub lost: u64,
}
