//! `[config]`

use crate::checked::Checked;
use crate::config::Changes;
use crate::registry::{Key, Rule, Table};

pub(crate) static TABLE: Table = Table::new(
    "How changes of this file come into effect.",
    &[
        Key::new(
            "watch",
            Rule::Flag,
            "true",
            "Whether a changed file is read again by itself; SIGHUP and the admin API have it read in any case.",
        ),
        Key::new(
            "auto_rollback",
            Rule::Flag,
            "false",
            "Whether to go back by itself when far more calls fail in the minute after a change than in that before it.",
        ),
    ],
);

pub(crate) fn build(t: &Checked) -> Changes {
    Changes { watch: t.flag("watch"), auto_rollback: t.flag("auto_rollback") }
}
