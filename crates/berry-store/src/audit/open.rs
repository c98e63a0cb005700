//! The start of a log: a new one is made, one that was left is taken up where its head says that it ends. What stands behind that
//! was never acknowledged; it is kept aside, and the record of the start says so. Nothing that is missing is papered over: the chain
//! goes on from the head, so that the gap stays to be found.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use super::files::{self, Part};
use super::head::{HEAD, Head};
use super::signing::{KEY, PUBLIC_KEY, Signer, Verifier, seed_text};
use super::{FOLDER, FORMER, hex};
use crate::DataDirectory;

/// A log that can be written to.
pub(super) struct Opened {
    pub(super) signer: Signer,
    pub(super) head: Head,
    /// What the record of the start has to tell.
    pub(super) incidents: Vec<String>,
}

/// What was left by a former process.
enum Left {
    Nothing,
    Log(Signer, Head),
    /// What cannot be gone on with, and why.
    Broken(&'static str),
}

/// Opens the log of a data directory.
pub(super) fn open(data: &DataDirectory, unix_millis: u64) -> io::Result<Opened> {
    let folder = data.directory(FOLDER)?;
    let mut incidents = Vec::new();
    let (signer, head) = match look(&folder)? {
        Left::Log(signer, head) => (signer, head),
        Left::Nothing => make(data, unix_millis)?,
        Left::Broken(why) => {
            let kept = format!("{FORMER}{unix_millis}");
            std::fs::rename(&folder, data.path().join(&kept))?;
            incidents.push(format!("the former log cannot be gone on with, as {why}; it is kept in {kept}"));
            data.directory(FOLDER)?;
            make(data, unix_millis)?
        }
    };
    let mut opened = Opened { signer, head, incidents };
    opened.settle(&folder, data)?;
    Ok(opened)
}

fn look(folder: &Path) -> io::Result<Left> {
    let (parts, foreign) = files::list(folder)?;
    let (key, public, head) = (read(folder, KEY)?, read(folder, PUBLIC_KEY)?, read(folder, HEAD)?);
    if head.is_none() && parts.is_empty() && foreign.is_empty() {
        // A first start that did not come as far as the first record has left a key at most.
        return Ok(Left::Nothing);
    }
    let Some(signer) = key.as_deref().and_then(Signer::read) else {
        return Ok(Left::Broken("its key is missing or damaged"));
    };
    let is_its_own = |text: &Vec<u8>| *text == signer.public_text().into_bytes();
    let Some(verifier) = public.filter(is_its_own).as_deref().and_then(Verifier::read) else {
        return Ok(Left::Broken("its public key is missing, damaged, or another key's"));
    };
    match head.and_then(|head| Head::read(&head, &verifier)) {
        Some(head) => Ok(Left::Log(signer, head)),
        None => Ok(Left::Broken("its head is missing, damaged, or not signed by its key")),
    }
}

/// `None`: there is no such file.
fn read(folder: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(folder.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn make(data: &DataDirectory, unix_millis: u64) -> io::Result<(Signer, Head)> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let signer = Signer::new(&seed).ok_or_else(|| io::Error::other("the crypto library makes no key"))?;
    let put = |name: &str, bytes: &[u8]| data.replace(&format!("{FOLDER}/{name}"), bytes);
    put(KEY, seed_text(&seed).as_bytes())?;
    put(PUBLIC_KEY, signer.public_text().as_bytes())?;
    let head = Head::default();
    put(HEAD, &head.text(unix_millis, &signer))?;
    Ok((signer, head))
}

impl Opened {
    /// Makes the files end where the head says.
    fn settle(&mut self, folder: &Path, data: &DataDirectory) -> io::Result<()> {
        let (parts, _) = files::list(folder)?;
        for part in parts.iter().filter(|part| part.first > self.head.link.seq) {
            let kept = self.aside(&part.name);
            std::fs::rename(part.path(folder), folder.join(&kept))?;
            self.incidents.push(format!("what was not acknowledged is kept in {kept}"));
        }
        if self.head.file.is_empty() {
            return Ok(());
        }
        let part = Part { first: 0, name: self.head.file.clone() };
        let bytes = read_end(&part.path(folder), self.head.length);
        match bytes {
            Ok(tail) if tail.is_empty() => {}
            Ok(tail) => {
                let kept = self.aside(&part.name);
                let (bytes, copied) = (tail.len(), data.replace(&format!("{FOLDER}/{kept}"), &tail));
                let incident = match &copied {
                    Ok(()) => format!("{bytes} bytes that were not acknowledged are kept in {kept}"),
                    // A start does not wait for room: what cannot be kept here is kept in the program's own log.
                    Err(error) => {
                        let text = String::from_utf8_lossy(&tail);
                        tracing::error!(%error, %text, "what was not acknowledged of the audit log cannot be kept in its folder");
                        format!("{bytes} bytes that were not acknowledged are in the program's log alone: {error}")
                    }
                };
                let file = OpenOptions::new().write(true).open(part.path(folder))?;
                file.set_len(self.head.length)?;
                file.sync_all()?;
                self.incidents.push(incident);
            }
            // Nothing is written into a file that was tampered with.
            Err(fault) => {
                self.incidents.push(format!("{} {fault}, and records with it", part.name));
                self.head.file = String::new();
                self.head.length = 0;
            }
        }
        Ok(())
    }

    fn aside(&self, name: &str) -> String {
        let mut suffix = [0; 4];
        let _ = getrandom::fill(&mut suffix);
        format!("aside-{}-{}", hex::text(&suffix), name.trim_end_matches(".jsonl"))
    }
}

/// The bytes of a file from `start` on.
fn read_end(path: &Path, start: u64) -> Result<Vec<u8>, &'static str> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::File::open(path).map_err(|_| "is missing")?;
    let length = file.metadata().map_err(|_| "is missing")?.len();
    if length < start {
        return Err("was cut");
    }
    let mut tail = Vec::new();
    let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut tail));
    read.map(|_| tail).map_err(|_| "cannot be read")
}
