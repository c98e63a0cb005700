//! Something that is recorded: who did what, to what, and what came of it. Never a token, a key, or what a model was told.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user, by id.
    User(String),
    /// Somebody who works on the machine, by the way that was taken: the file, a signal.
    Operator(&'static str),
    /// Berry, by itself.
    Berry,
    /// Somebody who could not say.
    Unknown,
}

/// Who did it, from where, and with which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Who.
    pub actor: Actor,
    /// The address that it came from.
    pub ip: Option<IpAddr>,
    /// The id of the request.
    pub request_id: Option<String>,
}

/// Something that is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in milliseconds since 1970.
    pub unix_millis: u64,
    /// Who.
    pub who: Who,
    /// What was done.
    pub action: Cow<'static, str>,
    /// To what.
    pub resource: String,
    /// What came of it.
    pub result: Cow<'static, str>,
    /// What would have changed, for a change that was not made: a unified difference without secrets. Its end is cut off after
    /// 8 KiB.
    pub diff: Option<String>,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::User(id) => write!(f, "user:{id}"),
            Actor::Operator(way) => write!(f, "operator:{way}"),
            Actor::Berry => f.write_str("berry"),
            Actor::Unknown => f.write_str("unknown"),
        }
    }
}

impl From<Actor> for Who {
    fn from(actor: Actor) -> Self {
        Self { actor, ip: None, request_id: None }
    }
}

impl Event {
    /// Something of the log's own.
    pub(super) fn own(
        unix_millis: u64,
        action: &'static str,
        resource: impl Into<String>,
        result: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            unix_millis,
            who: Actor::Berry.into(),
            action: action.into(),
            resource: resource.into(),
            result: result.into(),
            diff: None,
        }
    }
}
