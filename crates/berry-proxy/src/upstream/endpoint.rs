//! Where a provider is reached, and how connections to it are made and kept.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use berry_config::{Connection, Provider, ProxyUrl};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::ports::{Address, Connector, Disk};

/// What HTTP/2 servers usually allow at once, and what RFC 9113 advises as the least.
const USUAL_STREAMS: usize = 100;

/// A provider's endpoint. Connections are pooled by its id, which no two endpoints of a process share.
pub(crate) struct Endpoint {
    pub(crate) id: u64,
    host: String,
    port: u16,
    allow_link_local: bool,
    pub(crate) tls: Option<Tls>,
    pub(crate) proxy: Option<ProxyUrl>,
    /// Time limit of connect and TLS together.
    pub(crate) connect_timeout: Duration,
    /// Idle connections kept by each worker.
    pub(crate) max_idle: usize,
    /// How long one is kept idle; zero where none are kept.
    pub(crate) idle_timeout: Duration,
    /// Whether the last handshake agreed on HTTP/2.
    h2_agreed: AtomicBool,
    /// How many requests at once its HTTP/2 connections were last known to allow.
    h2_streams: AtomicUsize,
    made_of: MadeOf,
}

/// What an endpoint is made of. Another of the same can use its connections.
#[derive(PartialEq, Eq)]
struct MadeOf {
    connection: Connection,
    /// What `ca_file` holds.
    ca: Vec<u8>,
    workers: usize,
}

/// The TLS side of an endpoint.
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

impl Endpoint {
    /// The endpoint of a provider. `workers` share its limit of idle connections.
    ///
    /// # Errors
    /// A certificate file that cannot be read, or a host that TLS cannot name; the text is for the operator.
    pub(crate) fn new(provider: &Provider, workers: usize, disk: &dyn Disk) -> Result<Self, String> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let base = &provider.base_url;
        let connection = &provider.connection;
        let ca = ca(connection, disk)?;
        let tls = match base.is_tls() {
            true => Some(Tls::new(base.host(), connection, &ca)?),
            false => None,
        };
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            host: base.host().to_owned(),
            port: base.port(),
            allow_link_local: connection.allow_link_local,
            tls,
            proxy: connection.proxy.clone(),
            connect_timeout: provider.connect_timeout,
            max_idle: connection.pool_max_idle.div_ceil(workers.max(1)),
            idle_timeout: match connection.pool_max_idle {
                0 => Duration::ZERO,
                _ => connection.pool_idle_timeout,
            },
            h2_agreed: AtomicBool::new(false),
            h2_streams: AtomicUsize::new(USUAL_STREAMS),
            made_of: MadeOf { connection: connection.clone(), ca, workers },
        })
    }

    /// Whether another is reached in the same way, so that it can use this one's connections.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let way = |endpoint: &Self| (endpoint.port, endpoint.tls.is_some(), endpoint.connect_timeout);
        self.host == other.host && way(self) == way(other) && self.made_of == other.made_of
    }

    /// The provider's own address.
    pub(crate) fn address(&self) -> Address<'_> {
        Address { host: &self.host, port: self.port, allow_link_local: self.allow_link_local }
    }

    /// The address that connections are opened to: the proxy's, where there is one.
    pub(crate) fn first_hop(&self) -> Address<'_> {
        match &self.proxy {
            None => self.address(),
            // The operator named the proxy's address, so a link-local one is meant.
            Some(proxy) => Address { host: &proxy.host, port: proxy.port, allow_link_local: true },
        }
    }

    /// Whether a connection that leads to `peer` may still serve requests.
    pub(crate) fn is_current(&self, peer: Option<IpAddr>, connector: &dyn Connector) -> bool {
        peer.is_none_or(|peer| connector.is_current(self.first_hop(), peer))
    }

    /// Whether requests need the absolute form, as a plain proxy on the way does.
    pub(crate) fn needs_absolute_form(&self) -> bool {
        let by_http = |proxy: &ProxyUrl| proxy.scheme == berry_config::ProxyScheme::Http;
        self.tls.is_none() && self.proxy.as_ref().is_some_and(by_http)
    }

    /// Whether connections to it are known to carry HTTP/2.
    pub(crate) fn speaks_h2(&self) -> bool {
        self.h2_agreed.load(Relaxed)
    }

    /// How many requests at once a fresh HTTP/2 connection is taken to allow, until its peer says so.
    pub(crate) fn h2_streams(&self) -> usize {
        self.h2_streams.load(Relaxed).max(1)
    }

    /// Notes how many a connection allows.
    pub(crate) fn note_h2_streams(&self, allowed: usize) {
        self.h2_streams.store(allowed, Relaxed);
    }

    /// Notes what a handshake agreed on.
    pub(crate) fn note_h2(&self, agreed: bool) {
        self.h2_agreed.store(agreed, Relaxed);
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({}, {}:{})", self.id, self.host, self.port)
    }
}

impl Tls {
    fn new(host: &str, connection: &Connection, ca: &[u8]) -> Result<Self, String> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is no name that TLS can check"))?;
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let mut config = match connection.insecure_skip_verify {
            true => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate::new()))
                .with_no_client_auth(),
            false => builder.with_root_certificates(roots(connection.ca_file.as_deref(), ca)?).with_no_client_auth(),
        };
        config.alpn_protocols = match connection.http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        Ok(Self { config: Arc::new(config), name })
    }
}

/// What `ca_file` holds; nothing where there is none, or nothing to check with it.
fn ca(connection: &Connection, disk: &dyn Disk) -> Result<Vec<u8>, String> {
    let Some(path) = connection.ca_file.as_deref().filter(|_| !connection.insecure_skip_verify) else {
        return Ok(Vec::new());
    };
    disk.read(path).map_err(|error| format!("ca_file {}: {error}", path.display()))
}

/// The system's roots (read once for the process), and those of `ca_file`.
fn roots(ca_file: Option<&Path>, pem: &[u8]) -> Result<RootCertStore, String> {
    static SYSTEM: OnceLock<RootCertStore> = OnceLock::new();
    let mut store = SYSTEM.get_or_init(system_roots).clone();
    if let Some(path) = ca_file {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| format!("ca_file {}: no PEM certificate", path.display()))?;
            store.add(certificate).map_err(|_| format!("ca_file {}: a certificate is unusable", path.display()))?;
        }
    }
    Ok(store)
}

fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(
            "the system has no root certificates: https providers need ca_file, or the package ca-certificates"
        );
    }
    store
}

/// For `insecure_skip_verify`: takes any certificate, and still checks that the peer holds its key.
#[derive(Debug)]
struct AnyCertificate {
    crypto: CryptoProvider,
}

impl AnyCertificate {
    fn new() -> Self {
        Self { crypto: aws_lc_rs::default_provider() }
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.crypto.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.crypto.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}
