//! Whoever has no key cannot change a log without it being found: a thousand random changes of each kind's share, by their seeds.

use std::fs;
use std::path::{Path, PathBuf};

use berry_vocab::{Dice, SeededDice};

use super::{Place, event};

const CHANGES: u64 = 1000;

/// The files of a log, as bytes.
type Files = Vec<(PathBuf, Vec<u8>)>;

fn log() -> (Place, Files) {
    let place = Place::new();
    let mut writer = place.writer().with_longest_file(8192);
    for batch in 0..40 {
        let events: Vec<_> = (0..1 + batch % 5).map(|number| event(batch * 5 + number)).collect();
        writer.commit(events.iter()).unwrap();
    }
    drop(writer);
    let mut names = place.files();
    assert!(names.len() > 3);
    names.extend(["head".to_owned(), "key.pub".to_owned()]);
    let paths = names.iter().map(|name| place.audit().join(name));
    let files = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    (place, files)
}

fn roll(dice: &mut SeededDice, below: usize) -> usize {
    (dice.roll() % below as u64) as usize
}

/// The start and end of a random line, its break included.
fn line(bytes: &[u8], dice: &mut SeededDice) -> (usize, usize) {
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let chosen = roll(dice, lines.len());
    let start: usize = lines[..chosen].iter().map(|line| line.len()).sum();
    (start, start + lines[chosen].len())
}

/// Changes one of the files in a random way, and says how. `None` as the new bytes: it is deleted.
fn change(files: &Files, dice: &mut SeededDice) -> (String, usize, Option<Vec<u8>>) {
    let records = files.len() - 2;
    let kind = roll(dice, 10);
    // Lines are changed where there are lines.
    let chosen = if kind < 4 { roll(dice, files.len()) } else { roll(dice, records) };
    let old = &files[chosen].1;
    let mut new = old.clone();
    let at = roll(dice, old.len());
    let what = match kind {
        0 => {
            new[at] ^= 1 << roll(dice, 8);
            "a bit is turned"
        }
        1 => {
            new.truncate(at);
            "the file is cut"
        }
        2 => {
            new.insert(at, old[roll(dice, old.len())]);
            "a byte is put in"
        }
        3 => return ("the file is deleted".to_owned(), chosen, None),
        4 => {
            let (start, end) = line(old, dice);
            new.drain(start..end);
            "a line is deleted"
        }
        5 => {
            let (start, end) = line(old, dice);
            new.splice(end..end, old[start..end].iter().copied());
            "a line is doubled"
        }
        6 => {
            let (start, end) = line(old, dice);
            let moved: Vec<u8> = new.drain(start..end).collect();
            let (target, _) = if new.is_empty() { (0, 0) } else { line(&new, dice) };
            new.splice(target..target, moved);
            "a line is moved"
        }
        7 => {
            let (start, _) = line(old, dice);
            new.truncate(start);
            "the last lines are cut off"
        }
        8 => {
            let (start, end) = line(old, dice);
            let text = String::from_utf8(old[start..end].to_vec()).unwrap();
            let other = text.replacen("user-", "USER-", 1).replacen("\"signed\"", "\"forged\"", 1);
            new.splice(start..end, other.into_bytes());
            "a word is edited"
        }
        _ => {
            let end = (at + 1 + roll(dice, 300)).min(old.len());
            new.drain(at..end);
            "bytes are taken out"
        }
    };
    (what.to_owned(), chosen, Some(new))
}

fn put(path: &Path, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => fs::write(path, bytes).unwrap(),
        None => fs::remove_file(path).unwrap(),
    }
}

#[test]
fn each_of_a_thousand_random_edits_deletions_and_truncations_is_found() {
    let (place, files) = log();
    assert!(place.verify().holds(), "{:?}", place.verify());
    let (mut tried, mut kinds) = (0, std::collections::BTreeMap::<String, u32>::new());
    for seed in 0.. {
        let mut dice = SeededDice::new(seed);
        let (what, chosen, new) = change(&files, &mut dice);
        let (path, old) = &files[chosen];
        if new.as_ref() == Some(old) {
            continue;
        }
        put(path, new.as_deref());
        let report = place.verify();
        assert!(!report.holds(), "seed {seed}: {what} in {} was not found", path.display());
        put(path, Some(old));
        *kinds.entry(what).or_default() += 1;
        tried += 1;
        if tried == CHANGES {
            break;
        }
    }
    assert!(kinds.len() == 10 && kinds.values().all(|count| *count > 20), "{kinds:?}");
    assert!(place.verify().holds());
}

#[test]
fn a_tail_that_is_cut_off_with_all_that_follows_is_missed_whole_files_or_lines() {
    let (place, files) = log();
    let last = files.len() - 3;
    for keep in 0..last {
        for (path, _) in &files[keep + 1..=last] {
            put(path, None);
        }
        let report = place.verify();
        assert!(report.faults.iter().any(|fault| fault.what.contains("missing at the end")), "{report:?}");
        for (path, old) in &files[keep + 1..=last] {
            put(path, Some(old));
        }
    }
}

#[test]
fn a_chain_that_is_computed_anew_fails_for_want_of_the_key() {
    let (place, files) = log();
    // The same events with one word changed, written by the very code, with a key of the forger's own.
    let forger = Place::new();
    let mut writer = forger.writer();
    writer.commit([event(1)].iter()).unwrap();
    drop(writer);
    for (path, _) in &files[..files.len() - 2] {
        put(path, None);
    }
    let name = &forger.files()[0];
    fs::copy(forger.audit().join(name), place.audit().join(name)).unwrap();
    let report = place.verify();
    let said: Vec<&str> = report.faults.iter().map(|fault| fault.what.as_str()).collect();
    assert!(said.iter().any(|what| what.contains("has not signed")), "{report:?}");
    fs::copy(forger.audit().join("head"), place.audit().join("head")).unwrap();
    assert!(place.verify().faults.iter().any(|fault| fault.file == "head"));
}
