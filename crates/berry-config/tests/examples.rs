//! Every example file of the repository loads without an error, and warns of nothing but what is listed here.

use std::path::{Path, PathBuf};

use berry_config::{Colour, Config, Severity, load, render};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn examples() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn read(path: &Path) -> (Config, Vec<String>) {
    let loaded = load(&std::fs::read_to_string(path).unwrap(), path);
    let told = render(&loaded.problems, path, Colour::Never);
    let warnings = loaded
        .problems
        .iter()
        .filter(|p| p.severity == Severity::Warning)
        .map(|p| p.message.clone());
    let warnings = warnings.collect();
    (loaded.config.unwrap_or_else(|| panic!("{told}")), warnings)
}

/// Warnings that an example has to have: its keys and tokens are placeholders, and some of its keys come into effect later.
fn is_expected(warning: &str) -> bool {
    warning.ends_with("is a placeholder")
        || warning.ends_with("is an example's")
        || warning == "`rate_limit` is accepted but not in effect yet in this version"
}

#[test]
fn every_example_loads_and_warns_of_its_placeholders_only() {
    assert!(!examples().is_empty());
    for path in examples() {
        let (_, warnings) = read(&path);
        let unexpected: Vec<_> = warnings.iter().filter(|warning| !is_expected(warning)).collect();
        assert!(unexpected.is_empty(), "{}: {unexpected:?}", path.display());
    }
}
