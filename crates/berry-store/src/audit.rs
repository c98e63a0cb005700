//! The audit log: what operators changed, whom Berry refused, and, if wanted, every request (security rule E24). Lines of JSON in
//! `audit/*.jsonl`, each holding the hash of the one before; and beside them `audit/head`, signed, which says where they end.
//!
//! `line` and `head` are the forms, `writer` puts records on disk, `log` is what the rest of the program holds, with a `queue` and a
//! `thread` behind it; `verify` judges from the files alone. What it proves and what it does not is in docs/audit.md. It does not know what is worth a record.

mod bound;
mod event;
mod files;
mod head;
mod hex;
mod line;
mod log;
mod medium;
mod open;
mod queue;
mod read;
mod signing;
#[cfg(test)]
mod tests;
mod thread;
mod verify;
mod writer;

pub use event::{Actor, Event, Who};
pub use log::{AuditLog, Clock, Failing, Keeper, NotRecorded, Standing};
pub use read::{Filter, Follower, Page, Record};
pub use verify::{Demands, Fault, Report, verify};

/// The folder of the log in the data directory.
pub const FOLDER: &str = "audit";

/// What the name of a log begins with that could not be gone on with.
const FORMER: &str = "audit-former-";
