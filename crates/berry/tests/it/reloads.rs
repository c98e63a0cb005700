//! Reloads by the hundred under load, half of them broken in ten ways: no request fails, and each sees exactly one generation.
//! The short form runs with all other tests; `scripts/reliability.sh reloads` does a thousand.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::{Folder, Gateway, Running, TOKEN, chat, config, get, receive, replace};
use crate::load::{by_length, resident_bytes, tell};

/// A configuration in which provider and model are of one name: an answer from a mixture of two would show it.
fn version(url: &str, name: &str) -> String {
    config(url, &[("m", name)], "[config]\nwatch = false")
        .replace("mock\"", &format!("{name}\""))
        .replace("[providers.mock]", &format!("[providers.{name}]"))
}

/// Between the requests of a client: the journal of the simulated provider keeps each of them in memory.
const PACE: Duration = Duration::from_millis(5);

/// A way to spoil a file that would hold.
type Spoil = fn(&Path, &str);

static WAYS: [(&str, Spoil); 10] = [
    ("half-written", |path, text| write(path, &text[..text.len() / 2 + 1])),
    ("empty", |path, _| write(path, "")),
    ("deleted", |path, _| fs::remove_file(path).unwrap()),
    ("binary", |path, _| fs::write(path, [0, 159, 146, 150, 255, 1, 2]).unwrap()),
    ("a wrong type", |path, text| write(path, &text.replace("tags = [\"admin\"]", "tags = 7"))),
    ("a name twice", |path, text| write(path, &format!("{text}\n[users.alice]\ntoken = \"twice-0123456789\"\n"))),
    ("a value out of range", |path, text| write(path, &format!("{text}[settings]\nmax_retries = 99\n"))),
    ("a backend of nobody", |path, text| write(path, &text.replace("provider = \"", "provider = \"not-"))),
    ("far too many backends", |path, text| write(path, &many_backends(text))),
    ("nothing that could answer", |path, text| write(path, &text.replace("[models.m]", "[models.m]\nenabled = false"))),
];

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

fn many_backends(text: &str) -> String {
    let provider = text.split("[providers.").nth(1).unwrap().split(']').next().unwrap();
    let mut grown = format!("{text}[models.grown]\n");
    for number in 0..by_length(10_000, 100_000) {
        let _ = write!(grown, "[[models.grown.backends]]\nprovider = \"{provider}\"\nmodel = \"m{number}\"\n");
    }
    grown
}

#[test]
fn under_load_no_request_fails_and_each_sees_one_generation_whatever_is_written() {
    let (_mock, url) = Running::mock(&["--journal", "1000000"]);
    let folder = Folder::with(&version(&url, "a"));
    let gateway = Gateway::serve(&folder.config());
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (over, seen, address) = (over.clone(), seen.clone(), gateway.data.clone());
            std::thread::spawn(move || {
                while !over.load(SeqCst) {
                    let answer = receive(chat(&address, "m", "false"));
                    let backend = answer.header("berry-backend").unwrap_or_default().to_owned();
                    seen.lock().unwrap().push((answer.status, backend));
                    std::thread::sleep(PACE);
                }
            })
        })
        .collect();
    let (rounds, began) = (by_length(WAYS.len(), 500), Instant::now());
    for round in 0..rounds {
        let text = version(&url, if round % 2 == 0 { "b" } else { "a" });
        let (way, spoil) = WAYS[round % WAYS.len()];
        spoil(&folder.config(), &text);
        assert_eq!(gateway.post("/admin/reload-config", "").status, 422, "{way}, round {round}");
        replace(&folder.config(), &text);
        let report = gateway.post("/admin/reload-config", "").json();
        assert_eq!(report["result"], "applied", "after {way}, round {round}: {report}");
    }
    let (seconds, memory) = (began.elapsed().as_secs_f64(), resident_bytes(&gateway.running) >> 20);
    over.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    let seen = seen.lock().unwrap();
    let of = |backend: &str| seen.iter().filter(|(status, of)| *status == 200 && of == backend).count();
    let failed = seen.iter().filter(|(status, _)| *status != 200).count();
    let mixed = seen.len() - failed - of("a/a") - of("b/b");
    tell(format!(
        "{} reloads in {seconds:.0} s, {rounds} of them of files broken in {} ways; {} requests, {failed} failed, {mixed} mixed; \
         {memory} MiB in the end",
        rounds * 2,
        WAYS.len(),
        seen.len()
    ));
    assert_eq!((failed, mixed), (0, 0), "{seen:?}");
    assert!(of("a/a") > 0 && of("b/b") > 0, "{}", seen.len());
    // What the provider was asked for agrees with what the clients were told.
    let journal = get(url.trim_start_matches("http://"), "/__journal", None).json();
    let asked = |model: &str| journal.as_array().unwrap().iter().filter(|entry| entry["model"] == model).count();
    assert_eq!((asked("a"), asked("b")), (of("a/a"), of("b/b")));
    assert_eq!(gateway.generation(), rounds as u64 + 1);
    let kept = get(&gateway.admin, "/admin/config/history?limit=200", Some(TOKEN)).json();
    assert_eq!(kept["data"].as_array().unwrap().len(), (rounds + 1).min(200));
    assert_eq!(gateway.running.end(), Some(0));
}
