//! Connections to providers by TCP: names by the system's resolver and a cache, addresses by a race. Each worker has its own
//! cache, which costs a lookup more and no lock.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use foldhash::HashMap;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::net::names::{Addresses, Known, LookupFault, Names, News};
use crate::net::{SystemClock, keepalive, race};
use crate::ports::{Address, Clock, ConnectFault, Connected, Connector, PortFuture};

/// How long a connection waits for a lookup before the last good answer serves.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// When a lookup counts as lost, and the name may be asked anew. Until then its answer is taken, late as it is: a resolver that
/// hangs is not asked a second time, so that it ties up one thread for each name.
const LOST: Duration = Duration::from_secs(60);

/// Connects by TCP: nodelay, keepalive, several addresses by turns.
#[derive(Debug)]
pub struct TcpConnector {
    resolver: Rc<Resolver>,
}

type Lookup = Box<dyn Fn(&str) -> PortFuture<'static, io::Result<Vec<IpAddr>>>>;

struct Resolver {
    lookup: Lookup,
    clock: SystemClock,
    names: RefCell<Names>,
    /// Lookups on their way. A receiver whose sender is gone is one that has landed.
    flights: RefCell<HashMap<Box<str>, watch::Receiver<()>>>,
}

// === impl TcpConnector ===

impl TcpConnector {
    /// A connector that asks the system for names.
    pub fn new() -> Self {
        Self { resolver: Resolver::new(Box::new(|name| Box::pin(ask_system(name.to_owned())))) }
    }
}

impl Default for TcpConnector {
    fn default() -> Self {
        Self::new()
    }
}

impl Connector for TcpConnector {
    fn connect<'a>(&'a self, to: Address<'a>) -> PortFuture<'a, Result<Connected, ConnectFault>> {
        Box::pin(async move {
            let addresses = match to.host.parse::<IpAddr>() {
                Ok(ip) => Rc::from([ip]),
                Err(_) => self.resolver.resolve(to.host).await?,
            };
            let allowed = addresses.iter().copied().filter(|ip| to.allow_link_local || !is_link_local(*ip));
            let order = race::interleave(allowed);
            if order.is_empty() {
                return Err(ConnectFault::Forbidden);
            }
            let opened = race::first(order, |ip| open(SocketAddr::new(ip, to.port))).await;
            let (stream, address) = opened.ok_or(ConnectFault::Refused)?;
            Ok(Connected { io: Box::new(stream), peer: Some(address.ip()) })
        })
    }

    fn is_current(&self, to: Address<'_>, peer: IpAddr) -> bool {
        to.host.parse::<IpAddr>().is_ok() || self.resolver.is_current(to.host, peer)
    }
}

async fn open(address: SocketAddr) -> Option<(TcpStream, SocketAddr)> {
    let opened = TcpStream::connect(address).await.and_then(|stream| {
        stream.set_nodelay(true)?;
        keepalive(&stream)?;
        Ok((stream, address))
    });
    opened.inspect_err(|error| tracing::debug!(%error, "connecting to one address failed")).ok()
}

/// 169.254.0.0/16 and fe80::/10, where clouds keep their metadata services (security rule E9). Also mapped into IPv6.
fn is_link_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        // fd00:ec2::254 is the metadata service of one large cloud, in a range that is private otherwise.
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments() == [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254],
    }
}

/// By getaddrinfo, on a thread of the runtime's: it obeys the system's configuration (hosts file, search list, nsswitch), as an
/// operator expects, at the price of knowing no time to live.
async fn ask_system(name: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
}

// === impl Resolver ===

impl Resolver {
    fn new(lookup: Lookup) -> Rc<Self> {
        let (names, flights) = (RefCell::default(), RefCell::default());
        Rc::new(Self { lookup, clock: SystemClock::new(), names, flights })
    }

    async fn resolve(self: &Rc<Self>, name: &str) -> Result<Addresses, ConnectFault> {
        let known = self.names.borrow().known(name, self.clock.now());
        match known {
            Known::Fresh(addresses) => return Ok(addresses),
            Known::LastGood(addresses) => {
                self.ask(name);
                return Ok(addresses);
            }
            Known::Nothing => {}
        }
        // It ends when the sender is gone, which is when the lookup has landed.
        if timeout(LOOKUP_LIMIT, self.ask(name).changed()).await.is_err() {
            self.learn(name, Err(LookupFault::TimedOut));
        }
        self.names.borrow().last_good(name, self.clock.now()).ok_or(ConnectFault::Resolve)
    }

    /// Whether `peer` is still an address of the name's; asks again where what is known has grown old.
    fn is_current(self: &Rc<Self>, name: &str, peer: IpAddr) -> bool {
        if self.names.borrow().is_due(name, self.clock.now()) {
            self.ask(name);
        }
        !self.names.borrow().is_gone(name, peer)
    }

    /// Sends a lookup on its way, unless one is. It goes on when nobody waits for it any more.
    fn ask(self: &Rc<Self>, name: &str) -> watch::Receiver<()> {
        if let Some(flight) = self.flights.borrow().get(name) {
            return flight.clone();
        }
        let (landed, flight) = watch::channel(());
        self.flights.borrow_mut().insert(name.into(), flight.clone());
        let (resolver, name) = (self.clone(), Box::<str>::from(name));
        tokio::task::spawn_local(async move {
            let found = match timeout(LOST, (resolver.lookup)(&name)).await {
                Ok(found) => found.map_err(|_| LookupFault::Failed),
                Err(_) => Err(LookupFault::TimedOut),
            };
            resolver.learn(&name, found);
            resolver.flights.borrow_mut().remove(&name);
            drop(landed);
        });
        flight
    }

    fn learn(&self, name: &str, found: Result<Vec<IpAddr>, LookupFault>) {
        match self.names.borrow_mut().learn(name, found, self.clock.now()) {
            None => {}
            Some(News::Recovered) => tracing::info!(name, "the name resolves again"),
            Some(News::Changed) => tracing::debug!(name, "the name has other addresses now"),
            Some(News::Failing { fault, serves: true }) => {
                tracing::warn!(name, %fault, "a lookup failed; the last good addresses serve for up to an hour");
            }
            Some(News::Failing { fault, serves: false }) => tracing::warn!(name, %fault, "a lookup failed"),
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use tokio::task::LocalSet;
    use tokio::time::{Instant, advance};

    use super::*;

    const GOOD: &str = "8.8.8.8";

    /// Runs a test with a resolver whose lookups say the text of `answer`, and hang where it is empty.
    async fn with_resolver(test: impl AsyncFnOnce(Rc<Resolver>, Rc<Cell<&'static str>>, Rc<Cell<usize>>)) {
        let (answer, asked) = (Rc::new(Cell::new(GOOD)), Rc::new(Cell::new(0)));
        let (says, counts) = (answer.clone(), asked.clone());
        let lookup: Lookup = Box::new(move |_| {
            counts.set(counts.get() + 1);
            let text = says.get();
            Box::pin(async move {
                match text {
                    "" => pending().await,
                    text => text.parse().map(|ip| vec![ip]).map_err(io::Error::other),
                }
            })
        });
        LocalSet::new().run_until(test(Resolver::new(lookup), answer, asked)).await;
    }

    fn good() -> Result<Addresses, ConnectFault> {
        Ok(Rc::from([GOOD.parse().unwrap()]))
    }

    #[tokio::test(start_paused = true)]
    async fn one_lookup_serves_all_who_wait_and_those_of_the_next_seconds() {
        with_resolver(async |resolver, _, asked| {
            let both = tokio::join!(resolver.resolve("a.example"), resolver.resolve("a.example"));
            assert_eq!((both, asked.get()), ((good(), good()), 1));
            assert_eq!((resolver.resolve("a.example").await, asked.get()), (good(), 1));
            advance(Duration::from_secs(5)).await;
            assert_eq!((resolver.resolve("a.example").await, asked.get()), (good(), 2));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_hangs_gives_way_to_the_last_good_answer_and_is_not_repeated() {
        with_resolver(async |resolver, answer, asked| {
            assert_eq!(resolver.resolve("a.example").await, good());
            advance(Duration::from_secs(6)).await;
            answer.set("");
            let start = Instant::now();
            assert_eq!(resolver.resolve("a.example").await, good());
            assert_eq!(start.elapsed(), LOOKUP_LIMIT);
            advance(Duration::from_secs(6)).await;
            let start = Instant::now();
            assert_eq!(resolver.resolve("a.example").await, good());
            assert_eq!((start.elapsed(), asked.get()), (Duration::ZERO, 2), "no second wait, no second lookup");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_a_good_answer_is_no_connection() {
        with_resolver(async |resolver, answer, _| {
            for text in ["", "no address"] {
                answer.set(text);
                assert_eq!(resolver.resolve(&format!("{text}.example")).await, Err(ConnectFault::Resolve));
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_connections_hang_on_are_watched() {
        with_resolver(async |resolver, answer, _| {
            resolver.resolve("a.example").await.unwrap();
            answer.set("8.8.4.4");
            for second in 0..60 {
                let is_current = resolver.is_current("a.example", GOOD.parse().unwrap());
                assert!(if second < 30 { is_current } else { second < 50 || !is_current }, "{second}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        })
        .await;
    }

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
