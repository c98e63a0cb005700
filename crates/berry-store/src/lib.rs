//! What outlives the process, in the data directory (`[storage] path`). Knows files and their forms; must not know HTTP, how a
//! request is proxied, or the configuration's keys.

pub mod audit;
mod directory;
mod history;

pub use directory::{DataDirectory, OpenError};
pub use history::{Archive, History, HistoryError, Kept, NewGeneration, Replaced};
