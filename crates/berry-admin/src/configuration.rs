//! What the admin API asks of the configuration. Whoever knows the file answers: here nothing is read or judged.

use std::pin::Pin;
use std::sync::Arc;

use berry_store::audit::{NotRecorded, Who};
use serde_json::Value;

/// An answer that takes a while.
pub type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Whoever reads the configuration file.
pub trait Configuration: Send + Sync {
    /// Reads the file again and puts it into force, and records who had it do so. `confirmed`: also where it looks like a
    /// mistake.
    fn reload(self: Arc<Self>, by: Who, confirmed: bool) -> Answering<Result<Verdict, NotRecorded>>;

    /// Checks a text as if it stood in the file: `{"problems":[…]}`.
    fn validate(self: Arc<Self>, text: String) -> Answering<Value>;

    /// What is in force, without secrets.
    fn shown(self: Arc<Self>) -> Answering<Value>;
}

/// What came of a reload.
pub struct Verdict {
    /// Whether the file is in force now.
    pub in_force: bool,
    /// `{"result","generation","problems":[…]}`
    pub report: Value,
}
