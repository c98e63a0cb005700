//! Promises of the history that need no gateway.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;

const KEY_IN_TEXT: &str = "sk-key-that-nobody-may-see";

fn history() -> (TempDir, History) {
    let place = TempDir::new().unwrap();
    let data = DataDirectory::open(&place.path().join("data")).unwrap();
    (place, History::new(Arc::new(data)))
}

fn text(model: &str) -> Secret {
    Secret::new(format!("[providers.a]\napi_key = \"{KEY_IN_TEXT}\"\n[models.{model}]\n"))
}

fn new(generation: u64, model: &str) -> NewGeneration {
    NewGeneration {
        generation,
        text: text(model),
        unix_millis: 1_700_000_000_000,
        origin: "file",
        author: None,
        file: PathBuf::from("/etc/berry/config.toml"),
        restores: None,
    }
}

fn files(history: &History) -> Vec<PathBuf> {
    let folders = [history.data.path().to_owned(), history.data.path().join(FOLDER)];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

#[test]
fn what_is_kept_comes_back_the_latest_first_with_what_changed() {
    let (_place, history) = history();
    let archive = history.archive();
    assert_eq!(archive.all().unwrap(), []);
    history.keep(new(1, "m")).unwrap();
    history.keep(new(2, "n")).unwrap();
    let all = archive.all().unwrap();
    assert_eq!(all.iter().map(|kept| kept.generation).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(archive.last().unwrap().as_ref(), all.first());
    assert_eq!((all[1].diff.as_str(), all[1].time.as_str()), ("", "2023-11-14T22:13:20.000Z"));
    assert!(all[0].diff.ends_with("-[models.m]\n+[models.n]\n"), "{}", all[0].diff);
    assert_eq!(archive.text(1).unwrap(), text("m"));
    assert!(archive.has(&text("n")).unwrap() && !archive.has(&text("o")).unwrap());
    assert!(matches!(archive.text(3), Err(HistoryError::Unknown(3))));
    assert!(matches!(archive.generation(3), Err(HistoryError::Unknown(3))));
}

#[test]
fn no_file_holds_a_secret_and_all_are_their_owners_alone() {
    let (_place, history) = history();
    let replaced = Replaced { by: 1, text: Some(text("broken")) };
    history.keep(new(1, "m")).unwrap();
    history.keep(NewGeneration { restores: Some(replaced), ..new(2, "n") }).unwrap();
    let files = files(&history);
    assert_eq!(files.len(), 1 + 1 + 2 + 3, "{files:?}");
    for file in files {
        let bytes = std::fs::read_to_string(&file).unwrap();
        assert!(!bytes.contains(KEY_IN_TEXT), "{}", file.display());
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    let archive = history.archive();
    assert_eq!(archive.replaced_text(2).unwrap(), text("broken"));
    assert!(matches!(archive.replaced_text(1), Err(HistoryError::Unknown(1))));
    assert_eq!(
        (archive.generation(2).unwrap().restores, archive.generation(1).unwrap().has_replaced),
        (Some(1), false)
    );
}

#[test]
fn a_text_opens_in_its_own_place_only_and_with_its_own_key_only() {
    let (_place, history) = history();
    let archive = history.archive();
    history.keep(new(1, "m")).unwrap();
    history.keep(new(2, "n")).unwrap();
    std::fs::copy(archive.path(1, "text"), archive.path(2, "text")).unwrap();
    assert!(matches!(archive.text(2), Err(HistoryError::Sealed(2, SealFault::NotForThisField))));
    std::fs::remove_file(history.data.path().join(KEY)).unwrap();
    assert!(matches!(archive.text(1), Err(HistoryError::Key(_))));
    // What comes is sealed with a new key, and says why it cannot tell what changed.
    let kept = history.keep(new(3, "o")).unwrap();
    assert!(kept.diff.contains("cannot be read"), "{}", kept.diff);
    assert!(matches!(archive.text(1), Err(HistoryError::Sealed(1, SealFault::OtherKey))));
    assert_eq!(archive.text(3).unwrap(), text("o"));
}

#[test]
fn what_cannot_be_kept_leaves_nothing_behind() {
    let (_place, history) = history();
    let archive = history.archive();
    history.keep(new(1, "m")).unwrap();
    // In the way of its description.
    std::fs::create_dir(archive.path(2, "json")).unwrap();
    assert!(matches!(history.keep(new(2, "n")), Err(HistoryError::File(..))));
    std::fs::remove_dir(archive.path(2, "json")).unwrap();
    assert!(!archive.path(2, "text").exists());
    history.keep(new(2, "n")).unwrap();
    history.forget(2);
    assert_eq!(archive.last().unwrap().unwrap().generation, 1);
    assert_eq!(files(&history).len(), 4);
}

#[test]
fn a_start_with_the_same_text_is_noted_and_is_no_new_generation() {
    let (_place, history) = history();
    let kept = history.keep(new(1, "m")).unwrap();
    history.note_start(kept, 1_700_000_001_000).unwrap();
    let all = history.archive().all().unwrap();
    assert_eq!((all.len(), all[0].started.as_deref()), (1, Some("2023-11-14T22:13:21.000Z")));
}

#[test]
fn only_the_latest_two_hundred_are_kept() {
    let (_place, history) = history();
    for generation in 1..=203 {
        history.keep(new(generation, "m")).unwrap();
    }
    let all = history.archive().all().unwrap();
    assert_eq!((all.len(), all[0].generation, all[199].generation), (200, 203, 4));
    assert!(matches!(history.archive().text(3), Err(HistoryError::Unknown(3))));
}

#[test]
fn a_long_difference_is_cut_at_a_line() {
    let long: String = (0..20_000).map(|n| format!("# line {n}\n")).collect();
    let diff = bounded(redacted_diff("", &long, Path::new("c")));
    assert!(diff.len() < LONGEST_DIFF + 100 && diff.ends_with("more lines)\n"), "{}", &diff[diff.len() - 60..]);
}
