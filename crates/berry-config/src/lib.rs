//! The configuration: TOML → Raw → [`Config`]. All problems are found at once, each with its line, the line itself and the remedy;
//! the checked types cannot hold what is illegal.
//!
//! It knows the file's tables and how they hang together. It must not know the runtime, HTTP, or what anyone does with the values.

mod check;
mod checked;
mod config;
mod file_mode;
mod headers;
mod instant;
mod key_file;
mod listen;
mod load;
mod mask;
mod problem;
mod proxy_url;
mod raw;
mod reader;
mod redacted;
mod registry;
mod render;
mod rule;
mod schema;
mod seal;
mod secret_fields;
mod secret_text;
mod shown;
mod source;
mod starter;
mod table;

pub use config::{
    Admin, AskUsage, Audit, Backend, Billing, Changes, Config, Connection, Hedge, HedgeAfter, LogFormat, Model,
    Provider, ProxyScheme, ProxyUrl, RateLimit, Security, Server, Settings, Telemetry, Timeouts, TlsFiles, User,
    UserToken,
};
pub use key_file::{KeyFileFault, read_keys};
pub use listen::{ListenError, parse_listen};
pub use load::{Loaded, load, load_file};
pub use problem::{Problem, Severity};
pub use redacted::{redacted, redacted_diff};
pub use render::{Colour, render, to_json};
pub use schema::schema;
pub use seal::{Keyring, SealFault, text_hash, token_hash};
pub use secret_fields::{SecretField, SecretFields};
pub use starter::{quoted, starter, user_lines};
pub use table::storage::data_directory;
pub use table::user::check_token;
