//! Fuzzes streams of events, in whatever pieces they come. What is checked stands in the property, which plain tests replay too.

#![no_main]

#[path = "../properties/events.rs"]
mod events;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| events::check(bytes));
