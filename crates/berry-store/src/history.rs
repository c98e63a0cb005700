//! The history of the configuration: every generation that ran, so that it can be seen what changed, and gone back to. What may be
//! seen lies in clear (`history/00000007.json`), the text sealed (`history/00000007.text`) with the data directory's own key
//! (`history.key`), since it may hold secrets.
//!
//! Anybody who may read the directory reads it ([`Archive`]); only who holds the directory's lock writes it ([`History`]).

mod retention;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berry_config::{KeyFileFault, Keyring, SealFault, read_keys, redacted_diff, text_hash};
use berry_vocab::Secret;
use serde::{Deserialize, Serialize};

use crate::DataDirectory;

const FOLDER: &str = "history";
const KEY: &str = "history.key";

/// No configuration is longer than 16 MiB; sealed, it takes a third more.
const LONGEST: u64 = 32 << 20;

/// A longer difference is kept up to here.
const LONGEST_DIFF: usize = 64 << 10;

/// A generation as it is kept, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Kept {
    /// Its number, counting up over restarts.
    pub generation: u64,
    /// SHA-256 of its text, in hex.
    pub hash: String,
    /// When it came into force (RFC 3339).
    pub time: String,
    /// What brought it: `start`, `file`, `SIGHUP`, `admin`, `rollback`, `auto_rollback`.
    pub origin: String,
    /// Who did, where that is known.
    pub author: Option<String>,
    /// The file that it came from.
    pub file: String,
    /// The length of its text.
    pub bytes: u64,
    /// When a gateway last started with it, unless it came into force by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// The generation whose text it has again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
    /// Whether the text is kept that a rollback found in the file, and that no generation has.
    #[serde(default)]
    pub has_replaced: bool,
    /// What changed since the generation before, without secrets.
    pub diff: String,
}

/// A generation to keep.
#[derive(Clone, Debug)]
pub struct NewGeneration {
    /// Its number.
    pub generation: u64,
    /// Its text.
    pub text: Secret,
    /// When, in milliseconds since 1970.
    pub unix_millis: u64,
    /// What brought it.
    pub origin: &'static str,
    /// Who did, where that is known.
    pub author: Option<String>,
    /// The file that it came from.
    pub file: PathBuf,
    /// What it restores, if it does.
    pub restores: Option<Replaced>,
}

/// What a rollback goes back to, and what it overwrites.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// The generation whose text comes back.
    pub by: u64,
    /// What stands in the file, if no generation has it.
    pub text: Option<Secret>,
}

/// Why the history cannot be read or written.
#[derive(Debug)]
pub enum HistoryError {
    /// There is no generation of this number.
    Unknown(u64),
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// A file is not what was written.
    Damaged(PathBuf),
    /// There is no key that could be used.
    Key(KeyFileFault),
    /// A text does not open.
    Sealed(u64, SealFault),
    /// The system gives no randomness.
    NoRandomness,
}

/// The history in a data directory, to read.
#[derive(Clone, Debug)]
pub struct Archive {
    data: PathBuf,
}

/// The history in a data directory that is this process's own.
#[derive(Clone, Debug)]
pub struct History {
    data: Arc<DataDirectory>,
}

// === impl HistoryError ===

impl HistoryError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            HistoryError::Unknown(_) => "`berry config history` lists those that are kept".to_owned(),
            HistoryError::File(path, _) => {
                format!(
                    "see that the user that runs Berry may read and write {}, and that the disk has room",
                    path.display()
                )
            }
            HistoryError::Damaged(path) => format!("put {} back from a backup, or delete it", path.display()),
            HistoryError::Key(_) | HistoryError::Sealed(..) => {
                format!(
                    "put {KEY} of the data directory back from a backup; without it the texts sealed by it stay closed"
                )
            }
            HistoryError::NoRandomness => "make getrandom(2) or /dev/urandom available to Berry".to_owned(),
        }
    }
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HistoryError::Unknown(generation) => write!(f, "generation {generation} is not in the history"),
            HistoryError::File(path, error) => write!(f, "{}: {error}", path.display()),
            HistoryError::Damaged(path) => write!(f, "{} is damaged", path.display()),
            HistoryError::Key(fault) => write!(f, "{fault}"),
            HistoryError::Sealed(generation, fault) => {
                write!(f, "the text of generation {generation} {}", fault.told())
            }
            HistoryError::NoRandomness => write!(f, "the system gives no random bytes"),
        }
    }
}

impl std::error::Error for HistoryError {}

// === impl Archive ===

impl Archive {
    /// The history in this data directory, if it has one.
    pub fn of(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    /// All generations that are kept, the latest first. None, where there is no history.
    pub fn all(&self) -> Result<Vec<Kept>, HistoryError> {
        let mut numbers = self.numbers()?;
        numbers.reverse();
        let kept = numbers.into_iter().map(|generation| self.generation(generation));
        // One whose description is damaged hides none of the others.
        kept.filter(|kept| !matches!(kept, Err(HistoryError::Damaged(_)))).collect()
    }

    /// The number of the latest generation, whatever its description is like.
    pub fn last_number(&self) -> Result<Option<u64>, HistoryError> {
        Ok(self.numbers()?.last().copied())
    }

    /// The latest generation.
    pub fn last(&self) -> Result<Option<Kept>, HistoryError> {
        self.numbers()?.last().map(|generation| self.generation(*generation)).transpose()
    }

    /// One of them.
    pub fn generation(&self, generation: u64) -> Result<Kept, HistoryError> {
        let path = self.path(generation, "json");
        let json = read(&path).map_err(|error| missing_is_unknown(generation, error))?;
        serde_json::from_str(&json).map_err(|_| HistoryError::Damaged(path))
    }

    /// The text of one.
    pub fn text(&self, generation: u64) -> Result<Secret, HistoryError> {
        self.open(generation, "text")
    }

    /// The text that a rollback overwrote, and that no generation has.
    pub fn replaced_text(&self, generation: u64) -> Result<Secret, HistoryError> {
        self.open(generation, "replaced")
    }

    /// Whether some generation has this text.
    pub fn has(&self, text: &Secret) -> Result<bool, HistoryError> {
        let hash = text_hash(text.expose());
        Ok(self.all()?.iter().any(|kept| kept.hash == hash))
    }

    /// The numbers of all generations, the earliest first.
    fn numbers(&self) -> Result<Vec<u64>, HistoryError> {
        let folder = self.data.join(FOLDER);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(HistoryError::File(folder, error)),
        };
        let number = |entry: io::Result<std::fs::DirEntry>| {
            entry.ok()?.file_name().to_str()?.strip_suffix(".json")?.parse::<u64>().ok()
        };
        let mut numbers: Vec<u64> = entries.filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn open(&self, generation: u64, kind: &str) -> Result<Secret, HistoryError> {
        let sealed = read(&self.path(generation, kind)).map_err(|error| missing_is_unknown(generation, error))?;
        let keys = read_keys(&self.data.join(KEY)).map_err(HistoryError::Key)?;
        keys.open(&field(generation, kind), &sealed).map_err(|fault| HistoryError::Sealed(generation, fault))
    }

    fn path(&self, generation: u64, kind: &str) -> PathBuf {
        self.data.join(name(generation, kind))
    }
}

// === impl History ===

impl History {
    /// The history in this data directory.
    pub fn new(data: Arc<DataDirectory>) -> Self {
        Self { data }
    }

    /// To read it.
    pub fn archive(&self) -> Archive {
        Archive::of(self.data.path())
    }

    /// Keeps a generation, and lets go of those that are too many. On failure nothing of it stays.
    pub fn keep(&self, new: NewGeneration) -> Result<Kept, HistoryError> {
        self.data.directory(FOLDER).map_err(|error| HistoryError::File(self.data.path().join(FOLDER), error))?;
        let replaced = new.restores.as_ref().and_then(|replaced| replaced.text.as_ref());
        let kept = Kept {
            generation: new.generation,
            hash: text_hash(new.text.expose()),
            time: time(new.unix_millis),
            origin: new.origin.to_owned(),
            author: new.author,
            file: new.file.display().to_string(),
            bytes: new.text.expose().len() as u64,
            started: None,
            restores: new.restores.as_ref().map(|replaced| replaced.by),
            has_replaced: replaced.is_some(),
            diff: self.diff_to_last(&new.text, &new.file),
        };
        let written = self.write(&kept, &new.text, replaced);
        if written.is_err() {
            self.forget(kept.generation);
        }
        written?;
        retention::apply(&self.archive(), |generation| self.forget(generation));
        Ok(kept)
    }

    /// Notes that a gateway has started with the latest generation again.
    pub fn note_start(&self, mut kept: Kept, unix_millis: u64) -> Result<(), HistoryError> {
        kept.started = Some(time(unix_millis));
        self.describe(&kept)
    }

    /// Takes a generation out again, that did not come into force after all.
    pub fn forget(&self, generation: u64) {
        let archive = self.archive();
        // The description first: without it, there is no such generation.
        for kind in ["json", "text", "replaced"] {
            let _ = std::fs::remove_file(archive.path(generation, kind));
        }
    }

    /// The texts first: who finds the description finds them too.
    fn write(&self, kept: &Kept, text: &Secret, replaced: Option<&Secret>) -> Result<(), HistoryError> {
        let keys = self.keys()?;
        for (kind, text) in [("text", Some(text)), ("replaced", replaced)] {
            if let Some(text) = text {
                let sealed = keys.seal(&field(kept.generation, kind), text).ok_or(HistoryError::NoRandomness)?;
                self.replace(&name(kept.generation, kind), sealed.as_bytes())?;
            }
        }
        self.describe(kept)
    }

    fn describe(&self, kept: &Kept) -> Result<(), HistoryError> {
        let json = serde_json::to_vec_pretty(kept).unwrap_or_default();
        self.replace(&name(kept.generation, "json"), &json)
    }

    /// The data directory's own key, which is made when it is needed first.
    fn keys(&self) -> Result<Keyring, HistoryError> {
        let path = self.data.path().join(KEY);
        if path.exists() {
            return read_keys(&path).map_err(HistoryError::Key);
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| HistoryError::NoRandomness)?;
        let keys = Keyring::new(key.into());
        self.replace(KEY, keys.to_text().as_bytes())?;
        Ok(keys)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), HistoryError> {
        let path = self.data.path().join(name);
        self.data.replace(name, bytes).map_err(|error| HistoryError::File(path.clone(), error))?;
        // Root may work here in the place of the user that runs the gateway, who has to read it.
        if let (Ok(file), Ok(owner)) = (path.metadata(), self.data.path().metadata())
            && file.uid() != owner.uid()
        {
            let _ = chown(&path, Some(owner.uid()), Some(owner.gid()));
        }
        Ok(())
    }

    /// What changed since the latest generation, as far as that opens.
    fn diff_to_last(&self, text: &Secret, file: &Path) -> String {
        let archive = self.archive();
        let last = archive.numbers().ok().and_then(|numbers| numbers.last().copied());
        match last.map(|last| archive.text(last)) {
            None => String::new(),
            Some(Ok(last)) => bounded(redacted_diff(last.expose(), text.expose(), file)),
            Some(Err(error)) => format!("(the generation before cannot be read: {error})\n"),
        }
    }
}

/// The difference up to a whole line within its bound, and how much more there is.
fn bounded(mut diff: String) -> String {
    if diff.len() <= LONGEST_DIFF {
        return diff;
    }
    let rest = diff.split_off(diff.floor_char_boundary(LONGEST_DIFF));
    let end = diff.rfind('\n').map_or(0, |at| at + 1);
    let more = rest.lines().count();
    diff.truncate(end);
    diff.push_str(&format!("(and about {more} more lines)\n"));
    diff
}

fn name(generation: u64, kind: &str) -> String {
    format!("{FOLDER}/{generation:08}.{kind}")
}

/// What a sealed text is bound to: one cannot be put in the place of another.
fn field(generation: u64, kind: &str) -> String {
    format!("history.{generation}.{kind}")
}

fn time(unix_millis: u64) -> String {
    let millis = i64::try_from(unix_millis).unwrap_or(i64::MAX);
    format!("{:.3}", jiff::Timestamp::from_millisecond(millis).unwrap_or_default())
}

fn read(path: &Path) -> Result<String, HistoryError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    read.map(|_| text).map_err(|error| HistoryError::File(path.to_owned(), error))
}

fn missing_is_unknown(generation: u64, error: HistoryError) -> HistoryError {
    match error {
        HistoryError::File(_, error) if error.kind() == io::ErrorKind::NotFound => HistoryError::Unknown(generation),
        error => error,
    }
}

#[cfg(test)]
mod tests;
