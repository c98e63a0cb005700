//! The listeners while the gateway runs: another address, TLS or none, another certificate. All new ports are bound before
//! anything changes; where one cannot be, the whole reload is refused.

use std::net::SocketAddr;

use berry_config::{Config, Problem, Severity};
use berry_proxy::net::{Move, Mover, TcpPort};
use berry_proxy::{Certificate, ListenerTls};

use crate::assemble::bind_remedy;
use crate::ready::Listeners;

/// Both listeners.
pub(crate) struct RunningListeners {
    data: RunningListener,
    admin: RunningListener,
}

/// A listener that runs.
struct RunningListener {
    table: &'static str,
    listen: SocketAddr,
    tls: Option<ListenerTls>,
    mover: Mover,
}

/// What a new configuration asks of a listener, ready to be done.
struct Change {
    listen: SocketAddr,
    port: Option<TcpPort>,
    tls: Tls,
}

enum Tls {
    /// It stays without.
    None,
    /// It goes on with this certificate.
    Show(Certificate),
    /// It begins.
    Begin(ListenerTls),
    /// It ends.
    End,
}

/// What a new configuration asks of both.
pub(super) struct Changes {
    data: Change,
    admin: Change,
}

// === impl RunningListeners ===

impl RunningListeners {
    /// The listeners of the gateway that starts.
    pub(crate) fn at_start(config: &Config, tls: Listeners<ListenerTls>, data: Mover, admin: Mover) -> Self {
        Self {
            data: RunningListener { table: "server", listen: config.server.listen, tls: tls.data, mover: data },
            admin: RunningListener { table: "admin", listen: config.admin.listen, tls: tls.admin, mover: admin },
        }
    }

    /// Makes ready what the configuration asks of them.
    ///
    /// # Errors
    /// What stands in the way.
    pub(super) fn prepare(
        &self,
        config: &Config,
        certificates: Listeners<Certificate>,
    ) -> Result<Changes, Vec<Problem>> {
        let data = self.data.prepare(config.server.listen, certificates.data);
        let admin = self.admin.prepare(config.admin.listen, certificates.admin);
        match (data, admin) {
            (Ok(data), Ok(admin)) => Ok(Changes { data, admin }),
            (data, admin) => Err([data.err(), admin.err()].into_iter().flatten().flatten().collect()),
        }
    }

    /// Does it.
    pub(super) fn change(&mut self, changes: Changes) {
        self.data.change(changes.data);
        self.admin.change(changes.admin);
    }
}

// === impl RunningListener ===

impl RunningListener {
    fn prepare(&self, listen: SocketAddr, certificate: Option<Certificate>) -> Result<Change, Vec<Problem>> {
        let key = format!("{}.listen", self.table);
        let in_the_way =
            |message: String, remedy: String| vec![Problem::about_file(Severity::Error, &key, message, remedy)];
        let port = (listen != self.listen).then(|| self.mover.bind(listen)).transpose().map_err(|error| {
            in_the_way(format!("cannot listen on {listen}: {error}"), bind_remedy(&error, &format!("`{key}`")))
        })?;
        let tls = match (&self.tls, certificate) {
            (Some(_), Some(certificate)) => Tls::Show(certificate),
            (None, Some(certificate)) => {
                Tls::Begin(ListenerTls::new(certificate).map_err(|error| in_the_way(error, String::new()))?)
            }
            (Some(_), None) => Tls::End,
            (None, None) => Tls::None,
        };
        Ok(Change { listen, port, tls })
    }

    fn change(&mut self, Change { listen, port, tls }: Change) {
        let was_tls = self.tls.is_some();
        match tls {
            Tls::None => {}
            Tls::Show(certificate) => self.tls.iter().for_each(|tls| tls.show(certificate.clone())),
            Tls::Begin(tls) => self.tls = Some(tls),
            Tls::End => self.tls = None,
        }
        let is_tls = self.tls.is_some();
        if port.is_some() || is_tls != was_tls {
            let (listener, from, to) = (self.table, self.listen, port.as_ref().and_then(|port| port.local_addr().ok()));
            let (from, to) = (from.to_string(), to.unwrap_or(listen).to_string());
            tracing::info!(
                listener,
                from,
                to,
                tls = is_tls,
                "a listener has moved; connections to the old one end as they fall idle"
            );
            self.mover.go(Move { port, tls: self.tls.as_ref().map(ListenerTls::config) });
            self.listen = listen;
        }
    }
}
