//! The starter file of `berry init`. The short one is a form to fill in; the advanced one is written from the registries, every
//! key with its doc and default, so that it can never go stale.

use std::fmt::Write as _;

use crate::reader::join;
use crate::registry::{Default, Effect, Key, Rule};
use crate::rule;
use crate::seal::token_hash;
use crate::table::ROOT;

/// A commented configuration that loads: one provider, one model, one user with this token, who may also use the admin API.
///
/// The token should be random: who calls this makes it. `advanced` shows every key, commented out with its default.
pub fn starter(advanced: bool, token: &str) -> String {
    let token = quoted(token);
    if advanced { reference(&token) } else { format!("{HEAD}\n{FORM}\n{USER}token = {token}\ntags = [\"admin\"]\n") }
}

const HEAD: &str = "\
# Berry's configuration. `berry check` tells whether it is good; `berry init --advanced` shows every key.
# A string that holds a secret may also be { file = \"key.txt\" } or { env = \"NAME\" }; `berry secret keygen` and
# `berry secret seal --all` encrypt those that stand here.
";

const FORM: &str = "\
[server]
listen = \"127.0.0.1:3000\" # 0.0.0.0:3000 to be reached from other machines

[admin]
listen = \"127.0.0.1:3001\" # the admin API

# Accounts and servers that answer. Add one for each; keyless servers (Ollama, vLLM) have no api_key.
[providers.openai]
base_url = \"https://api.openai.com/v1\"
api_key = \"sk-your-openai-key\" # put in your key

# [providers.anthropic]
# backend_type = \"anthropic\"
# base_url = \"https://api.anthropic.com\"
# api_key = \"sk-ant-your-anthropic-key\"

# Public models, and which providers can answer for them. With several backends, Berry goes on to the next when one fails.
[models.gpt-4o-mini]
# strategy = \"failover\" # the default, weighted_random, shares the traffic by weight

[[models.gpt-4o-mini.backends]]
provider = \"openai\"
model = \"gpt-4o-mini\"

# [[models.gpt-4o-mini.backends]]
# provider = \"another\"
# model = \"its-name-for-it\"
# weight = 0.5
";

const USER: &str = "\
# Who may ask. Programs send the token where they would send the vendor's key; the tag `admin` opens the admin API.
[users.me]
";

fn reference(token: &str) -> String {
    let mut out = String::from(
        "# Every key that Berry knows, with its default. What is commented out need not be written.\n\
         # Durations and sizes are numbers in the unit of the key's name, or strings like \"30s\" and \"64MiB\".\n",
    );
    for key in ROOT.keys {
        section(&mut out, key, token);
    }
    out
}

/// A top-level table, or an example of the tables by id.
fn section(out: &mut String, key: &Key, token: &str) {
    let user = [("token", token), ("tags", "[\"admin\"]")];
    let (path, written): (&str, &[(&str, &str)]) = match key.name {
        "providers" => ("providers.openai", &PROVIDER),
        "models" => ("models.gpt-4o-mini", &[]),
        "users" => ("users.me", &user),
        name => (name, &[]),
    };
    table(out, path, key, written);
}

const PROVIDER: [(&str, &str); 2] =
    [("base_url", "\"https://api.openai.com/v1\""), ("api_key", "\"sk-your-openai-key\"")];
const BACKEND: [(&str, &str); 2] = [("provider", "\"openai\""), ("model", "\"gpt-4o-mini\"")];

/// The table of a key: its own keys first, then the tables in it. `written` are the keys that stand uncommented.
fn table(out: &mut String, path: &str, key: &Key, written: &[(&str, &str)]) {
    let (inner, header) = match key.rule {
        Rule::Table(inner) | Rule::Map(inner) => (inner, format!("[{path}]")),
        Rule::List(inner) => (inner, format!("[[{path}]]")),
        _ => return,
    };
    // Where a table means something by being there, its header is commented out too.
    let only_shown = key.effect != Effect::Now || matches!((key.rule, key.default), (Rule::Table(_), Default::Unset));
    let idle = if only_shown { "# " } else { "" };
    let _ = writeln!(out, "\n# {}{}\n{idle}{header}", inner.doc, note(key.effect));
    let is_table = |key: &&Key| matches!(key.rule, Rule::Table(_) | Rule::List(_));
    for key in inner.keys.iter().filter(|key| !is_table(key)) {
        line(out, key, written);
    }
    for key in inner.keys.iter().filter(is_table) {
        table(out, &format!("{path}.{}", key.name), key, if key.name == "backends" { &BACKEND } else { &[] });
    }
}

fn line(out: &mut String, key: &Key, written: &[(&str, &str)]) {
    let _ = writeln!(out, "\n# {}{}", key.doc, note(key.effect));
    let expected = rule::expects(&key.rule);
    let given = written.iter().find(|(name, _)| *name == key.name);
    let _ = match (given, key.default) {
        (Some((_, value)), _) => writeln!(out, "{} = {value} # {expected}", key.name),
        (None, Default::Is(value)) => writeln!(out, "# {} = {value} # {expected}", key.name),
        (None, _) => writeln!(out, "# {} = # {expected}", key.name),
    };
}

fn note(effect: Effect) -> &'static str {
    match effect {
        Effect::Now => "",
        Effect::Later(_) => " (Not in effect yet in this version.)",
    }
}

/// The lines of a user that is known by this token, of which the file keeps the hash alone.
pub fn user_lines(id: &str, token: &str) -> String {
    format!("[{}]\ntoken_hash = {}\n", join("users", id), quoted(&token_hash(token)))
}

/// A text as a TOML string on one line.
pub fn quoted(text: &str) -> String {
    // With room for all of it: a secret that grew would leave copies behind.
    let mut out = String::with_capacity(text.len() + 16);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            _ if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}
