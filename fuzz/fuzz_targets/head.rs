//! Fuzzes heads and chunks of HTTP/1. What is checked stands in the property, which plain tests replay too.

#![no_main]

#[path = "../properties/head.rs"]
mod head;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| head::check(bytes));
