//! The nouns that every other crate shares: ids, units, time as an argument, secrets, protocols and the one failure type.
//!
//! Pure: no runtime, no I/O, no clock, no randomness, no logging. It knows no vendor, no HTTP library and no configuration file.

mod dice;
mod failure;
mod ids;
mod moment;
mod nets;
mod protocol;
mod secret;
mod units;

pub use dice::{Dice, SeededDice};
pub use failure::{Code, Failure};
pub use ids::{BackendKey, ModelId, ProviderId, UserId};
pub use moment::Moment;
pub use nets::{Net, Nets};
pub use protocol::Protocol;
pub use secret::Secret;
pub use units::{UnitError, parse_bytes, parse_duration};
