//! Commands that print and end.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::harness::{Ended, Folder, Running, berry, config, get, receive, run, send};

#[test]
fn version_names_program_and_version() {
    let ended = run(&["--version"]);
    assert_eq!(ended.stdout, format!("berry {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(ended.status, Some(0));
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    for arguments in
        [&["serv"][..], &["serve", "--lisen", "x"], &["mock", "--fault", "sleepy"], &["serve", "--listen", "nowhere"]]
    {
        let ended = run(arguments);
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
    }
    assert!(run(&["mock", "--fault", "sleepy"]).stderr.contains("truncate"), "all faults are named");
}

#[test]
fn every_command_has_help_and_mocks_help_lists_every_fault() {
    let aliases = ["generate-config", "validate-config"];
    for command in
        ["serve", "demo", "init", "check", "mock", "bench", "secret", "token", "completions"].into_iter().chain(aliases)
    {
        assert_eq!(run(&[command, "--help"]).status, Some(0), "{command}");
    }
    let help = run(&["mock", "--help"]).stdout;
    assert!(berry_mock::FAULTS.iter().all(|fault| help.contains(&format!("\n{}", fault.name))), "{help}");
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&["completions", shell]);
        assert_eq!(ended.status, Some(0));
        assert!(ended.stdout.contains("validate-config") && ended.stdout.contains("ttfb"), "{shell}");
    }
}

#[test]
fn what_init_writes_passes_check_and_is_for_its_owner_only() {
    for (command, flags) in [("init", &[][..]), ("generate-config", &["--advanced"])] {
        let folder = Folder::with("");
        let file = folder.path().join("new.toml");
        let path = file.display().to_string();
        let all: Vec<&str> = [command, "--output", &path].iter().chain(flags).copied().collect();
        let ended = run(&all);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert!(ended.stdout.contains(&format!("berry check --config {path}")), "{}", ended.stdout);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let check = run(&["check", "--config", &path]);
        assert_eq!(check.status, Some(0), "{check:?}");
    }
}

#[test]
fn init_makes_a_new_token_each_time_and_overwrites_nothing() {
    let token =
        || run(&["init", "--output", "-"]).stdout.lines().find(|line| line.starts_with("token = ")).unwrap().to_owned();
    assert_ne!(token(), token());
    let folder = Folder::with("precious");
    let ended = run(&["init", "--output", &folder.config_text()]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("exists already") && ended.stderr.contains("help:"), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(folder.config()).unwrap(), "precious");
}

#[test]
fn check_tells_all_problems_with_their_lines_and_ends_with_1() {
    let folder = Folder::with(
        "[settings]\nmax_retries = 11\n[providers.a]\nbase_url = \"ftp://x\"\n[users.u]\ntoken = \"short\"\n",
    );
    for command in ["check", "validate-config"] {
        let ended = run(&[command, "--config", &folder.config_text()]);
        assert_eq!(ended.status, Some(1));
        for part in [":2:", ":4:", ":6:", "max_retries = 11", "help:"] {
            assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
        }
        assert!(!ended.stderr.contains('\u{1b}'), "no colours beside a terminal");
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn check_connect_tries_every_provider_and_says_what_is_wrong_with_it() {
    let (_mock, url) = Running::mock(&[]);
    let text = config(&url, &[("m", "gpt-4o-mini")], "");
    let dead = "\n[providers.dead]\nbase_url = \"http://127.0.0.1:9\"\napi_key = \"sk-dead-0123456789\"\n";
    let folder = Folder::with(&(text.clone() + dead));
    for command in [&["check", "--connect"][..], &["health-check"]] {
        let ended = run(&[command, &["--config", &folder.config_text()]].concat());
        assert_eq!(ended.status, Some(1), "{ended:?}");
        let line = |start: &str| ended.stdout.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
        assert!(line("ok").contains("takes the key") && line("ok").contains(" ms "), "{}", ended.stdout);
        assert!(line("failed").contains("dead") && line("failed").contains("base_url"), "{}", ended.stdout);
    }
    let folder = Folder::with(&text);
    let ended = run(&["check", "--connect", "--format", "json", "--config", &folder.config_text()]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&report["providers"][0]["ok"], &report["providers"][0]["status"]), (&true.into(), &200.into()));
}

#[test]
fn check_in_json_is_for_programs() {
    let folder = Folder::with("[settings]\nmax_retries = 11\n");
    let ended = run(&["check", "--format", "json", "--config", &folder.config_text()]);
    assert_eq!(ended.status, Some(1));
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let first = report["problems"].as_array().unwrap().iter().find(|problem| problem["line"] == 2).unwrap();
    assert_eq!((&first["severity"], &first["path"]), (&"error".into(), &"settings.max_retries".into()));
}

#[test]
fn check_finds_files_that_serve_could_not_use() {
    let text = config("http://127.0.0.1:9", &[("m", "m")], "");
    let text = text.replace("[admin]", "[admin]\ntls_cert = \"no.pem\"\ntls_key = \"no.key\"");
    let folder = Folder::with(&text);
    let check = run(&["check", "--config", &folder.config_text()]);
    assert_eq!(check.status, Some(1), "{check:?}");
    assert!(check.stderr.contains("no.pem"), "{}", check.stderr);
    let serve = run(&["serve", "--config", &folder.config_text()]);
    assert_eq!(serve.status, Some(78), "{serve:?}");
    assert!(serve.stderr.contains("no.pem"), "{}", serve.stderr);
}

#[test]
fn check_in_json_is_in_the_order_of_lines_with_unusable_files_in_front() {
    let text = config("http://127.0.0.1:9", &[("m", "m")], "[cache]");
    let folder = Folder::with(&text.replace("[admin]", "[admin]\ntls_cert = \"c.pem\"\ntls_key = \"k.pem\""));
    for name in ["c.pem", "k.pem"] {
        std::fs::write(folder.path().join(name), "not PEM").unwrap();
    }
    let ended = run(&["check", "--format", "json", "--config", &folder.config_text()]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let problems = report["problems"].as_array().unwrap();
    assert!(problems[0]["message"].as_str().unwrap().contains("no PEM"), "{report:#}");
    let lines: Vec<u64> = problems.iter().map(|problem| problem["line"].as_u64().unwrap()).collect();
    assert!(lines.is_sorted() && lines[0] == 1 && lines.len() >= 3, "{lines:?}");
}

#[test]
fn the_schema_is_json_and_needs_no_configuration() {
    let ended = Ended::of(berry(&["check", "--schema"]).current_dir("/").output().unwrap());
    let schema: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(schema["properties"]["providers"].is_object());
    assert_eq!(ended.status, Some(0));
}

#[test]
fn mock_answers_and_ends_with_0_on_sigterm() {
    let (mock, url) = Running::mock(&["--seed", "7", "--chunks", "3", "--ttfb", "1ms"]);
    let address = url.strip_prefix("http://").unwrap();
    assert_eq!(get(address, "/v1/models", None).status, 200);
    assert_eq!(mock.end(), Some(0));
}

#[test]
fn bench_counts_the_answers_of_a_provider_and_lets_no_load_out_of_this_machine() {
    let (_mock, url) = Running::mock(&[]);
    let asked = ["bench", url.as_str(), "--requests", "7", "--concurrency", "2", "--stream", "--format", "json"];
    let ended = run(&asked);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.status, &report["ok"], &report["ended_streams"]), (Some(0), &7.into(), &7.into()));
    assert_eq!(run(&["bench", "http://192.0.2.1"]).status, Some(2));
}

#[test]
fn mock_plays_the_fault_and_asks_for_the_key_that_it_is_told() {
    let (_mock, url) = Running::mock(&["--fault", "503", "--require-key", "the-key"]);
    let address = url.strip_prefix("http://").unwrap();
    let ask = |key: &str| {
        let headers = [("authorization", key), ("content-type", "application/json")];
        let body = r#"{"model":"m","messages":[]}"#;
        receive(send(address, "POST", "/v1/chat/completions", &headers, body)).status
    };
    assert_eq!(ask("Bearer another"), 401);
    assert_eq!(ask("Bearer the-key"), 503);
}
