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
mod listener_tls;
mod live;
mod local_executor;
pub mod metrics;
pub mod net;
mod origin;
mod pages;
mod path;
mod places;
pub mod ports;
mod pressure;
mod reloads;
pub mod report;
mod room;
mod routes;
mod serve;
mod snapshot;
mod station;
mod unwinding;
mod upstream;
mod worker;

pub use gateway::{Gateway, Phase};
pub use listener_tls::{Certificate, ListenerTls};
pub use live::{BackendLive, Live, ModelLive, Numbers, ProviderLive, Rules, Standing, UserLimit, UserLive};
pub use origin::Origin;
pub use reloads::Reload;
pub use serve::{Workers, WorkersOptions, serve_connection};
pub use snapshot::{Door, Snapshot, Surroundings};
pub use worker::Worker;
