//! Records for people to look at: pages with the newest first, and those that come as they come. Nothing is judged here; that is
//! `verify`'s.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files;

/// So much is looked through for one page: a filter that nothing fits must not read for minutes.
const MOST_READ: usize = 64 << 20;

/// Which records are wanted: those whose fields are these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Who did it, as it is written.
    pub actor: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// What came of it.
    pub result: Option<String>,
}

/// A record, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its fields.
    pub fields: Value,
    /// Its line, as it stands in the file.
    pub line: String,
}

/// A part of the records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The records, the newest first.
    pub records: Vec<Record>,
    /// What to ask for next: those before this record. `None`: there are none.
    pub next: Option<u64>,
}

/// Gives the records that come from now on.
pub struct Follower {
    folder: PathBuf,
    /// The file that is read, and up to where.
    place: Option<(u64, u64)>,
}

// === impl Record ===

impl Record {
    fn read(line: &[u8]) -> Option<Self> {
        let fields: Value = serde_json::from_slice(line).ok()?;
        fields.is_object().then(|| Self { fields, line: String::from_utf8_lossy(line).into_owned() })
    }

    fn seq(&self) -> Option<u64> {
        self.fields.get("seq").and_then(Value::as_u64)
    }
}

// === impl Filter ===

impl Filter {
    fn takes(&self, record: &Value) -> bool {
        let Self { actor, action, result } = self;
        [("actor", actor), ("action", action), ("result", result)].into_iter().all(|(field, wanted)| {
            wanted.as_ref().is_none_or(|wanted| record.get(field) == Some(&Value::from(&**wanted)))
        })
    }
}

/// Records of the log in `folder`: at most `limit` of those before `before` that `filter` lets through.
pub(super) fn page(folder: &Path, before: Option<u64>, limit: usize, filter: &Filter) -> io::Result<Page> {
    let before = before.unwrap_or(u64::MAX);
    let (parts, _) = files::list(folder)?;
    let (mut page, mut read, mut oldest) = (Page::default(), 0, None);
    for part in parts.iter().rev().filter(|part| part.first < before) {
        if read > MOST_READ {
            page.next = oldest;
            return Ok(page);
        }
        let text = std::fs::read(part.path(folder))?;
        read += text.len();
        for line in text.rsplit(|byte| *byte == b'\n') {
            // What is being written, and what was tampered with, is not shown here.
            let Some(record) = Record::read(line) else { continue };
            let Some(seq) = record.seq().filter(|seq| *seq < before) else { continue };
            if page.records.len() == limit {
                page.next = oldest;
                return Ok(page);
            }
            oldest = Some(seq);
            if filter.takes(&record.fields) {
                page.records.push(record);
            }
        }
    }
    Ok(page)
}

// === impl Follower ===

impl Follower {
    /// Of the log in the data directory `data`, from its end on. Gives its last `newest` records too, the oldest first.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn new(data: &Path, newest: usize, filter: &Filter) -> io::Result<(Self, Vec<Record>)> {
        let folder = data.join(super::FOLDER);
        // First the place: what comes meanwhile may be shown twice, and is dropped by its number.
        let mut follower = Self { folder, place: None };
        follower.place = follower.end()?;
        let mut records = Vec::new();
        let mut before = None;
        while records.len() < newest {
            let page = page(&follower.folder, before, newest - records.len(), filter)?;
            records.extend(page.records);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        records.reverse();
        Ok((follower, records))
    }

    fn end(&self) -> io::Result<Option<(u64, u64)>> {
        let (parts, _) = files::list(&self.folder)?;
        let Some(part) = parts.last() else { return Ok(None) };
        Ok(Some((part.first, part.path(&self.folder).metadata()?.len())))
    }

    /// What has come since.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn more(&mut self) -> io::Result<Vec<Record>> {
        let (parts, _) = files::list(&self.folder)?;
        let (first, mut offset) = self.place.unwrap_or_default();
        let mut records = Vec::new();
        for part in parts.iter().filter(|part| part.first >= first) {
            if part.first > first {
                offset = 0;
            }
            let mut text = Vec::new();
            let mut file = File::open(part.path(&self.folder))?;
            // What was cut since was never acknowledged.
            offset = offset.min(file.metadata()?.len());
            file.seek(SeekFrom::Start(offset))?;
            file.read_to_end(&mut text)?;
            let whole = memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1);
            text.truncate(whole);
            offset += whole as u64;
            self.place = Some((part.first, offset));
            records.extend(text.split(|byte| *byte == b'\n').filter_map(Record::read));
        }
        Ok(records)
    }
}
