//! Tables that are known and not in effect in this version.

use crate::registry::{Key, Rule, Table};

pub(crate) static AUDIT: Table = Table::new(
    "The audit log: admin changes, logins, refusals.",
    &[Key::new("requests", Rule::Flag, "false", "Whether every request is logged too, without its content.")],
);

pub(crate) static CACHE: Table = Table::open("Answers that are kept for identical requests.");

pub(crate) static CLUSTER: Table = Table::open("Several nodes that share limits and health.");
