//! Sealed values of a file: they load as if they stood in clear, and what keeps one from it is told without a byte of it.

#![expect(clippy::unwrap_used, reason = "helpers of tests; a panic is how a test fails")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use berry_config::{Colour, Keyring, Loaded, SecretFields, Severity, load_file, render, user_lines};
use berry_vocab::Secret;
use proptest::prelude::*;
use tempfile::TempDir;

const CLEAR: &str = r#"# Ours.
[providers.openai]
base_url = "https://api.openai.com/v1"
api_key = "sk-live-7c41f0b2d9a3e856" # the first
api_keys = [
    'sk-live-1f0b2d9a3e856aa1', # the second
    "sk-live-2d9a3e856aa15f00",
]
proxy_url = "http://user:pass@proxy.internal:3128"
headers = { x-team = "blue", "x-more" = """
gre\
en""" }

[providers.local]
base_url = "http://127.0.0.1:11434/v1"
api_key = ""

[models.gpt]
backends = [{ provider = "openai", model = "gpt-4o" }, { provider = "local", model = "l" }]

[users."me.too"]
token = "berry-5b1d9e0a7c42f86e13d0b7"
"#;

/// A folder with a configuration and a key file.
struct Folder(TempDir);

impl Folder {
    fn with(text: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("config.toml", text);
        folder.write("berry.key", &ring(1).to_text());
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn load(&self) -> Loaded {
        load_file(&self.path("config.toml"))
    }

    fn fields(&self) -> SecretFields {
        SecretFields::read(&self.path("config.toml")).unwrap()
    }

    /// The file with every secret sealed.
    fn seal(&self) -> String {
        let sealed = self.fields().rewritten(|field| ring(1).seal(&field.path, &field.text).map(Secret::new));
        self.write("config.toml", &sealed);
        sealed.to_string()
    }

    /// Message, remedy and line of each error.
    fn errors(&self) -> Vec<(String, String, usize)> {
        let loaded = self.load();
        let told = render(&loaded.problems, &loaded.origin, Colour::Never);
        let text = std::fs::read_to_string(self.path("config.toml")).unwrap();
        for value in text.split("sealed:v1:").skip(1) {
            let shown = value.split('"').next().unwrap();
            assert!(shown.len() < 12 || !told.contains(&shown[..12]), "{told}");
        }
        loaded.errors().map(|problem| (problem.message.clone(), problem.remedy.clone(), problem.line)).collect()
    }
}

fn ring(seed: u8) -> Keyring {
    Keyring::new([seed; 32].into())
}

#[test]
fn a_sealed_file_loads_as_the_clear_one() {
    let folder = Folder::with(CLEAR);
    let clear = folder.load();
    let sealed = folder.seal();
    for secret in ["sk-live", "pass@", "blue", "berry-5b1d"] {
        assert!(!sealed.contains(secret), "{sealed}");
    }
    let loaded = folder.load();
    assert_eq!(loaded.problems, []);
    let (clear, loaded) = (clear.config.unwrap(), loaded.config.unwrap());
    assert_eq!(loaded.providers[0].api_keys, clear.providers[0].api_keys);
    assert_eq!(loaded.providers[0].headers, clear.providers[0].headers);
    assert_eq!(loaded.users[0].token, clear.users[0].token);
    assert!(loaded.providers[0].connection.proxy.is_some());
}

#[test]
fn sealing_changes_nothing_but_the_values() {
    for text in [CLEAR.to_owned(), format!("\u{feff}{}", CLEAR.replace('\n', "\r\n"))] {
        let folder = Folder::with(&text);
        let sealed = folder.seal();
        let rest = |text: &str| -> Vec<String> {
            let whole = text.lines().filter(|line| !line.contains("sk-live") && !line.contains("sealed:"));
            whole.map(str::to_owned).collect()
        };
        let kept = rest(&sealed);
        assert!(sealed.contains(" # the first") && sealed.contains("\", # the second"), "{sealed}");
        assert!(kept.iter().all(|line| text.contains(line.as_str())), "{sealed}");
        assert!(sealed.contains("api_key = \"\"") && sealed.starts_with(text.lines().next().unwrap()), "{sealed}");
    }
}

#[test]
fn a_sealed_file_may_be_read_by_others_but_its_key_file_may_not() {
    let folder = Folder::with(CLEAR);
    folder.seal();
    let open = |name: &str| {
        std::fs::set_permissions(folder.path(name), std::fs::Permissions::from_mode(0o644)).unwrap();
        folder.load().problems.into_iter().map(|problem| (problem.severity, problem.message)).collect::<Vec<_>>()
    };
    assert_eq!(open("config.toml"), []);
    let told = open("berry.key");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0 == Severity::Warning && told[0].1.contains("key file"), "{told:?}");
}

#[test]
fn a_missing_or_wrong_key_file_is_told_with_field_line_and_remedy() {
    let folder = Folder::with(CLEAR);
    folder.seal();
    let first = |folder: &Folder| folder.errors()[0].clone();
    std::fs::remove_file(folder.path("berry.key")).unwrap();
    let (message, remedy, line) = first(&folder);
    assert!(message.starts_with("`api_key` is sealed, and there is no key file") && line == 4, "{message}");
    assert!(remedy.contains("key_file") && remedy.contains("berry secret keygen"), "{remedy}");
    folder.write("berry.key", "a password");
    assert!(first(&folder).0.ends_with("is no key file"));
    folder.write("berry.key", &ring(2).to_text());
    let (message, remedy, line) = first(&folder);
    assert!(message.contains("with a key that is not in the key file") && line == 4, "{message}");
    assert!(remedy.contains("berry secret seal --field providers.openai.api_key"), "{remedy}");
    assert_eq!(folder.errors().len(), 7, "one for each value, and none that follows from it");
}

#[test]
fn a_value_that_was_moved_or_cut_is_told_with_field_line_and_remedy() {
    let folder = Folder::with(CLEAR);
    let sealed = folder.seal();
    folder.write("config.toml", &sealed.replace("providers.openai", "providers.renamed"));
    let (message, remedy, line) = folder.errors()[0].clone();
    assert!(message.contains("for another field") && line == 4, "{message}");
    assert!(remedy.contains("--field providers.renamed.api_key"), "{remedy}");
    let value = sealed.lines().nth(3).unwrap().split('"').nth(1).unwrap();
    folder.write("config.toml", &sealed.replace(value, &value[..40]));
    assert!(folder.errors()[0].0.ends_with("cut short or damaged"), "{:?}", folder.errors());
}

#[test]
fn the_key_file_may_be_named_after_the_values_that_it_opens() {
    let folder = Folder::with(CLEAR);
    let sealed = folder.seal();
    std::fs::rename(folder.path("berry.key"), folder.path("elsewhere")).unwrap();
    folder.write("config.toml", &format!("{sealed}[security]\nkey_file = \"elsewhere\"\n"));
    assert_eq!(folder.load().problems, []);
    assert_eq!(folder.fields().key_file(), folder.path("elsewhere"));
}

#[test]
fn fields_are_found_by_path_by_list_and_by_table() {
    let fields = Folder::with(CLEAR).fields();
    let count = |path: &str| fields.under(path).map(|found| found.len());
    assert_eq!(count("providers.openai.api_key"), Ok(1));
    assert_eq!(count("providers.openai.api_keys"), Ok(2));
    assert_eq!(count("providers.openai.api_keys[1]"), Ok(1));
    assert_eq!(count("providers.openai"), Ok(6));
    assert_eq!(count("users.\"me.too\".token"), Ok(1));
    assert_eq!(count("providers.openai.api_kee"), Err("did you mean `providers.openai.api_key`?".to_owned()));
    assert!(count("providers.local.api_key").is_err(), "there is no secret in an empty string");
}

#[test]
fn the_lines_of_a_user_load() {
    let user = user_lines("me & you", "berry-0f1d9e0a7c42f86e13d0b7");
    let folder = Folder::with(&format!("{CLEAR}{user}"));
    assert_eq!(folder.load().problems, []);
    assert!(!user.contains("berry-"), "{user}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_in_any_header_comes_back_from_a_sealed_file(key in "[a-z]{1,9}", text in "[ -~]{1,40}") {
        let quoted = berry_config::quoted(&text);
        let head = "[providers.a]\nbase_url = \"http://127.0.0.1:1\"\n[models.m]\nbackends = [{ provider = \"a\", model = \"m\" }]\n";
        let user = "[users.u]\ntoken = \"berry-5b1d9e0a7c42f86e13d0b7\"\n";
        let folder = Folder::with(&format!("{head}{user}[providers.a.headers]\nx-{key} = {quoted} # kept\n"));
        let clear = folder.load().config.map(|config| config.providers[0].headers.clone());
        let sealed = folder.seal();
        prop_assert_eq!(folder.load().config.map(|config| config.providers[0].headers.clone()), clear);
        prop_assert!(sealed.ends_with(" # kept\n"));
    }
}
