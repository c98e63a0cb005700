//! Promises of loading that no golden file shows.

use std::path::Path;
use std::time::Duration;

use berry_config::{Colour, HedgeAfter, Severity, load, load_file, render, to_json};
use berry_vocab::Protocol;
use proptest::prelude::*;

const GOOD: &str = r#"
[providers.openai]
base_url = "https://api.openai.com/v1"
api_key = "sk-live-7c41f0b2d9a3e856"
[models.gpt]
backends = [{ provider = "openai", model = "gpt-4o" }]
[users.me]
token = "berry-5b1d9e0a7c42f86e13d0b7"
"#;

fn messages(text: &str) -> Vec<String> {
    load(text, Path::new("config.toml")).problems.into_iter().map(|problem| problem.message).collect()
}

#[test]
fn a_good_file_has_no_problem_and_its_secrets_do_not_print() {
    let loaded = load(GOOD, Path::new("/etc/berry/config.toml"));
    assert_eq!(loaded.problems, []);
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("7c41f0b2d9a3e856") && !shown.contains("5b1d9e0a7c42f86e13d0b7"), "{shown}");
    let config = loaded.config.unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/berry/./data"));
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:3000");
    assert_eq!(config.server.max_body_bytes, 64 << 20);
    assert_eq!(config.providers[0].connection.pool_max_idle, 1024);
}

#[test]
fn byte_order_mark_and_windows_line_ends_are_no_problem() {
    assert_eq!(messages(&format!("\u{feff}{}", GOOD.replace('\n', "\r\n"))), [""; 0]);
    let text = format!("\u{feff}{}", GOOD.replace("\"gpt-4o\"", "1").replace('\n', "\r\n"));
    let loaded = load(&text, Path::new("config.toml"));
    assert_eq!((loaded.problems[0].line, loaded.problems[0].column), (6, 44));
}

#[test]
fn problems_as_json_have_the_fields_of_the_contract() {
    let loaded = load(&GOOD.replace("gpt-4o\"", "gpt-4o\", weight = 200"), Path::new("config.toml"));
    assert_eq!(
        to_json(&loaded.problems),
        serde_json::json!({ "problems": [{
            "severity": "error",
            "line": 6,
            "column": 63,
            "path": "models.gpt.backends[0].weight",
            "message": "`weight` is out of range",
            "remedy": "write a number above 0 and at most 100",
        }] })
    );
}

#[test]
fn colours_are_there_only_when_asked_for() {
    let loaded = load("", Path::new("config.toml"));
    assert!(!render(&loaded.problems, &loaded.origin, Colour::Never).contains('\u{1b}'));
    assert!(render(&loaded.problems, &loaded.origin, Colour::Always).contains("\u{1b}[1;31merror\u{1b}[0m"));
}

#[test]
fn secrets_are_read_from_files_beside_the_configuration_and_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "berry-5b1d9e0a7c42f86e13d0b7\r\n").unwrap();
    let text = GOOD
        .replace("\"berry-5b1d9e0a7c42f86e13d0b7\"", "{ file = \"token\" }")
        .replace("\"sk-live-7c41f0b2d9a3e856\"", "{ env = \"CARGO_PKG_NAME\" }");
    let loaded = load(&text, &folder.path().join("config.toml"));
    let config = loaded.config.unwrap();
    assert_eq!(config.providers[0].api_keys[0].expose(), "berry-config");
    assert!(format!("{:?}", config.users[0].token).contains("***"));
    assert_eq!(config.users[0].token, {
        let direct = load(GOOD, Path::new("config.toml")).config.unwrap();
        direct.users[0].token.clone()
    });
}

#[test]
fn what_is_shown_of_a_file_holds_no_secret_no_comment_and_no_unknown_key() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "sk-live-hunter4").unwrap();
    let more = "# api_key = \"sk-hunter1\"\napikey = \"sk-hunter2\"\nheaders = { x-key = \"hunter3\" }\n\
                api_keys = [\"hunter5\", { file = \"key\" }]\nproxy_url = \"http://me:hunter6@proxy:3128\"\n[models";
    let text = GOOD.replacen("[models", more, 1);
    let loaded = load(&text, &folder.path().join("config.toml"));
    assert!(loaded.config.is_some(), "{:?}", loaded.problems);
    let shown = loaded.shown.to_string();
    for secret in ["hunter", "sk-live", "berry-5b1d"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains(r#""api_key":"***""#) && shown.contains(r#""token":"***""#), "{shown}");
    assert_eq!(loaded.files, [folder.path().join("key")]);
}

#[test]
fn a_file_that_cannot_be_used_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load_file(&folder.path().join("config.toml"));
    assert!(missing.problems[0].remedy.contains("berry init"), "{:?}", missing.problems);
    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, b"# fine\nname = \"\xff\"\n").unwrap();
    assert!(load_file(&binary).problems[0].message.contains("not UTF-8, from line 2"));
    let big = folder.path().join("big.toml");
    std::fs::write(&big, vec![b'#'; (16 << 20) + 1]).unwrap();
    assert!(load_file(&big).problems[0].message.contains("bigger than 16 MiB"));
    assert!(load_file(folder.path()).config.is_none());
}

#[cfg(unix)]
#[test]
fn a_file_with_secrets_that_all_can_read_is_warned_about_and_refused_when_strict() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let severities = |text: &str, mode: u32| -> Vec<Severity> {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        load_file(&path).problems.into_iter().map(|problem| problem.severity).collect()
    };
    assert_eq!(severities(GOOD, 0o600), []);
    for open in [0o644, 0o640, 0o604] {
        assert_eq!(severities(GOOD, open), [Severity::Warning], "{open:o}");
    }
    assert_eq!(severities(&format!("{GOOD}[security]\nstrict = true\n"), 0o640), [Severity::Error]);
    // Without a secret of its own it may be read by anyone.
    let references = GOOD
        .replace("\"berry-5b1d9e0a7c42f86e13d0b7\"", "{ env = \"CARGO_MANIFEST_DIR\" }")
        .replace("\"sk-live-7c41f0b2d9a3e856\"", "{ env = \"CARGO_PKG_NAME\" }")
        .replace("api.openai.com", "models.internal");
    assert_eq!(severities(&references, 0o644), []);
}

#[cfg(unix)]
#[test]
fn a_private_key_that_others_can_read_is_warned_about_and_refused_when_strict() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    for file in [&folder.path().join("cert.pem"), &key] {
        std::fs::write(file, "").unwrap();
    }
    let told = |tail: &str, mode: u32| -> Vec<(Severity, String)> {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let text = format!("{GOOD}[server]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n{tail}");
        let loaded = load(&text, &folder.path().join("config.toml"));
        loaded.problems.into_iter().map(|problem| (problem.severity, problem.path)).collect()
    };
    assert_eq!(told("", 0o600), []);
    for open in [0o644, 0o640] {
        assert_eq!(told("", open), [(Severity::Warning, "server.tls_key".to_owned())], "{open:o}");
    }
    let strict = told("[security]\nstrict = true\n", 0o640);
    assert_eq!(strict, [(Severity::Error, "server.tls_key".to_owned())]);
}

#[test]
fn problems_stand_in_the_order_of_the_file_whatever_found_them() {
    // An unknown key, a key that is later, a misfit, a check over tables, and what is about no line at all.
    let text = "[settings]\nfoo = 1\n[users.me]\ntoken = \"short\"\nallowed_models = [\"x\"]\n\
                [providers.a]\nbase_url = \"http://a\"\n[admin]\nlisten = \"0.0.0.0:1\"\n[cache]\n";
    let loaded = load(text, Path::new("config.toml"));
    let lines: Vec<usize> = loaded.problems.iter().map(|problem| problem.line).collect();
    assert!(lines.is_sorted() && lines.len() >= 6, "{lines:?}");
    assert_eq!(loaded.problems[0].message, "no model is configured");
}

#[test]
fn a_problem_of_the_whole_file_shows_no_line_of_it() {
    let text = GOOD.replace("[models.gpt]\n", "").replace("backends = ", "models = [\"gpt-4o\"]\n# ");
    let loaded = load(&text, Path::new("config.toml"));
    assert_eq!(
        loaded.problems[0].render(&loaded.origin, Colour::Never),
        "error: no model is configured\n --> config.toml:1:1\n  \
         = help: add a [models.ID] table with a backend; `berry init` writes an example\n"
    );
}

#[test]
fn limits_and_hedges_are_read_and_are_off_where_nothing_is_written() {
    let plain = load(GOOD, Path::new("config.toml")).config.unwrap();
    assert_eq!((plain.settings.retry_budget_percent, plain.settings.retry_budget_per_second), (20.0, 10.0));
    assert_eq!(plain.settings.stream_keepalive, None);
    assert_eq!((plain.server.max_in_flight, plain.server.max_body_memory), (None, 1 << 30));
    assert_eq!(
        (plain.providers[0].rate_limit.concurrent_requests, plain.providers[0].adaptive_concurrency),
        (None, true)
    );
    assert_eq!((plain.models[0].rate_limit.concurrent_requests, plain.models[0].hedge), (None, None));
    let text = GOOD
        .replace(
            "[models.gpt]",
            "max_concurrent_requests = 9\nadaptive_concurrency = false\n[models.gpt]\nmax_concurrent_requests = 8",
        )
        .replace("model = \"gpt-4o\" }", "model = \"gpt-4o\" }, { provider = \"openai\", model = \"gpt-4.1\" }");
    let rest = "[server]\nmax_in_flight = 12\nmax_body_memory_bytes = \"64MiB\"\n\
                [settings]\nretry_budget_percent = 0\nretry_budget_per_second = 0.5\nstream_keepalive_seconds = 15\n";
    let loaded = load(&format!("{text}{rest}"), Path::new("config.toml"));
    assert_eq!(loaded.problems, []);
    let config = loaded.config.unwrap();
    assert_eq!((config.settings.retry_budget_percent, config.settings.retry_budget_per_second), (0.0, 0.5));
    assert_eq!(config.settings.stream_keepalive, Some(Duration::from_secs(15)));
    assert_eq!((config.server.max_in_flight, config.server.max_body_memory), (Some(12), 64 << 20));
    assert_eq!(
        (config.providers[0].rate_limit.concurrent_requests, config.providers[0].adaptive_concurrency),
        (Some(9), false)
    );
    assert_eq!(config.models[0].rate_limit.concurrent_requests, Some(8));
    for (written, after, max_share) in [
        ("{}", HedgeAfter::P95, 0.05),
        ("{ after_ms = \"p95\", max_share = 1 }", HedgeAfter::P95, 1.0),
        ("{ after_ms = 800 }", HedgeAfter::Fixed(Duration::from_millis(800)), 0.05),
    ] {
        let text = text.replace("[models.gpt]", &format!("[models.gpt]\nhedge = {written}"));
        let loaded = load(&text, Path::new("config.toml"));
        assert_eq!(loaded.problems, [], "{written}");
        let hedge = loaded.config.unwrap().models[0].hedge.unwrap();
        assert_eq!((hedge.after, hedge.max_share), (after, max_share), "{written}");
    }
}

#[test]
fn a_provider_that_names_its_vendor_needs_only_a_key() {
    let url = |lines: &str| {
        let text = GOOD.replace("base_url = \"https://api.openai.com/v1\"", lines);
        let loaded = load(&text, Path::new("config.toml"));
        assert_eq!(loaded.errors().next(), None, "{lines}");
        let provider = loaded.config.unwrap().providers.remove(0);
        (provider.protocol, provider.base_url.to_string())
    };
    let by = |protocol, url: &str| (protocol, url.to_owned());
    assert_eq!(url("vendor = \"deepseek\""), by(Protocol::OpenAi, "https://api.deepseek.com/v1"));
    assert_eq!(url("vendor = \"anthropic\""), by(Protocol::Anthropic, "https://api.anthropic.com/v1"));
    assert_eq!(url("vendor = \"kimi\""), by(Protocol::OpenAi, "https://api.moonshot.cn/v1"));
    assert_eq!(url("vendor = \"perplexity\""), by(Protocol::OpenAi, "https://api.perplexity.ai"));
    let in_anthropics = "vendor = \"deepseek\"\nbackend_type = \"anthropic\"";
    assert_eq!(url(in_anthropics), by(Protocol::Anthropic, "https://api.deepseek.com/anthropic/v1"));
    let elsewhere = "vendor = \"ollama\"\nbase_url = \"http://10.0.0.7:11434\"";
    assert_eq!(url(elsewhere), by(Protocol::OpenAi, "http://10.0.0.7:11434/v1"));
}

#[test]
fn times_and_sizes_read_as_numbers_and_as_strings() {
    for (written, millis) in
        [("30", 30_000), ("1.5", 1_500), ("\"250ms\"", 250), ("\"2m\"", 120_000), ("\"45\"", 45_000)]
    {
        let text = format!("{GOOD}[settings]\nstream_idle_timeout_seconds = {written}\n");
        let config = load(&text, Path::new("config.toml")).config.unwrap();
        assert_eq!(config.settings.timeouts.stream_idle.unwrap().as_millis(), millis, "{written}");
    }
    for (written, bytes) in [("1048576", 1 << 20), ("\"1MiB\"", 1 << 20), ("\"1MB\"", 1_000_000)] {
        let text = format!("{GOOD}[server]\nmax_body_bytes = {written}\n");
        assert_eq!(load(&text, Path::new("config.toml")).config.unwrap().server.max_body_bytes, bytes);
    }
}

#[test]
fn a_public_admin_listener_is_a_warning_once_it_is_allowed() {
    let text = format!("{GOOD}[admin]\nlisten = \"0.0.0.0:3001\"\nallow_public_without_tls = true\n");
    let loaded = load(&text, Path::new("config.toml"));
    assert!(loaded.config.is_some());
    assert_eq!(loaded.problems.len(), 1);
}

#[test]
fn very_many_problems_are_told_in_bounded_time() {
    let mut text = String::from(GOOD);
    text.push_str("[settings]\n");
    (0..4_000).for_each(|n| text.push_str(&format!("unknown_{n} = \"{n}\"\n")));
    let started = std::time::Instant::now();
    assert_eq!(messages(&text).len(), 4_000);
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    for [open, close] in [["[", "]"], ["{ a = ", " }"], ["a.", "b"]] {
        let text = format!("{GOOD}[settings]\nx = {}1{}\n", open.repeat(50_000), close.repeat(50_000));
        let _ = messages(&text);
        let dotted = format!("{GOOD}[settings.{}x]\n", "a.".repeat(50_000));
        let _ = messages(&dotted);
    }
}

#[test]
fn many_users_are_checked_in_bounded_time() {
    let mut text = String::from(GOOD);
    (0..5_000).for_each(|n| {
        text.push_str(&format!(
            "[users.u{n}]\ntoken = \"berry-5b1d9e0a7c42f86e-{n}\"\nallowed_models = [\"gpt\"]\ntags = [\"a\"]\n"
        ));
    });
    let started = std::time::Instant::now();
    assert_eq!(messages(&text), [""; 0]);
    assert!(started.elapsed().as_secs() < 20);
}

/// Bits of configuration in any order: close enough to a real file to get past the parser often.
fn tomlish() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "settings",
        "server",
        "admin",
        "providers",
        "models",
        "users",
        "a",
        "backends",
        "token",
        "api_key",
        "headers",
        "listen",
        "max_retries",
        "rate_limit",
        "expires_at",
        "weight",
        "fallbacks",
        "\"模\"",
        "base_url",
        "proxy_url",
        "security",
        "strict",
    ]);
    let values = prop::sample::select(vec![
        "1",
        "-1",
        "1.5",
        "nan",
        "true",
        "\"a\"",
        "\"\"",
        "[]",
        "[1]",
        "[\"a\"]",
        "{}",
        "{ file = \"/\" }",
        "{ env = \"\" }",
        "{ a = { b = 1 } }",
        "1979-05-27",
        "1979-05-27T07:32:00Z",
        "\"30s\"",
        "\"sealed:x\"",
        "\"http://a\"",
        "9999999999999999999999",
        "'''x\ny'''",
        "\"\\u0000\"",
        "[[1]]",
        "\"",
        "[",
        "\"::1\"",
        "\"0.0.0.0:1\"",
    ]);
    let line = (names.clone(), names, values, 0..5u8).prop_map(|(a, b, value, form)| match form {
        0 => format!("[{a}]\n"),
        1 => format!("[{a}.{b}]\n"),
        2 => format!("[[{a}.a.{b}]]\n"),
        3 => format!("{a}.{b} = {value}\n"),
        _ => format!("{a} = {value}\n"),
    });
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

fn survives(text: &str) {
    let loaded = load(text, Path::new("config.toml"));
    assert_eq!(loaded.config.is_none(), loaded.problems.iter().any(berry_config::Problem::is_error));
    let _ = render(&loaded.problems, &loaded.origin, Colour::Always);
}

proptest! {
    #[test]
    fn no_text_makes_loading_panic(text in "\\PC{0,200}|(?s).{0,60}") {
        survives(&text);
    }

    #[test]
    fn no_tomlish_text_makes_loading_panic(text in tomlish()) {
        survives(&text);
        survives(&format!("{GOOD}{text}"));
    }

    #[test]
    fn no_cut_of_a_good_file_makes_loading_panic_or_shows_a_secret(at in 0..GOOD.len(), end in "[\"'\\[=\u{0}]?") {
        let text = format!("{}{end}", &GOOD[..at]);
        let loaded = load(&text, Path::new("config.toml"));
        let told = render(&loaded.problems, &loaded.origin, Colour::Never);
        prop_assert!(!told.contains("7c41") && !told.contains("5b1d"), "{told}");
    }
}

#[test]
fn a_user_has_one_limit_of_requests_at_once_whichever_name_it_is_given_by() {
    for (keys, at_once) in [
        ("", None),
        ("max_concurrent_requests = 4", Some(4)),
        ("[users.me.rate_limit]\nconcurrent_requests = 3", Some(3)),
        ("max_concurrent_requests = 4\n[users.me.rate_limit]\nconcurrent_requests = 3", Some(3)),
        ("max_concurrent_requests = 2\n[users.me.rate_limit]\nconcurrent_requests = 3", Some(2)),
    ] {
        let loaded = load(&format!("{GOOD}{keys}"), Path::new("config.toml"));
        // Two that differ are warned of.
        assert_eq!(loaded.problems.len(), usize::from(keys.contains('[') && keys.starts_with("max")), "{keys}");
        assert_eq!(loaded.config.unwrap().users[0].rate_limit.concurrent_requests, at_once, "{keys}");
    }
}

#[test]
fn providers_and_models_may_be_limited_as_users_are() {
    let limits = "requests_per_minute = 9\ntokens_per_day = 1000";
    let text = GOOD.replace("[users.me]", &format!("[providers.openai.rate_limit]\n{limits}\n[users.me]"));
    let loaded = load(&format!("{text}[users.me.rate_limit]\n{limits}"), Path::new("config.toml"));
    assert_eq!(loaded.problems, []);
    let config = loaded.config.unwrap();
    for limits in [config.providers[0].rate_limit, config.users[0].rate_limit] {
        let counts = [limits.requests.per_minute, limits.tokens.per_minute, limits.tokens.per_day];
        assert_eq!(counts.map(|count| count.map(|count| count.get())), [Some(9), None, Some(1000)]);
    }
    let contradicting = "tokens_per_minute = 1000\ntokens_per_day = 10";
    let text = GOOD.replace("[users.me]", &format!("[providers.openai.rate_limit]\n{contradicting}\n[users.me]"));
    assert_eq!(messages(&text), ["`tokens_per_day` is less than `tokens_per_minute`"]);
}
