//! The audit log of the running program: what is in it, that nothing changes without a record, and that it is verified.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{
    Answer, Folder, PROMPT, Running, TOKEN, USER_TOKEN, berry, chat, config, eventually, get, receive, run, send,
};

const NOWHERE: &str = "http://127.0.0.1:9";

/// What must stand in no record.
const SECRETS: &[&str] = &[TOKEN, USER_TOKEN, "sk-of-a-simulated-provider", "wrong-token-0123456789", PROMPT];

struct Gateway {
    running: Running,
    data: String,
    admin: String,
}

impl Gateway {
    fn serve(folder: &Folder) -> Self {
        let running = Running::serve(folder);
        let (data, admin) = running.addresses();
        Self { running, data, admin }
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        receive(send(&self.admin, "POST", path, &[("authorization", &bearer), ("x-request-id", "of-a-test")], body))
    }

    /// The records, the newest first.
    fn records(&self, query: &str) -> Vec<Value> {
        let answer = get(&self.admin, &format!("/admin/audit?limit=200&{query}"), Some(TOKEN));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["data"].as_array().unwrap().clone()
    }

    /// Waits for a record: what the data plane notes is written a moment later.
    fn record(&self, query: &str) -> Value {
        eventually(&format!("a record of {query}"), || self.records(query).into_iter().next())
    }
}

fn fields<'r>(record: &'r Value, names: &[&str]) -> Vec<&'r str> {
    names.iter().map(|name| record[name].as_str().unwrap_or("null")).collect()
}

fn audit_folder(folder: &Folder) -> PathBuf {
    folder.path().join("data/audit")
}

/// All that lies in the folder of the log.
fn all_bytes(audit: &Path) -> Vec<u8> {
    std::fs::read_dir(audit).unwrap().flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

fn verify(folder: &Folder) -> (Option<i32>, Value) {
    let ended = run(&["audit", "verify", "--config", &folder.config_text(), "--format", "json"]);
    let report = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended.status, report)
}

#[test]
fn changes_generations_refusals_and_forced_backends_are_recorded() {
    let (_mock, url) = Running::mock(&[]);
    let more = "[users.bob]\ntoken = \"the-token-of-bob-0123456789-0123456789\"\ncan_force_backend = true\n\
                [users.bob.rate_limit]\nrequests_per_day = 1\n[config]\nwatch = false\n";
    let text = config(&url, &[("m", "gpt-4o-mini")], "") + more;
    let folder = Folder::with(&text);
    let gateway = Gateway::serve(&folder);

    let started = gateway.record("action=config.start");
    assert_eq!(fields(&started, &["actor", "resource", "result"]), ["berry", "generation:1", "applied"]);

    // A change, with who, from where and by which request.
    let who = ["actor", "resource", "result", "ip", "request_id"];
    std::fs::write(folder.config(), text.replace("[users.alice]", "[users.carol]")).unwrap();
    assert_eq!(gateway.post("/admin/reload-config", "").status, 200);
    let reloads = gateway.records("action=config.reload");
    assert_eq!(fields(&reloads[0], &who), ["user:root", "generation:2", "applied", "127.0.0.1", "of-a-test"]);
    let revoked = gateway.records("action=user.revoke");
    assert_eq!(fields(&revoked[0], &["actor", "resource", "result"]), ["user:root", "user:alice", "removed"]);
    // What came to nothing is recorded too.
    assert_eq!(gateway.post("/admin/reload-config?confirm=true", "").status, 200);
    std::fs::write(folder.config(), "[settings]\nmax_retries = 99\n").unwrap();
    assert_eq!(gateway.post("/admin/reload-config", "").status, 422);
    // With what would have changed, but no secret of it.
    let diff = gateway.records("action=config.reload")[0]["diff"].as_str().unwrap().to_owned();
    assert!(diff.contains("\n+max_retries = 99\n") && diff.contains("\n-[users.carol]\n"), "{diff}");
    assert!(diff.contains("\n-token = ***\n") && !SECRETS.iter().any(|secret| diff.contains(secret)), "{diff}");
    gateway.running.signal(Signal::HUP);
    gateway.record("action=config.reload&actor=operator:SIGHUP");
    let results: Vec<String> =
        gateway.records("action=config.reload").iter().map(|r| r["result"].to_string()).collect();
    assert_eq!(results, ["\"invalid\"", "\"invalid\"", "\"unchanged\"", "\"applied\""]);

    // Refusals of both listeners, and a backend that a user named.
    assert_eq!(
        receive(send(&gateway.data, "GET", "/v1/models", &[("x-api-key", "wrong-token-0123456789")], "")).status,
        401
    );
    assert_eq!(get(&gateway.admin, "/admin/config", Some("wrong-token-0123456789")).status, 401);
    let ask = || {
        let bearer = "Bearer the-token-of-bob-0123456789-0123456789";
        let headers = [("authorization", bearer), ("content-type", "application/json"), ("berry-backend", "mock")];
        receive(send(&gateway.data, "POST", "/v1/chat/completions", &headers, r#"{"model":"m","messages":[]}"#)).status
    };
    assert_eq!([ask(), ask()], [200, 429]);
    let limited = gateway.record("action=refuse&actor=user:bob");
    assert_eq!(fields(&limited, &["resource", "result", "ip"]), ["/v1/chat/completions", "rate_limited", "127.0.0.1"]);
    let forced = gateway.record("action=backend.force");
    assert_eq!(
        fields(&forced, &["actor", "resource", "result"]),
        ["user:bob", "/v1/chat/completions model:m backend:mock/gpt-4o-mini", "answered"]
    );
    let unknown = gateway.records("action=refuse&actor=unknown");
    let mut resources: Vec<&str> = unknown.iter().map(|record| record["resource"].as_str().unwrap()).collect();
    resources.sort_unstable();
    assert_eq!(resources, ["/admin/config", "/v1/models"]);
    assert!(gateway.records("action=request").is_empty(), "requests are recorded only where that is wanted");

    // Pages join, and take nothing else.
    let page = |query: &str| get(&gateway.admin, &format!("/admin/audit?{query}"), Some(TOKEN)).json();
    let first = page("limit=3");
    let next = page(&format!("limit=3&cursor={}", first["next"].as_str().unwrap()));
    assert_eq!(next["data"][0]["seq"].as_u64().unwrap() + 3, first["data"][0]["seq"].as_u64().unwrap());
    for query in ["limit=201", "limit=0", "cursor=x", "order=seq"] {
        assert_eq!(get(&gateway.admin, &format!("/admin/audit?{query}"), Some(TOKEN)).status, 400, "{query}");
    }
    for token in [None, Some(USER_TOKEN)] {
        assert_eq!(get(&gateway.admin, "/admin/audit", token).status, 401);
    }

    std::fs::write(folder.config(), &text).unwrap();
    assert_eq!(verify(&folder).0, Some(0), "also while it runs");
    assert_eq!(gateway.running.end(), Some(0));
    let (status, report) = verify(&folder);
    assert_eq!((status, &report["holds"]), (Some(0), &true.into()), "{report}");
    let bytes = all_bytes(&audit_folder(&folder));
    for secret in SECRETS {
        assert!(!contains(&bytes, secret), "{secret}");
    }
}

#[test]
fn every_endpoint_that_does_something_leaves_a_record() {
    let folder = Folder::with(&config(NOWHERE, &[("m", "m")], ""));
    let gateway = Gateway::serve(&folder);
    let described = get(&gateway.admin, "/admin/openapi.json", Some(TOKEN)).json();
    let paths = described["paths"].as_object().unwrap();
    let posts: Vec<&String> = paths.iter().filter(|(_, of)| of["post"].is_object()).map(|(path, _)| path).collect();
    assert!(posts.len() > 2, "{posts:?}");
    for path in posts {
        let before = gateway.records("actor=user:root").len();
        let body = if path == "/admin/config/rollback" { r#"{"generation":1}"# } else { "" };
        assert!(gateway.post(path, body).status < 500, "{path}");
        let left = gateway.records("actor=user:root").len() - before;
        // It judges a text, and changes nothing.
        assert_eq!(left, usize::from(path != "/admin/config/validate"), "{path}");
    }
}

#[test]
fn every_request_of_a_user_is_recorded_where_that_is_wanted_and_nothing_of_what_was_said() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with(&config(&url, &[("m", "gpt-4o-mini")], "[audit]\nrequests = true\n"));
    let gateway = Gateway::serve(&folder);
    assert_eq!(receive(chat(&gateway.data, "m", "false")).status, 200);
    assert_eq!(receive(chat(&gateway.data, "m", "true")).status, 200);
    assert_eq!(receive(chat(&gateway.data, "nothing", "false")).status, 404);
    get(&gateway.data, "/health", None);
    eventually("three records", || (gateway.records("action=request").len() == 3).then_some(()));
    let all = gateway.records("action=request&actor=user:alice");
    let of = |at: usize| fields(&all[at], &["resource", "result", "ip"]);
    assert_eq!(of(0), ["/v1/chat/completions", "model_not_found", "127.0.0.1"]);
    assert_eq!(of(2), ["/v1/chat/completions model:m backend:mock/gpt-4o-mini", "answered", "127.0.0.1"]);
    assert_eq!(gateway.running.end(), Some(0));
    let bytes = all_bytes(&audit_folder(&folder));
    assert!(SECRETS.iter().all(|secret| !contains(&bytes, secret)));
}

#[test]
fn a_flood_of_refusals_costs_a_few_records() {
    let folder = Folder::with(&config(NOWHERE, &[("m", "m")], ""));
    let gateway = Gateway::serve(&folder);
    for _ in 0..300 {
        assert_eq!(get(&gateway.data, "/v1/models", Some("wrong-token-0123456789")).status, 401);
    }
    assert_eq!(gateway.running.end(), Some(0));
    let ended = run(&["audit", "tail", "-n", "1000", "--config", &folder.config_text(), "--format", "json"]);
    let records: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let refused: Vec<&str> =
        records.iter().filter(|r| r["action"] == "refuse").map(|r| r["resource"].as_str().unwrap()).collect();
    let more = refused.iter().filter_map(|resource| resource.strip_prefix("more:"));
    let more: usize = more.map(|number| number.parse::<usize>().unwrap()).sum();
    let single = refused.iter().filter(|resource| **resource == "/v1/models").count();
    assert_eq!(single + more, 300);
    assert!(single < 100, "{single}");
}

#[test]
fn what_was_done_to_the_files_is_told_with_its_place() {
    let folder = Folder::with(&config(NOWHERE, &[("m", "m")], ""));
    let gateway = Gateway::serve(&folder);
    for _ in 0..3 {
        assert_eq!(gateway.post("/admin/reload-config", "").status, 200);
    }
    assert_eq!(gateway.running.end(), Some(0));
    let name = std::fs::read_dir(audit_folder(&folder)).unwrap().map(|entry| entry.unwrap().path());
    let path = name.into_iter().find(|path| path.extension().is_some_and(|e| e == "jsonl")).unwrap();
    let whole = std::fs::read_to_string(&path).unwrap();
    let text = |ended: &crate::harness::Ended| format!("{}{}", ended.stdout, ended.stderr);
    let arguments = ["audit", "verify", "--config", &folder.config_text()];
    let good = run(&arguments);
    assert!(good.status == Some(0) && good.stdout.contains("holds: 7 records in 1 file"), "{good:?}");

    let head = good.stdout.lines().find_map(|line| line.trim().strip_prefix("head  ")).unwrap().to_owned();
    let noted = |head: &str| run(&[&arguments[..], &["--noted", head]].concat()).status;
    assert_eq!([noted(&head), noted(&head.replacen('7', "6", 1)), noted("7:x")], [Some(0), Some(1), Some(2)]);

    std::fs::write(&path, whole.replacen("user:root", "user:ruth", 1)).unwrap();
    let edited = run(&arguments);
    assert_eq!(edited.status, Some(1));
    assert!(
        text(&edited).contains(".jsonl:4: this record was changed") && edited.stderr.contains("help:"),
        "{edited:?}"
    );

    let cut: String = whole.split_inclusive('\n').take(5).collect();
    std::fs::write(&path, cut).unwrap();
    let (status, report) = verify(&folder);
    assert_eq!((status, &report["holds"]), (Some(1), &false.into()));
    assert!(report["faults"][0]["message"].as_str().unwrap().contains("records 6 to 7 are missing"), "{report}");

    // A copy does without the configuration and the key that signs.
    std::fs::write(&path, &whole).unwrap();
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("audit")).unwrap();
    for file in [path.file_name().unwrap().to_str().unwrap(), "head", "key.pub"] {
        std::fs::copy(audit_folder(&folder).join(file), copy.path().join("audit").join(file)).unwrap();
    }
    let ended = run(&["audit", "verify", "--data", copy.path().to_str().unwrap()]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let nothing = run(&["audit", "verify", "--data", copy.path().join("audit").to_str().unwrap()]);
    assert!(nothing.status == Some(1) && nothing.stderr.contains("there is no audit log in"), "{nothing:?}");
    let nowhere = run(&["audit", "verify", "--config", "/nowhere/config.toml"]);
    assert!(nowhere.status == Some(1) && nowhere.stderr.contains("in /nowhere/data"), "{nowhere:?}");
    // It is read where the configuration does not hold, too; a start that comes to nothing for that is in it.
    std::fs::write(folder.config(), "oh = [no").unwrap();
    assert_eq!(run(&["serve", "--config", folder.config().to_str().unwrap()]).status, Some(78));
    let tail = run(&["audit", "tail", "--config", folder.config().to_str().unwrap()]);
    let told = tail.stdout.lines().filter(|line| line.contains("config.start") && line.contains("invalid")).count();
    assert!(tail.status == Some(0) && told == 1, "{tail:?}");
}

#[test]
fn the_newest_records_are_shown_and_followed() {
    let folder = Folder::with(&config(NOWHERE, &[("m", "m")], ""));
    let gateway = Gateway::serve(&folder);
    gateway.record("action=config.start");
    let ended = run(&["audit", "tail", "-n", "1", "--config", &folder.config_text()]);
    assert!(ended.stdout.contains("berry") && ended.stdout.contains("generation:1: applied (-, -)"), "{ended:?}");
    let mut follow =
        Running::start(&mut berry(&["audit", "tail", "--follow", "-n", "0", "--config", &folder.config_text()]));
    // It may have begun after the first of them.
    eventually("a record that is shown", || {
        gateway.post("/admin/reload-config", "");
        follow.stdout.text().contains("user:root").then_some(())
    });
    assert!(follow.is_running());
    follow.signal(Signal::TERM);
    follow.status();
}

#[test]
fn after_a_crash_the_log_holds_and_goes_on() {
    let folder = Folder::with(&config(NOWHERE, &[("m", "m")], ""));
    for round in 1..4 {
        let gateway = Gateway::serve(&folder);
        assert_eq!(gateway.post("/admin/reload-config", "").status, 200);
        gateway.running.signal(Signal::KILL);
        drop(gateway);
        let (status, report) = verify(&folder);
        assert_eq!(status, Some(0), "{report}");
        let ended = run(&["audit", "tail", "-n", "100", "--config", &folder.config_text()]);
        assert_eq!(ended.stdout.matches("config.reload").count(), round, "what was acknowledged is there");
    }
}

#[test]
fn a_crash_while_much_is_written_leaves_a_log_that_the_next_start_makes_whole() {
    let folder = Folder::with(&config(NOWHERE, &[("m", "m")], "[audit]\nrequests = true\n"));
    let mut acknowledged = 0;
    for round in 0..4 {
        let gateway = Gateway::serve(&folder);
        let most = acknowledged + 20;
        // Each time a little further into what the writer does.
        let end = std::time::Instant::now() + std::time::Duration::from_millis(300 + 37 * round);
        while std::time::Instant::now() < end {
            assert_eq!(get(&gateway.data, "/v1/models", Some(USER_TOKEN)).status, 200);
            if acknowledged < most {
                assert_eq!(gateway.post("/admin/providers/test", r#"{"provider":"nobody"}"#).status, 400);
                acknowledged += 1;
            }
        }
        gateway.running.signal(Signal::KILL);
        drop(gateway);
        let gateway = Gateway::serve(&folder);
        assert_eq!(gateway.records("action=providers.test").len(), acknowledged);
        assert_eq!(gateway.running.end(), Some(0));
        let (status, report) = verify(&folder);
        assert_eq!(status, Some(0), "{report}");
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_ends_the_start_with_1_and_the_remedy() {
    let folder = Folder::with(&config(NOWHERE, &[("m", "m")], ""));
    let first = Gateway::serve(&folder);
    let ended = run(&["serve", "--config", &folder.config_text()]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("another gateway works in the data directory"), "{ended:?}");
    assert!(ended.stderr.contains("[storage] path"), "{ended:?}");
    assert_eq!(first.running.end(), Some(0));
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data"), "").unwrap();
    let ended = run(&["serve", "--config", &folder.config_text()]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("cannot use the data directory") && ended.stderr.contains("help:"), "{ended:?}");
}

#[test]
fn a_service_keeps_its_data_in_the_state_directory_unless_the_file_says_otherwise() {
    let folder = Folder::with(&config(NOWHERE, &[("m", "m")], ""));
    let state = folder.path().join("state");
    let start = || {
        let mut command = berry(&["serve", "--config", &folder.config_text()]);
        let running = Running::start(command.env("STATE_DIRECTORY", &state));
        running.addresses();
        assert_eq!(running.end(), Some(0));
    };
    start();
    assert!(state.join("audit/head").exists() && !folder.path().join("data").exists());
    let named = config(NOWHERE, &[("m", "m")], "[storage]\npath = \"named\"\n");
    std::fs::write(folder.config(), named).unwrap();
    start();
    assert!(folder.path().join("named/audit/head").exists());
}

/// A gateway whose data directory is on a disk of its own, with next to no room, which goes away with it.
fn serve_on_a_small_disk(folder: &Folder) -> Option<Running> {
    let small = "mount -t tmpfs -o size=256k none \"$0\" && exec \"$@\"";
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let mut probe = Command::new("unshare");
    probe.args(["-rm", "sh", "-c", small]).arg(&data).arg("true").stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", small]).arg(&data).arg(env!("CARGO_BIN_EXE_berry"));
    command.args(["serve", "--config", &folder.config_text()]).env_remove("STATE_DIRECTORY");
    Some(Running::start(&mut command))
}

#[test]
fn a_full_disk_stops_changes_and_nothing_else_and_is_loud() {
    let (_mock, url) = Running::mock(&[]);
    let text = config(&url, &[("m", "gpt-4o-mini")], "");
    let folder = Folder::with(&text);
    // Where no disk can be mounted, the folder is taken away: the same to the writer, but for the words.
    let mounted = serve_on_a_small_disk(&folder);
    let has_disk = mounted.is_some();
    let running = mounted.unwrap_or_else(|| Running::serve(&folder));
    let (data, admin) = running.addresses();
    let gateway = Gateway { running, data, admin };
    let audit = match has_disk {
        // As the gateway sees it.
        true => PathBuf::from(format!("/proc/{}/root", gateway.running.id()))
            .join(audit_folder(&folder).strip_prefix("/").unwrap()),
        false => audit_folder(&folder),
    };
    assert_eq!(gateway.post("/admin/reload-config", "").status, 200);
    let (filler, away) = (audit.join("filler"), audit.with_file_name("away"));
    let break_it = || match has_disk {
        true => drop(std::fs::write(&filler, vec![0; 1 << 20]).unwrap_err()),
        false => {
            std::fs::rename(&audit, &away).unwrap();
            std::fs::write(&audit, "").unwrap();
        }
    };
    break_it();
    let revoked = text.replace(USER_TOKEN, "another-token-for-tests-0123456789");
    std::fs::write(folder.config(), revoked).unwrap();
    let failing = |value: &str| {
        let metrics = get(&gateway.data, "/metrics", None).body;
        metrics.contains(&format!("berry_audit_failing{{service=\"berry-api\"}} {value}\n"))
    };
    // The file's change is noticed by itself, and not taken.
    eventually("it fails", || failing("1").then_some(()));
    for path in ["/admin/reload-config", "/admin/reload-config?confirm=true", "/admin/providers/test"] {
        let refused = gateway.post(path, "");
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (507, &"audit_unavailable".into()), "{path}");
        assert!(refused.body.contains("nothing was changed") && refused.body.contains("data directory"), "{refused:?}");
    }
    // Nothing has changed, and requests are served.
    assert_eq!(get(&gateway.admin, "/admin/system-stats", Some(TOKEN)).json()["generation"], 1);
    assert_eq!(receive(chat(&gateway.data, "m", "false")).status, 200);
    let health = get(&gateway.data, "/health", Some(TOKEN));
    assert_eq!((health.status, &health.json()["detail"]["audit"]["failing"]), (200, &true.into()), "{health:?}");
    gateway.running.stderr.line_with("the audit log cannot be written");
    gateway.running.stderr.line_with("it cannot be recorded");

    match has_disk {
        true => std::fs::remove_file(&filler).unwrap(),
        false => {
            std::fs::remove_file(&audit).unwrap();
            std::fs::rename(&away, &audit).unwrap();
        }
    }
    // It recovers by itself, and the change that waited comes into force.
    eventually("it recovers", || failing("0").then_some(()));
    let generation = || get(&gateway.admin, "/admin/system-stats", Some(TOKEN)).json()["generation"].as_u64();
    eventually("the new configuration", || (generation() == Some(2)).then_some(()));
    assert_eq!(receive(chat(&gateway.data, "m", "false")).status, 401, "the token is revoked");
    assert_eq!(gateway.records("action=user.revoke")[0]["result"], "token replaced");
    let recovered = gateway.record("action=audit.recover");
    assert!(recovered["result"].as_str().unwrap().contains("changes refused"), "{recovered}");
    // While it still runs: a disk of its own goes away with it.
    let data = audit.parent().unwrap().to_str().unwrap().to_owned();
    let ended = run(&["audit", "verify", "--data", &data]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(gateway.running.end(), Some(0));
}
