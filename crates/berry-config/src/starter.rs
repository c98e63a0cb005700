//! The starter file of `berry init`. The short one is a form to fill in; the advanced one is written from the registries, every
//! key with its doc and default, so that it can never go stale.

use std::fmt::Write as _;

use crate::registry::{Default, Effect, Key, Rule, Table};
use crate::rule;
use crate::table::ROOT;

/// A commented configuration that loads: one provider, one model, one user with this token, who may also use the dashboard.
///
/// The token should be random: who calls this makes it. `advanced` shows every key, commented out with its default.
pub fn starter(advanced: bool, token: &str) -> String {
    let token = quoted(token);
    if advanced {
        reference(&token)
    } else {
        format!("{HEAD}\n{FORM}\n{USER}token = {token}\ntags = [\"admin\"]\n")
    }
}

const HEAD: &str = "\
# Berry's configuration. `berry check` tells whether it is good; `berry init --advanced` shows every key.
# A string that holds a secret may also be { file = \"key.txt\" } or { env = \"NAME\" }.
";

const FORM: &str = "\
[server]
listen = \"127.0.0.1:3000\" # 0.0.0.0:3000 to be reached from other machines

[admin]
listen = \"127.0.0.1:3001\" # the dashboard

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
# Who may ask. Programs send the token where they would send the vendor's key; the tag `admin` opens the dashboard.
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

/// A top-level table, or an example of each table by id.
fn section(out: &mut String, key: &Key, token: &str) {
    match (key.name, key.rule) {
        ("providers", Rule::Map(table)) => keys(out, "providers.openai", table, &PROVIDER),
        ("models", Rule::Map(table)) => keys(out, "models.gpt-4o-mini", table, &[]),
        ("users", Rule::Map(table)) => keys(out, "users.me", table, &[("token", token), ("tags", "[\"admin\"]")]),
        (name, Rule::Table(table)) => keys(out, name, table, &[]),
        _ => {}
    }
}

const PROVIDER: [(&str, &str); 2] = [
    ("base_url", "\"https://api.openai.com/v1\""),
    ("api_key", "\"sk-your-openai-key\""),
];
const BACKEND: [(&str, &str); 2] = [("provider", "\"openai\""), ("model", "\"gpt-4o-mini\"")];

/// A table: its own keys first, then the tables in it. `written` are the keys that stand uncommented, with their values.
fn keys(out: &mut String, path: &str, table: &Table, written: &[(&str, &str)]) {
    let _ = writeln!(out, "\n# {}", table.doc);
    // A table of which nothing is in effect is commented out with its header.
    let idle = table.keys.is_empty()
        || path == "config"
        || path == "audit"
        || path.ends_with("rate_limit")
        || path.ends_with("hedge");
    let _ = writeln!(out, "{}[{path}]", if idle { "# " } else { "" });
    for key in table
        .keys
        .iter()
        .filter(|key| !matches!(key.rule, Rule::Table(_) | Rule::List(_)))
    {
        line(out, key, written);
    }
    for key in table.keys {
        match key.rule {
            Rule::Table(inner) => keys(out, &format!("{path}.{}", key.name), inner, &[]),
            Rule::List(inner) => keys(out, &format!("[{path}.{}]", key.name), inner, &BACKEND),
            _ => {}
        }
    }
}

fn line(out: &mut String, key: &Key, written: &[(&str, &str)]) {
    let note = match key.effect {
        Effect::Now => "",
        Effect::Later(_) => " (Not in effect yet in this version.)",
        Effect::Refused => " (Not supported yet in this version.)",
    };
    let _ = writeln!(out, "\n# {}{note}", key.doc);
    if let Some((_, value)) = written.iter().find(|(name, _)| *name == key.name) {
        let _ = writeln!(out, "{} = {value}", key.name);
        return;
    }
    let _ = match key.default {
        Default::Is(value) => writeln!(out, "# {} = {value}", key.name),
        _ => writeln!(out, "# {} = … ({})", key.name, rule::expects(&key.rule)),
    };
}

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
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
