//! TLS on both listeners of a running gateway: spoken by HTTP/1 and HTTP/2, with certificates that are renewed without a restart.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, SupportedProtocolVersion, version,
};

use crate::harness::{Folder, Running, TOKEN, config, eventually};

/// Writes a new certificate and its key into the folder, and gives the certificate.
fn renew(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: String| {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(folder.join(name));
        file.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    };
    // As in the wild, one after the other: what does not fit together yet is not put into force.
    write("cert.pem", made.cert.pem());
    write("key.pem", made.signing_key.serialize_pem());
    made.cert.der().clone()
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A connection that trusts these certificates.
fn connect(
    address: &str,
    trusted: &[CertificateDer<'static>],
    alpn: &[u8],
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<Tls> {
    let mut roots = RootCertStore::empty();
    trusted.iter().for_each(|cert| roots.add(cert.clone()).unwrap());
    let mut config =
        ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let session = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut tls = StreamOwned::new(session, socket);
    tls.conn.complete_io(&mut tls.sock)?;
    Ok(tls)
}

fn get(tls: &mut Tls, path: &str) -> std::io::Result<String> {
    write!(tls, "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\r\n")?;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}") {
        let mut piece = [0; 4096];
        match tls.read(&mut piece)? {
            0 => break,
            read => bytes.extend_from_slice(&piece[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The addresses of both listeners.
fn addresses(running: &Running) -> [String; 2] {
    let line = running.stderr.line_with("listening on https://");
    let urls: Vec<&str> =
        line.split("https://").skip(1).map(|rest| rest.split([',', ' ', '"']).next().unwrap().trim()).collect();
    [urls[0].to_owned(), urls[1].to_owned()]
}

#[test]
fn both_listeners_speak_tls_and_follow_their_certificates() {
    let files = "tls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n";
    let text = config("http://127.0.0.1:9", &[("m", "m")], "");
    let text = text.replacen("[server]\n", &format!("[server]\n{files}"), 1).replacen(
        "[admin]\n",
        &format!("[admin]\n{files}"),
        1,
    );
    let folder = Folder::with(&text);
    let first = renew(folder.path());
    let running = Running::serve(&folder);
    let [data, admin] = addresses(&running);
    let pages = [(&data, "/v1/models"), (&admin, "/admin/system-stats")];

    for versions in [[&version::TLS12], [&version::TLS13]] {
        for (address, path) in pages {
            let mut tls = connect(address, slice::from_ref(&first), b"http/1.1", &versions).unwrap();
            assert!(get(&mut tls, path).unwrap().starts_with("HTTP/1.1 200"), "{path}");
        }
    }
    let http2 = connect(&data, slice::from_ref(&first), b"h2", rustls::ALL_VERSIONS).unwrap();
    assert_eq!(
        (http2.conn.alpn_protocol(), http2.conn.protocol_version()),
        (Some(&b"h2"[..]), Some(ProtocolVersion::TLSv1_3))
    );
    // Plain HTTP is none of theirs.
    for (address, _) in pages {
        let mut plain = TcpStream::connect(address).unwrap();
        plain.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut told = Vec::new();
        let _ = plain.read_to_end(&mut told);
        assert!(!told.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&told));
    }

    let mut open =
        pages.map(|(address, _)| connect(address, slice::from_ref(&first), b"http/1.1", rustls::ALL_VERSIONS).unwrap());
    for (tls, (_, path)) in open.iter_mut().zip(pages) {
        assert!(get(tls, path).unwrap().starts_with("HTTP/1.1 200"), "{path}");
    }
    let second = renew(folder.path());
    for (address, path) in pages {
        let renewed = || connect(address, slice::from_ref(&second), b"http/1.1", rustls::ALL_VERSIONS).ok();
        let mut tls = eventually("the new certificate", renewed);
        assert!(get(&mut tls, path).unwrap().starts_with("HTTP/1.1 200"), "{path}");
        assert!(
            connect(address, slice::from_ref(&first), b"http/1.1", rustls::ALL_VERSIONS).is_err(),
            "the former is shown no more"
        );
    }
    // Who was connected stays so.
    for (tls, (_, path)) in open.iter_mut().zip(pages) {
        assert!(get(tls, path).unwrap().starts_with("HTTP/1.1 200"), "{path}");
    }
    // Files that do not fit together, or are none, change nothing.
    std::fs::write(folder.path().join("cert.pem"), "no certificate").unwrap();
    running.stderr.line_with("the new configuration is not used");
    for (address, _) in pages {
        connect(address, slice::from_ref(&second), b"http/1.1", rustls::ALL_VERSIONS).unwrap();
    }
    drop((open, http2));
    assert_eq!(running.end(), Some(0));
}
