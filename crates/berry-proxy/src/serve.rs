//! The workers: threads with an event loop each, and the hand that gives them connections. A new connection goes to the worker
//! that has the fewest; from then on nothing of it crosses threads. When there is no room for it, one that is idle makes room.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::checks;
use crate::downstream;
use crate::gateway::Gateway;
use crate::ports::{Clock, Connector, Incoming};
use crate::room::{Fullness, Room};
use crate::worker::Worker;

/// How the workers are made.
pub struct WorkersOptions {
    /// How many threads.
    pub threads: usize,
    /// TLS of the data listener.
    pub tls: Option<Arc<ServerConfig>>,
    /// Seed of the dice.
    pub seed: u64,
    /// Makes a connector for each worker.
    pub connector: fn() -> Rc<dyn Connector>,
    /// How many files the process may have open, its connections among them.
    pub open_files: u64,
    /// Whether the first of them makes the active checks.
    pub checks: bool,
}

/// Running workers.
pub struct Workers {
    handles: Vec<Handle>,
    room: Room,
    /// Whether the operator has been told that there is no room, and not yet that there is again.
    is_full: AtomicBool,
}

struct Handle {
    sender: mpsc::UnboundedSender<Order>,
    connections: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// What a worker is told.
enum Order {
    /// Serve this connection, if there is or can be made room for it.
    Serve(Incoming, Fullness),
    /// The system has no descriptor left: give some back.
    MakeRoom,
    /// The listener has moved, or speaks this from now on: connections that came in before are let go.
    Part(Option<TlsAcceptor>),
    /// Wake the connections, which will see that the gateway drains.
    Drain,
    /// End what is in flight, as well as it can be ended.
    Cut,
    /// End, whatever is in flight.
    Stop,
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system's, when a thread or event loop cannot be had.
    pub fn start(gateway: &Arc<Gateway>, clock: &Arc<dyn Clock>, options: &WorkersOptions) -> io::Result<Self> {
        let start = |index: usize| {
            let (sender, orders) = mpsc::unbounded_channel();
            let connections = Arc::new(AtomicUsize::new(0));
            let (gateway, clock, count) = (gateway.clone(), clock.clone(), connections.clone());
            let (tls, connector) = (options.tls.clone().map(TlsAcceptor::from), options.connector);
            // One worker makes the active checks for all.
            let checks = index == 0 && options.checks;
            let seed = options.seed.wrapping_add(index as u64);
            let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                // A local runtime rather than a LocalSet on a runtime: one queue of tasks instead of two.
                let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
                match runtime {
                    Ok(runtime) => {
                        let worker = Worker::new(gateway, connector(), clock, seed);
                        if checks {
                            runtime.spawn_local(checks::run(worker.clone()));
                        }
                        runtime.block_on(run(worker, orders, count, tls));
                        // A name's lookup that hangs in the system does not hold the process up.
                        runtime.shutdown_background();
                    }
                    Err(error) => tracing::error!(%error, "a worker has no event loop"),
                }
            })?;
            Ok(Handle { sender, connections, thread })
        };
        let handles = (0..options.threads.max(1)).map(start).collect::<io::Result<_>>()?;
        Ok(Self { handles, room: Room::new(options.open_files), is_full: AtomicBool::new(false) })
    }

    /// Gives a connection to the worker that has the fewest.
    pub fn serve(&self, incoming: Incoming) {
        let fullness = self.room.fullness(self.connections());
        self.tell_fullness(fullness);
        if let Some(handle) = self.handles.iter().min_by_key(|handle| handle.connections.load(Relaxed)) {
            handle.connections.fetch_add(1, Relaxed);
            let _ = handle.sender.send(Order::Serve(incoming, fullness));
        }
    }

    /// What a listener calls that finds no descriptor left.
    pub fn relief(&self) -> Box<dyn Fn() + Send> {
        let senders: Vec<_> = self.handles.iter().map(|handle| handle.sender.clone()).collect();
        Box::new(move || senders.iter().for_each(|sender| drop(sender.send(Order::MakeRoom))))
    }

    /// What is called when the listener has moved, with the TLS that it speaks from now on. Connections that came in before it
    /// end once they have answered what they have been asked.
    pub fn parting(&self) -> Box<dyn Fn(Option<Arc<ServerConfig>>) + Send> {
        let senders: Vec<_> = self.handles.iter().map(|handle| handle.sender.clone()).collect();
        Box::new(move |tls| {
            let tls = tls.map(TlsAcceptor::from);
            senders.iter().for_each(|sender| drop(sender.send(Order::Part(tls.clone()))));
        })
    }

    /// Tells the operator once when there is no room any more, and once when there is again.
    fn tell_fullness(&self, fullness: Fullness) {
        let connections = self.connections();
        match fullness {
            Fullness::Full if !self.is_full.swap(true, Relaxed) => {
                tracing::warn!(
                    connections,
                    "no room for more clients: idle ones are closed; raise the limit of open files"
                );
            }
            Fullness::Roomy if self.is_full.swap(false, Relaxed) => {
                tracing::info!(connections, "room for clients again")
            }
            _ => {}
        }
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.handles.iter().map(|handle| handle.connections.load(Relaxed)).sum()
    }

    /// Lets connections see that the gateway drains, and waits until all have ended, at most for `limit`. Says how many are left.
    pub async fn drain(&self, limit: Duration) -> usize {
        self.handles.iter().for_each(|handle| drop(handle.sender.send(Order::Drain)));
        let deadline = tokio::time::Instant::now() + limit;
        while self.connections() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.connections()
    }

    /// Ends what is in flight: streams with the error event `shutdown`, waiting requests with that code; and waits for that, at
    /// most for `limit`. Says how many connections are left.
    pub async fn cut(&self, limit: Duration) -> usize {
        self.handles.iter().for_each(|handle| drop(handle.sender.send(Order::Cut)));
        self.drain(limit).await
    }

    /// Ends the threads, whatever is in flight.
    pub fn stop(self) {
        self.handles.iter().for_each(|handle| drop(handle.sender.send(Order::Stop)));
        for handle in self.handles {
            let _ = handle.thread.join();
        }
    }
}

async fn run(
    worker: Rc<Worker>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    count: Arc<AtomicUsize>,
    mut tls: Option<TlsAcceptor>,
) {
    let sweeper = worker.clone();
    tokio::task::spawn_local(async move { sweeper.sweep().await });
    while let Some(order) = orders.recv().await {
        match order {
            Order::Serve(incoming, fullness) => {
                let guard = Counted(count.clone());
                if !has_room(&worker, fullness) {
                    // Dropped: with no descriptor to spare there is no way to tell it more.
                    continue;
                }
                let (worker, tls) = (worker.clone(), tls.clone());
                tokio::task::spawn_local(async move {
                    let _guard = guard;
                    serve_connection(worker, incoming, tls).await;
                });
            }
            Order::MakeRoom => {
                worker.make_room();
            }
            Order::Part(new) => {
                tls = new;
                worker.part();
            }
            Order::Drain => worker.wake_all(),
            Order::Cut => worker.cut(),
            Order::Stop => break,
        }
    }
}

/// Whether one more connection can be served, after what it takes to make room for it.
fn has_room(worker: &Worker, fullness: Fullness) -> bool {
    match fullness {
        Fullness::Roomy => true,
        Fullness::Scarce => {
            worker.pool.shrink();
            true
        }
        Fullness::Full => worker.make_room(),
    }
}

/// Serves one connection on the current thread's `LocalSet` until it ends: what a worker does, and what a simulation calls.
pub async fn serve_connection(worker: Rc<Worker>, incoming: Incoming, tls: Option<TlsAcceptor>) {
    let peer: SocketAddr = incoming.peer;
    match (incoming.open)() {
        Ok(io) => downstream::serve(worker, io, peer, tls).await,
        Err(error) => tracing::debug!(%peer, %error, "a connection was lost before it was served"),
    }
}

/// Takes a connection off its worker's count when it ends, whatever way.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
