//! A listener that moves while it listens: to another address, or to TLS and back. The new port is bound before the old one is
//! left, and what waits at the old one is still served.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::mpsc;

use super::{Neighbour, TcpPort};
use crate::ports::{Incoming, Listener, PortFuture};

/// Where a listener goes, and what it speaks there.
pub struct Move {
    /// The new port; `None`: it stays at the one it has.
    pub port: Option<TcpPort>,
    /// TLS, if it speaks TLS from now on.
    pub tls: Option<Arc<ServerConfig>>,
}

/// What is called once a listener has moved, with the TLS that it speaks from now on.
type OnMove = Box<dyn Fn(Option<Arc<ServerConfig>>) + Send>;

/// A listener that can be moved.
pub struct MovingPort {
    port: TcpPort,
    moves: mpsc::UnboundedReceiver<Move>,
    on_move: OnMove,
    /// The port that it has left, while connections wait there, and the TLS that comes after them.
    left: Option<(Option<TcpPort>, Option<Arc<ServerConfig>>)>,
}

/// Moves a listener.
pub struct Mover {
    moves: mpsc::UnboundedSender<Move>,
    neighbour: Neighbour,
}

// === impl MovingPort ===

impl MovingPort {
    /// A port that calls this once it has moved.
    pub fn new(port: TcpPort, on_move: OnMove) -> (Self, Mover) {
        let (sender, moves) = mpsc::unbounded_channel();
        let mover = Mover { moves: sender, neighbour: port.neighbour() };
        (Self { port, moves, on_move, left: None }, mover)
    }

    fn go(&mut self, to: Move) {
        let left = to.port.map(|mut port| {
            std::mem::swap(&mut port.on_shortage, &mut self.port.on_shortage);
            std::mem::replace(&mut self.port, port)
        });
        self.left = Some((left, to.tls));
    }

    /// What waits at the port that was left. When there is nothing more, the move is over.
    fn accept_left(&mut self) -> Option<Incoming> {
        let (port, tls) = self.left.take()?;
        if let Some((port, incoming)) = port.and_then(|port| port.accept_waiting().map(|incoming| (port, incoming))) {
            self.left = Some((Some(port), tls));
            return Some(incoming);
        }
        (self.on_move)(tls);
        None
    }
}

impl Listener for MovingPort {
    fn accept(&mut self) -> PortFuture<'_, Incoming> {
        Box::pin(async {
            loop {
                if let Some(incoming) = self.accept_left() {
                    return incoming;
                }
                tokio::select! {
                    biased;
                    Some(to) = self.moves.recv() => self.go(to),
                    incoming = self.port.accept() => return incoming,
                }
            }
        })
    }
}

// === impl Mover ===

impl Mover {
    /// Binds the port that the listener is to move to.
    ///
    /// # Errors
    /// The system's, such as an address in use.
    pub fn bind(&self, address: SocketAddr) -> io::Result<TcpPort> {
        self.neighbour.bind(address)
    }

    /// Has the listener move.
    pub fn go(&mut self, to: Move) {
        if let Some(port) = &to.port {
            self.neighbour = port.neighbour();
        }
        let _ = self.moves.send(to);
    }
}
