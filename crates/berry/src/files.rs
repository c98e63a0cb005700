//! Files with secrets (security rule E23): for their owner alone when they are made; when they are changed, whole or not at all.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use crate::outcome::Failure;
use crate::random;

/// Writes a new file that only its owner may read.
pub(crate) fn create(path: &Path, text: &str) -> Result<(), Failure> {
    let shown = path.display();
    let refuse = |error: Error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(
            format!("{shown} exists already, and is left as it is"),
            "name another file with --output, or move this one away",
        ),
        _ => Failure::new(format!("cannot write {shown}: {error}"), "name another file with --output"),
    };
    create_whole(path, text).map_err(refuse)
}

fn create_whole(path: &Path, text: &str) -> Result<(), Error> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    sync_folder(path)
}

/// Gives a file to the owner of another: a service cannot use a key file that root has made beside its configuration.
pub(crate) fn give_to_owner_of(path: &Path, other: &Path) {
    // Only root may, and only root has to.
    if let (Ok(file), Ok(other)) = (File::open(path), other.metadata()) {
        let _ = fchown(&file, Some(other.uid()), Some(other.gid()));
    }
}

/// Writes a former text into a configuration file, which is made where it is gone. `generation` is the text's.
pub(crate) fn put_back(path: &Path, text: &str, generation: u64) -> Result<(), Failure> {
    let written = if path.exists() { write_over(path, text) } else { create_whole(path, text) };
    written.map_err(|error| {
        Failure::new(
            format!("cannot write {}: {error}", path.display()),
            format!(
                "run `berry config rollback {generation}` as a user who may write to the file and its folder; where it is \
                 mounted read-only or comes from elsewhere (a ConfigMap, an image, a deployment tool), change it there: \
                 `berry config show {generation} --reveal` prints the text"
            ),
        )
    })
}

/// Writes a file anew, with its owner and mode. Whoever reads it at any moment, and after a crash, finds the old text or the new.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    write_over(path, text).map_err(|error| {
        Failure::new(
            format!("cannot write {}: {error}", path.display()),
            "run this as the owner of the file, who may also write to its folder",
        )
    })
}

fn write_over(path: &Path, text: &str) -> Result<(), Error> {
    let suffix = u32::from_ne_bytes(random::bytes().map_err(|failure| Error::other(failure.line()))?);
    // Behind a symbolic link it is the file that changes, not the link.
    let path = path.canonicalize()?;
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{suffix:08x}"));
    let new = path.with_file_name(name);
    let written = write_like(&path, &new, text).and_then(|()| std::fs::rename(&new, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written.and_then(|()| sync_folder(&path))
}

/// Writes `text` to the file `new`, which gets owner and mode of the file `old`.
fn write_like(old: &Path, new: &Path, text: &str) -> Result<(), Error> {
    let old = old.metadata()?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(old.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A file's name is safe from a power cut once its folder is.
fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
