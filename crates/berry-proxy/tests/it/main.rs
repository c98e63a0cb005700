//! The gateway as its clients meet it: raw sockets in front, the scripted provider behind, fixture files between.

mod auth;
mod balancing;
mod failover;
mod harness;
mod health;
mod http1;
mod http2;
mod passthrough;
mod ports;
mod streaming;
mod upstream_tls;
