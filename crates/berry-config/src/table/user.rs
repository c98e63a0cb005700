//! `[users.ID]`

use berry_vocab::{Secret, UserId};

use crate::check::names::ModelNames;
use crate::checked::Checked;
use crate::config::{User, UserToken};
use crate::reader::Reader;
use crate::registry::{ANY_WHOLE, Key, Rule, Table};
use crate::table::rate_limit;

/// Bytes of the shortest token.
const SHORTEST: usize = 16;

pub(crate) static TABLE: Table = Table::new(
    "Who may ask.",
    &[
        Key::optional("name", Rule::Text, "Name for people. Unset: the id."),
        Key::optional(
            "token",
            Rule::Secret,
            "What the user proves itself with: at least 16 bytes, no white space. This or `token_hash`.",
        ),
        Key::optional("token_hash", Rule::Secret, "`sha256:` and 64 hex digits: the SHA-256 of the token."),
        Key::new("allowed_models", Rule::Texts, "[]", "Models that it may use, by public name or id; empty: all."),
        Key::new("enabled", Rule::Flag, "true", "Whether it may do anything."),
        Key::new(
            "tags",
            Rule::Texts,
            "[]",
            "Which tagged backends it may use; without tags: all. `admin` opens the admin API.",
        ),
        Key::new("can_force_backend", Rule::Flag, "false", "Whether its requests may name a provider."),
        Key::optional("expires_at", Rule::Instant, "When its token ends. Unset: never."),
        Key::optional("rate_limit", Rule::Table(&rate_limit::TABLE), "What it may ask for in a time."),
        Key::new("allowed_ips", Rule::Nets, "[]", "Addresses that it may come from; empty: all.").refused(),
        Key::optional(
            "max_concurrent_requests",
            Rule::Whole(1, ANY_WHOLE),
            "Requests at once, as `concurrent_requests` in `rate_limit`; where both are given the smaller one holds. Unset: \
             no limit.",
        ),
    ],
);

pub(crate) fn build(t: &Checked, names: &ModelNames, reader: &mut Reader<'_>) -> Option<User> {
    let allowed = t.strings("allowed_models");
    Some(User {
        id: UserId::new(&t.id),
        name: t.text("name").unwrap_or_else(|| t.id.clone()),
        token: token(t, reader)?,
        allowed_models: if allowed.is_empty() { None } else { Some(names.find_all(&allowed)) },
        enabled: t.flag("enabled"),
        tags: t.strings("tags"),
        can_force_backend: t.flag("can_force_backend"),
        expires_at: t.instant("expires_at"),
        rate_limit: rate_limit::of(t),
    })
}

fn token(t: &Checked, reader: &mut Reader<'_>) -> Option<UserToken> {
    match (t.secret("token"), t.secret("token_hash")) {
        (Some(token), None) => plain(t, reader, token),
        (None, Some(hash)) => hashed(t, reader, &hash),
        (Some(_), Some(_)) => {
            let remedy = "keep one of them";
            reader.problems.error(&t.at("token_hash"), "`token` and `token_hash` are both given", remedy);
            None
        }
        (None, None) => {
            // A token that did not fit is reported already; the configuration is lost either way.
            let remedy = "add `token = \"…\"` with at least 16 random bytes, or `token_hash = \"sha256:…\"`";
            if !reader.problems.has_error_under(&t.place.path, &["token", "token_hash"]) {
                reader.problems.error(&t.place, format!("user `{}` has no token", t.id), remedy);
            }
            None
        }
    }
}

fn plain(t: &Checked, reader: &mut Reader<'_>, token: Secret) -> Option<UserToken> {
    if let Err(fault) = check_token(token.expose()) {
        let remedy = "write at least 16 bytes without white space; `berry init` makes a random one";
        reader.problems.error(&t.at("token"), format!("`token` {fault}"), remedy);
        return None;
    }
    Some(UserToken::Plain(token))
}

/// Whether a text can be a user's token; if not, what is wrong with it.
pub fn check_token(text: &str) -> Result<(), &'static str> {
    if text.len() < SHORTEST {
        Err("is shorter than 16 bytes")
    } else if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Err("holds white space or control characters")
    } else {
        Ok(())
    }
}

fn hashed(t: &Checked, reader: &mut Reader<'_>, hash: &Secret) -> Option<UserToken> {
    let digest = hash.expose().strip_prefix("sha256:").and_then(digest);
    if digest.is_none() {
        let remedy = "write `sha256:` and the 64 hex digits of the token's SHA-256";
        reader.problems.error(&t.at("token_hash"), "`token_hash` is no SHA-256", remedy);
    }
    digest.map(UserToken::Sha256)
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}
