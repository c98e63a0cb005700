//! TLS for a mock, with ALPN, so that a client's own TLS and its choice of the HTTP version can be tested.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::server::Wire;

/// A certificate and what is offered with it.
#[derive(Clone)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub cert: String,
    /// Its private key, PEM.
    pub key: String,
    /// Whether HTTP/2 is offered by ALPN.
    pub http2: bool,
    /// Whether HTTP/1.1 is offered by ALPN.
    pub http1: bool,
}

// === impl Tls ===

impl Tls {
    /// This certificate, offering both HTTP versions.
    pub fn new(cert: impl Into<String>, key: impl Into<String>) -> Self {
        Tls { cert: cert.into(), key: key.into(), http2: true, http1: true }
    }

    pub(crate) fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let certs = CertificateDer::pem_slice_iter(self.cert.as_bytes()).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(certs.map_err(io::Error::other)?, key)
            .map_err(io::Error::other)?;
        let offers = [(self.http2, "h2"), (self.http1, "http/1.1")];
        config.alpn_protocols = offers.iter().filter(|offer| offer.0).map(|offer| offer.1.into()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("http2", &self.http2).field("http1", &self.http1).finish_non_exhaustive()
    }
}

impl Wire for TlsStream<TcpStream> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}
