//! The data plane: the path of a request. It knows sockets, snapshots and the wire; it must not know the command line, the
//! admin API, or what outlives the process.
//!
//! Read `path.rs` first: it is the whole path on one screen. [`ports`] is what the assembly hands in.

mod allowance;
mod answer;
pub mod checks;
mod client;
mod deadline;
mod downstream;
mod gateway;
mod http2;
mod live;
mod local_executor;
pub mod metrics;
pub mod net;
mod pages;
mod path;
mod places;
pub mod ports;
mod pressure;
pub mod report;
mod room;
mod routes;
mod serve;
mod snapshot;
mod station;
mod upstream;
mod worker;

pub use gateway::{Gateway, Phase};
pub use live::{BackendLive, Live, ModelLive, Numbers, ProviderLive, Rules, Standing, UserLimit, UserLive};
pub use serve::{Workers, WorkersOptions, serve_connection, server_tls};
pub use snapshot::{Snapshot, Surroundings};
pub use worker::Worker;
