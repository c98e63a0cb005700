//! Broken files and what is said about them: `bad/NAME.toml` and the exact text in `bad/NAME.txt`.
//! `UPDATE_GOLDEN=1` writes the texts anew; read the difference before it is committed.

#![expect(clippy::unwrap_used, reason = "helpers of tests; a panic is how a test fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use berry_config::{Colour, load, render};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")
}

fn names(extension: &str) -> BTreeSet<String> {
    std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_broken_file_is_told_what_is_wrong_word_for_word() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for name in names("toml") {
        let text = std::fs::read_to_string(folder().join(format!("{name}.toml"))).unwrap();
        let origin = PathBuf::from(format!("{name}.toml"));
        let loaded = load(&text, &origin);
        assert_eq!(loaded.config.is_none(), loaded.errors().next().is_some(), "{name}");
        let told = render(&loaded.problems, &origin, Colour::Never);
        let golden = folder().join(format!("{name}.txt"));
        if update {
            std::fs::write(&golden, &told).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != told {
            wrong.push(format!("== {name}\n{told}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_golden_text_lacks_its_file() {
    assert_eq!(names("toml"), names("txt"));
    assert!(names("toml").len() >= 25);
}

#[test]
fn no_golden_text_shows_a_secret() {
    // Secrets in these files hold this word, so that their showing is seen.
    for name in names("txt") {
        let told = std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
        assert!(!told.to_lowercase().contains("hunter2"), "{name}");
    }
}
