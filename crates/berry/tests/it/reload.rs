//! Hot reload of the running program: what is noticed, and what a bad file does (nothing).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{
    Folder, Gateway, Running, TOKEN, USER_TOKEN, chat, config, eventually, get, receive, replace, send,
};

/// A configuration whose model `m` is this one of the provider's.
fn with_model(url: &str, backend: &str) -> String {
    config(url, &[("m", backend)], "")
}

/// As that, for the triggers that a test pulls itself.
fn unwatched(url: &str, backend: &str) -> String {
    config(url, &[("m", backend)], "[config]\nwatch = false")
}

#[test]
fn a_file_that_is_edited_replaced_deleted_or_broken_is_noticed_and_only_a_good_one_counts() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with(&with_model(&url, "one"));
    let (path, gateway) = (folder.config(), Gateway::serve(&folder.config()));
    assert_eq!(gateway.backend(), "mock/one");

    fs::write(&path, with_model(&url, "two")).unwrap();
    gateway.wait_for("applied", 1);
    assert_eq!((gateway.backend().as_str(), gateway.generation()), ("mock/two", 2));

    replace(&path, &with_model(&url, "three"));
    gateway.wait_for("applied", 2);
    assert_eq!(gateway.backend(), "mock/three");

    let half = with_model(&url, "four");
    for (count, broken) in
        [None, Some(&half.as_bytes()[..half.len() / 2 + 3]), Some(b"\x00\xff\x13"), Some(b"")].into_iter().enumerate()
    {
        match broken {
            None => fs::remove_file(&path).unwrap(),
            Some(bytes) => fs::write(&path, bytes).unwrap(),
        }
        gateway.wait_for("invalid", count as u64 + 1);
        assert_eq!((gateway.backend().as_str(), gateway.generation()), ("mock/three", 3));
    }
    gateway.running.stderr.line_with("it does not hold");
    gateway.running.stderr.line_with("there is no configuration file");

    // Back to what runs: nothing to do, and no new generation.
    replace(&path, &with_model(&url, "three"));
    gateway.wait_for("unchanged", 1);
    assert_eq!(gateway.generation(), 3);
    fs::remove_file(&path).unwrap();
    fs::write(&path, with_model(&url, "five")).unwrap();
    gateway.wait_for("applied", 3);
    assert_eq!(gateway.backend(), "mock/five");
    assert_eq!((gateway.reloads("invalid"), gateway.generation()), (4, 4), "each change is tried once");
    assert_eq!(gateway.running.end(), Some(0));
}

#[test]
fn links_and_folders_that_are_switched_are_noticed() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with("");
    // As Kubernetes mounts it: config.toml → ..data/config.toml, ..data → a folder of the day.
    let mounted = folder.path().join("mounted");
    for (name, backend) in [("first", "one"), ("second", "two")] {
        fs::create_dir_all(mounted.join(name)).unwrap();
        fs::write(mounted.join(name).join("config.toml"), with_model(&url, backend)).unwrap();
    }
    symlink("first", mounted.join("..data")).unwrap();
    symlink("..data/config.toml", mounted.join("config.toml")).unwrap();
    let gateway = Gateway::serve(&mounted.join("config.toml"));
    assert_eq!(gateway.backend(), "mock/one");

    symlink("second", mounted.join("..next")).unwrap();
    fs::rename(mounted.join("..next"), mounted.join("..data")).unwrap();
    gateway.wait_for("applied", 1);
    assert_eq!(gateway.backend(), "mock/two");

    // The whole folder is another one.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("config.toml"), with_model(&url, "three")).unwrap();
    fs::rename(&mounted, folder.path().join("former")).unwrap();
    fs::rename(&other, &mounted).unwrap();
    gateway.wait_for("applied", 2);
    assert_eq!(gateway.backend(), "mock/three");
    assert_eq!(gateway.running.end(), Some(0));
}

#[test]
fn a_secret_in_a_file_of_its_own_is_followed() {
    let (_mock, url) = Running::mock(&["--require-key", "sk-new-key-0123456789"]);
    let key = "api_key = { file = \"key\" }";
    let text = with_model(&url, "one").replace("api_key = \"sk-of-a-simulated-provider\"", key);
    let folder = Folder::with(&text);
    fs::write(folder.path().join("key"), "sk-old-key-0123456789").unwrap();
    let gateway = Gateway::serve(&folder.config());
    assert_ne!(receive(chat(&gateway.data, "m", "false")).status, 200);
    fs::write(folder.path().join("key"), "sk-new-key-0123456789").unwrap();
    gateway.wait_for("applied", 1);
    eventually("an answer with the new key", || {
        (receive(chat(&gateway.data, "m", "false")).status == 200).then_some(())
    });
}

#[test]
fn without_watching_sighup_and_the_admin_api_have_the_file_read() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with(&unwatched(&url, "one"));
    let (path, gateway) = (folder.config(), Gateway::serve(&folder.config()));

    fs::write(&path, unwatched(&url, "two")).unwrap();
    gateway.running.signal(Signal::HUP);
    gateway.wait_for("applied", 1);
    assert_eq!(gateway.backend(), "mock/two");

    fs::write(&path, unwatched(&url, "three") + "[telemetry]\nlog_format = \"json\"\n").unwrap();
    let answer = gateway.post("/admin/reload-config", "");
    let report = answer.json();
    assert_eq!((answer.status, &report["result"], &report["generation"]), (200, &"applied".into(), &3.into()));
    let paths: Vec<&Value> = report["problems"].as_array().unwrap().iter().map(|problem| &problem["path"]).collect();
    assert!(paths.contains(&&"telemetry.log_format".into()), "{report}");
    gateway.running.stderr.line_with("it needs a restart");
    assert_eq!(gateway.backend(), "mock/three");
    assert_eq!(gateway.post("/admin/reload-config", "").json()["result"], "unchanged");

    fs::write(&path, unwatched(&url, "four") + "[settings]\nmax_retries = 99\n").unwrap();
    let answer = gateway.post("/admin/reload-config", "");
    let problem = &answer.json()["problems"];
    let at = |problem: &Value| problem["path"] == "settings.max_retries" && problem["severity"] == "error";
    assert!(answer.status == 422 && problem.as_array().unwrap().iter().any(at), "{answer:?}");
    assert_eq!((gateway.backend().as_str(), gateway.reloads("invalid")), ("mock/three", 1));
    assert_eq!(receive(send(&gateway.admin, "POST", "/admin/reload-config", &[], "")).status, 401);
    assert_eq!(gateway.post("/admin/reload-config?sure=yes", "").status, 400);
}

#[test]
fn a_change_that_looks_like_a_mistake_needs_a_word_of_consent() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with(&unwatched(&url, "one"));
    let (path, gateway) = (folder.config(), Gateway::serve(&folder.config()));
    let silent = unwatched(&url, "one").replace("[models.m]", "[models.m]\nenabled = false");
    let grown = unwatched(&url, "one") + &format!("# {}\n", "x".repeat(70)).repeat(1000);
    for (count, text) in [silent, grown].iter().enumerate() {
        fs::write(&path, text).unwrap();
        let answer = gateway.post("/admin/reload-config", "");
        assert_eq!((answer.status, &answer.json()["result"]), (422, &"refused".into()), "{answer:?}");
        assert!(answer.body.contains("confirm=true"), "{answer:?}");
        assert_eq!((gateway.reloads("refused"), gateway.generation()), (count as u64 + 1, 1));
    }
    assert_eq!(gateway.backend(), "mock/one");
    assert_eq!(gateway.post("/admin/reload-config?confirm=true", "").status, 200);
    assert_eq!(gateway.generation(), 2);
}

#[test]
fn an_admin_who_hangs_up_leaves_no_reload_half_done() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with(&unwatched(&url, "one"));
    let (path, gateway) = (folder.config(), Gateway::serve(&folder.config()));
    let bearer = format!("Bearer {TOKEN}");
    // The file is left alone for 200 ms before it is read, so that all of these are in the middle.
    for (count, millis) in [50, 100, 150].into_iter().enumerate() {
        fs::write(&path, unwatched(&url, &format!("number-{count}"))).unwrap();
        let call = send(&gateway.admin, "POST", "/admin/reload-config", &[("authorization", &bearer)], "");
        assert_eq!(get(&gateway.admin, "/health/live", None).status, 200, "it has come to this call by now");
        std::thread::sleep(std::time::Duration::from_millis(millis));
        drop(call);
        gateway.wait_for("applied", count as u64 + 1);
        assert_eq!(gateway.backend(), format!("mock/number-{count}"));
        assert_eq!(gateway.generation(), count as u64 + 2);
    }
}

#[test]
fn the_last_admin_cannot_be_removed_and_who_removes_himself_must_say_so() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with(&unwatched(&url, "one"));
    let (path, gateway) = (folder.config(), Gateway::serve(&folder.config()));
    let without_admins = unwatched(&url, "one").replace("tags = [\"admin\"]", "tags = []");
    assert_ne!(without_admins, unwatched(&url, "one"));
    fs::write(&path, &without_admins).unwrap();
    for consent in ["", "?confirm=true"] {
        let answer = gateway.post(&format!("/admin/reload-config{consent}"), "");
        assert_eq!((answer.status, &answer.json()["problems"][0]["path"]), (409, &"users".into()), "{answer:?}");
    }
    fs::write(&path, without_admins + "[users.other]\ntoken = \"another-long-token-0123456789\"\ntags = [\"admin\"]\n")
        .unwrap();
    let answer = gateway.post("/admin/reload-config", "");
    assert!(answer.status == 409 && answer.body.contains("you would be no admin"), "{answer:?}");
    assert_eq!(gateway.generation(), 1);
    assert_eq!(gateway.post("/admin/reload-config?confirm=true", "").status, 200);
    assert_eq!(gateway.post("/admin/reload-config", "").status, 401);
}

#[test]
fn a_removed_user_and_model_are_refused_from_the_next_request_on_also_on_an_open_connection() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with(&unwatched(&url, "one"));
    let gateway = Gateway::serve(&folder.config());
    let mut connection = TcpStream::connect(&gateway.data).unwrap();
    let mut ask = |token: &str| {
        let request = format!("GET /v1/models/m HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        let mut bytes = [0; 4096];
        // One answer with a length, in however many pieces.
        while text.split_once("\r\n\r\n").is_none_or(|(head, body)| body.len() < length(head)) {
            let count = connection.read(&mut bytes).unwrap();
            assert!(count > 0, "closed after {text}");
            text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        text.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    assert_eq!(ask(USER_TOKEN), 200);
    let text = config(&url, &[("n", "one")], "[config]\nwatch = false").replace(USER_TOKEN, "another-token-0123456789");
    fs::write(folder.config(), text).unwrap();
    assert_eq!(gateway.post("/admin/reload-config", "").status, 200);
    assert_eq!((ask(USER_TOKEN), ask("another-token-0123456789")), (401, 404));
}

fn length(head: &str) -> usize {
    let of_name = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned);
    head.lines().find_map(of_name).unwrap().parse().unwrap()
}

#[test]
fn a_configuration_is_validated_and_shown_without_secrets() {
    let folder = Folder::with(&unwatched("http://127.0.0.1:9", "one"));
    let gateway = Gateway::serve(&folder.config());
    let problems = |text: &str| gateway.post("/admin/config/validate", text).json()["problems"].clone();
    let errors = problems("[settings]\nmax_retries = 99\n");
    assert!(errors.as_array().unwrap().iter().any(|problem| problem["path"] == "settings.max_retries"), "{errors}");
    let good = problems(&unwatched("http://127.0.0.1:9", "two"));
    assert!(good.as_array().unwrap().iter().all(|problem| problem["severity"] == "warning"), "{good}");
    assert_eq!(gateway.generation(), 1);

    let shown = get(&gateway.admin, "/admin/config", Some(TOKEN));
    assert_eq!(shown.json()["config"]["users"]["alice"]["token"], "***");
    for secret in [TOKEN, USER_TOKEN, "sk-of-a-simulated-provider"] {
        assert!(!shown.body.contains(secret), "{}", shown.body);
    }
    assert_eq!(get(&gateway.admin, "/admin/config", Some(USER_TOKEN)).status, 401);
}

#[test]
fn the_level_of_the_log_follows() {
    let text = unwatched("http://127.0.0.1:9", "one");
    let folder = Folder::with(&text);
    let gateway = Gateway::serve(&folder.config());
    fs::write(folder.config(), format!("{text}[telemetry]\nlog_level = \"error\"\n")).unwrap();
    assert_eq!(gateway.post("/admin/reload-config", "").status, 200);
    let _ = get(&gateway.data, "/v1/models", Some(USER_TOKEN));
    fs::write(folder.config(), text).unwrap();
    assert_eq!(gateway.post("/admin/reload-config", "").status, 200);
    let _ = get(&gateway.data, "/v1/models/m", Some(USER_TOKEN));
    gateway.running.stderr.line_with("generation=3");
    assert!(!gateway.running.stderr.text().contains("generation=2"), "{}", gateway.running.stderr.text());
}
