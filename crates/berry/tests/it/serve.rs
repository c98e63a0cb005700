//! `berry serve`: what it starts with, and what it refuses to start with.

use std::net::TcpListener;
use std::time::Instant;

use crate::harness::{Ended, Folder, Running, TOKEN, berry, chat, config, get, receive, run};

const NOWHERE: &str = "http://127.0.0.1:9";

#[test]
fn a_bad_configuration_ends_with_78_and_all_its_problems() {
    let folder = Folder::with(
        "[settings]\nmax_retries = 11\n[providers.a]\nbase_url = \"ftp://x\"\n[users.u]\ntoken = \"short\"\n",
    );
    let ended = run(&["serve", "--config", &folder.config_text()]);
    assert_eq!(ended.status, Some(78));
    for part in [":2:", ":4:", ":6:", "help:", "errors"] {
        assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
    }
}

#[test]
fn systemd_does_not_try_a_bad_configuration_again() {
    let unit = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/berry.service")).unwrap();
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key));
    // Whatever runs beforehand would end with a status of its own.
    assert_eq!(value("ExecStartPre="), None);
    assert!(value("RestartPreventExitStatus=").unwrap().split(' ').any(|status| status == "78"));
}

#[test]
fn a_missing_file_ends_with_78_and_says_how_to_get_one() {
    let ended = run(&["serve", "--config", "/nowhere/config.toml"]);
    assert_eq!(ended.status, Some(78));
    assert!(ended.stderr.contains("/nowhere/config.toml") && ended.stderr.contains("berry init"), "{}", ended.stderr);
}

#[test]
fn a_busy_port_ends_with_1_and_says_which_and_what_to_change() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = config(NOWHERE, &[("m", "m")], "");
    for (table, key) in [("[server]\n", "--listen"), ("[admin]\n", "[admin] listen")] {
        let busy = text.replace(&format!("{table}listen = \"127.0.0.1:0\""), &format!("{table}listen = \"{address}\""));
        let folder = Folder::with(&busy);
        let ended = run(&["serve", "--config", &folder.config_text()]);
        assert_eq!(ended.status, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(&address) && ended.stderr.contains(key), "{}", ended.stderr);
    }
}

#[test]
fn serve_is_the_default_command() {
    let folder = Folder::with(&config(NOWHERE, &[("m", "m")], ""));
    // Without any argument it takes ./config.toml.
    let running = Running::start(berry(&[]).current_dir(folder.path()));
    assert_eq!(get(&running.addresses().0, "/health/live", None).status, 200);
    assert_eq!(running.end(), Some(0));
    let running = Running::start(&mut berry(&["--config", &folder.config_text(), "--listen", "127.0.0.1:0"]));
    running.addresses();
    assert_eq!(running.end(), Some(0));
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::with(&config(NOWHERE, &[("m", "m")], ""));
    // The variables name the file and the address …
    let ended =
        Ended::of(berry(&[]).env("CONFIG_PATH", folder.config()).env("BIND_ADDRESS", &address).output().unwrap());
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&address));
    // … the flags name others.
    let arguments = ["serve", "--config", &folder.config_text(), "--listen", "127.0.0.1:0"];
    let mut command = berry(&arguments);
    let running = Running::start(command.env("CONFIG_PATH", "/nowhere").env("BIND_ADDRESS", &address));
    running.addresses();
    assert_eq!(running.end(), Some(0));
    // Variables set to nothing are not set.
    let running = Running::start(berry(&[]).env("CONFIG_PATH", "").env("BIND_ADDRESS", "").current_dir(folder.path()));
    running.addresses();
    assert_eq!(running.end(), Some(0));
}

#[test]
fn a_request_goes_through_to_the_provider_and_back() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with(&config(&url, &[("m", "gpt-4o-mini")], ""));
    let running = Running::serve(&folder);
    let (data, _) = running.addresses();
    let answer = receive(chat(&data, "m", "false"));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("berry-backend"), Some("mock/gpt-4o-mini"));
    assert!(answer.json()["choices"].is_array());
    let metrics = get(&data, "/metrics", None);
    assert!(metrics.body.contains("http_requests_total{"), "{}", metrics.body);
    assert_eq!(get(&data, "/admin/system-stats", Some(TOKEN)).status, 404, "the data listener has no admin route");
    assert_eq!(running.end(), Some(0));
}

#[test]
fn at_rest_it_is_ready_soon_and_small() {
    let folder = Folder::with(&config(NOWHERE, &[("m", "m")], ""));
    let started = Instant::now();
    let running = Running::serve(&folder);
    let (_, admin) = running.addresses();
    let took = started.elapsed();
    let stats = get(&admin, "/admin/system-stats", Some(TOKEN)).json();
    let rss = stats["rss_bytes"].as_u64().unwrap();
    // The promises are 100 ms and 20 MiB for a release build on a machine of its own; here is room for neither.
    assert!(took.as_secs() < 5, "{took:?}");
    assert!(rss < 40 << 20, "{rss}");
    assert_eq!(running.end(), Some(0));
}
