//! A fresh connection: through the connector, the provider's proxy if it has one, and TLS. One time limit spans all of it.

use std::sync::Arc;

use tokio_rustls::TlsConnector;

use crate::ports::{ConnectFault, Connected};
use crate::upstream::endpoint::{Endpoint, Tls};
use crate::upstream::proxy;
use crate::worker::Worker;

/// A connection, by what its handshake agreed on.
pub(crate) enum Opened {
    /// HTTP/1, or nothing agreed.
    H1(Connected),
    /// HTTP/2 by ALPN.
    H2(Connected),
}

/// Opens a connection to `endpoint`.
pub(crate) async fn open(worker: &Worker, endpoint: &Arc<Endpoint>) -> Result<Opened, ConnectFault> {
    let limit = endpoint.connect_timeout;
    tokio::time::timeout(limit, open_unlimited(worker, endpoint)).await.unwrap_or(Err(ConnectFault::TimedOut))
}

async fn open_unlimited(worker: &Worker, endpoint: &Arc<Endpoint>) -> Result<Opened, ConnectFault> {
    let mut connected = worker.connector.connect(endpoint.first_hop()).await?;
    if let Some(proxy) = &endpoint.proxy {
        connected.io = proxy::tunnel(connected.io, proxy, endpoint).await?;
    }
    match &endpoint.tls {
        None => Ok(Opened::H1(connected)),
        Some(tls) => handshake(tls, connected, endpoint).await,
    }
}

async fn handshake(tls: &Tls, connected: Connected, endpoint: &Endpoint) -> Result<Opened, ConnectFault> {
    let connecting = TlsConnector::from(tls.config.clone()).connect(tls.name.clone(), connected.io);
    let stream = connecting.await.map_err(|error| {
        tracing::warn!(endpoint = ?endpoint, %error, "the TLS handshake with a provider failed");
        ConnectFault::Tls
    })?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    endpoint.note_h2(h2);
    let connected = Connected { io: Box::new(stream), peer: connected.peer };
    Ok(if h2 { Opened::H2(connected) } else { Opened::H1(connected) })
}
