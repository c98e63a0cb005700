//! TLS of a listener: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN. Its certificate can be replaced while it listens (security
//! rule E7): handshakes that begin from then on show the new one, and connections that are open stay.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use berry_config::TlsFiles;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::ports::Disk;

/// A certificate chain with its key, read and found fit for each other.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<CertifiedKey>);

/// TLS of a listener.
pub struct ListenerTls {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
}

/// The certificate that is shown now.
#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

// === impl Certificate ===

impl Certificate {
    /// Reads a chain and its key.
    ///
    /// # Errors
    /// Files that cannot be read or used, in words for the operator.
    pub fn read(files: &TlsFiles, disk: &dyn Disk) -> Result<Self, String> {
        let read = |path: &Path| disk.read(path).map_err(|error| format!("{}: {error}", path.display()));
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(&files.cert)?).collect();
        let chain = chain.map_err(|_| format!("{}: no PEM certificate chain", files.cert.display()))?;
        let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
            .map_err(|_| format!("{}: no PEM private key", files.key.display()))?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map(|key| Self(Arc::new(key)))
            .map_err(|error| format!("{}: the certificate and its key do not serve: {error}", files.cert.display()))
    }
}

// === impl ListenerTls ===

impl ListenerTls {
    /// TLS that shows this certificate.
    ///
    /// # Errors
    /// When TLS cannot be set up at all, in words for the operator.
    pub fn new(certificate: Certificate) -> Result<Self, String> {
        let shown = Arc::new(Shown(ArcSwap::new(certificate.0)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), shown })
    }

    /// What the listener's connections are accepted with.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Shows another certificate from now on.
    pub fn show(&self, certificate: Certificate) {
        self.shown.0.store(certificate.0);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
