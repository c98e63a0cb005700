//! The gateway as its clients meet it: raw sockets in front, the scripted provider behind, fixture files between.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod account_state;
mod auth;
mod balancing;
mod checks;
mod coding;
mod connections;
mod failover;
mod fragile;
mod harness;
mod health;
mod heard;
mod hedging;
mod http1;
mod http2;
mod keepalive;
mod keys;
mod leaving;
mod limits;
mod passthrough;
mod patience;
mod ports;
mod refusals;
mod reliability;
mod reload;
mod room;
mod simulation;
mod streaming;
mod tokens;
mod upstream_tls;
