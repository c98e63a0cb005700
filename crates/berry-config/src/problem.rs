//! What is wrong with a configuration file, and where. A problem carries the line that it is about with every secret already
//! masked, so that whoever prints, logs or sends one cannot give a key away.

use std::cmp::Reverse;
use std::ops::Range;

use serde::Serialize;

use crate::source::{Excerpt, Source};

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is used, but this is probably not what was meant.
    Warning,
    /// The file is not used.
    Error,
}

impl Severity {
    /// The word that people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One fault of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Where in the tables, as `models.gpt.backends[1].weight`; empty for the whole file.
    pub path: String,
    /// What is wrong. Holds no byte of a secret.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// The bytes at fault, in the text that was loaded (without its byte order mark).
    #[serde(skip)]
    pub span: Range<usize>,
    #[serde(skip)]
    pub(crate) excerpt: Excerpt,
}

impl Problem {
    /// A problem that is about no line of the file. `path` may name a key.
    pub fn about_file(severity: Severity, path: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity,
            line: 1,
            column: 1,
            path: path.to_owned(),
            message: message.into(),
            remedy: remedy.into(),
            span: 0..0,
            excerpt: Excerpt::default(),
        }
    }

    /// Whether it keeps the file from being used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Whether `security.strict` makes an error of a warning.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Anything,
    Secrets,
}

/// A problem whose place has not been looked up yet.
pub(crate) struct Draft {
    severity: Severity,
    topic: Topic,
    at: Place,
    message: String,
    remedy: String,
}

/// Where a problem is: a path through the tables and the bytes that spell the key or the value.
#[derive(Clone, Default)]
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) span: Range<usize>,
}

impl Place {
    /// Whether it is no line of the file.
    fn is_whole_file(&self) -> bool {
        self.path.is_empty() && self.span == (0..0)
    }
}

/// Gathers problems while the file is read; nothing stops at the first one.
#[derive(Default)]
pub(crate) struct Problems {
    drafts: Vec<Draft>,
}

impl Problems {
    pub(crate) fn error(&mut self, at: &Place, message: impl Into<String>, remedy: impl Into<String>) {
        self.push(Severity::Error, Topic::Anything, at, (message.into(), remedy.into()));
    }

    pub(crate) fn warning(&mut self, at: &Place, message: impl Into<String>, remedy: impl Into<String>) {
        self.push(Severity::Warning, Topic::Anything, at, (message.into(), remedy.into()));
    }

    /// A warning that `security.strict` makes an error.
    pub(crate) fn secret_warning(&mut self, at: &Place, message: impl Into<String>, remedy: impl Into<String>) {
        self.push(Severity::Warning, Topic::Secrets, at, (message.into(), remedy.into()));
    }

    fn push(&mut self, severity: Severity, topic: Topic, at: &Place, (message, remedy): (String, String)) {
        self.drafts.push(Draft { severity, topic, at: at.clone(), message, remedy });
    }

    /// Whether one of these keys of the table at `path` is at fault already.
    pub(crate) fn has_error_under(&self, path: &str, keys: &[&str]) -> bool {
        self.drafts.iter().filter(|draft| draft.severity == Severity::Error).any(|draft| {
            let key = draft.at.path.strip_prefix(path).and_then(|rest| rest.strip_prefix('.'));
            key.is_some_and(|key| keys.contains(&key))
        })
    }

    /// Under `security.strict`: warnings about secrets are errors.
    pub(crate) fn be_strict(&mut self) {
        for draft in self.drafts.iter_mut().filter(|draft| draft.topic == Topic::Secrets) {
            draft.severity = Severity::Error;
        }
    }

    /// All problems in the order of the file; at one place, errors first.
    pub(crate) fn finish(self, source: &Source<'_>) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.drafts.into_iter().map(|draft| draft.place(source)).collect();
        problems.sort_by_key(|p| (p.line, p.column, Reverse(p.severity)));
        problems
    }
}

impl Draft {
    fn place(self, source: &Source<'_>) -> Problem {
        let (line, column) = source.position(self.at.span.start);
        // Shown under such a problem, the first line would look as if it were at fault.
        let excerpt = if self.at.is_whole_file() { Excerpt::default() } else { source.excerpt(&self.at.span) };
        Problem {
            severity: self.severity,
            line,
            column,
            path: self.at.path,
            message: self.message,
            remedy: self.remedy,
            excerpt,
            span: self.at.span,
        }
    }
}
