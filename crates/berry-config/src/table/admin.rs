//! `[admin]`

use crate::checked::Checked;
use crate::config::Admin;
use crate::reader::Reader;
use crate::registry::{Key, Rule, Table};
use crate::table::server::{self, TLS_CERT, TLS_KEY};

pub(crate) static TABLE: Table = Table::new(
    "The admin listener, with the admin API.",
    &[
        Key::new("listen", Rule::Listen, "\"127.0.0.1:3001\"", "Address of the admin listener."),
        TLS_CERT,
        TLS_KEY,
        Key::new(
            "allow_public_without_tls",
            Rule::Flag,
            "false",
            "Whether the admin listener may be reached from elsewhere in clear text.",
        ),
        Key::new("allow_ips", Rule::Nets, "[]", "Addresses that may use the admin listener; empty: all."),
        Key::new(
            "session_idle_seconds",
            Rule::Seconds(60.0, 43_200.0),
            "1800",
            "Time without use after which a session of the admin listener ends.",
        )
        .later(),
        Key::new(
            "session_max_seconds",
            Rule::Seconds(60.0, 43_200.0),
            "43200",
            "Time after which it ends in any case.",
        )
        .later(),
    ],
);

pub(crate) fn build(t: &Checked, reader: &mut Reader<'_>) -> Admin {
    let admin = Admin { listen: server::listen(t), tls: server::tls(t, reader), allow_ips: t.nets("allow_ips") };
    let public = !admin.listen.ip().is_loopback() && admin.tls.is_none();
    if public && !t.flag("allow_public_without_tls") {
        reader.problems.error(
            &t.at("listen"),
            "the admin listener can be reached from elsewhere, without TLS",
            "listen on 127.0.0.1, or give tls_cert and tls_key, or set allow_public_without_tls = true",
        );
    } else if public {
        reader.problems.warning(
            &t.at("allow_public_without_tls"),
            "admin tokens cross the network in clear text",
            "give tls_cert and tls_key, or put a proxy with TLS in front on the same machine",
        );
    }
    admin
}
