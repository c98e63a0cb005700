//! What the admin API asks of the configuration. Whoever knows the file answers: here nothing is read or judged.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use axum::http::StatusCode;
use berry_store::audit::{NotRecorded, Who};
use serde_json::Value;

/// An answer that takes a while.
pub type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Whoever reads the configuration file.
pub trait Configuration: Send + Sync {
    /// Reads the file again and puts it into force, and records who had it do so. `confirmed`: also where it looks like a
    /// mistake.
    fn reload(self: Arc<Self>, by: Who, confirmed: bool) -> Answering<Result<Verdict, Refusal>>;

    /// Writes the text of a former generation into the file and puts it into force, and records who had it do so.
    fn roll_back(self: Arc<Self>, generation: u64, by: Who, confirmed: bool) -> Answering<Result<Verdict, Refusal>>;

    /// The generations that ran, the latest first, without texts.
    fn history(self: Arc<Self>) -> Answering<Result<Vec<Value>, Refusal>>;

    /// One of them, with its text and what changed, without secrets.
    fn generation(self: Arc<Self>, generation: u64) -> Answering<Result<Value, Refusal>>;

    /// Checks a text as if it stood in the file: `{"problems":[…]}`.
    fn validate(self: Arc<Self>, text: String) -> Answering<Value>;

    /// What is in force, without secrets.
    fn shown(self: Arc<Self>) -> Answering<Value>;
}

/// Why something of the history is not told or done, with the remedy.
#[derive(Debug)]
pub enum Refusal {
    /// There is no such generation.
    Unknown(String),
    /// What it takes on this machine stands in the way, such as a file that cannot be written.
    InTheWay(String),
    /// It could not be recorded, so that it was not done.
    NotRecorded(NotRecorded),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unknown(message) | Refusal::InTheWay(message) => f.write_str(message),
            Refusal::NotRecorded(why) => why.fmt(f),
        }
    }
}

/// Whether a file came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It is in force.
    InForce,
    /// It does not hold, or looks like a mistake.
    Unfit,
    /// It would shut out those who could take it back.
    Conflict,
}

impl Came {
    /// As a status.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Came::InForce => StatusCode::OK,
            Came::Unfit => StatusCode::UNPROCESSABLE_ENTITY,
            Came::Conflict => StatusCode::CONFLICT,
        }
    }
}

/// What came of a reload.
pub struct Verdict {
    /// Whether the file is in force now.
    pub came: Came,
    /// `{"result","generation","problems":[…]}`
    pub report: Value,
}
