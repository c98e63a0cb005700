//! Disks that are full or lie, processes that end in the middle of a line, folders that somebody tidied.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use berry_vocab::Code;

use super::super::medium::{Disk, Medium};
use super::super::open::open;
use super::{AuditLog, DataDirectory, Keeper, NOON, Place, event};

/// What a disk does.
const WELL: u8 = 0;
/// It takes half of what it is given.
const FULL: u8 = 1;
/// It takes all, and cannot say that it is safe.
const UNSURE: u8 = 2;
/// It takes records, and not the head.
const HEADLESS: u8 = 3;

struct Faulty {
    disk: Disk,
    mood: Arc<AtomicU8>,
}

impl Medium for Faulty {
    fn put(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        match self.mood.load(Relaxed) {
            FULL => {
                self.disk.put(name, at, &bytes[..bytes.len() / 2])?;
                Err(io::ErrorKind::StorageFull.into())
            }
            UNSURE => {
                self.disk.put(name, at, bytes)?;
                Err(io::Error::from_raw_os_error(5))
            }
            _ => self.disk.put(name, at, bytes),
        }
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        match self.mood.load(Relaxed) {
            WELL => self.disk.replace(name, bytes),
            _ => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

fn start(place: &Place, mood: &Arc<AtomicU8>) -> (Arc<AuditLog>, Keeper) {
    let data = Arc::new(DataDirectory::open(place.folder.path()).unwrap());
    let opened = open(&data, NOON).unwrap();
    let medium = Faulty { disk: Disk::new(data.clone()), mood: mood.clone() };
    AuditLog::start_on(Box::new(medium), opened, place.audit(), place.clock()).unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_change_is_refused_while_the_disk_is_and_the_log_recovers_by_itself_and_says_so() {
    for trouble in [FULL, UNSURE, HEADLESS] {
        let (place, mood) = (Place::new(), Arc::new(AtomicU8::new(WELL)));
        let (log, keeper) = start(&place, &mood);
        log.record(event(1)).unwrap();
        mood.store(trouble, Relaxed);
        log.note(event(2));
        let refused = log.record(event(3)).unwrap_err();
        assert!(refused.to_string().starts_with("the audit log cannot be written: "), "{refused}");
        let failing = log.standing().failing.unwrap();
        assert_eq!((failing.since_unix_millis, log.standing().records), (NOON, 3));
        log.record(event(4)).unwrap_err();
        mood.store(WELL, Relaxed);
        until("it recovers", || log.standing().failing.is_none());
        log.record(event(5)).unwrap();
        drop(keeper);
        let (report, text) = (place.verify(), place.text());
        assert!(report.holds(), "{report:?}");
        let has = |number: u64| text.contains(&format!("\"request_id\":\"{number}\""));
        assert_eq!([1, 2, 3, 4, 5].map(has), [true, true, false, false, true], "{text}");
        assert!(text.contains("\"audit.recover\"") && text.contains("2 changes refused"), "{text}");
    }
}

#[test]
fn events_beyond_what_may_wait_are_counted_and_the_count_is_recorded() {
    let (place, mood) = (Place::new(), Arc::new(AtomicU8::new(FULL)));
    let (log, keeper) = start(&place, &mood);
    for number in 0..25_000 {
        log.note(event(number));
    }
    until("it is failing", || log.standing().failing.is_some());
    log.record(event(1)).unwrap_err();
    mood.store(WELL, Relaxed);
    until("it recovers", || log.standing().failing.is_none());
    let lost = log.standing().lost;
    assert!((5000..=15_001).contains(&lost), "{lost}");
    drop(keeper);
    let (report, text) = (place.verify(), place.text());
    assert!(report.holds(), "{report:?}");
    let told = text.lines().filter(|line| line.contains("\"audit.lose\""));
    let told =
        told.map(|line| line.split("events:").nth(1).unwrap().split('"').next().unwrap().parse::<u64>().unwrap());
    assert_eq!(told.sum::<u64>(), lost);
    assert_eq!(text.matches("\"action\":\"request\"").count() as u64, 25_000 - lost);
}

#[test]
fn a_flood_of_refusals_is_a_few_records_and_a_number() {
    let place = Place::new();
    let (log, keeper) = place.start();
    for number in 0..5000 {
        log.note_refusal(Code::AuthMissingOrInvalid, NOON, || event(number));
    }
    log.note_refusal(Code::RateLimited, NOON, || event(9999));
    drop(keeper);
    let text = place.text();
    assert!(place.verify().holds());
    assert_eq!(text.matches("\"action\":\"request\"").count(), 31);
    assert!(text.contains("\"resource\":\"more:4970\",\"result\":\"auth_missing_or_invalid\""), "{text}");
    assert!(text.contains("\"request_id\":\"9999\""), "one kind does not hide another");
}

#[test]
fn a_line_that_a_crash_tore_is_kept_aside_and_the_start_says_so() {
    let place = Place::new();
    let mut writer = place.writer();
    writer.commit([event(1)].iter()).unwrap();
    drop(writer);
    let path = place.audit().join(&place.files()[0]);
    let whole = fs::read(&path).unwrap();
    for torn in ["{\"seq\":3,\"time\":\"2026-", "garbage\n", "{}\n{}\nhalf"] {
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(torn.as_bytes());
        fs::write(&path, text).unwrap();
        assert!(!place.verify().holds());
        drop(place.start().1);
        let report = place.verify();
        assert!(report.holds(), "{report:?}");
        let kept = fs::read_dir(place.audit()).unwrap().map(|entry| entry.unwrap().path());
        assert!(
            kept.filter(|path| path.to_string_lossy().contains("aside-"))
                .any(|path| fs::read(path).unwrap() == torn.as_bytes())
        );
        let said = format!("{} bytes that were not acknowledged are kept in aside-", torn.len());
        assert!(place.text().contains(&said), "{}", place.text());
    }
    assert!(fs::read(&path).unwrap().starts_with(&whole));
}

#[test]
fn a_log_can_be_ended_at_any_byte_by_a_crash_and_goes_on() {
    // A batch is written after the head was, and any part of it may have come to the disk.
    let place = Place::new();
    let mut writer = place.writer();
    writer.commit([event(1)].iter()).unwrap();
    let head = fs::read(place.audit().join("head")).unwrap();
    writer.commit([event(2), event(3)].iter()).unwrap();
    drop(writer);
    let path = place.audit().join(&place.files()[0]);
    let (whole, start) = (fs::read(&path).unwrap(), String::from_utf8(head.clone()).unwrap());
    let start: usize = start.split("\"length\":").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    for end in (start..=whole.len()).step_by(37) {
        fs::write(&path, &whole[..end]).unwrap();
        fs::write(place.audit().join("head"), &head).unwrap();
        let mut writer = place.writer();
        writer.commit([event(4)].iter()).unwrap();
        drop(writer);
        let report = place.verify();
        assert!(report.holds() && report.records == 3, "{end}: {report:?}");
    }
}

#[test]
fn a_tail_that_was_cut_while_nobody_ran_stays_to_be_found() {
    let place = Place::new();
    let mut writer = place.writer();
    writer.commit([event(1), event(2), event(3)].iter()).unwrap();
    drop(writer);
    let path = place.audit().join(&place.files()[0]);
    let text = fs::read_to_string(&path).unwrap();
    let cut: String = text.split_inclusive('\n').take(2).collect();
    fs::write(&path, cut).unwrap();
    drop(place.start().1);
    let report = place.verify();
    assert!(!report.holds() && report.faults[0].what.contains("record 3 should stand here"), "{report:?}");
    assert!(place.text().contains("was cut, and records with it"), "{}", place.text());
    // From there on it holds.
    assert!(place.verify_from(Some(5)).holds());
}

#[test]
fn files_that_are_taken_away_while_it_runs_cost_one_change_and_stay_to_be_found() {
    let place = Place::new();
    let (log, keeper) = place.start();
    log.record(event(1)).unwrap();
    fs::remove_file(place.audit().join(&place.files()[0])).unwrap();
    assert!(log.record(event(2)).unwrap_err().to_string().contains("somebody has cut the file"));
    until("it recovers", || log.standing().failing.is_none());
    log.record(event(3)).unwrap();
    drop(keeper);
    let report = place.verify();
    assert!(!report.holds() && report.faults[0].what.contains("record 1 should stand here"), "{report:?}");
}

#[test]
fn without_its_head_or_key_a_log_is_put_aside_and_a_new_one_begun() {
    for gone in ["head", "key", "key.pub"] {
        for damaged in [false, true] {
            let place = Place::new();
            let (log, keeper) = place.start();
            log.record(event(1)).unwrap();
            drop(keeper);
            drop(log);
            match damaged {
                true => fs::write(place.audit().join(gone), "00\n").unwrap(),
                false => fs::remove_file(place.audit().join(gone)).unwrap(),
            }
            drop(place.start().1);
            let text = place.text();
            assert!(text.contains("the former log cannot be gone on with, as its"), "{gone}: {text}");
            let report = place.verify();
            assert_eq!(report.faults.len(), 1, "{report:?}");
            assert!(report.faults[0].file.starts_with("audit-former-"));
            let kept = place.folder.path().join(&report.faults[0].file);
            assert!(fs::read_dir(kept).unwrap().count() >= 3);
        }
    }
}

#[test]
fn everything_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    drop(place.start().1);
    for entry in fs::read_dir(place.audit()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    assert_eq!(place.audit().metadata().unwrap().permissions().mode() & 0o777, 0o700);
}
