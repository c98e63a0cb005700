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

const BEHIND: &str =
    "something comes after the signed end: left by a crash, and kept aside by the next start, or put there";

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

/// What is asked for beyond what the files say themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// The first record that is to be there; those before it may be archived elsewhere, or known not to hold.
    pub from: Option<u64>,
    /// The number and hash of a record that somebody has noted elsewhere.
    pub noted: Option<(u64, String)>,
}

/// Judges the log of the data directory `data`.
///
/// Of a log that is being written to, what its head named at the beginning is judged. Between a batch and its head it looks for
/// a moment as if something stood behind the end.
///
/// # Errors
/// The files cannot be read, or there is no log.
pub fn verify(data: &Path, demands: &Demands) -> io::Result<Report> {
    let mut judge = Judge::new(data.join(FOLDER), demands)?;
    judge.files()?;
    judge.end()?;
    judge.former(data)?;
    Ok(judge.report)
}

struct Judge<'d> {
    report: Report,
    verifier: Option<Verifier>,
    /// Where the log ends.
    head: Option<Head>,
    head_bytes: Option<Vec<u8>>,
    /// The place where something stands behind the end.
    behind: Option<(String, u64)>,
    from: u64,
    noted: Option<&'d (u64, String)>,
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

impl<'d> Judge<'d> {
    fn new(folder: PathBuf, demands: &'d Demands) -> io::Result<Self> {
        let mut report = Report { folder: folder.clone(), ..Report::default() };
        let public = read(&folder, PUBLIC_KEY)?;
        let verifier = public.as_deref().and_then(Verifier::read);
        report.key = verifier.as_ref().map(Verifier::id);
        if verifier.is_none() {
            report.fault(PUBLIC_KEY, 0, if public.is_some() { "this is no public key" } else { "it is missing" });
        }
        let head_bytes = read(&folder, HEAD)?;
        let head = head_bytes.as_deref().zip(verifier.as_ref()).and_then(|(bytes, key)| Head::read(bytes, key));
        match (&head, &head_bytes) {
            (Some(head), _) => report.head = Some((head.link.seq, hex::text(&head.link.hash))),
            (None, None) => report.fault(HEAD, 0, "it is missing, so that nothing says where the records end"),
            (None, Some(_)) => report.fault(HEAD, 0, "it was changed, or another key has signed it"),
        }
        let from = demands.from.unwrap_or(1);
        let noted = demands.noted.as_ref();
        let (link, is_before) = (Link::default(), from > 1);
        Ok(Self { report, verifier, head, head_bytes, behind: None, from, noted, link, is_before })
    }

    fn files(&mut self) -> io::Result<()> {
        let (parts, foreign) = files::list(&self.report.folder)?;
        for name in foreign {
            self.report.fault(&name, 0, "this is no file of the log");
        }
        for (at, part) in parts.iter().enumerate() {
            let next = parts.get(at + 1).map_or(u64::MAX, |next| next.first);
            if self.head.as_ref().is_some_and(|head| part.first > head.link.seq) {
                self.behind.get_or_insert_with(|| (part.name.clone(), 0));
            } else if next > self.from {
                self.file(part)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, part: &Part) -> io::Result<()> {
        let mut text = std::fs::read(part.path(&self.report.folder))?;
        if let Some(head) = self.head.as_ref().filter(|head| head.file == part.name) {
            let end = usize::try_from(head.length).unwrap_or(usize::MAX);
            let is_longer = text.len() > end;
            text.truncate(end);
            if is_longer {
                let line = memchr::memchr_iter(b'\n', &text).count() as u64 + 1;
                self.behind.get_or_insert_with(|| (part.name.clone(), line));
            }
        }
        self.report.files += 1;
        match text.strip_suffix(b"\n") {
            Some(lines) => self.lines(part, lines.split(|byte| *byte == b'\n')),
            None => {
                let whole = memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1);
                let lines = text.get(..whole).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
                let count = lines.clone().count() as u64;
                self.lines(part, lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line)));
                let what = if text.is_empty() { "it holds no record" } else { "it ends in the middle of a line" };
                self.report.fault(&part.name, count + 1, what);
            }
        }
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
        let is_noted =
            self.noted.is_some_and(|(seq, hash)| *seq == line.link.seq && *hash == hex::text(&line.link.hash));
        if is_noted {
            self.noted = None;
        }
        // Where it is wrong, what follows is judged by what it says of itself: each fault is told once.
        self.link = line.link;
        self.report.records += 1;
        self.report.checkpoints += u64::from(line.signature.is_some());
    }

    /// Whether the records end where the head says, and hold what was noted.
    fn end(&mut self) -> io::Result<()> {
        if let Some((seq, _)) = self.noted {
            self.report.fault(HEAD, 0, format!("record {seq} is not here as it was noted"));
        }
        let Some(Head { link: head, .. }) = self.head else { return Ok(()) };
        let last = self.link.seq;
        if last < head.seq {
            let what = format!("the records {} to {} are missing at the end", last + 1, head.seq);
            self.report.fault(HEAD, 0, what);
        } else if self.link != head {
            self.report.fault(HEAD, 0, format!("record {} is not the one that was signed as the last", head.seq));
        }
        // Where the head has moved meanwhile, a gateway writes, and it is its business.
        let has_moved = read(&self.report.folder, HEAD)? != self.head_bytes;
        if let Some((file, line)) = self.behind.take().filter(|_| !has_moved) {
            self.report.fault(&file, line, BEHIND);
        }
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
