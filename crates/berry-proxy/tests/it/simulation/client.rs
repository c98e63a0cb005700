//! A simulated client: asks one question, reads the answer at its own pace, and may leave.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{io, vec};

use berry_proxy::ports::Incoming;
use berry_proxy::serve_connection;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep, sleep_until, timeout};

use crate::harness::Connection;

use super::plan::{Client, Leave, Millis};
use super::record::{Ask, Ended};
use super::world::World;

/// Longer than anything may take.
const HANG: Duration = Duration::from_secs(300);

/// Plays a client. The gateway's task for its connection must be over soon after it.
pub(super) async fn play(world: Rc<World>, client: Client) -> JoinHandle<()> {
    let scene = &world.scene;
    sleep_until(scene.instant(client.at)).await;
    let (ours, theirs) = duplex(client.room);
    let incoming = Incoming { peer: ([127, 0, 0, 1], 5).into(), open: Box::new(move || Ok(Box::new(theirs))) };
    let served = tokio::task::spawn_local(serve_connection(world.worker.clone(), incoming, None));
    let id = client.id;
    scene.record.borrow_mut().asks.insert(id, Ask { client: client.clone(), ended: Ended::Open, at: 0 });
    let naps = client.naps.clone().into_iter();
    let mut connection = Connection::over(Slow { inner: ours, naps, bite: client.bite, nap: None });
    connection.patience = HANG;
    let request = world.plan.speech.request(id, client.stream);
    let answer = async {
        connection.send(request).await;
        match connection.head().await {
            Some(head) => Ended::Told(connection.body(head).await),
            None => Ended::Silence,
        }
    };
    let Some((after, how)) = client.leaves else {
        let ended = answer.await;
        scene.record.borrow_mut().ended(id, ended, scene.now());
        return served;
    };
    match timeout(Duration::from_millis(after), answer).await {
        Ok(ended) => scene.record.borrow_mut().ended(id, ended, scene.now()),
        Err(_) => {
            let left = scene.now();
            let closed = leave(connection, how).await.then(|| scene.now());
            scene.record.borrow_mut().ended(id, Ended::Left(closed), left);
        }
    }
    served
}

/// Leaves; `true`: saw how the gateway closed its side.
async fn leave(mut connection: Connection<Slow>, how: Leave) -> bool {
    if how == Leave::Close {
        return false;
    }
    connection.stream.naps = Vec::new().into_iter();
    connection.stream.nap = None;
    let _ = connection.stream.shutdown().await;
    connection.rest().await;
    true
}

/// Reads in small bites, with naps between the first of them.
struct Slow {
    inner: DuplexStream,
    naps: vec::IntoIter<Millis>,
    bite: usize,
    nap: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Slow {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.nap.is_none()
            && let Some(millis) = self.naps.next()
        {
            self.nap = Some(Box::pin(sleep(Duration::from_millis(millis))));
        }
        if let Some(nap) = &mut self.nap {
            ready!(nap.as_mut().poll(cx));
        }
        let mut bytes = vec![0; self.bite.min(buffer.remaining())];
        let mut bite = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut bite))?;
        buffer.put_slice(bite.filled());
        self.nap = None;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
