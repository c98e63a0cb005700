//! What fuzzing has found, replayed without a fuzzer: every file of `fuzz/corpus`, against the property that its target checks.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "../../../fuzz/properties/events.rs"]
mod events;
#[path = "../../../fuzz/properties/replay.rs"]
mod replay;
#[path = "../../../fuzz/properties/scan.rs"]
mod scan;
#[path = "../../../fuzz/properties/wait.rs"]
mod wait;

#[test]
fn any_stream_is_read_alike_in_any_pieces() {
    replay::replay("events", events::check);
}

#[test]
fn any_body_is_scanned_as_a_parser_reads_it_and_edited_where_it_was_asked() {
    replay::replay("scan", scan::check);
}

#[test]
fn any_headers_name_a_wait_within_reason() {
    replay::replay("wait", wait::check);
}
