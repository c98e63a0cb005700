//! `[storage]`

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::checked::Checked;
use crate::raw::{self, RawValue};
use crate::reader::Reader;
use crate::registry::{Key, Rule, Table};

pub(crate) static TABLE: Table = Table::new(
    "Where Berry keeps what outlives it.",
    &[Key::new(
        "path",
        Rule::Path,
        "\"./data\"",
        "The data directory, relative to this file. Unset under systemd: the service's StateDirectory.",
    )],
);

pub(crate) fn build(t: &Checked, reader: &Reader<'_>) -> PathBuf {
    let written = t.has("path").then(|| t.text("path")).flatten();
    reader.resolve(place(written.as_deref())).components().collect()
}

/// The data directory of a configuration file, also of one that does not hold: as far as it can be read, it says where.
pub fn data_directory(file: &Path) -> PathBuf {
    let text = std::fs::read(file).unwrap_or_default();
    let (root, _) = raw::parse(&String::from_utf8_lossy(&text));
    let written = match root.get("storage") {
        Some(RawValue::Table(storage)) => match storage.get("path") {
            Some(RawValue::Text(path)) if !path.is_empty() => Some(path.as_str()),
            _ => None,
        },
        _ => None,
    };
    file.parent().unwrap_or(Path::new("")).join(place(written)).components().collect()
}

/// Where it is by what is written, seen from the file's folder.
fn place(written: Option<&str>) -> PathBuf {
    // A file in /etc lies where a service cannot write; the service manager says where it can.
    let managed = || {
        let folders = std::env::var_os("STATE_DIRECTORY")?;
        let first = folders.as_bytes().split(|byte| *byte == b':').next().filter(|first| !first.is_empty())?;
        Some(PathBuf::from(OsStr::from_bytes(first)))
    };
    written.map(PathBuf::from).or_else(managed).unwrap_or_else(|| PathBuf::from("./data"))
}
