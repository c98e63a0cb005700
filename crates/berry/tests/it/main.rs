//! The built program, run as users run it: what it prints, what it answers, and how it ends.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; a panic is how a test fails"
)]

mod addresses;
mod admin;
mod audit;
mod canary;
mod chaos;
mod cli;
mod demo;
mod drain;
mod harness;
mod history;
mod listeners;
mod load;
mod logs;
mod overload;
mod reload;
mod reloads;
mod room;
mod secrets;
mod serve;
mod slow_clients;
mod strangers;
mod tls;
