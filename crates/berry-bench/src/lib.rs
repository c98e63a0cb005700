//! The load generator behind `berry bench` and `scripts/benchmark.sh`: how fast, and how dearly, does a gateway answer?
//!
//! It is a closed loop: each of a number of clients sends its next request when its last one has been answered. It reads
//! HTTP/1 by itself, one buffer for all connections, because what it spends is missing on the core that it shares with
//! the simulated provider. It is no client for real work: it understands just enough of an answer to find its end and
//! to count its events, and it shares nothing with what it measures.
//!
//! `plan` checks what is asked for, `request` writes the one request that all clients send, `load` sends it over and over
//! on `connection`s, `hold` opens streams and leaves them open, `slow` is
//! slow in other ways, `reader` and `events` read, `tally` adds up, and `report` tells.

mod connection;
mod events;
mod hold;
mod load;
mod percentiles;
mod plan;
mod reader;
mod report;
mod request;
mod slow;
mod tally;

pub use hold::hold;
pub use load::load;
pub use percentiles::Percentiles;
pub use plan::{LIMITS, Limits, Options, Plan, Problem};
pub use report::Report;
pub use slow::{Slow, slow};
