//! Clients that take their time: what they cost those beside them is for somebody else to measure.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, sleep_until, timeout_at};

use crate::plan::Plan;

/// In which way clients are slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// They connect and say nothing.
    Silent,
    /// They send their request byte by byte.
    Writing,
    /// They ask, and hardly read.
    Reading,
}

/// The time between two bytes that are sent, or two small reads.
const STEP: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 500 });
/// As little as a slow client lets the system take for it.
const RECEIVE_BUFFER: u32 = 4096;

/// Lets all clients of the plan be slow for its time. Who is thrown out comes again. Gives how many connections were made.
pub async fn slow(plan: Plan, way: Slow) -> u64 {
    let end = Instant::now() + plan.ramp + plan.duration;
    let run = Rc::new(Run { plan, way, connections: Cell::new(0) });
    let local = LocalSet::new();
    let mut clients = JoinSet::new();
    for number in 0..run.plan.concurrency {
        clients.spawn_local_on(client(run.clone(), number), &local);
    }
    // They do not end by themselves.
    local.run_until(sleep_until(end.into())).await;
    run.connections.get()
}

struct Run {
    plan: Plan,
    way: Slow,
    connections: Cell<u64>,
}

async fn client(run: Rc<Run>, number: usize) {
    sleep(run.plan.delay(number)).await;
    loop {
        // However it ends, it is tried again; not at once, for a gateway that is full would be asked without pause.
        let _ = run.visit().await;
        sleep(STEP).await;
    }
}

impl Run {
    async fn visit(&self) -> io::Result<()> {
        let socket = if self.plan.addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let mut stream = socket.connect(self.plan.addr).await?;
        stream.set_nodelay(true)?;
        self.connections.set(self.connections.get() + 1);
        match self.way {
            Slow::Silent => until_closed(&mut stream).await,
            Slow::Writing => write_slowly(&mut stream, &self.plan.request).await,
            Slow::Reading => {
                stream.write_all(&self.plan.request).await?;
                read_slowly(&mut stream).await
            }
        }
    }
}

async fn until_closed(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}

/// Each byte is a write of its own; an answer or a close before the last one ends it.
async fn write_slowly(stream: &mut TcpStream, request: &[u8]) -> io::Result<()> {
    for byte in request {
        stream.write_all(&[*byte]).await?;
        let next = Instant::now() + STEP;
        if timeout_at(next.into(), stream.readable()).await.is_ok() {
            break;
        }
    }
    until_closed(stream).await
}

async fn read_slowly(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 64]).await? > 0 {
        sleep(STEP).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Options;
    use tokio::net::TcpListener;

    /// What a server gets from one client that is slow in this way, until it throws it out.
    async fn received(way: Slow, at_most: usize) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = Options::sample(&format!("http://{}", listener.local_addr().unwrap()));
        let plan = Plan::new(&Options { duration: Duration::from_secs(60), ..options }).unwrap();
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            while bytes.len() < at_most {
                stream.read_buf(&mut bytes).await.unwrap();
            }
            drop(stream);
            // It comes again.
            listener.accept().await.unwrap();
            bytes.len()
        };
        tokio::select! {
            received = serving => received,
            _ = slow(plan, way) => panic!("the plan's time is long"),
        }
    }

    #[tokio::test]
    async fn who_is_slow_says_nothing_or_a_byte_or_all_and_comes_again() {
        let rows = [(Slow::Silent, 0, 0..=0), (Slow::Writing, 2, 2..=2), (Slow::Reading, 400, 400..=4096)];
        for (way, at_most, expected) in rows {
            let received = received(way, at_most).await;
            assert!(expected.contains(&received), "{way:?}: {received}");
        }
    }
}
