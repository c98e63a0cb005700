//! Tokens and keys that are weak, copied from an example, unlike the vendor's, or sent in clear (security rule E6).

use std::net::IpAddr;

use berry_wire::key_warning;

use crate::check::Tables;
use crate::checked::Checked;
use crate::problem::Problems;
use crate::table::provider;

/// Parts of words that stand in examples and not in random tokens. Whatever our own documents print holds one of them: anybody
/// can read it there (`tests/examples.rs` sees to that).
const EXAMPLES: &[&str] = &[
    "change-me",
    "changeme",
    "change_me",
    "choose-a",
    "example",
    "placeholder",
    "replace",
    "your-",
    "your_",
    "yourtoken",
    "yourkey",
    "secret-token",
    "insert",
    "dummy",
    "<",
    "...",
    "…",
];

pub(crate) fn check(tables: &Tables, problems: &mut Problems) {
    for user in &tables.users {
        let token = user.secret("token").filter(|token| !token.is_empty());
        if let Some(why) = token.and_then(|token| weakness(token.expose())) {
            let remedy = "write a random one, as `berry init` makes";
            problems.secret_warning(&user.at("token"), format!("the token of `{}` {why}", user.id), remedy);
        }
    }
    for provider in &tables.providers {
        keys(provider, problems);
        clear_text(provider, problems);
    }
}

fn keys(table: &Checked, problems: &mut Problems) {
    let url = provider::url(table);
    let keys = provider::keys(table);
    let sends_headers = !table.headers("headers").is_empty();
    if let Some(vendor) = provider::vendor(table).filter(|vendor| vendor.needs_key && keys.is_empty() && !sends_headers)
    {
        let message = format!("`{}` has no key, and {} answers nobody without one", table.id, vendor.name);
        problems.warning(&table.place, message, "add `api_key = \"…\"`");
    }
    for key in keys {
        let text = key.value.expose();
        if is_example(text) {
            let message = format!("the API key of `{}` is a placeholder", table.id);
            problems.secret_warning(&key.place, message, "write the key that the vendor gave you");
        } else if let Some(warning) = url.as_ref().and_then(|url| key_warning(url, text)) {
            problems.warning(&key.place, warning, "check that the key belongs to this provider");
        }
    }
}

/// Whatever crosses the internet in clear.
fn clear_text(table: &Checked, problems: &mut Problems) {
    if provider::url(table).is_some_and(|url| !url.is_tls() && is_public(url.host())) {
        let message = format!("prompts, answers and the key of `{}` cross the network in clear text", table.id);
        problems.secret_warning(&table.at("base_url"), message, "write https:// instead of http://");
    }
}

/// Why a token is easy to guess, if it is.
fn weakness(token: &str) -> Option<&'static str> {
    if is_example(token) {
        return Some("is an example's");
    }
    let mut characters: Vec<char> = token.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    if characters.len() < 6 {
        return Some("repeats a few characters");
    }
    let lower = token.to_ascii_lowercase();
    let runs = ["0123456789", "1234567890", "abcdefghij", "qwertyuiop", "password"];
    runs.iter().any(|run| lower.contains(run)).then_some("is easy to guess")
}

fn is_example(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    EXAMPLES.iter().any(|part| lower.contains(part)) || lower.contains("xxxx")
}

/// Whether a host lies beyond the own network, as far as its name tells.
fn is_public(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()),
        Ok(IpAddr::V6(ip)) => {
            !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified())
        }
        Err(_) => {
            let local = [".localhost", ".local", ".internal", ".lan", ".home.arpa", ".svc", ".test"];
            host.contains('.') && !local.iter().any(|end| host.to_ascii_lowercase().ends_with(end))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_and_repetitive_tokens_are_weak_and_random_ones_are_not() {
        for weak in [
            "your-token-here-please",
            "change-me-change-me",
            "aaaaaaaaaaaaaaaaaaaa",
            "abababababababab",
            "berry-1234567890-x",
        ] {
            assert!(weakness(weak).is_some(), "{weak}");
        }
        assert_eq!(weakness("berry-7f3a9c21d04be85f6a1c"), None);
    }

    #[test]
    fn hosts_of_the_own_network_are_not_public() {
        for host in ["127.0.0.1", "10.1.2.3", "192.168.0.9", "::1", "fd00::1", "localhost", "ollama", "gpu.internal"] {
            assert!(!is_public(host), "{host}");
        }
        for host in ["8.8.8.8", "api.openai.com", "2606:4700::1111"] {
            assert!(is_public(host), "{host}");
        }
    }
}
