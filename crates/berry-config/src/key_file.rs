//! The file with the keys that open sealed values: where it is, and reading it. Only a configuration with a sealed value needs one.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::raw::{RawTable, RawValue};
use crate::seal::Keyring;

/// Its name where none is given: beside the configuration, and among systemd's credentials.
const NAME: &str = "berry.key";
/// Hundreds of rotations; a wrong path to a big file must not fill the memory.
const LONGEST: u64 = 64 << 10;

/// Why there are no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFileFault {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Missing,
    Unreadable(ErrorKind),
    Foreign,
}

/// The keys of a configuration, read when the first sealed value asks for them.
pub(crate) struct Keys {
    pub(crate) path: PathBuf,
    /// Whether the service manager hands it over, and sees to who may read it.
    pub(crate) is_credential: bool,
    used: Cell<bool>,
    ring: OnceCell<Result<Keyring, KeyFileFault>>,
}

/// Reads a key file.
pub fn read_keys(path: &Path) -> Result<Keyring, KeyFileFault> {
    let fault = |kind| KeyFileFault { path: path.to_owned(), kind };
    // With room for all of it at once: a text that grew would leave its beginning behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize + 64));
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    match read {
        Ok(_) => Keyring::parse(&text).ok_or_else(|| fault(Kind::Foreign)),
        Err(error) => Err(fault(match error.kind() {
            ErrorKind::NotFound => Kind::Missing,
            ErrorKind::InvalidData => Kind::Foreign,
            kind => Kind::Unreadable(kind),
        })),
    }
}

// === impl KeyFileFault ===

impl KeyFileFault {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self.kind {
            Kind::Missing => {
                "put the key file there or name it in `[security] key_file`; `berry secret keygen` makes a new one, \
                 which opens nothing that was sealed before"
            }
            Kind::Unreadable(_) => "name a key file that Berry may read in `[security] key_file`",
            Kind::Foreign => "name a file that `berry secret keygen` has made in `[security] key_file`",
        }
    }
}

impl fmt::Display for KeyFileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.kind {
            Kind::Missing => write!(f, "there is no key file {path}"),
            Kind::Unreadable(kind) => write!(f, "the key file {path} cannot be read: {kind}"),
            Kind::Foreign => write!(f, "{path} is no key file"),
        }
    }
}

// === impl Keys ===

impl Keys {
    /// Those of a file in the folder `base`. From the raw file, as secrets may stand before `[security]`.
    pub(crate) fn new(raw: &RawTable, base: &Path) -> Self {
        let credential = || {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
            Some(Path::new(&folder).join(NAME)).filter(|path| path.is_file())
        };
        let (path, is_credential) = match (named(raw), credential()) {
            (Some(path), _) => (base.join(path), false),
            (None, Some(path)) => (path, true),
            (None, None) => (base.join(NAME), false),
        };
        Self { path, is_credential, used: Cell::default(), ring: OnceCell::new() }
    }

    /// Whether nobody has asked this before.
    pub(crate) fn is_first_use(&self) -> bool {
        !self.used.replace(true)
    }

    pub(crate) fn ring(&self) -> &Result<Keyring, KeyFileFault> {
        self.ring.get_or_init(|| read_keys(&self.path))
    }
}

/// `[security] key_file`.
fn named(raw: &RawTable) -> Option<&str> {
    let Some(RawValue::Table(security)) = raw.get("security") else { return None };
    let Some(RawValue::Text(path)) = security.get("key_file") else { return None };
    Some(path.as_str()).filter(|path| !path.is_empty())
}
