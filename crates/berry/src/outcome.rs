//! How a command ends: the exit statuses of the command line's contract, and the failure that says what to do about it.

use std::fmt;
use std::process::ExitCode;

use crate::terminal;

/// An exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Done.
    Done = 0,
    /// What was checked does not hold, or something stands in the way.
    Failed = 1,
    /// The command line, or a variable that stands for a part of it, is wrong.
    Usage = 2,
    /// The configuration is bad.
    BadConfig = 78,
}

/// What a command comes to.
pub(crate) type Outcome = Result<Status, Failure>;

/// Why a command could not do its work, and the remedy.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    message: String,
    remedy: String,
}

// === impl Status ===

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        ExitCode::from(status as u8)
    }
}

// === impl Failure ===

impl Failure {
    /// Something stands in the way.
    pub(crate) fn new(message: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::with(Status::Failed, message, remedy)
    }

    /// A failure with a status of its own.
    pub(crate) fn with(status: Status, message: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self { status, message: message.to_string(), remedy: remedy.to_string() }
    }

    /// In one line, for those who do not read stderr.
    pub(crate) fn line(&self) -> String {
        format!("{}: {}", self.message, self.remedy)
    }

    /// Tells it on stderr, in the form of the configuration's problems. Gives the status to end with.
    pub(crate) fn report(&self) -> Status {
        let mut text = format!("{}: {}\n", terminal::err_bold("31", "error"), self.message);
        if !self.remedy.is_empty() {
            text.push_str(&format!("  {} {}\n", terminal::err_bold("39", "help:"), self.remedy));
        }
        terminal::err(&text);
        self.status
    }
}
