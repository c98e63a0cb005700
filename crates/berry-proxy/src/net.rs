//! The real ports: TCP by tokio, the system's clock and disk.

mod connector;
mod moving;
mod names;
mod race;
mod wall;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use berry_vocab::Moment;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::ports::{Clock, Disk, Incoming, Listener, PortFuture};

pub use connector::TcpConnector;
pub use moving::{Move, Mover, MovingPort};
use wall::{Step, Wall};

const BACKLOG: u32 = 4096;

/// How many bytes the kernel takes for a client beyond those that are under way.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// How long accepting pauses while the system has no descriptor left.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);

/// Listens on a TCP socket.
pub struct TcpPort {
    listener: Arc<TcpListener>,
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
        let socket = socket(address)?;
        socket.bind(address)?;
        Self::listen(socket)
    }

    fn listen(socket: TcpSocket) -> io::Result<Self> {
        let listener = Arc::new(socket.listen(BACKLOG)?);
        Ok(Self { listener, on_shortage: Box::new(|| ()), is_short: false })
    }

    /// By which another port can be bound while this one listens.
    pub fn neighbour(&self) -> Neighbour {
        Neighbour(Arc::downgrade(&self.listener))
    }

    /// A connection that waits to be accepted, if one does.
    fn accept_waiting(&self) -> Option<Incoming> {
        let (stream, peer) = SockRef::from(&*self.listener).accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        let stream = TcpStream::from_std(stream.into()).and_then(detach).ok()?;
        Some(incoming(stream, peer.as_socket()?))
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

/// A port that listens, for as long as it does.
#[derive(Clone, Debug)]
pub struct Neighbour(Weak<TcpListener>);

impl Neighbour {
    /// Binds to `address` while the neighbour listens, also to one that takes its own in, such as all addresses in the place of
    /// one.
    ///
    /// # Errors
    /// The system's, such as an address that somebody else has.
    pub fn bind(&self, address: SocketAddr) -> io::Result<TcpPort> {
        let plain = TcpPort::bind(address);
        let neighbour = self.0.upgrade().filter(|old| old.local_addr().is_ok_and(|old| old.port() == address.port()));
        match (plain, neighbour) {
            (Err(error), Some(neighbour)) if error.kind() == io::ErrorKind::AddrInUse => {
                // Both may share the port while the new one is bound, and not a moment longer: else a second gateway could too.
                SockRef::from(&*neighbour).set_reuse_port(true)?;
                let bound = bind_shared(address);
                SockRef::from(&*neighbour).set_reuse_port(false)?;
                bound
            }
            (plain, _) => plain,
        }
    }
}

fn bind_shared(address: SocketAddr) -> io::Result<TcpPort> {
    let socket = socket(address)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    let port = TcpPort::listen(socket)?;
    SockRef::from(&*port.listener).set_reuse_port(false)?;
    Ok(port)
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    Ok(socket)
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
    keepalive(&stream)?;
    // Keepalive rests while data waits for its acknowledgement; this does not.
    #[cfg(target_os = "linux")]
    SockRef::from(&stream).set_tcp_user_timeout(Some(Duration::from_secs(75)))?;
    // What the kernel holds for a client that reads slowly belongs to the stream's buffers too (failure model, C10).
    #[cfg(target_os = "linux")]
    SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT)?;
    stream.into_std()
}

/// A peer that vanished is noticed after 15 s and three probes (failure model, C12).
fn keepalive(stream: &TcpStream) -> io::Result<()> {
    let every = Duration::from_secs(15);
    let keepalive = TcpKeepalive::new().with_time(every).with_interval(every).with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
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

/// The system's clocks: monotonic by the runtime's timer; wall time by the system, but never set back.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
    wall: Wall,
}

impl SystemClock {
    /// A clock whose origin is now.
    pub fn new() -> Self {
        Self { origin: Instant::now(), wall: Wall::new(system_millis(), 0) }
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
        let monotonic = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (millis, step) = self.wall.read(system_millis(), monotonic);
        match step {
            Step::None => {}
            Step::Forward(by) => tracing::warn!(millis = by, "clock_jump: the system's clock was set forward"),
            Step::Back(by) => {
                tracing::warn!(millis = by, "clock_jump: the system's clock was set back; the time goes on as it was");
            }
        }
        millis
    }
}

fn system_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }
}
