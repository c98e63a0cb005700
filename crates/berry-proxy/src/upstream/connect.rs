//! A fresh connection: through the connector, the provider's proxy if it has one, and TLS. One time limit spans all of it.

use std::sync::Arc;

use tokio_rustls::TlsConnector;

use crate::ports::{Address, ConnectFault, Io};
use crate::upstream::endpoint::{Endpoint, Tls};
use crate::upstream::proxy;
use crate::worker::Worker;

/// A connection, by what its handshake agreed on.
pub(crate) enum Opened {
    /// HTTP/1, or nothing agreed.
    H1(Io),
    /// HTTP/2 by ALPN.
    H2(Io),
}

/// Opens a connection to `endpoint`.
pub(crate) async fn open(worker: &Worker, endpoint: &Arc<Endpoint>) -> Result<Opened, ConnectFault> {
    let limit = endpoint.connect_timeout;
    tokio::time::timeout(limit, open_unlimited(worker, endpoint)).await.unwrap_or(Err(ConnectFault::TimedOut))
}

async fn open_unlimited(worker: &Worker, endpoint: &Arc<Endpoint>) -> Result<Opened, ConnectFault> {
    let io = match &endpoint.proxy {
        None => worker.connector.connect(endpoint.address()).await?,
        Some(proxy) => {
            // The operator named the proxy's address, so a link-local one is meant.
            let address = Address { host: &proxy.host, port: proxy.port, allow_link_local: true };
            let io = worker.connector.connect(address).await?;
            proxy::tunnel(io, proxy, endpoint).await?
        }
    };
    match &endpoint.tls {
        None => Ok(Opened::H1(io)),
        Some(tls) => handshake(tls, io, endpoint).await,
    }
}

async fn handshake(tls: &Tls, io: Io, endpoint: &Endpoint) -> Result<Opened, ConnectFault> {
    let connecting = TlsConnector::from(tls.config.clone()).connect(tls.name.clone(), io);
    let stream = connecting.await.map_err(|error| {
        tracing::warn!(endpoint = ?endpoint, %error, "the TLS handshake with a provider failed");
        ConnectFault::Tls
    })?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    endpoint.note_h2(h2);
    let io: Io = Box::new(stream);
    Ok(if h2 { Opened::H2(io) } else { Opened::H1(io) })
}
