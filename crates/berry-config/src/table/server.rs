//! `[server]`, and the TLS files that `[admin]` has too.

use std::net::{Ipv4Addr, SocketAddr};

use crate::checked::Checked;
use crate::config::{Server, TlsFiles};
use crate::file_mode;
use crate::problem::Place;
use crate::reader::Reader;
use crate::registry::{ANY_WHOLE, Key, Rule, Table};

pub(crate) const TLS_CERT: Key =
    Key::optional("tls_cert", Rule::Path, "Certificate chain in PEM; with `tls_key` the listener speaks TLS.");
pub(crate) const TLS_KEY: Key = Key::optional("tls_key", Rule::Path, "Private key of the certificate, in PEM.");

pub(crate) static TABLE: Table = Table::new(
    "The data listener.",
    &[
        Key::new("listen", Rule::Listen, "\"127.0.0.1:3000\"", "Address of the data listener; 0.0.0.0:3000 for all."),
        TLS_CERT,
        TLS_KEY,
        Key::new("max_body_bytes", Rule::Bytes(1024, 1 << 40), "\"64MiB\"", "Largest request body."),
        Key::new(
            "predrain_seconds",
            Rule::Seconds(0.0, 3600.0),
            "0",
            "On stopping, how long readiness is 503 while requests are still accepted; 5 behind a load balancer.",
        ),
        Key::new(
            "drain_seconds",
            Rule::Seconds(0.0, 86_400.0),
            "120",
            "How long requests in flight may go on after that.",
        ),
        Key::new(
            "trusted_proxies",
            Rule::Nets,
            "[]",
            "Proxies in front of Berry whose X-Forwarded-For and Forwarded are believed, on both listeners.",
        ),
        Key::new(
            "proxy_protocol",
            Rule::Flag,
            "false",
            "Whether trusted proxies begin each connection to the data listener with a header of the PROXY protocol, version 2.",
        ),
        Key::new("cors_origins", Rule::Texts, "[]", "Web origins whose pages may call the data listener.").later(),
        Key::optional("max_in_flight", Rule::Whole(1, ANY_WHOLE), "Requests at once over all users. Unset: no limit."),
        Key::new(
            "max_body_memory_bytes",
            Rule::Bytes(1024, 1 << 50),
            "\"1GiB\"",
            "Memory for request bodies over all requests; beyond it, 503.",
        ),
    ],
);

pub(crate) fn build(t: &Checked, reader: &mut Reader<'_>) -> Server {
    let (largest, memory) = (t.bytes("max_body_bytes"), t.bytes("max_body_memory_bytes"));
    if memory < largest {
        let key = if t.has("max_body_memory_bytes") { "max_body_memory_bytes" } else { "max_body_bytes" };
        reader.problems.warning(
            &t.at(key),
            "a body of the largest size could never be taken: it is more than the memory for all bodies",
            "make max_body_memory_bytes at least max_body_bytes, at best many times that",
        );
    }
    Server {
        listen: listen(t),
        tls: tls(t, reader),
        max_body_bytes: largest.unwrap_or_default(),
        max_body_memory: memory.unwrap_or_default(),
        max_in_flight: t.count("max_in_flight"),
        trusted_proxies: t.nets("trusted_proxies"),
        proxy_protocol: t.flag("proxy_protocol"),
        predrain: t.duration("predrain_seconds").unwrap_or_default(),
        drain: t.duration("drain_seconds").unwrap_or_default(),
    }
}

pub(crate) fn listen(t: &Checked) -> SocketAddr {
    t.listen("listen").unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))
}

/// Both files or none, and they exist.
pub(crate) fn tls(t: &Checked, reader: &mut Reader<'_>) -> Option<TlsFiles> {
    let (cert, key) = match (t.text(TLS_CERT.name), t.text(TLS_KEY.name)) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => return None,
        (Some(_), None) => {
            half(reader, &t.at(TLS_CERT.name), [TLS_CERT.name, TLS_KEY.name]);
            return None;
        }
        (None, Some(_)) => {
            half(reader, &t.at(TLS_KEY.name), [TLS_KEY.name, TLS_CERT.name]);
            return None;
        }
    };
    let files = TlsFiles { cert: reader.resolve(&cert), key: reader.resolve(&key) };
    for (name, path) in [(TLS_CERT.name, &files.cert), (TLS_KEY.name, &files.key)] {
        reader.must_exist(name, &t.at(name), path);
    }
    file_mode::check(&mut reader.problems, &t.at(TLS_KEY.name), "the file of `tls_key`", &files.key);
    Some(files)
}

fn half(reader: &mut Reader<'_>, at: &Place, [there, missing]: [&str; 2]) {
    let message = format!("`{there}` is given without `{missing}`");
    reader.problems.error(at, message, format!("add `{missing}`, or remove `{there}`"));
}
