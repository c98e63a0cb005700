//! `berry secret` and `berry token`: secrets of the file sealed, shown and sealed anew, and a gateway that runs on them.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;

use crate::harness::{Ended, Folder, Running, TOKEN, USER_TOKEN, berry, chat, config, get, receive, run};

const KEY: &str = "sk-of-a-simulated-provider";

/// Runs `berry secret` on the folder's configuration.
fn secret(folder: &Folder, arguments: &[&str]) -> Ended {
    run(&[&["secret"], arguments, &["--config", &folder.config_text()]].concat())
}

fn text(folder: &Folder) -> String {
    std::fs::read_to_string(folder.config()).unwrap()
}

/// A folder with a configuration and a key file.
fn folder_with_key(text: &str) -> Folder {
    let folder = Folder::with(text);
    let ended = secret(&folder, &["keygen"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    folder
}

fn done(ended: &Ended) {
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(ended.stderr, "");
}

#[test]
fn keygen_makes_a_file_for_its_owner_and_overwrites_none() {
    let folder = folder_with_key(&config("http://127.0.0.1:9", &[("m", "m")], "[security]\nkey_file = \"my.key\""));
    let key = folder.path().join("my.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read_to_string(&key).unwrap();
    let again = secret(&folder, &["keygen"]);
    assert_eq!(again.status, Some(1));
    assert!(again.stderr.contains("exists already") && again.stderr.contains("help:"), "{again:?}");
    assert_eq!(std::fs::read_to_string(&key).unwrap(), before);
    let printed = secret(&folder, &["keygen", "--output", "-"]).stdout;
    assert!(printed.contains("berry-key:v1:") && printed != before, "a new one each time, and nothing else on stdout");
    // Without a configuration too.
    let other = folder.path().join("other.toml").display().to_string();
    done(&run(&["secret", "keygen", "--config", &other]));
    assert!(folder.path().join("berry.key").exists());
}

#[test]
fn a_sealed_configuration_serves_as_the_clear_one() {
    let (_mock, url) = Running::mock(&["--require-key", KEY]);
    let folder = folder_with_key(&config(&url, &[("m", "gpt-4o-mini")], ""));
    let sealed = secret(&folder, &["seal", "--all"]);
    done(&sealed);
    for path in ["providers.mock.api_key", "users.root.token", "users.alice.token"] {
        assert!(sealed.stdout.contains(path), "{}", sealed.stdout);
    }
    for clear in [KEY, TOKEN, USER_TOKEN] {
        assert!(!text(&folder).contains(clear) && !sealed.stdout.contains(clear));
    }
    let running = Running::serve(&folder);
    let (data, admin) = running.addresses();
    let answer = receive(chat(&data, "m", "false"));
    assert_eq!(answer.status, 200, "the provider takes no key but the clear one: {answer:?}");
    let stats = get(&admin, "/admin/backend-health", Some(TOKEN));
    assert_eq!(stats.status, 200, "{stats:?}");
    let told = running.stderr.text() + &stats.body;
    assert!(![KEY, TOKEN, USER_TOKEN, "sealed:v1"].iter().any(|part| told.contains(part)), "{told}");
    assert_eq!(running.end(), Some(0));
}

#[test]
fn seal_keeps_comments_order_mode_owner_and_links() {
    let clear = config("http://127.0.0.1:9", &[("m", "m")], "# the end");
    let folder = folder_with_key(&clear.replace("[users.root]", "[users.root] # who operates"));
    let real = folder.path().join("real.toml");
    std::fs::rename(folder.config(), &real).unwrap();
    std::os::unix::fs::symlink("real.toml", folder.config()).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    let before = text(&folder);
    let owner = |path: &std::path::Path| (path.metadata().unwrap().uid(), path.metadata().unwrap().gid());
    let owner_before = owner(&real);
    done(&secret(&folder, &["seal", "--field", "providers.mock.api_key"]));
    let after = text(&folder);
    let changed: Vec<(&str, &str)> = before.lines().zip(after.lines()).filter(|(old, new)| old != new).collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(changed[0].1.starts_with("api_key = \"sealed:v1:"), "{changed:?}");
    assert_eq!(before.lines().count(), after.lines().count());
    assert!(folder.config().is_symlink());
    assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(owner(&real), owner_before);
    // Nothing else is left in the folder.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    // Once more changes nothing.
    done(&secret(&folder, &["seal", "--field", "providers.mock.api_key"]));
    assert_eq!(text(&folder), after);
}

#[test]
fn reveal_prints_what_was_sealed_and_puts_it_back_when_asked() {
    let clear = config("http://127.0.0.1:9", &[("m", "m")], "");
    let folder = folder_with_key(&clear);
    done(&secret(&folder, &["seal", "--all"]));
    assert_eq!(secret(&folder, &["reveal", "--field", "providers.mock.api_key"]).stdout, format!("{KEY}\n"));
    let all = secret(&folder, &["reveal", "--all"]).stdout;
    assert!(all.contains(&format!("users.alice.token = \"{USER_TOKEN}\"\n")), "{all}");
    done(&secret(&folder, &["reveal", "--all", "--in-place"]));
    assert_eq!(text(&folder), clear);
}

#[test]
fn rotate_seals_anew_and_keeps_the_old_key_until_told_otherwise() {
    let folder = folder_with_key(&config("http://127.0.0.1:9", &[("m", "m")], ""));
    done(&secret(&folder, &["seal", "--all"]));
    let earlier = text(&folder);
    done(&secret(&folder, &["rotate"]));
    let rotated = text(&folder);
    assert_ne!(rotated, earlier);
    let holds = |file: &str| {
        std::fs::write(folder.config(), file).unwrap();
        run(&["check", "--config", &folder.config_text()]).status == Some(0)
    };
    // As after an interruption between the two files, and after a rollback.
    assert!(holds(&earlier) && holds(&rotated));
    done(&secret(&folder, &["rotate", "--drop-old"]));
    let last = text(&folder);
    assert!(holds(&last) && !holds(&earlier) && !holds(&rotated));
    assert_eq!(folder.path().join("berry.key").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn the_key_file_may_come_from_the_service_manager() {
    let folder = folder_with_key(&config("http://127.0.0.1:9", &[("m", "m")], ""));
    done(&secret(&folder, &["seal", "--all"]));
    let credentials = folder.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let key = credentials.join("berry.key");
    std::fs::rename(folder.path().join("berry.key"), &key).unwrap();
    // As the service manager shows it where access lists let the service in.
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o440)).unwrap();
    let check = || berry(&["check", "--config", &folder.config_text()]);
    let ended = Ended::of(check().env("CREDENTIALS_DIRECTORY", &credentials).output().unwrap());
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(!ended.stderr.contains("key file"), "{}", ended.stderr);
    assert_eq!(Ended::of(check().output().unwrap()).status, Some(1));
}

#[test]
fn what_cannot_be_sealed_or_opened_changes_nothing_and_names_the_remedy() {
    let folder = Folder::with(&config("http://127.0.0.1:9", &[("m", "m")], ""));
    let before = text(&folder);
    let fails = |arguments: &[&str], status: i32, part: &str| {
        let ended = secret(&folder, arguments);
        assert_eq!(ended.status, Some(status), "{ended:?}");
        assert!(ended.stderr.contains(part) && ![KEY, TOKEN].iter().any(|s| ended.stderr.contains(s)), "{ended:?}");
    };
    fails(&["seal", "--all"], 1, "berry secret keygen");
    fails(&["rotate"], 1, "berry secret keygen");
    fails(&["seal"], 2, "--field");
    fails(&["seal", "--field", "providers.mock.api_kye"], 1, "did you mean `providers.mock.api_key`?");
    assert_eq!(text(&folder), before);
    // Sealed with a key that is gone.
    done(&secret(&folder, &["keygen"]));
    done(&secret(&folder, &["seal", "--all"]));
    std::fs::remove_file(folder.path().join("berry.key")).unwrap();
    done(&secret(&folder, &["keygen"]));
    let sealed = text(&folder);
    fails(&["reveal", "--field", "users.root.token"], 1, "`users.root.token` is sealed with a key that is not");
    fails(&["rotate"], 1, "is sealed with a key that is not");
    assert_eq!(text(&folder), sealed);
    let serve = run(&["serve", "--config", &folder.config_text()]);
    assert_eq!(serve.status, Some(78));
    assert!(serve.stderr.contains("`api_key` is sealed") && !serve.stderr.contains("sealed:v1"), "{}", serve.stderr);
    std::fs::write(folder.config(), format!("[providers.a\napi_key = \"{KEY}\"\n")).unwrap();
    fails(&["seal", "--all"], 78, "this is no TOML");
}

#[test]
fn a_new_token_lets_its_user_in_by_the_lines_that_come_with_it() {
    let ended = run(&["token", "new", "--user", "carol"]);
    done(&ended);
    let token = ended.stdout.lines().next().unwrap();
    let random = token.strip_prefix("berry-").unwrap();
    assert!(random.len() >= 43 && random.bytes().all(|b| b.is_ascii_alphanumeric()), "{token}");
    let lines = ended.stdout.split_once("\n\n").unwrap().1;
    assert!(lines.contains("[users.carol]\n") && !lines.contains(token), "{lines}");
    assert_ne!(token, run(&["token", "new"]).stdout.lines().next().unwrap());

    let folder = Folder::with(&config("http://127.0.0.1:9", &[("m", "m")], lines));
    let running = Running::serve(&folder);
    let (data, _) = running.addresses();
    assert_eq!(get(&data, "/v1/models", Some(token)).status, 200);
    assert_eq!(running.end(), Some(0));
}

#[test]
fn token_hash_reads_a_token_and_prints_the_line_for_it() {
    let hash = |input: &str| {
        let mut command = berry(&["token", "hash"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ended::of(child.wait_with_output().unwrap())
    };
    let ended = run(&["token", "new"]);
    let token = ended.stdout.lines().next().unwrap();
    for input in [token.to_owned(), format!("{token}\n"), format!("{token}\r\n")] {
        let line = hash(&input).stdout;
        assert!(line.starts_with("token_hash = \"sha256:") && ended.stdout.ends_with(&line), "{line}");
    }
    for refused in ["", "tiny", "white space in it, and long"] {
        let ended = hash(refused);
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""));
        assert!(ended.stderr.contains("help:") && (refused.is_empty() || !ended.stderr.contains(refused)), "{ended:?}");
    }
}
