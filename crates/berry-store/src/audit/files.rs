//! The names of a log's files. Each begins with the number of its first record, so that the order of names is that of records, and a
//! file that is missing is missed.

use std::io;
use std::path::{Path, PathBuf};

/// A file of records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// The number of its first record.
    pub(super) first: u64,
    pub(super) name: String,
}

/// The name of a file that begins with record `first`, on a day (`2026-11-25`).
pub(super) fn name(first: u64, day: &str) -> String {
    format!("{first:012}-{day}.jsonl")
}

/// The day of a file's name.
pub(super) fn day(name: &str) -> &str {
    name.strip_suffix(".jsonl").and_then(|name| name.split_once('-')).map_or("", |(_, day)| day)
}

/// The files of a folder that hold records, in their order, and those that look as if they did.
pub(super) fn list(folder: &Path) -> io::Result<(Vec<Part>, Vec<String>)> {
    let (mut parts, mut foreign) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder)? {
        let Ok(file) = entry?.file_name().into_string() else { continue };
        if !file.ends_with(".jsonl") {
            continue;
        }
        let first = file.split('-').next().and_then(|digits| digits.parse().ok());
        match first.filter(|first| name(*first, day(&file)) == file) {
            Some(first) => parts.push(Part { first, name: file }),
            None => foreign.push(file),
        }
    }
    parts.sort();
    Ok((parts, foreign))
}

impl Part {
    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        folder.join(&self.name)
    }
}
