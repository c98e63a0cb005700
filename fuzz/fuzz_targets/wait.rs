//! Fuzzes headers that name a wait. What is checked stands in the property, which plain tests replay too.

#![no_main]

#[path = "../properties/wait.rs"]
mod wait;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wait::check(bytes));
