//! The history of the configuration, and the way back: kept over restarts, shown without secrets, gone back to with and without
//! a running gateway.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{
    Ended, Folder, Gateway, Running, TOKEN, USER_TOKEN, berry, chat, config, get, receive, replace, run, send,
};

const KEY: &str = "sk-of-a-simulated-provider";
const NOWHERE: &str = "http://127.0.0.1:9";

fn with_model(backend: &str) -> String {
    config(NOWHERE, &[("m", backend)], "")
}

/// The text of a configuration whose admin listener has a port that others can know.
fn with_known_admin(backend: &str, port: u16) -> String {
    with_model(backend).replace("[admin]\nlisten = \"127.0.0.1:0\"", &format!("[admin]\nlisten = \"127.0.0.1:{port}\""))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `berry config …` for a folder's configuration.
fn told(folder: &Folder, arguments: &[&str]) -> Ended {
    let ended = run(&[&["config"], arguments, &["--config", &folder.config_text()]].concat());
    for secret in [KEY, TOKEN, USER_TOKEN] {
        let is_hidden = arguments.contains(&"--reveal") || !ended.stdout.contains(secret);
        assert!(is_hidden && !ended.stderr.contains(secret), "{ended:?}");
    }
    ended
}

fn done(folder: &Folder, arguments: &[&str]) -> String {
    let ended = told(folder, arguments);
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    ended.stdout
}

/// The generations that are kept: number, origin, author, and what they restore.
fn listed(folder: &Folder) -> Vec<Value> {
    let all: Value = serde_json::from_str(&done(folder, &["history", "--format", "json"])).unwrap();
    let row = |kept: &Value| json!([kept["generation"], kept["origin"], kept["author"], kept["restores"]]);
    all["data"].as_array().unwrap().iter().map(row).collect()
}

fn wait_for(gateway: &Gateway, generation: u64) {
    gateway.running.stderr.line_with(&format!("a new configuration is in force generation={generation} "));
}

#[test]
fn what_ran_is_kept_over_restarts_and_an_unchanged_file_is_no_new_generation() {
    let folder = Folder::with(&with_model("one"));
    let gateway = Gateway::serve(&folder.config());
    fs::write(folder.config(), with_model("two")).unwrap();
    wait_for(&gateway, 2);
    fs::write(folder.config(), "nothing = [").unwrap();
    gateway.running.stderr.line_with("it does not hold");
    assert_eq!(listed(&folder), [json!([2, "file", null, null]), json!([1, "start", null, null])]);
    assert_eq!(gateway.running.end(), Some(0));

    fs::write(folder.config(), with_model("two")).unwrap();
    let gateway = Gateway::serve(&folder.config());
    assert_eq!(gateway.generation(), 2);
    assert_eq!(gateway.running.end(), Some(0));
    let people = done(&folder, &["history"]);
    assert!(people.contains("started again") && people.ends_with("is the latest of them\n"), "{people}");
    fs::write(folder.config(), with_model("three")).unwrap();
    let gateway = Gateway::serve(&folder.config());
    assert_eq!((gateway.generation(), listed(&folder).len()), (3, 3));
    for file in fs::read_dir(folder.path().join("data/history")).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!([KEY, TOKEN, USER_TOKEN].iter().all(|secret| !text.contains(secret)), "{}", path.display());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn generations_are_shown_and_compared_without_secrets_unless_they_are_asked_for() {
    let folder = Folder::with(&with_model("one"));
    let gateway = Gateway::serve(&folder.config());
    let second = with_model("two").replace(KEY, "sk-of-another-simulated-provider");
    fs::write(folder.config(), &second).unwrap();
    wait_for(&gateway, 2);
    let shown = done(&folder, &["show", "1"]);
    assert!(shown.contains("model = \"one\"") && shown.contains("api_key = ***"), "{shown}");
    assert_eq!(done(&folder, &["show", "2", "--reveal"]), second);
    let diff = done(&folder, &["diff", "1", "2"]);
    assert!(
        diff.starts_with("--- generation 1\n+++ generation 2\n@@ ")
            && diff.contains("\n-api_key = ***\n+api_key = ***\n")
    );
    assert!(diff.contains("\n-backends = [{ provider = \"mock\", model = \"one\" }]\n"), "{diff}");
    assert!(!diff.contains('\u{1b}'), "colours are for terminals: {diff:?}");
    assert_eq!(done(&folder, &["diff", "2"]), "");
    replace(&folder.config(), &second.replace("drain_seconds = 120", "drain_seconds = 60"));
    assert!(done(&folder, &["diff", "2"]).contains("\n-drain_seconds = 120\n+drain_seconds = 60\n"));
    let unknown = told(&folder, &["show", "7"]);
    assert!(unknown.status == Some(1) && unknown.stderr.contains("help: `berry config history`"), "{unknown:?}");
    let none = told(&Folder::with(""), &["history"]);
    assert!(none.status == Some(1) && none.stderr.contains("--data"), "{none:?}");
}

#[test]
fn a_running_gateway_goes_back_and_writes_down_who_asked_for_it() {
    let port = free_port();
    let folder = Folder::with(&with_known_admin("one", port));
    fs::set_permissions(folder.config(), fs::Permissions::from_mode(0o640)).unwrap();
    let gateway = Gateway::serve(&folder.config());
    fs::write(folder.config(), with_known_admin("two", port)).unwrap();
    wait_for(&gateway, 2);
    // Broken by hand, which never ran.
    fs::write(folder.config(), "oh = [no").unwrap();
    gateway.running.stderr.line_with("it does not hold");
    assert_eq!(done(&folder, &["rollback", "1"]), "generation 1 is in force again, as generation 3\n");
    assert_eq!(gateway.generation(), 3);
    assert_eq!(fs::read_to_string(folder.config()).unwrap(), with_known_admin("one", port));
    assert_eq!(folder.config().metadata().unwrap().mode() & 0o777, 0o640);
    assert_eq!(listed(&folder)[0], json!([3, "rollback", "root", 1]));
    assert_eq!(done(&folder, &["show", "3", "--replaced", "--reveal"]), "oh = [no");
    // Its own writing is no change of the file.
    fs::write(folder.config(), with_known_admin("four", port)).unwrap();
    wait_for(&gateway, 4);
    assert_eq!(gateway.reloads("unchanged"), 0);
}

#[test]
fn the_admin_api_tells_the_history_and_goes_back() {
    let folder = Folder::with(&config(NOWHERE, &[("m", "one")], "[config]\nwatch = false"));
    let gateway = Gateway::serve(&folder.config());
    fs::write(folder.config(), config(NOWHERE, &[("m", "two")], "[config]\nwatch = false")).unwrap();
    assert_eq!(gateway.post("/admin/reload-config", "").status, 200);
    let list = get(&gateway.admin, "/admin/config/history?limit=1", Some(TOKEN)).json();
    let latest = &list["data"][0];
    let names = ["generation", "origin", "author", "in_force"].map(|name| latest[name].clone());
    assert_eq!((json!(names), &list["next"]), (json!([2, "admin", "root", true]), &json!("1")));
    assert!(latest["hash"].as_str().unwrap().len() == 64 && latest["time"].as_str().unwrap().ends_with('Z'), "{list}");
    let first = get(&gateway.admin, "/admin/config/history/1", Some(TOKEN));
    assert!(
        first.json()["text"].as_str().unwrap().contains("model = \"one\"") && !first.body.contains(KEY),
        "{first:?}"
    );
    assert!(get(&gateway.admin, "/admin/config/history/2", Some(TOKEN)).body.contains("+backends"));

    let back = |body: &str| gateway.post("/admin/config/rollback", body);
    let report = back("{\"generation\":1}").json();
    assert_eq!((&report["result"], &report["generation"]), (&json!("applied"), &json!(3)));
    assert_eq!(back("{\"generation\":3}").json()["result"], "unchanged");
    assert_eq!(
        [back("{\"generation\":9}").status, back("{}").status, back("{\"generation\":1,\"x\":1}").status],
        [404, 400, 400]
    );
    for path in ["/admin/config/history", "/admin/config/history/1"] {
        assert_eq!(get(&gateway.admin, path, Some(USER_TOKEN)).status, 401, "{path}");
    }
    let unasked = send(&gateway.admin, "POST", "/admin/config/rollback", &[], "{\"generation\":1}");
    assert_eq!(receive(unasked).status, 401);
    assert_eq!(get(&gateway.admin, "/admin/config/history/nine", Some(TOKEN)).status, 400);
}

#[test]
fn a_text_that_does_not_hold_any_more_is_not_gone_back_to() {
    let folder =
        Folder::with(&(with_model("one").replace(&format!("api_key = \"{KEY}\""), "api_key = { file = \"key\" }")));
    fs::write(folder.path().join("key"), KEY).unwrap();
    let gateway = Gateway::serve(&folder.config());
    fs::write(folder.config(), with_model("two")).unwrap();
    wait_for(&gateway, 2);
    fs::remove_file(folder.path().join("key")).unwrap();
    let answer = gateway.post("/admin/config/rollback", "{\"generation\":1}");
    assert!(answer.status == 422 && answer.body.contains("is in a file that is not there"), "{answer:?}");
    let ended = told(&folder, &["rollback", "1"]);
    assert!(ended.status == Some(1) && ended.stderr.contains("is in a file that is not there"), "{ended:?}");
    assert_eq!((fs::read_to_string(folder.config()).unwrap(), gateway.generation()), (with_model("two"), 2));
    assert_eq!(listed(&folder).len(), 2);
}

#[test]
fn without_a_gateway_or_without_its_admin_api_the_file_is_written_all_the_same() {
    let folder = Folder::with(&with_model("one"));
    let gateway = Gateway::serve(&folder.config());
    fs::write(folder.config(), with_model("two")).unwrap();
    wait_for(&gateway, 2);
    // Port 0: nobody can know where its admin listener is.
    assert!(done(&folder, &["rollback", "1"]).contains("The running gateway takes it"));
    wait_for(&gateway, 3);
    // What never ran would be lost.
    fs::write(folder.config(), "oh = [no").unwrap();
    let ended = told(&folder, &["rollback", "2"]);
    assert!(
        ended.status == Some(1) && ended.stderr.contains("never ran") && ended.stderr.contains("--force"),
        "{ended:?}"
    );
    assert_eq!(fs::read_to_string(folder.config()).unwrap(), "oh = [no");
    assert_eq!(gateway.running.end(), Some(0));

    fs::remove_file(folder.config()).unwrap();
    assert!(done(&folder, &["history"]).contains("cannot be read or is empty"));
    assert!(done(&folder, &["rollback", "2"]).contains("as generation 4"));
    assert_eq!(fs::read_to_string(folder.config()).unwrap(), with_model("two"));
    assert_eq!(folder.config().metadata().unwrap().mode() & 0o777, 0o600);
    let gateway = Gateway::serve(&folder.config());
    assert_eq!((gateway.generation(), listed(&folder).len()), (4, 4));
}

#[test]
fn what_cannot_be_written_is_told_with_what_to_do_and_changes_nothing() {
    let port = free_port();
    let folder = Folder::with("");
    // The folder of a file that is not there cannot be written to, whoever tries.
    let gone = folder.path().join("mounted");
    fs::create_dir(&gone).unwrap();
    let path = gone.join("config.toml");
    let text = |backend: &str| {
        let storage = format!("[storage]\npath = \"{}\"\n", folder.path().join("data").display());
        with_known_admin(backend, port) + &storage
    };
    fs::write(&path, text("one")).unwrap();
    let gateway = Gateway::serve(&path);
    fs::write(&path, text("two")).unwrap();
    wait_for(&gateway, 2);
    fs::rename(&gone, folder.path().join("away")).unwrap();
    let answer = gateway.post("/admin/config/rollback", "{\"generation\":1}");
    assert!(
        answer.status == 409 && answer.body.contains("ConfigMap") && answer.body.contains("--reveal"),
        "{answer:?}"
    );
    assert_eq!(gateway.generation(), 2);
    let data = folder.path().join("data").display().to_string();
    let arguments = ["config", "rollback", "1", "--config", &path.display().to_string(), "--data", &data];
    let ended = run(&arguments);
    assert!(ended.status == Some(1) && ended.stderr.contains("ConfigMap"), "{ended:?}");
    let all = run(&["config", "history", "--data", &data, "--format", "json"]).stdout;
    assert_eq!(serde_json::from_str::<Value>(&all).unwrap()["data"].as_array().unwrap().len(), 2);
}

/// Puts something in the way of the next generation's description.
fn obstruct(data: &Path, generation: u64) {
    fs::create_dir(data.join(format!("history/{generation:08}.json"))).unwrap();
}

#[test]
fn a_history_that_cannot_be_written_stops_no_reload_and_every_rollback() {
    let folder = Folder::with(&with_model("one"));
    let gateway = Gateway::serve(&folder.config());
    obstruct(&folder.path().join("data"), 2);
    fs::write(folder.config(), with_model("two")).unwrap();
    wait_for(&gateway, 2);
    gateway.running.stderr.line_with("is not kept in the history; the gateway goes on");
    let metrics = get(&gateway.admin, "/metrics", Some(TOKEN)).body;
    assert!(metrics.contains("berry_config_history_failures_total{service=\"berry-api\"} 1\n"), "{metrics}");
    fs::remove_dir(folder.path().join("data/history/00000002.json")).unwrap();
    obstruct(&folder.path().join("data"), 3);
    let answer = gateway.post("/admin/config/rollback", "{\"generation\":1}");
    assert_eq!(answer.status, 409, "{answer:?}");
    assert_eq!((fs::read_to_string(folder.config()).unwrap(), gateway.generation()), (with_model("two"), 2));
}

#[test]
fn a_damaged_description_lets_no_generation_be_written_over_and_hides_no_other() {
    let folder = Folder::with(&with_model("one"));
    let gateway = Gateway::serve(&folder.config());
    fs::write(folder.config(), with_model("two")).unwrap();
    wait_for(&gateway, 2);
    assert_eq!(gateway.running.end(), Some(0));
    let history = folder.path().join("data/history");
    let first = fs::read(history.join("00000001.text")).unwrap();
    fs::write(history.join("00000002.json"), "{\"generation\":").unwrap();

    fs::write(folder.config(), with_model("three")).unwrap();
    let gateway = Gateway::serve(&folder.config());
    assert_eq!(gateway.generation(), 3);
    assert_eq!(gateway.running.end(), Some(0));
    assert_eq!(fs::read(history.join("00000001.text")).unwrap(), first);
    assert_eq!(listed(&folder), [json!([3, "start", null, null]), json!([1, "start", null, null])]);
}

#[test]
fn two_gateways_do_not_share_a_data_directory_and_one_that_cannot_be_used_is_told() {
    let folder = Folder::with(&with_model("one"));
    let gateway = Gateway::serve(&folder.config());
    let second = run(&["serve", "--config", &folder.config_text()]);
    assert!(
        second.status == Some(1) && second.stderr.contains("another gateway works in the data directory"),
        "{second:?}"
    );
    assert!(second.stderr.contains("[storage] path"), "{second:?}");
    assert_eq!(gateway.running.end(), Some(0));
    let folder = Folder::with(&(with_model("one") + "[storage]\npath = \"config.toml\"\n"));
    let refused = run(&["serve", "--config", &folder.config_text()]);
    assert!(refused.status == Some(1) && refused.stderr.contains("cannot use the data directory"), "{refused:?}");
}

#[test]
fn a_service_keeps_its_data_where_its_manager_says() {
    let folder = Folder::with(&with_model("one"));
    let state = folder.path().join("state");
    let mut command = berry(&["serve", "--config", &folder.config_text()]);
    let running = Running::start(command.env("STATE_DIRECTORY", &state));
    running.addresses();
    assert!(state.join("history").is_dir() && !folder.path().join("data").exists());
}

#[test]
fn what_ran_last_stands_in_for_a_file_that_does_not_hold_if_that_is_asked_for() {
    let folder = Folder::with(&with_model("one"));
    let serve = || berry(&["serve", "--last-good", "--config", &folder.config_text()]);
    fs::write(folder.config(), "oh = [no").unwrap();
    let none = Ended::of(serve().output().unwrap());
    assert!(none.status == Some(78) && none.stderr.contains("none is known that ran before"), "{none:?}");
    fs::write(folder.config(), with_model("one")).unwrap();
    assert_eq!(Gateway::serve(&folder.config()).running.end(), Some(0));
    fs::write(folder.config(), "oh = [no").unwrap();
    assert_eq!(run(&["serve", "--config", &folder.config_text()]).status, Some(78));
    let gateway = Gateway::of(Running::start(&mut serve()));
    assert_eq!(gateway.generation(), 1);
    gateway.running.stderr.line_with("starting with the one that ran last");
    fs::write(folder.config(), with_model("two")).unwrap();
    wait_for(&gateway, 2);
}

#[test]
fn a_change_under_which_calls_fail_is_taken_back_once() {
    let (_mock, url) = Running::mock(&[]);
    let text = |backend: &str| {
        config(&url, &[("m", backend)], "[config]\nauto_rollback = true\nwatch = false\n[settings]\nmax_retries = 0")
    };
    let folder = Folder::with(&text("mock-ok"));
    let gateway = Gateway::serve(&folder.config());
    let ask = || (0..60).filter(|_| receive(chat(&gateway.data, "m", "false")).status == 200).count();
    // So that its figures have a beginning.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(ask(), 60);
    fs::write(folder.config(), text("mock-500")).unwrap();
    assert_eq!(gateway.post("/admin/reload-config", "").json()["generation"], 2);
    assert_eq!(ask(), 0);
    wait_for(&gateway, 3);
    assert!(gateway.running.stderr.line_with("going back").contains("back_to=1"));
    assert_eq!(listed(&folder)[0], json!([3, "auto_rollback", null, 1]));
    assert_eq!(fs::read_to_string(folder.config()).unwrap(), text("mock-ok"));
    assert_eq!(ask(), 60);
    // Who puts it there again means it.
    fs::write(folder.config(), text("mock-500")).unwrap();
    assert_eq!(gateway.post("/admin/reload-config", "").json()["generation"], 4);
    assert_eq!(ask(), 0);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(gateway.generation(), 4);
}
