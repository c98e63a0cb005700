//! `[storage]`

use std::path::PathBuf;

use crate::checked::Checked;
use crate::reader::Reader;
use crate::registry::{Key, Rule, Table};

pub(crate) static TABLE: Table = Table::new(
    "Where Berry keeps what outlives it.",
    &[Key::new("path", Rule::Path, "\"./data\"", "The data directory, relative to this file.")],
);

pub(crate) fn build(t: &Checked, reader: &Reader<'_>) -> PathBuf {
    reader.resolve(&t.text("path").unwrap_or_default())
}
