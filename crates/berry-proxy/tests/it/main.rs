//! The gateway as its clients meet it: raw sockets in front, the scripted provider behind, fixture files between.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod auth;
mod balancing;
mod coding;
mod connections;
mod failover;
mod harness;
mod health;
mod http1;
mod http2;
mod passthrough;
mod ports;
mod streaming;
mod upstream_tls;
