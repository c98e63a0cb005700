//! The way of a file: read, parse, fit to the registry, check as a whole, build.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use berry_vocab::Secret;
use serde_json::Value;

use crate::check::{self, Tables};
use crate::config::Config;
use crate::file_mode;
use crate::key_file::Keys;
use crate::mask;
use crate::problem::{Place, Problem, Problems};
use crate::raw::{self, SyntaxFault};
use crate::reader::Reader;
use crate::shown;
use crate::source::Source;
use crate::table::{admin, audit, changes, model, provider, security, server, settings, storage, telemetry, user};

/// A longer file is no configuration.
const LONGEST: u64 = 16 << 20;

/// What came of reading a configuration.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The checked configuration; `None` if, and only if, a problem is an error.
    pub config: Option<Config>,
    /// All problems, in the order of the file.
    pub problems: Vec<Problem>,
    /// The file, for messages.
    pub origin: PathBuf,
    /// The text that was read; empty where none could be.
    pub text: Secret,
    /// The files that it names, in its order. What it comes to depends on them too.
    pub files: Vec<PathBuf>,
    /// What is written in it, as JSON for people to look at: without secrets, and without keys that are not known.
    pub shown: Value,
}

impl Loaded {
    /// The problems that are errors.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.is_error())
    }
}

/// Checks a configuration. `origin` is the file that it is or would be: messages name it, and relative paths start in its folder.
pub fn load(text: &str, origin: &Path) -> Loaded {
    load_with(text, origin, false)
}

/// Reads and checks a configuration file.
pub fn load_file(path: &Path) -> Loaded {
    match read(path) {
        Ok(text) => load_with(&text, path, true),
        Err((message, remedy)) => no_file(path, message, remedy),
    }
}

/// The one problem of a file that cannot be read.
pub(crate) fn no_file(path: &Path, message: String, remedy: String) -> Loaded {
    let mut problems = Problems::default();
    problems.error(&Place::default(), message, remedy);
    finish(None, problems, &Source::new("", Vec::new()), path)
}

fn load_with(text: &str, origin: &Path, on_disk: bool) -> Loaded {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (raw, faults) = raw::parse(text);
    let base = origin.parent().unwrap_or(Path::new(""));
    let mut reader = Reader::new(base, Keys::new(&raw, base));
    let root = reader.root(&raw);
    if !faults.is_empty() {
        return broken(text, origin, &faults, reader.masks);
    }
    let shown = shown::table(&root);
    if on_disk && reader.clear_secrets {
        file_mode::check(&mut reader.problems, &Place::default(), "this file, which holds secrets,", origin);
    }
    let tables = Tables::new(root);
    check::all(&tables, &mut reader);
    let config = build(&tables, &mut reader);
    if tables.top("security").flag("strict") {
        reader.problems.be_strict();
    }
    let loaded = finish(config, reader.problems, &Source::new(text, reader.masks), origin);
    Loaded { files: reader.files, shown, ..loaded }
}

fn finish(config: Option<Config>, problems: Problems, source: &Source<'_>, origin: &Path) -> Loaded {
    let problems = problems.finish(source);
    let config = config.filter(|_| !problems.iter().any(Problem::is_error));
    let text = Secret::new(source.text().to_owned());
    Loaded { config, problems, origin: origin.to_owned(), text, files: Vec::new(), shown: Value::Null }
}

/// Only the faults of the syntax are told: what could be read of such a file would be misunderstood.
pub(crate) fn broken(
    text: &str,
    origin: &Path,
    faults: &[SyntaxFault],
    mut masks: Vec<std::ops::Range<usize>>,
) -> Loaded {
    let mut problems = Problems::default();
    let mut lines = std::collections::HashSet::new();
    let place = Source::new(text, Vec::new());
    for fault in faults {
        // One fault on a line often looks like several to the parser.
        if lines.insert(place.position(fault.span.start).0) {
            masks.extend(mask::broken_line(text, fault.span.start));
            let at = Place { path: String::new(), span: fault.span.clone() };
            problems.error(&at, format!("this is no TOML: {}", fault.message), remedy(&fault.message));
        }
    }
    finish(None, problems, &Source::new(text, masks), origin)
}

fn remedy(message: &str) -> &'static str {
    if message.contains("duplicate") {
        "keep one of the two: a key or table may be written once"
    } else {
        "write `key = value` with strings in quotes, tables as [name], and lists as [\"a\", \"b\"]"
    }
}

fn build(tables: &Tables, reader: &mut Reader<'_>) -> Option<Config> {
    let server = server::build(&tables.top("server"), reader);
    let admin = admin::build(&tables.top("admin"), reader);
    let telemetry = telemetry::build(&tables.top("telemetry"), reader);
    // No short cut at the first that fails: each reports its own problems.
    let providers: Vec<_> = tables.providers.iter().map(|table| provider::build(table, reader)).collect();
    let users: Vec<_> = tables.users.iter().map(|table| user::build(table, &tables.names, reader)).collect();
    Some(Config {
        settings: settings::build(&tables.top("settings")),
        server,
        admin,
        security: security::build(&tables.top("security")),
        telemetry,
        data_dir: storage::build(&tables.top("storage"), reader),
        audit: audit::build(&tables.top("audit")),
        changes: changes::build(&tables.top("config")),
        providers: providers.into_iter().collect::<Option<_>>()?,
        models: tables.models.iter().map(|table| model::build(table, &tables.names)).collect(),
        users: users.into_iter().collect::<Option<_>>()?,
    })
}

/// The text of a configuration file, or what is wrong with the file and the remedy.
pub(crate) fn read(path: &Path) -> Result<String, (String, String)> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err((
            format!("there is no configuration file {shown}"),
            "write one with `berry init`, or name another with --config or CONFIG_PATH".to_owned(),
        )),
        Err(error) => Err((
            format!("the configuration file {shown} cannot be read: {error}"),
            "name a file that Berry may read with --config or CONFIG_PATH".to_owned(),
        )),
        Ok(_) if bytes.len() as u64 > LONGEST => {
            Err((format!("{shown} is bigger than 16 MiB"), "name a configuration file: this is none".to_owned()))
        }
        Ok(_) => String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
            (format!("{shown} is not UTF-8, from line {line} on"), "save the file in UTF-8".to_owned())
        }),
    }
}
