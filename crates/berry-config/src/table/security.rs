//! `[security]`

use crate::checked::Checked;
use crate::config::Security;
use crate::registry::{Key, Rule, Table};

pub(crate) static TABLE: Table = Table::new(
    "What holds for all users and keys.",
    &[
        Key::new(
            "strict",
            Rule::Flag,
            "false",
            "Whether warnings about secrets (weak or example tokens, files that others can read, keys sent in clear) are errors.",
        ),
        Key::new(
            "allow_ips",
            Rule::Nets,
            "[]",
            "Addresses that may use the data listener; empty: all. Probes of its health are open to others too.",
        ),
        Key::new(
            "deny_ips",
            Rule::Nets,
            "[]",
            "Addresses that may use neither listener, probes of health included; wins over every list that allows.",
        ),
        Key::optional(
            "key_file",
            Rule::Path,
            "The key file that opens sealed values. Unset: systemd's credential `berry.key`, else `berry.key` beside this file.",
        ),
    ],
);

pub(crate) fn build(t: &Checked) -> Security {
    Security { allow_ips: t.nets("allow_ips"), deny_ips: t.nets("deny_ips") }
}
