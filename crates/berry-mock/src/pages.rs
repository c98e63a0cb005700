//! The mock's own pages under `/__`: what it has received, and its counters. They are neither journaled nor counted.
//!
//! They serve tests that run in another process; within one, `Mock::journal` and `Mock::stats` say the same.

use bytes::Bytes;
use serde::Serialize;

use crate::ask::{Ask, split_query};
use crate::journal::{Journal, Received};

/// How much of a body the journal's page shows.
const BODY_SHOWN: usize = 64 << 10;

/// An entry of the journal's page.
#[derive(Serialize)]
struct Entry<'a> {
    method: &'a str,
    path: &'a str,
    /// As the mock understood it from body, form or path; empty where there is none.
    model: String,
    /// Pairs of name and value: a name can come twice.
    headers: &'a [(String, String)],
    /// The body's beginning as text; what is no UTF-8 is replaced.
    body: String,
    /// The length of the whole body.
    body_bytes: usize,
    completed: bool,
    cancelled: bool,
    connection: u64,
    http_version: &'a str,
}

/// Whether a request is for one of these pages, also if there is no such page.
pub(crate) fn are_asked(path: &str) -> bool {
    path.starts_with("/__")
}

/// The JSON of a page, if there is one at that path.
pub(crate) fn json(journal: &Journal, path: &str) -> Option<Bytes> {
    let page = match split_query(path).0 {
        "/__journal" => {
            let received = journal.all();
            serde_json::to_vec(&received.iter().map(Entry::of).collect::<Vec<_>>())
        }
        "/__stats" => serde_json::to_vec(&journal.stats()),
        _ => return None,
    };
    page.ok().map(Bytes::from)
}

// === impl Entry ===

impl<'a> Entry<'a> {
    fn of(received: &'a Received) -> Self {
        let shown = &received.body[..received.body.len().min(BODY_SHOWN)];
        Entry {
            method: &received.method,
            path: &received.path,
            model: Ask::read(received).map_or_else(String::new, |ask| ask.model),
            headers: &received.headers,
            body: String::from_utf8_lossy(shown).into_owned(),
            body_bytes: received.body.len(),
            completed: received.completed,
            cancelled: received.cancelled,
            connection: received.connection,
            http_version: received.http_version,
        }
    }
}
