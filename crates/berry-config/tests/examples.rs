//! Every example file of the repository loads without an error, and warns of nothing but what is listed here.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests; a panic is how a test fails")]

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berry_config::{Billing, Colour, Config, Hedge, HedgeAfter, Problem, Severity, UserToken, load, render, starter};
use berry_vocab::{ModelId, Protocol, Secret};

/// As random as those that `berry init` makes.
const TOKEN: &str = "berry-5b1d9e0a7c42f86e13d0b7";
/// That of the reference, which everybody can read: it must not be mistaken for a random one.
const PRINTED: &str = "berry-change-me-0123456789";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn examples() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn read(path: &Path) -> (Config, Vec<String>) {
    let loaded = load(&std::fs::read_to_string(path).unwrap(), path);
    let told = render(&loaded.problems, path, Colour::Never);
    let warnings = loaded.problems.iter().filter(|p| p.severity == Severity::Warning).map(|p| p.message.clone());
    let warnings = warnings.collect();
    (loaded.config.unwrap_or_else(|| panic!("{told}")), warnings)
}

/// Warnings that an example has to have: its keys and tokens are placeholders.
fn is_expected(warning: &str) -> bool {
    warning.ends_with("is a placeholder") || warning.ends_with("is an example's")
}

#[test]
fn every_example_loads_and_warns_of_its_placeholders_only() {
    assert!(!examples().is_empty());
    for path in examples() {
        let (_, warnings) = read(&path);
        let unexpected: Vec<_> = warnings.iter().filter(|warning| !is_expected(warning)).collect();
        assert!(unexpected.is_empty(), "{}: {unexpected:?}", path.display());
    }
}

/// The configurations that a document shows.
fn shown_in(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder().join("..").join(document)).unwrap();
    text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn check_warns_of_every_token_and_key_that_our_own_documents_print() {
    let mut texts: Vec<String> = examples().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for document in ["README.md", "README.zh-CN.md"] {
        let shown = shown_in(document);
        assert!(!shown.is_empty(), "{document}");
        texts.extend(shown);
    }
    for text in texts {
        let loaded = load(&text, Path::new("config.toml"));
        let ends = ["is a placeholder", "is an example's"];
        let warned = loaded.problems.iter().filter(|p| ends.iter().any(|end| p.message.ends_with(end))).count();
        let config = loaded.config.unwrap();
        let tokens = config.users.iter().filter(|user| matches!(user.token, UserToken::Plain(_))).count();
        let keys: usize = config.providers.iter().map(|provider| provider.api_keys.len()).sum();
        assert_eq!(warned, tokens + keys, "{text}");
    }
}

#[test]
fn the_reference_is_the_starter_file_of_today() {
    let path = folder().join("reference.toml");
    let now = starter(true, PRINTED);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), now, "UPDATE_GOLDEN=1 writes it anew");
}

/// The table of docs/vendors.md, from the rows.
fn table_of_vendors() -> String {
    let named = berry_wire::VENDORS.iter().filter(|vendor| !vendor.ids.is_empty());
    let rows = named.map(|vendor| {
        let ids: Vec<String> = vendor.ids.iter().map(|id| format!("`{id}`")).collect();
        let urls: Vec<String> = vendor.urls.iter().map(|(protocol, url)| format!("{protocol} `{url}`")).collect();
        format!("| {} | {} | {} |\n", vendor.name, ids.join(", "), urls.join("<br>"))
    });
    format!(
        "| vendor | `vendor =` | where, in which protocol; the first is the default |\n|---|---|---|\n{}",
        rows.collect::<String>()
    )
}

#[test]
fn the_table_of_vendors_in_the_documents_is_that_of_today() {
    let path = folder().join("../docs/vendors.md");
    let told = std::fs::read_to_string(&path).unwrap();
    let (before, table) = told.split_at(told.find("| vendor |").unwrap_or(told.len()));
    let now = table_of_vendors();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{before}{now}")).unwrap();
    } else {
        assert_eq!(table, now, "UPDATE_GOLDEN=1 writes it anew");
    }
}

#[test]
fn the_classic_file_means_what_it_says() {
    let (config, _) = read(&folder().join("berry-api-classic.toml"));
    assert_eq!(config.settings.timeouts.request, Some(Duration::from_secs(30)));
    assert_eq!(config.settings.smart_ai.timeout_penalty, 0.2);
    let ids: Vec<_> = config.providers.iter().map(|provider| provider.id.as_str()).collect();
    assert_eq!(ids, ["openai-primary", "claude"], "in the order of the file");
    assert_eq!(config.providers[0].max_retries, Some(3));
    assert_eq!(config.providers[0].headers[0].0, "x-team");
    assert_eq!(config.providers[1].protocol, Protocol::Anthropic);
    assert_eq!(config.models[0].backends[1].billing, Billing::PerRequest);
    assert_eq!(config.models[1].fallbacks, [ModelId::new("gpt-4")]);
    assert_eq!(config.users[0].allowed_models, None);
    let allowed = config.users[1].allowed_models.as_deref();
    assert_eq!(allowed, Some(&[ModelId::new("gpt-4"), ModelId::new("claude-3-sonnet")][..]));
    let requests = config.users[0].rate_limit.requests;
    let limits = [requests.per_minute, requests.per_hour, requests.per_day];
    assert_eq!(limits.map(|limit| limit.map_or(0, NonZeroU32::get)), [100, 5000, 50_000]);
}

#[test]
fn the_starter_files_load_and_warn_of_the_placeholder_key_only() {
    for advanced in [false, true] {
        let text = starter(advanced, TOKEN);
        let loaded = load(&text, Path::new("config.toml"));
        let told: Vec<_> = loaded.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(told, ["the API key of `openai` is a placeholder"]);
        let config = loaded.config.unwrap();
        assert_eq!(config.users[0].token, UserToken::Plain(Secret::new(TOKEN.to_owned())));
        assert_eq!(config.users[0].tags, ["admin"]);
    }
}

/// Every key with a default, uncommented: so each documented default is one that its own rule takes, and names a known key.
#[test]
fn every_documented_default_loads() {
    let text: String = starter(true, TOKEN)
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| is_setting(rest)).unwrap_or(line).to_owned() + "\n")
        .collect();
    let loaded = load(&text, Path::new("config.toml"));
    let told = render(&loaded.problems, Path::new("config.toml"), Colour::Never);
    let known = ["not in effect yet", "placeholder", "`hedge` has no effect"];
    let is_known = |p: &Problem| known.iter().any(|part| p.message.contains(part));
    assert!(loaded.problems.iter().all(is_known), "{told}");
    let mut config = loaded.config.unwrap();
    // The one table that means something by being there.
    let hedge: Option<Hedge> = config.models[0].hedge.take();
    assert_eq!(hedge.map(|hedge| (hedge.after, hedge.max_share)), Some((HedgeAfter::P95, 0.05)));
    let plain = load(&starter(true, TOKEN), Path::new("config.toml"));
    assert_eq!(format!("{config:?}"), format!("{:?}", plain.config.unwrap()));
}

/// `key = value # …`, or a table's header.
fn is_setting(line: &str) -> bool {
    let is_key =
        |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, value)| is_key(key) && !value.starts_with('#'))
}
