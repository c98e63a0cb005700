//! The configuration file as it was read, with marks by which a change of it, or of a file that it names, is seen.
//!
//! A mark is what the system says of a file behind all symbolic links. Looking at marks now and then finds every kind of change
//! (written in place, replaced, a link or a folder switched, deleted and made again) on every kind of file system, where events
//! of the system would have to be asked for folder by folder, and do not come at all from network mounts.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use berry_config::{Config, Loaded, data_directory, load, load_file};
use berry_store::{Archive, HistoryError};

use crate::outcome::{Failure, Status};

/// Where the configuration is, and what the command line sets in its place.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) listen: Option<SocketAddr>,
}

/// A configuration file that was read.
pub(crate) struct Source {
    pub(crate) place: Place,
    pub(crate) loaded: Loaded,
    pub(crate) marks: Marks,
}

/// What files were like at a time: the configuration file first, then those that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marks(Vec<(PathBuf, Option<Mark>)>);

/// Device, inode, length, times of the last change of content and of the file itself, with their nanoseconds.
type Mark = (u64, u64, u64, [i64; 4]);

// === impl Place ===

impl Place {
    /// What was read, with what the command line sets in its place.
    pub(super) fn over(&self, mut loaded: Loaded) -> Loaded {
        if let (Some(config), Some(listen)) = (&mut loaded.config, self.listen) {
            config.server.listen = listen;
        }
        loaded
    }
}

// === impl Source ===

impl Source {
    /// Reads the file at the start.
    pub(crate) fn first(place: Place) -> Self {
        Self::read(&place, &Marks(Vec::new()))
    }

    /// Reads the file. Files in `known` are marked before it, so that no change meanwhile goes unseen.
    pub(super) fn read(place: &Place, known: &Marks) -> Self {
        let before = Marks::of(std::iter::once(&place.path).chain(known.0.iter().map(|(path, _)| path)));
        let loaded = place.over(load_file(&place.path));
        let marks = before.narrowed_to(std::iter::once(&place.path).chain(&loaded.files));
        Self { place: place.clone(), loaded, marks }
    }

    /// In the place of a file that does not hold, the generation that ran last. The file is read again when it changes.
    pub(crate) fn last_good(self) -> Result<Self, Failure> {
        let Self { place, marks, .. } = self;
        let archive = Archive::of(&data_directory(&place.path));
        let refuse = |error: HistoryError| Failure::with(Status::BadConfig, &error, error.remedy());
        let last = archive.last().map_err(refuse)?.ok_or_else(|| {
            let message = "the configuration does not hold, and none is known that ran before";
            Failure::with(Status::BadConfig, message, "see `berry check`, and mend the file")
        })?;
        let text = archive.text(last.generation).map_err(refuse)?;
        let loaded = place.over(load(text.expose(), &place.path));
        let marks = marks.narrowed_to(std::iter::once(&place.path).chain(&loaded.files));
        Ok(Self { place, loaded, marks })
    }

    /// The checked configuration.
    pub(crate) fn config(&self) -> Result<&Config, Failure> {
        let failure = || Failure::with(Status::BadConfig, "the configuration does not hold", "see `berry check`");
        self.loaded.config.as_ref().ok_or_else(failure)
    }
}

// === impl Marks ===

impl Marks {
    fn of<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Self {
        Self(paths.map(|path| (path.clone(), mark(path))).collect())
    }

    /// The same files, looked at now.
    pub(super) fn again(&self) -> Self {
        Self::of(self.0.iter().map(|(path, _)| path))
    }

    /// Those of the files that the configuration names.
    pub(super) fn named(&self) -> &[(PathBuf, Option<Mark>)] {
        self.0.get(1..).unwrap_or_default()
    }

    /// Marks of these files: those that were made already, and new ones.
    fn narrowed_to<'a>(&self, paths: impl Iterator<Item = &'a PathBuf>) -> Self {
        let known = |path: &PathBuf| self.0.iter().find(|(known, _)| known == path).map(|(_, mark)| *mark);
        Self(paths.map(|path| (path.clone(), known(path).unwrap_or_else(|| mark(path)))).collect())
    }
}

/// `None`: there is no such file, or none that may be seen.
fn mark(path: &Path) -> Option<Mark> {
    let of = path.metadata().ok()?;
    Some((of.dev(), of.ino(), of.len(), [of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()]))
}
