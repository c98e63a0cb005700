//! The one place where everything is put together: configuration, ports, data plane and admin plane; and the way out.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use berry_admin::{ControlPlane, Tls};
use berry_config::Config;
use berry_proxy::checks::ProviderTest;
use berry_proxy::net::{MovingPort, SystemClock, TcpConnector, TcpPort};
use berry_proxy::ports::{Clock, Connector, Listener as _};
use berry_proxy::{Gateway, ListenerTls, Live, Phase, Snapshot, Worker, Workers, WorkersOptions};
use berry_store::audit::Keeper as AuditKeeper;
use berry_store::{DataDirectory, OpenError};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

use crate::audit;
use crate::outcome::{Failure, Status};
use crate::ready::{Listeners, Ready, make_ready, workers};
use crate::reload::{Keeper, Reloader, RunningListeners, Source};
use crate::signals::{Hangups, Signals};
use crate::{limits, logging, memory, random, terminal};

/// How long connections may take to end when there is no more time for them (failure model, K6).
const FAST_STOP: Duration = Duration::from_secs(1);

/// What a configuration comes to before anything is opened.
pub(crate) struct Prepared {
    snapshot: Snapshot,
    live: Arc<Live>,
    clock: Arc<dyn Clock>,
    workers: WorkersOptions,
    tls: Listeners<ListenerTls>,
}

/// A gateway that is ready to run.
pub(crate) struct Assembly {
    gateway: Arc<Gateway>,
    workers: Workers,
    data: MovingPort,
    admin: MovingPort,
    control: ControlPlane,
    reloader: Arc<Reloader>,
    hangups: Hangups,
    urls: Urls,
    audit: AuditKeeper,
}

/// Where the listeners are reached.
#[derive(Clone, Debug)]
pub(crate) struct Urls {
    /// The data listener.
    pub(crate) data: String,
    /// The admin listener.
    pub(crate) admin: String,
}

/// Tries every provider of a configuration, over the same client and with the same credentials as traffic.
pub(crate) async fn test_providers(prepared: Prepared) -> Vec<ProviderTest> {
    let connector: Rc<dyn Connector> = Rc::new(TcpConnector::new());
    let gateway = Gateway::new(prepared.snapshot, prepared.live, prepared.clock.clone());
    let worker = Worker::new(gateway, connector, prepared.clock, 0);
    LocalSet::new().run_until(berry_proxy::checks::test_providers(&worker)).await
}

/// Makes a configuration ready to run. Opens nothing but the files that it names, so that `berry check` can do it too.
///
/// # Errors
/// All that cannot be used, a line each.
pub(crate) fn prepare(config: &Config) -> Result<Prepared, Vec<String>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    // Beside the snapshot, not in it: health and latencies outlive a change of the configuration.
    let live = Arc::new(Live::default());
    let Ready { snapshot, certificates } = make_ready(config, &live, clock.now())?;
    let tls = certificates.into_tls().map_err(|error| vec![error])?;
    let connector = || Rc::new(TcpConnector::new()) as Rc<dyn Connector>;
    Ok(Prepared {
        snapshot,
        live,
        clock,
        workers: WorkersOptions {
            threads: workers(),
            tls: tls.data.as_ref().map(ListenerTls::config),
            seed: 0,
            connector,
            open_files: limits::open_files(),
            checks: true,
        },
        tls,
    })
}

/// What cannot be used, as people read it.
pub(crate) fn render_unusable(unusable: &[String]) -> String {
    let error = terminal::err_bold("31", "error");
    unusable.iter().map(|message| format!("{error}: {message}\n")).collect()
}

// === impl Assembly ===

impl Assembly {
    /// Puts a gateway together, with both listeners bound. Called on the event loop that will run it.
    pub(crate) fn new(source: Source, level: logging::Level) -> Result<Self, Failure> {
        let config = &source.config()?.clone();
        let mut prepared = prepare(config).map_err(|unusable| {
            terminal::err(&render_unusable(&unusable));
            Failure::with(Status::BadConfig, "the configuration names what cannot be used", "see above")
        })?;
        // Each process rolls dice of its own, else replicas would choose in step.
        prepared.workers.seed = u64::from_le_bytes(random::bytes()?);
        // Before the threads: a busy port should be told at once, and leave nothing behind.
        let mut data = bind(config.server.listen, "[server] listen in the file, --listen or BIND_ADDRESS")?;
        let mut admin = bind(config.admin.listen, "[admin] listen in the file")?;
        let urls = Urls {
            data: url(&data, config.server.listen, config.server.tls.is_some()),
            admin: url(&admin, config.admin.listen, config.admin.tls.is_some()),
        };
        let Prepared { snapshot, live, clock, workers: options, tls } = prepared;
        let data_directory = Arc::new(open_data_directory(config)?);
        let keeper = Keeper::new(data_directory.clone(), &source.place.path);
        let first = keeper.begin(&source.loaded.text, clock.unix_millis());
        let gateway = Gateway::new(snapshot.numbered(first.generation), live, clock.clone());
        if !first.is_kept {
            gateway.count_unkept();
        }
        // Before the first request, which it accounts for.
        let (audit_log, audit) = audit::open(&data_directory, &gateway)?;
        let workers = Workers::start(&gateway, &clock, &options).map_err(|error| {
            Failure::new(
                format!("the worker threads cannot be started: {error}"),
                "look at the limits of this process (ulimit -a)",
            )
        })?;
        // Descriptors are the process's: whichever listener finds none left, clients that are idle give theirs.
        data.on_shortage(workers.relief());
        admin.on_shortage(workers.relief());
        let admin_tls = tls.admin.as_ref().map(|tls| Tls::new(tls.config()));
        let (speak, speaks) = watch::channel(admin_tls);
        let (data, data_mover) = MovingPort::new(data, workers.parting());
        let (admin, admin_mover) =
            MovingPort::new(admin, Box::new(move |tls| drop(speak.send_replace(tls.map(Tls::new)))));
        let listeners = RunningListeners::at_start(config, tls, data_mover, admin_mover);
        let reloader =
            Arc::new(Reloader::new(source, config, gateway.clone(), listeners, (level, keeper, audit_log.clone())));
        let control = ControlPlane::new(gateway.clone(), options.threads, reloader.clone(), audit_log, speaks);
        Ok(Self { control, gateway, workers, data, admin, reloader, hangups: Hangups::new()?, urls, audit })
    }

    /// Where it is reached.
    pub(crate) fn urls(&self) -> &Urls {
        &self.urls
    }

    /// Serves until a signal asks to end, and everything that was in flight has ended.
    pub(crate) async fn run(self, signals: &mut Signals) {
        let Self { gateway, workers, data, mut admin, control, reloader, hangups, urls, audit } = self;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            workers = control.workers(),
            "listening on {}, admin on {}",
            urls.data,
            urls.admin
        );
        let memory = memory::watch(gateway.clone());
        let plane = DataPlane { gateway, workers, data };
        tokio::select! {
            // First the data plane: its end is the end of all.
            biased;
            () = plane.serve(signals) => {}
            // To the very end, so that a drain can be watched.
            () = control.serve(&mut admin) => {}
            () = memory => {}
            () = reloader.run(hangups) => {}
        }
        // Last: how the requests in flight ended is part of it.
        drop(audit);
    }
}

/// What outlives the process goes there, and nobody else may write to it meanwhile.
fn open_data_directory(config: &Config) -> Result<DataDirectory, Failure> {
    DataDirectory::open(&config.data_dir).map_err(|error| {
        let remedy = match error {
            OpenError::InUse(_) => "end that gateway, or give this one a `[storage] path` of its own",
            OpenError::Refused(..) => "name a folder in `[storage] path` that the user that runs Berry may write to",
        };
        Failure::new(error, remedy)
    })
}

fn bind(address: SocketAddr, key: &str) -> Result<TcpPort, Failure> {
    TcpPort::bind(address)
        .map_err(|error| Failure::new(format!("cannot listen on {address}: {error}"), bind_remedy(&error, key)))
}

/// What to do where an address cannot be listened on.
pub(crate) fn bind_remedy(error: &std::io::Error, key: &str) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!("end the program that listens there, or change {key}"),
        std::io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 need CAP_NET_BIND_SERVICE; grant it, or change {key}")
        }
        _ => format!("change {key}"),
    }
}

/// The address that was really bound: for port 0 the system chose one.
fn url(port: &TcpPort, wanted: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}", port.local_addr().unwrap_or(wanted))
}

/// The data plane and its listener, and how they end.
struct DataPlane {
    gateway: Arc<Gateway>,
    workers: Workers,
    data: MovingPort,
}

impl DataPlane {
    /// Serves, leaves, drains (failure model, K5 and K6).
    async fn serve(mut self, signals: &mut Signals) {
        let signal = self.accept_until(signals.end()).await;
        let (predrain, drain) = self.gateway.snapshot().times_to_leave();
        // Readiness turns 503 at once, while the load balancer that reads it goes on sending for a while.
        self.gateway.advance(Phase::Leaving);
        tracing::info!(
            signal,
            predrain_seconds = predrain.as_secs_f64(),
            drain_seconds = drain.as_secs_f64(),
            connections = self.workers.connections(),
            "draining; a second signal ends it at once"
        );
        let second = self.accept_until(timeout(predrain, signals.end())).await.ok();
        self.gateway.advance(Phase::Draining);
        if let Some(signal) = second {
            return self.stop_fast(signal).await;
        }
        match self.drain(signals, drain).await {
            Ok(0) => tracing::info!("drained: nothing was in flight any more"),
            Ok(cut) => {
                tracing::warn!(
                    connections = cut,
                    "the time to drain is over: what is in flight ends with code shutdown"
                );
                self.workers.cut(FAST_STOP).await;
            }
            Err(signal) => return self.stop_fast(signal).await,
        }
        self.workers.stop();
    }

    /// Waits for what is in flight. The listener stays open, so that whoever asks whether the gateway is ready gets its 503 and
    /// no refused connection; other requests are told that it is stopping. Fails with a second signal.
    async fn drain(&mut self, signals: &mut Signals, limit: Duration) -> Result<usize, &'static str> {
        let Self { workers, data, .. } = self;
        let tell = async {
            loop {
                workers.serve(data.accept().await);
            }
        };
        tokio::select! {
            biased;
            signal = signals.end() => Err(signal),
            cut = workers.drain(limit) => Ok(cut),
            () = tell => Ok(0),
        }
    }

    /// Ends what is in flight, and gives it a moment to be settled.
    async fn stop_fast(self, signal: &str) {
        let Self { gateway, workers, data } = self;
        drop(data);
        tracing::warn!(signal, connections = gateway.metrics().connections(), "second signal: ending at once");
        let deadline = Instant::now() + FAST_STOP;
        workers.stop();
        while gateway.metrics().connections() > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn accept_until<T>(&mut self, end: impl Future<Output = T>) -> T {
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                value = &mut end => return value,
                incoming = self.data.accept() => self.workers.serve(incoming),
            }
        }
    }
}
