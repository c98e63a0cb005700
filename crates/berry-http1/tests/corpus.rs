//! What fuzzing has found, replayed without a fuzzer: every file of `fuzz/corpus/head`, against the property of that target.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

#[path = "../../../fuzz/properties/head.rs"]
mod head;
#[path = "../../../fuzz/properties/replay.rs"]
mod replay;

#[test]
fn any_head_and_any_chunks_have_one_reading() {
    replay::replay("head", head::check);
}
