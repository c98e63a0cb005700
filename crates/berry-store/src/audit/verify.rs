//! Judges a log from its files alone: whether every record from the first to the head is there, unchanged and in its place.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{self, Part};
use super::head::{HEAD, Head};
use super::line::{Line, Link, Wrong};
use super::signing::{PUBLIC_KEY, Verifier};
use super::{FOLDER, FORMER, hex};

/// More faults than this are counted, not listed.
const MOST_FAULTS: usize = 20;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The folder.
    pub folder: PathBuf,
    /// Records that were read.
    pub records: u64,
    /// Files that they lie in.
    pub files: usize,
    /// Checkpoints among them.
    pub checkpoints: u64,
    /// The number and hash of the newest record that the head names.
    pub head: Option<(u64, String)>,
    /// The id of the key that has signed.
    pub key: Option<String>,
    /// What does not hold, in the order in which it was found.
    pub faults: Vec<Fault>,
    /// Faults beyond those.
    pub more_faults: u64,
}

/// A place where it does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file's name.
    pub file: String,
    /// The line, from 1; 0: the file as a whole.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

/// Judges the log of the data directory `data`. `from`: the first record that is to be there; those before it may be archived
/// elsewhere, or known not to hold.
///
/// # Errors
/// The files cannot be read, or there is no log.
pub fn verify(data: &Path, from: Option<u64>) -> io::Result<Report> {
    let mut judge = Judge::new(data.join(FOLDER), from.unwrap_or(1))?;
    judge.files()?;
    judge.end()?;
    judge.former(data)?;
    Ok(judge.report)
}

struct Judge {
    report: Report,
    verifier: Option<Verifier>,
    from: u64,
    /// The newest record that was read.
    link: Link,
    /// Whether the records before `from` are still ahead.
    is_before: bool,
}

// === impl Report ===

impl Report {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.faults.is_empty()
    }

    fn fault(&mut self, file: &str, line: u64, what: impl Into<String>) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(Fault { file: file.to_owned(), line, what: what.into() });
        } else {
            self.more_faults += 1;
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault { file, line: 0, what } => write!(f, "{file}: {what}"),
            Fault { file, line, what } => write!(f, "{file}:{line}: {what}"),
        }
    }
}

// === impl Judge ===

impl Judge {
    fn new(folder: PathBuf, from: u64) -> io::Result<Self> {
        let mut report = Report::default();
        let public = read(&folder, PUBLIC_KEY)?;
        let verifier = public.as_deref().and_then(Verifier::read);
        report.key = verifier.as_ref().map(Verifier::id);
        if verifier.is_none() {
            report.fault(PUBLIC_KEY, 0, if public.is_some() { "this is no public key" } else { "it is missing" });
        }
        report.folder = folder;
        Ok(Self { report, verifier, from, link: Link::default(), is_before: from > 1 })
    }

    fn files(&mut self) -> io::Result<()> {
        let (parts, foreign) = files::list(&self.report.folder)?;
        for name in foreign {
            self.report.fault(&name, 0, "this is no file of the log");
        }
        self.report.files = parts.len();
        for (at, part) in parts.iter().enumerate() {
            let next = parts.get(at + 1).map_or(u64::MAX, |next| next.first);
            if next <= self.from {
                continue;
            }
            self.file(part)?;
        }
        Ok(())
    }

    fn file(&mut self, part: &Part) -> io::Result<()> {
        let text = std::fs::read(part.path(&self.report.folder))?;
        let Some(lines) = text.strip_suffix(b"\n") else {
            let what = if text.is_empty() { "it holds no record" } else { "it ends in the middle of a line" };
            let at = text.split(|byte| *byte == b'\n').count() as u64;
            self.lines(part, text.split(|byte| *byte == b'\n').take(at.saturating_sub(1) as usize));
            self.report.fault(&part.name, at, what);
            return Ok(());
        };
        self.lines(part, lines.split(|byte| *byte == b'\n'));
        Ok(())
    }

    fn lines<'t>(&mut self, part: &Part, lines: impl Iterator<Item = &'t [u8]>) {
        for (number, text) in (1..).zip(lines) {
            let Some(line) = Line::read(text) else {
                if !self.is_before {
                    self.report.fault(&part.name, number, Wrong::Form.to_string());
                }
                continue;
            };
            if number == 1 && line.link.seq != part.first {
                self.report.fault(&part.name, 1, format!("its name says that it begins with record {}", part.first));
            }
            self.line(part, number, &line);
        }
    }

    fn line(&mut self, part: &Part, number: u64, line: &Line<'_>) {
        if self.is_before {
            if line.link.seq < self.from {
                // Nothing is said of it, but what comes next must follow it.
                self.link = line.link;
                return;
            }
            self.is_before = false;
            if self.link.seq == 0 && line.link.seq == self.from {
                self.link = line.before();
            }
        }
        if let Err(wrong) = line.check(&self.link, self.verifier.as_ref()) {
            self.report.fault(&part.name, number, wrong.to_string());
        }
        // Where it is wrong, what follows is judged by what it says of itself: each fault is told once.
        self.link = line.link;
        self.report.records += 1;
        self.report.checkpoints += u64::from(line.signature.is_some());
    }

    /// Whether the records end where the head says.
    fn end(&mut self) -> io::Result<()> {
        let Some(bytes) = read(&self.report.folder, HEAD)? else {
            self.report.fault(HEAD, 0, "it is missing, so that nothing says where the records end");
            return Ok(());
        };
        let Some(verifier) = &self.verifier else { return Ok(()) };
        let Some(Head { link: head, .. }) = Head::read(&bytes, verifier) else {
            self.report.fault(HEAD, 0, "it was changed, or another key has signed it");
            return Ok(());
        };
        self.report.head = Some((head.seq, hex::text(&head.hash)));
        let last = self.link.seq;
        let what = if last < head.seq {
            format!("the records {} to {} are missing at the end", last + 1, head.seq)
        } else if last > head.seq {
            format!("the records {} to {last} come after the signed end", head.seq + 1)
        } else if self.link.hash != head.hash {
            format!("record {last} is not the one that was signed as the last")
        } else {
            return Ok(());
        };
        self.report.fault(HEAD, 0, what);
        Ok(())
    }

    /// Logs that a start could not go on with are in nobody's chain.
    fn former(&mut self, data: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(data)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(FORMER) {
                let what = "a log that could not be gone on with; once you know why, keep it somewhere else";
                self.report.fault(&name, 0, what);
            }
        }
        Ok(())
    }
}

/// `None`: there is no such file.
fn read(folder: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(folder.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => Ok(None),
        Err(error) => Err(error),
    }
}
