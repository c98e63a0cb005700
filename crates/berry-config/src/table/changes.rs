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
        Key::optional("auto_rollback", Rule::Any, "When to go back to the former generation by itself; unset: never.")
            .later(),
    ],
);

pub(crate) fn build(t: &Checked) -> Changes {
    Changes { watch: t.flag("watch") }
}
