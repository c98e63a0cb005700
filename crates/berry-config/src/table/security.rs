//! `[security]`

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
        Key::new("allow_ips", Rule::Nets, "[]", "Addresses that may use the data listener; empty: all.").refused(),
        Key::new("deny_ips", Rule::Nets, "[]", "Addresses that may not; wins over `allow_ips`.").refused(),
        Key::optional(
            "key_file",
            Rule::Path,
            "The key file that opens sealed values. Unset: systemd's credential `berry.key`, else `berry.key` beside this file.",
        ),
    ],
);
