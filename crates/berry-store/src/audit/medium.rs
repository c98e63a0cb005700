//! The disk, as the writer needs it: so little that a test can put one in its place that is full, or loses what it was told.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::sync::Arc;

use super::FOLDER;
use crate::DataDirectory;

/// Where a log is written.
pub(super) trait Medium: Send {
    /// Makes a file of the log end with `bytes`, after its first `at` bytes. Once this has returned they are safe.
    fn put(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Replaces a file of the log, whole or not at all. Once this has returned it is safe.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
}

/// The folder of the log in the data directory.
pub(super) struct Disk {
    data: Arc<DataDirectory>,
    open: Option<(String, File)>,
}

// === impl Disk ===

impl Disk {
    pub(super) fn new(data: Arc<DataDirectory>) -> Self {
        Self { data, open: None }
    }

    fn file(&self, name: &str, is_new: bool) -> io::Result<File> {
        let folder = self.data.directory(FOLDER)?;
        let mut options = OpenOptions::new();
        let file = options.create(is_new).truncate(false).write(true).mode(0o600).open(folder.join(name));
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => lost(format!("somebody has taken {name} away")),
            _ => error,
        })?;
        if is_new {
            // A file's name is safe from a power cut once its directory is.
            File::open(folder)?.sync_all()?;
        }
        Ok(file)
    }
}

impl Medium for Disk {
    fn put(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        // Kept only if all goes well: after a failed fsync the system may call pages clean that it has not written, so that the
        // next one through the same descriptor would prove nothing (failure model, DK2).
        let mut file = match self.open.take() {
            Some((open, file)) if open == name => file,
            _ => self.file(name, at == 0)?,
        };
        let put = put(&mut file, at, bytes);
        match put {
            Ok(()) => self.open = Some((name.to_owned(), file)),
            // What has no place should leave no half behind; if even this fails, the next start keeps it aside.
            Err(_) => drop(file.set_len(at)),
        }
        put
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.data.directory(FOLDER)?;
        self.data.replace(&format!("{FOLDER}/{name}"), bytes)
    }
}

fn put(file: &mut File, at: u64, bytes: &[u8]) -> io::Result<()> {
    let metadata = file.metadata()?;
    let length = metadata.len();
    if length < at || metadata.nlink() == 0 {
        return Err(lost(format!("somebody has cut the file that is written to, at byte {length} of {at}")));
    }
    if length > at {
        file.set_len(at)?;
    }
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// What was there is there no more: another try will not bring it back.
fn lost(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
