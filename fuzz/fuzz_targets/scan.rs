//! Fuzzes bodies of requests and answers. What is checked stands in the property, which plain tests replay too.

#![no_main]

#[path = "../properties/scan.rs"]
mod scan;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scan::check(bytes));
