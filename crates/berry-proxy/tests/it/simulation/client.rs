//! A simulated client: asks its questions, reads the answers at its own pace, and may leave.

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

use super::plan::{Client, Leave, Millis, Question};
use super::record::{Ask, Ended};
use super::world::World;

/// Longer than anything may take.
const HANG: Duration = Duration::from_secs(300);

/// Plays a client. The gateway's task for its connection must be over soon after it.
pub(super) async fn play(world: Rc<World>, client: Client) -> JoinHandle<()> {
    sleep_until(world.scene.instant(client.at)).await;
    let (ours, theirs) = duplex(client.room);
    let incoming = Incoming { peer: ([127, 0, 0, 1], 5).into(), open: Box::new(move || Ok(Box::new(theirs))) };
    let served = tokio::task::spawn_local(serve_connection(world.worker.clone(), incoming, None));
    let naps = client.naps.clone().into_iter();
    let mut connection = Connection::over(Slow { inner: ours, naps, bite: client.bite, nap: None });
    connection.patience = 2 * HANG;
    for (i, question) in client.questions.iter().enumerate() {
        let leaves = client.leaves.filter(|_| i + 1 == client.questions.len());
        let patience = leaves.map_or(HANG, |(after, _)| Duration::from_millis(after));
        match timeout(patience, ask(&world, *question, &mut connection)).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => {
                // Who stays and has no answer by now has met a hang: its question stays open.
                let Some((_, how)) = leaves else { break };
                let left = world.scene.now();
                let closed = leave(connection, how).await.then(|| world.scene.now());
                world.scene.record.borrow_mut().ended(question.id, Ended::Left(closed), left);
                break;
            }
        }
    }
    served
}

/// Asks a question; `true`: has the answer, and may ask another on the same connection.
async fn ask(world: &World, question: Question, connection: &mut Connection<Slow>) -> bool {
    let scene = &world.scene;
    let ask = Ask { question, asked: scene.now(), ended: Ended::Open, at: 0 };
    scene.record.borrow_mut().asks.insert(question.id, ask);
    connection.send(world.plan.speech.request(question.id, question.stream)).await;
    let ended = match connection.head().await {
        Some((status, fields)) => Ended::Told(connection.body(status, fields).await),
        None => Ended::Silence,
    };
    let goes_on = matches!(&ended, Ended::Told(answer) if answer.complete && answer.field("connection").is_none());
    scene.record.borrow_mut().ended(question.id, ended, scene.now());
    goes_on
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
