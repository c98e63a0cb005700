//! The simulated world around one gateway: providers behind a connector of the test's own, a clock that only tasks move, and
//! what everybody saw.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use berry_proxy::net::SystemClock;
use berry_proxy::ports::{Address, Clock, ConnectFault, Connected, Connector, PortFuture, Stream};
use berry_proxy::{Gateway, Live, Worker};
use berry_vocab::Moment;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::time::Instant;

use super::fault::Fault;
use super::plan::{Millis, Plan};
use super::provider;
use super::record::Record;

/// A gateway, and all that is around it.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) worker: Rc<Worker>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) scene: Rc<Scene>,
}

/// What providers, clients and the connector share.
pub(super) struct Scene {
    pub(super) record: RefCell<Record>,
    began: Instant,
    /// Connections to providers that the gateway holds, or waits for.
    pub(super) pipes: Arc<AtomicUsize>,
    /// Connections that were asked for and not made.
    pub(super) unmade: Cell<usize>,
}

impl Scene {
    pub(super) fn now(&self) -> Millis {
        self.began.elapsed().as_millis() as Millis
    }

    pub(super) fn instant(&self, at: Millis) -> Instant {
        self.began + Duration::from_millis(at)
    }

    pub(super) fn note(&self, line: std::fmt::Arguments<'_>) {
        self.record.borrow_mut().note(self.now(), line);
    }
}

impl World {
    /// The world of a plan. Its time is the runtime's, which must be paused.
    pub(super) fn new(plan: Plan) -> Rc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SimulatedClock(SystemClock::new()));
        let live = Arc::new(Live::default());
        let snapshot = crate::harness::snapshot(&plan.toml(), &live, clock.now());
        let gateway = Gateway::new(snapshot, live, clock.clone());
        let scene = Rc::new(Scene {
            record: RefCell::new(Record { trace: plan.toml(), ..Record::default() }),
            began: Instant::now(),
            pipes: Arc::default(),
            unmade: Cell::new(0),
        });
        Rc::new_cyclic(|world| {
            let connector = Rc::new(Roads { world: world.clone(), scene: scene.clone() });
            let worker = Worker::new(gateway.clone(), connector, clock, plan.seed);
            Self { plan, worker, gateway, scene }
        })
    }
}

/// The runtime's time, from a fixed day on.
struct SimulatedClock(SystemClock);

impl Clock for SimulatedClock {
    fn now(&self) -> Moment {
        self.0.now()
    }

    fn instant(&self, moment: Moment) -> Instant {
        self.0.instant(moment)
    }

    fn unix_millis(&self) -> u64 {
        1_800_000_000_000 + self.now().since(Moment::ZERO).as_millis() as u64
    }
}

/// Connections from the gateway to providers.
struct Roads {
    world: std::rc::Weak<World>,
    scene: Rc<Scene>,
}

impl Connector for Roads {
    fn connect<'a>(&'a self, to: Address<'a>) -> PortFuture<'a, Result<Connected, ConnectFault>> {
        Box::pin(async move {
            let world = self.world.upgrade().ok_or(ConnectFault::Refused)?;
            let provider = usize::from(to.port - 1000);
            let open = Open::new(&self.scene.pipes);
            let fault = world.plan.fault(provider, self.scene.now(), None).filter(|fault| fault.is_of_connections());
            if let Some(fault) = fault {
                self.scene.unmade.set(self.scene.unmade.get() + 1);
                self.scene.note(format_args!("p{provider} takes no connection: {fault:?}"));
                if fault == Fault::Blackhole {
                    std::future::pending::<()>().await;
                }
                return Err(ConnectFault::Refused);
            }
            let (ours, theirs) = duplex(provider::room(&world, provider));
            let breaks = Arc::new(AtomicBool::new(false));
            tokio::task::spawn_local(provider::serve(world.clone(), provider, theirs, breaks.clone()));
            let io = Box::new(Pipe { inner: ours, breaks, _open: open });
            Ok(Connected { io, peer: Some([127, 0, 0, 1].into()) })
        })
    }
}

/// Counts for as long as it lives.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// The gateway's end of a connection to a provider, which can break instead of ending.
struct Pipe {
    inner: DuplexStream,
    /// Whether its end is a break.
    breaks: Arc<AtomicBool>,
    _open: Open,
}

impl Stream for Pipe {}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        match buffer.filled().len() == before && self.breaks.load(SeqCst) {
            true => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            false => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Pipe {
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
