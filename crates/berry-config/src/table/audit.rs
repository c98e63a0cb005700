//! `[audit]`

use crate::checked::Checked;
use crate::config::Audit;
use crate::registry::{Key, Rule, Table};

pub(crate) static TABLE: Table = Table::new(
    "The audit log, in the data directory: changes, refusals, forced backends.",
    &[Key::new(
        "requests",
        Rule::Flag,
        "false",
        "Whether every request of a user is recorded too, without its content.",
    )],
);

pub(crate) fn build(t: &Checked) -> Audit {
    Audit { requests: t.flag("requests") }
}
