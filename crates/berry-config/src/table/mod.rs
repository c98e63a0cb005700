//! The tables of the file, one module each: its keys with rule, default and doc, and beside them how they become the checked
//! configuration. A new setting is one row here, one field of [`crate::Config`], and one line that joins them.

pub(crate) mod admin;
pub(crate) mod audit;
pub(crate) mod backend;
pub(crate) mod changes;
pub(crate) mod later;
pub(crate) mod model;
pub(crate) mod provider;
pub(crate) mod rate_limit;
pub(crate) mod security;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod smart_ai;
pub(crate) mod storage;
pub(crate) mod telemetry;
pub(crate) mod timeouts;
pub(crate) mod user;

use crate::registry::{Key, Rule, Table};

/// The file itself.
pub(crate) static ROOT: Table = Table::new(
    "Berry's configuration: who may ask, for which models, and which providers answer.",
    &[
        Key::new("server", Rule::Table(&server::TABLE), "{}", "The data listener."),
        Key::new("admin", Rule::Table(&admin::TABLE), "{}", "The admin listener, with the admin API."),
        Key::new("settings", Rule::Table(&settings::TABLE), "{}", "How requests are tried, timed and checked."),
        Key::optional("providers", Rule::Map(&provider::TABLE), "Accounts and servers that answer, by id."),
        Key::optional("models", Rule::Map(&model::TABLE), "Public models and their backends, by id."),
        Key::optional("users", Rule::Map(&user::TABLE), "Who may ask, by id."),
        Key::new("security", Rule::Table(&security::TABLE), "{}", "What holds for all users and keys."),
        Key::new("telemetry", Rule::Table(&telemetry::TABLE), "{}", "Logs."),
        Key::new("storage", Rule::Table(&storage::TABLE), "{}", "Where Berry keeps what outlives it."),
        Key::new("config", Rule::Table(&changes::TABLE), "{}", "How changes of this file come into effect."),
        Key::new("audit", Rule::Table(&audit::TABLE), "{}", "The audit log."),
        Key::optional("cache", Rule::Table(&later::CACHE), "Answers that are kept for identical requests.").later(),
        Key::optional("cluster", Rule::Table(&later::CLUSTER), "Several nodes that share limits and health.").later(),
    ],
);
