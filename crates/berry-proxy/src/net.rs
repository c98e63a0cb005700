//! The real ports: TCP by tokio, the system's clock and disk.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use berry_vocab::Moment;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::ports::{Address, Clock, ConnectFault, Connector, Disk, Incoming, Io, Listener, PortFuture};

const BACKLOG: u32 = 4096;

/// How long accepting pauses while the system has no descriptor left.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);

/// Listens on a TCP socket.
pub struct TcpPort {
    listener: TcpListener,
    on_shortage: Box<dyn Fn() + Send>,
    /// Whether the last try found no descriptor left.
    is_short: bool,
}

impl TcpPort {
    /// Binds to `address`.
    ///
    /// # Errors
    /// The system's, such as an address in use.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { listener: socket.listen(BACKLOG)?, on_shortage: Box::new(|| ()), is_short: false })
    }

    /// What to do when the system has no descriptor left for a connection, so that there is one again.
    pub fn on_shortage(&mut self, relieve: Box<dyn Fn() + Send>) {
        self.on_shortage = relieve;
    }

    /// Tells the operator once when a shortage begins, and once when it is over.
    fn note_shortage(&mut self, error: Option<&io::Error>) {
        match (std::mem::replace(&mut self.is_short, error.is_some()), error) {
            (false, Some(error)) => tracing::warn!(%error, "cannot accept connections for now; idle ones are closed"),
            (true, None) => tracing::info!("connections are accepted again"),
            _ => {}
        }
    }

    /// The address bound to, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Listener for TcpPort {
    fn accept(&mut self) -> PortFuture<'_, Incoming> {
        Box::pin(async {
            loop {
                match self.listener.accept().await {
                    Ok((stream, peer)) => {
                        self.note_shortage(None);
                        match detach(stream) {
                            Ok(stream) => return incoming(stream, peer),
                            Err(error) => tracing::debug!(%peer, %error, "a connection was lost when it was accepted"),
                        }
                    }
                    Err(error) if is_shortage(&error) => {
                        self.note_shortage(Some(&error));
                        (self.on_shortage)();
                        tokio::time::sleep(SHORTAGE_PAUSE).await;
                    }
                    // Such as one that was reset meanwhile.
                    Err(error) => tracing::debug!(%error, "a connection was lost before it was accepted"),
                }
            }
        })
    }
}

fn incoming(stream: std::net::TcpStream, peer: SocketAddr) -> Incoming {
    Incoming { peer, open: Box::new(move || Ok(Box::new(TcpStream::from_std(stream)?))) }
}

/// Makes a stream independent of the event loop that accepted it.
fn detach(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    stream.set_nodelay(true)?;
    // A peer that vanished is noticed after 15 s and three probes (failure model, C12).
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(15)).with_retries(3);
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive)?;
    // Keepalive rests while data waits for its acknowledgement; this does not.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(75)))?;
    stream.into_std()
}

fn is_shortage(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NotConnected
    )
}

/// Connects by TCP: nodelay, keepalive 60 s, the addresses of a name one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    fn connect<'a>(&'a self, to: Address<'a>) -> PortFuture<'a, Result<Io, ConnectFault>> {
        Box::pin(async move {
            let addresses = resolve(to).await?;
            let mut fault = ConnectFault::Resolve;
            for address in addresses {
                if !to.allow_link_local && is_link_local(address.ip()) {
                    fault = ConnectFault::Forbidden;
                    continue;
                }
                match open(address).await {
                    Ok(stream) => return Ok(Box::new(stream) as Io),
                    Err(error) => {
                        tracing::debug!(%error, "connecting to one address failed");
                        fault = ConnectFault::Refused;
                    }
                }
            }
            Err(fault)
        })
    }
}

async fn resolve(to: Address<'_>) -> Result<Vec<SocketAddr>, ConnectFault> {
    if let Ok(ip) = to.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, to.port)]);
    }
    let found = tokio::net::lookup_host((to.host, to.port)).await.map_err(|_| ConnectFault::Resolve)?;
    Ok(found.collect())
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// 169.254.0.0/16 and fe80::/10, where clouds keep their metadata services (security rule E9). Also mapped into IPv6.
fn is_link_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        // fd00:ec2::254 is the metadata service of one large cloud, in a range that is private otherwise.
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments() == [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254],
    }
}

/// The system's clocks: monotonic by the runtime's timer, wall time by the system.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose origin is now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment::ZERO.after(self.origin.elapsed())
    }

    fn instant(&self, moment: Moment) -> Instant {
        self.origin.checked_add(moment.since(Moment::ZERO)).unwrap_or(self.origin)
    }

    fn unix_millis(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_addresses_are_link_local_in_every_spelling() {
        for text in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254"] {
            assert!(is_link_local(text.parse().unwrap()), "{text}");
        }
        for text in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd00::1", "8.8.8.8"] {
            assert!(!is_link_local(text.parse().unwrap()), "{text}");
        }
    }
}
