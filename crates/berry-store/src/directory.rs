//! The data directory: one gateway's alone, readable by nobody else, its files written whole or not at all (security rule E23).

use std::ffi::OsString;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The file whose lock says that a gateway works here.
const LOCK: &str = "lock";

/// A data directory that this process may write to. Nobody else may, as long as it lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another gateway works in it.
    InUse(PathBuf),
    /// It cannot be made, or written to.
    Refused(PathBuf, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse(path) => write!(f, "another gateway works in the data directory {}", path.display()),
            OpenError::Refused(path, error) => write!(f, "cannot use the data directory {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}

impl DataDirectory {
    /// Opens a data directory for this process alone, and makes it (0700) where there is none.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let refused = |error| OpenError::Refused(path.to_owned(), error);
        make_directory(path).map_err(refused)?;
        let mut options = OpenOptions::new();
        let lock =
            options.create(true).truncate(false).write(true).mode(0o600).open(path.join(LOCK)).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(refused(error)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it, which is made (0700) where there is none.
    pub fn directory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        make_directory(&path)?;
        Ok(path)
    }

    /// Writes a file of it anew (0600), by a name relative to it. Whoever reads it at any moment, and after a crash, finds the
    /// old bytes or the new ones; once this has returned, the new ones.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        replace(&self.path.join(name), bytes)
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut suffix = [0; 4];
    getrandom::fill(&mut suffix)?;
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:08x}", u32::from_ne_bytes(suffix)));
    let new = path.with_file_name(name);
    let written = write_new(&new, bytes).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written?;
    // A file's name is safe from a power cut once its directory is.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_and_what_lies_in_it_are_its_owners_alone() {
        let place = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(&place.path().join("a/b")).unwrap();
        data.directory("notes").unwrap();
        data.replace("notes/one", b"1").unwrap();
        let path = data.path();
        assert_eq!([path, &path.join("notes")].map(mode), [0o700; 2]);
        assert_eq!([path.join("lock"), path.join("notes/one")].map(|path| mode(&path)), [0o600; 2]);
    }

    #[test]
    fn only_one_gateway_works_in_it() {
        let place = tempfile::tempdir().unwrap();
        let first = DataDirectory::open(place.path()).unwrap();
        assert!(matches!(DataDirectory::open(place.path()), Err(OpenError::InUse(_))));
        drop(first);
        DataDirectory::open(place.path()).unwrap();
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(place.path()).unwrap();
        data.replace("one", b"old").unwrap();
        data.replace("one", b"new").unwrap();
        assert_eq!(std::fs::read(place.path().join("one")).unwrap(), b"new");
        let mut names: Vec<_> =
            std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["lock", "one"]);
        std::fs::create_dir(place.path().join("two")).unwrap();
        assert!(data.replace("two", b"x").is_err(), "it is a directory");
        assert!(data.replace("none/one", b"x").is_err());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 3);
    }
}
