//! Tables that are known and not in effect in this version.

use crate::registry::Table;

pub(crate) static CACHE: Table = Table::open("Answers that are kept for identical requests.");

pub(crate) static CLUSTER: Table = Table::open("Several nodes that share limits and health.");
