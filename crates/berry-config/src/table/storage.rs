//! `[storage]`

use std::path::PathBuf;

use crate::checked::Checked;
use crate::reader::Reader;
use crate::registry::{Key, Rule, Table};

pub(crate) static TABLE: Table = Table::new(
    "Where Berry keeps what outlives it.",
    &[Key::new(
        "path",
        Rule::Path,
        "\"./data\"",
        "The data directory, relative to this file. Where it is not written, the state directory that systemd gives wins.",
    )],
);

pub(crate) fn build(t: &Checked, reader: &Reader<'_>) -> PathBuf {
    // A service's configuration lies where the service may not write.
    let given = std::env::var_os("STATE_DIRECTORY").filter(|path| !path.is_empty() && !t.has("path"));
    match given {
        Some(path) => PathBuf::from(path),
        None => reader.resolve(&t.text("path").unwrap_or_default()),
    }
}
