//! Runs a property over every file of its corpus, so that what fuzzing once found is held by plain tests on every compiler.

use std::panic::catch_unwind;
use std::path::Path;

/// Fails with the names of all files of `fuzz/corpus/TARGET` for which the property does not hold; what does not hold of each
/// stands before.
pub(crate) fn replay(target: &str, property: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut failed = Vec::new();
    let mut files = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        files += 1;
        if catch_unwind(|| property(&bytes)).is_err() {
            failed.push(path);
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(files > 0, "{} is empty", directory.display());
}
