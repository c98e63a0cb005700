//! Accepts connections and hands each to the HTTP version that it speaks; holds what all connections share.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::ask::{Dialect, split_query};
use crate::fault::{Fault, Kind};
use crate::journal::{Journal, Received, Stats};
use crate::script::{Options, Script};
use crate::{http1, http2};

/// A running mock; it stops when dropped.
#[derive(Debug)]
pub struct Mock {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
    secure: bool,
}

/// What all connections of a mock share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) journal: Arc<Journal>,
    scripts: Mutex<VecDeque<Script>>,
    /// How often each fault has been asked about.
    turns: Mutex<HashMap<Fault, u64>>,
    /// Changes when idle connections are to be closed.
    pub(crate) closing: watch::Sender<()>,
}

/// A connection that can be cut hard.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Makes the coming close a reset.
    fn reset_on_close(&self);
}

impl Wire for TcpStream {
    fn reset_on_close(&self) {
        // Where the socket is gone already there is nothing left to reset.
        let _ = socket2::SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

// === impl Mock ===

impl Mock {
    /// Binds `options.listen` and serves until dropped, on the caller's runtime.
    pub async fn start(options: Options) -> io::Result<Mock> {
        let socket = if options.listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // So that a stopped backend can come back on its address at once.
        socket.set_reuseaddr(true)?;
        socket.bind(options.listen)?;
        Mock::on(socket.listen(4096)?, options)
    }

    /// Serves on this listener; `options.listen` is not looked at.
    pub fn on(listener: TcpListener, options: Options) -> io::Result<Mock> {
        let addr = listener.local_addr()?;
        let acceptor = Acceptor::new(&options)?;
        let secure = acceptor.is_tls();
        let shared = Shared::new(options);
        let accepting = tokio::spawn(accept(listener, acceptor, shared.clone()));
        Ok(Mock { addr, shared, accepting, secure })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://ADDR`, or `https://localhost:PORT` with TLS; without a slash at the end.
    pub fn url(&self) -> String {
        if self.secure { format!("https://localhost:{}", self.addr.port()) } else { format!("http://{}", self.addr) }
    }

    /// Everything received so far.
    pub fn journal(&self) -> Vec<Received> {
        self.shared.journal.all()
    }

    /// Waits until the journal is as wished, and returns it. There is no time limit: the caller's test has one.
    pub async fn wait_for(&self, holds: impl FnMut(&[Received]) -> bool) -> Vec<Received> {
        self.shared.journal.wait_for(holds).await
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        self.shared.journal.stats()
    }

    /// Says how the next POST that no earlier script takes is answered.
    pub fn script(&self, script: impl Into<Script>) {
        self.shared.scripts.lock().unwrap_or_else(PoisonError::into_inner).push_back(script.into());
    }

    /// How many scripts still wait for their request.
    pub fn scripts_left(&self) -> usize {
        self.shared.scripts.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Closes connections that carry no request: HTTP/1 by a clean close, HTTP/2 by GOAWAY.
    pub fn close_idle(&self) {
        self.shared.closing.send_replace(());
    }

    /// Stops: the listener is closed and every connection cut when this returns.
    pub async fn stop(mut self) {
        self.accepting.abort();
        // The task was told to end, so its result says nothing.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // The task owns listener and connections, so they go with it.
        self.accepting.abort();
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(options: Options) -> Arc<Self> {
        Arc::new(Shared {
            journal: Journal::new(options.journal_limit),
            options,
            scripts: Mutex::default(),
            turns: Mutex::default(),
            closing: watch::Sender::new(()),
        })
    }

    pub(crate) fn serves(&self, dialect: Dialect) -> bool {
        self.options.dialects.is_empty() || self.options.dialects.contains(&dialect)
    }

    /// Does the request carry the key, in any of the places where vendors take it?
    pub(crate) fn lets_in(&self, request: &Received) -> bool {
        let Some(key) = &self.options.require_key else {
            return true;
        };
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let fields = ["x-api-key", "api-key", "x-goog-api-key"].map(|name| request.header(name));
        let query = split_query(&request.path).1.split('&').find_map(|pair| pair.strip_prefix("key="));
        fields.into_iter().chain([bearer, query]).flatten().any(|given| given == key)
    }

    /// Script, model name and options, laid over each other. Only a POST takes a script off the queue.
    pub(crate) fn script_for(&self, request: &Received, model: &str) -> Script {
        let mut scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        let pushed = if request.method == "POST" { scripts.pop_front() } else { None };
        let options = Script {
            fault: self.options.fault,
            ttfb: Some(self.options.ttfb),
            rate: self.options.rate,
            chunks: self.options.chunks,
            ..Script::default()
        };
        pushed.unwrap_or_default().over(Script::of_model(model)).over(options)
    }

    /// The script's fault, if this is one of the requests that it hits.
    pub(crate) fn kind_now(&self, script: &Script) -> Kind {
        let Some(fault) = script.fault else { return Kind::Ok };
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(fault).or_default();
        let number = *turn;
        *turn += 1;
        if fault.kind == Kind::Ok || !fault.hits(number, self.options.seed) {
            return Kind::Ok;
        }
        self.journal.counters.faults.fetch_add(1, Relaxed);
        fault.kind
    }

    /// Whether the answer is to come before the body has been read; `seen` is what has come of the body.
    pub(crate) fn is_early(&self, path: &str, seen: &[u8]) -> bool {
        let scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = scripts.front().map_or(self.options.fault, |script| script.fault);
        fault.is_some_and(|fault| fault.kind == Kind::Early)
            || path.contains("mock-early")
            || memchr::memmem::find(seen, b"mock-early").is_some()
    }
}

// === accepting ===

/// Plain TCP, or TLS where the feature is on and a certificate given.
#[derive(Clone)]
struct Acceptor {
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsAcceptor>,
}

#[cfg(feature = "tls")]
impl Acceptor {
    fn new(options: &Options) -> io::Result<Self> {
        Ok(Acceptor { tls: options.tls.as_ref().map(crate::tls::Tls::acceptor).transpose()? })
    }

    fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

#[cfg(not(feature = "tls"))]
impl Acceptor {
    fn new(_: &Options) -> io::Result<Self> {
        Ok(Acceptor {})
    }

    fn is_tls(&self) -> bool {
        false
    }
}

async fn accept(listener: TcpListener, acceptor: Acceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    // Out of descriptors, most likely: others need time to close theirs.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                number += 1;
                connections.spawn(serve(stream, acceptor.clone(), shared.clone(), number));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Counts a connection as closed however its task ends.
struct Open(Arc<Journal>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.closed.fetch_add(1, Relaxed);
        self.0.touch();
    }
}

async fn serve(stream: TcpStream, acceptor: Acceptor, shared: Arc<Shared>, number: u64) {
    shared.journal.counters.connections.fetch_add(1, Relaxed);
    shared.journal.touch();
    let _open = Open(shared.journal.clone());
    // Each write is to leave by itself, as vendors' edges send it; on failure they merely leave later.
    let _ = stream.set_nodelay(true);
    #[cfg(feature = "tls")]
    if let Some(tls) = &acceptor.tls {
        let Ok(stream) = tls.accept(stream).await else { return };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            return http2::serve(stream, shared, number).await;
        }
        return http1::serve(stream, shared, number).await;
    }
    let _ = acceptor;
    if begins_http2(&stream).await {
        http2::serve(stream, shared, number).await;
    } else {
        http1::serve(stream, shared, number).await;
    }
}

/// Looks at the first bytes without taking them: no method of HTTP/1 begins as HTTP/2's preface does.
async fn begins_http2(stream: &TcpStream) -> bool {
    let mut first = [0; 2];
    loop {
        match stream.peek(&mut first).await {
            Ok(1) if first[0] == b'P' => tokio::time::sleep(Duration::from_millis(1)).await,
            Ok(2) => return &first == b"PR",
            _ => return false,
        }
    }
}
