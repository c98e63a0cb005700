//! The built program, run as users run it: what it prints, what it answers, and how it ends.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; a panic is how a test fails"
)]

mod admin;
mod cli;
mod demo;
mod drain;
mod harness;
mod logs;
mod room;
mod serve;
