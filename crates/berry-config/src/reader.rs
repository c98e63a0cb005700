//! From what was typed to tables whose values fit their rules: one walk over the raw tree along the registry. It reports unknown
//! keys, misfits, missing keys and keys without effect, and remembers which bytes of the file are secret.

use std::ops::Range;
use std::path::{Path, PathBuf};

use berry_vocab::{Net, Secret};

use crate::checked::{At, Checked, Entry, Got};
use crate::headers;
use crate::key_file::Keys;
use crate::problem::{Place, Problems};
use crate::raw::{RawEntry, RawNode, RawTable, RawValue};
use crate::registry::{Default, Effect, Key, Rule, Table};
use crate::rule::{self, Misfit};
use crate::secret_fields::SecretField;
use crate::table::ROOT;

/// The walk's state.
pub(crate) struct Reader<'b> {
    pub(crate) problems: Problems,
    /// The bytes that must not be shown.
    pub(crate) masks: Vec<Range<usize>>,
    /// Whether a secret stands in the file itself.
    pub(crate) clear_secrets: bool,
    /// The secrets that stand in the file itself, in clear or sealed.
    pub(crate) secrets: Vec<SecretField>,
    pub(crate) keys: Keys,
    /// The files that are named.
    pub(crate) files: Vec<PathBuf>,
    base: &'b Path,
}

impl<'b> Reader<'b> {
    /// A walk for a file in the folder `base`, with the keys of its sealed values.
    pub(crate) fn new(base: &'b Path, keys: Keys) -> Self {
        Self {
            problems: Problems::default(),
            masks: Vec::new(),
            clear_secrets: false,
            secrets: Vec::new(),
            keys,
            files: Vec::new(),
            base,
        }
    }

    /// The whole file.
    pub(crate) fn root(&mut self, raw: &RawTable) -> Checked {
        self.table(raw, &ROOT, Place::default(), String::new())
    }

    /// A path of the file, as seen from the folder of the configuration file.
    pub(crate) fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.base.join(path)
    }

    /// Notes a file that is named, and reports one that is not there.
    pub(crate) fn must_exist(&mut self, name: &str, at: &Place, path: &Path) {
        self.files.push(path.to_owned());
        if !path.is_file() {
            let message = format!("`{name}` names no file: {}", path.display());
            self.problems.error(
                at,
                message,
                "write the path of a file, absolute or relative to the configuration file",
            );
        }
    }

    fn table(&mut self, raw: &RawTable, table: &'static Table, place: Place, id: String) -> Checked {
        let entries: Vec<Entry> = raw.entries.iter().filter_map(|entry| self.entry(entry, table, &place)).collect();
        let is_written = |name| raw.entries.iter().any(|entry| entry.key == name);
        for key in table.keys.iter().filter(|key| !is_written(key.name)) {
            let or = match key.default {
                Default::Required => String::new(),
                Default::RequiredWithout(other) if !is_written(other) => format!(", or `{other} = …`"),
                _ => continue,
            };
            let what = if place.path.is_empty() { String::new() } else { format!(" in [{}]", place.path) };
            let remedy = format!("add `{} = …`: {}{or}", key.name, rule::expects(&key.rule));
            self.problems.error(&place, format!("`{}` is missing{what}", key.name), remedy);
        }
        Checked { id, place, table, entries }
    }

    fn entry(&mut self, raw: &RawEntry, table: &'static Table, parent: &Place) -> Option<Entry> {
        let key_place = Place { path: join(&parent.path, &raw.key), span: raw.key_span.clone() };
        let Some(key) = table.find(&raw.key) else {
            self.hide_texts(&raw.node);
            if !table.open {
                self.unknown(&raw.key, table, &key_place);
            }
            return None;
        };
        // Tables are pointed at by their names: their own bytes may be spread over the file.
        let is_table = match &raw.node.value {
            RawValue::Table(_) => !matches!(key.rule, Rule::Secret),
            RawValue::List(list) => matches!(key.rule, Rule::List(_)) && !list.is_empty(),
            _ => false,
        };
        let span = if is_table { &raw.key_span } else { &raw.node.span };
        let place = Place { path: key_place.path.clone(), span: span.clone() };
        let got = self.value(key, &raw.node, &place);
        self.effect(key, &key_place);
        got.map(|got| Entry { key, place, got })
    }

    fn value(&mut self, key: &'static Key, node: &RawNode, place: &Place) -> Option<Got> {
        match (&key.rule, &node.value) {
            (Rule::Table(table), RawValue::Table(raw)) => {
                Some(Got::Table(self.table(raw, table, place.clone(), String::new())))
            }
            (Rule::Map(table), RawValue::Table(raw)) => Some(self.map(raw, table, &place.path)),
            (Rule::List(table), RawValue::List(list)) => Some(self.list(list, table, place)),
            (Rule::Secret, _) => self.secret(key.name, node, place).map(Got::Secret),
            (Rule::Secrets, RawValue::List(list)) => Some(self.secrets(key.name, list, place)),
            (Rule::Texts | Rule::HeaderNames | Rule::Nets, RawValue::List(list)) => Some(self.texts(key, list, place)),
            (Rule::Headers, RawValue::Table(raw)) => Some(self.headers(raw, place)),
            (rule, value) => {
                if matches!(rule, Rule::Secrets | Rule::Headers) {
                    self.masks.push(node.span.clone());
                }
                rule::plain(rule, value).map_err(|misfit| self.misfit(key.name, place, misfit)).ok()
            }
        }
    }

    fn map(&mut self, raw: &RawTable, table: &'static Table, path: &str) -> Got {
        let mut tables = Vec::new();
        for entry in &raw.entries {
            let place = Place { path: join(path, &entry.key), span: entry.key_span.clone() };
            if let Err(misfit) = rule::name(&entry.key) {
                let message = format!("an id in [{path}] {}", misfit.what);
                self.problems.error(&place, message, misfit.remedy);
            }
            match &entry.node.value {
                RawValue::Table(raw) => tables.push(self.table(raw, table, place, entry.key.clone())),
                value => {
                    self.hide_texts(&entry.node);
                    let remedy = format!("write a table: [{}]", place.path);
                    self.problems.error(&place, format!("`{}` cannot be {}", entry.key, value.kind()), remedy);
                }
            }
        }
        Got::Tables(tables)
    }

    fn list(&mut self, list: &[RawNode], table: &'static Table, place: &Place) -> Got {
        let mut tables = Vec::new();
        for (index, node) in list.iter().enumerate() {
            let place = Place { path: format!("{}[{index}]", place.path), span: node.span.clone() };
            match &node.value {
                RawValue::Table(raw) => tables.push(self.table(raw, table, place, String::new())),
                value => {
                    self.hide_texts(node);
                    self.problems.error(&place, format!("an entry cannot be {}", value.kind()), "write a table");
                }
            }
        }
        Got::Tables(tables)
    }

    fn texts(&mut self, key: &'static Key, list: &[RawNode], place: &Place) -> Got {
        let mut texts = Vec::new();
        for (index, node) in list.iter().enumerate() {
            let place = Place { path: format!("{}[{index}]", place.path), span: node.span.clone() };
            match item(&key.rule, &node.value) {
                Ok(value) => texts.push(At { value, place }),
                Err(misfit) => self.misfit(key.name, &place, misfit),
            }
        }
        Got::Texts(texts)
    }

    fn secrets(&mut self, name: &str, list: &[RawNode], place: &Place) -> Got {
        let mut secrets = Vec::new();
        for (index, node) in list.iter().enumerate() {
            let place = Place { path: format!("{}[{index}]", place.path), span: node.span.clone() };
            if let Some(value) = self.secret(name, node, &place) {
                secrets.push(At { value, place });
            }
        }
        Got::Secrets(secrets)
    }

    fn headers(&mut self, raw: &RawTable, parent: &Place) -> Got {
        let mut found: Vec<(At<String>, Secret)> = Vec::new();
        for entry in &raw.entries {
            let name_place = Place { path: join(&parent.path, &entry.key), span: entry.key_span.clone() };
            let place = Place { path: name_place.path.clone(), span: entry.node.span.clone() };
            let value = self.secret(&entry.key, &entry.node, &place);
            let name = entry.key.to_ascii_lowercase();
            if let Err(misfit) = headers::extra(&name) {
                self.misfit(&entry.key, &name_place, misfit);
            } else if found.iter().any(|(known, _)| known.value == name) {
                let remedy = "keep one of them: header names are the same in any case";
                self.problems.error(&name_place, format!("header `{name}` is given twice"), remedy);
            } else if let Some(value) = value {
                if let Err(misfit) = headers::value(value.expose()) {
                    self.misfit(&entry.key, &place, misfit);
                }
                found.push((At { value: name, place }, value));
            }
        }
        Got::Headers(found)
    }

    pub(crate) fn misfit(&mut self, name: &str, place: &Place, misfit: Misfit) {
        self.problems.error(place, format!("`{name}` {}", misfit.what), misfit.remedy);
    }

    fn effect(&mut self, key: &Key, place: &Place) {
        if let Effect::Later(what) = key.effect {
            let message = format!("`{}` is accepted but not in effect yet in this version", key.name);
            self.problems.warning(place, message, what);
        }
    }

    fn unknown(&mut self, name: &str, table: &'static Table, place: &Place) {
        let remedy = match (table.nearest(name), home(name)) {
            (None, Some(home)) => format!("it belongs in [{home}]"),
            _ => rule::suggestion(name, table.keys.iter().map(|key| key.name)),
        };
        self.problems.warning(place, format!("unknown key `{name}` is ignored"), remedy);
    }

    /// Whatever an unknown key holds may be a secret under a mistyped name.
    fn hide_texts(&mut self, node: &RawNode) {
        match &node.value {
            RawValue::Text(_) => self.masks.push(node.span.clone()),
            RawValue::List(list) => list.iter().for_each(|node| self.hide_texts(node)),
            RawValue::Table(table) => table.entries.iter().for_each(|entry| self.hide_texts(&entry.node)),
            _ => {}
        }
    }
}

fn item(rule: &Rule, value: &RawValue) -> Result<String, Misfit> {
    let RawValue::Text(text) = value else {
        return Err(rule::wrong_type(rule, value));
    };
    match rule {
        Rule::HeaderNames => headers::crossing(&text.to_ascii_lowercase()).map(|()| text.to_ascii_lowercase()),
        Rule::Nets if Net::parse(text).is_none() => {
            Err(Misfit::new("holds what is no address or network", format!("write {}", rule::expects(rule))))
        }
        _ => rule::name(text).map(|_| text.clone()),
    }
}

/// The top-level table in which a key of this name is known.
fn home(name: &str) -> Option<String> {
    ROOT.keys.iter().find_map(|key| match key.rule {
        Rule::Table(table) if table.find(name).is_some() => Some(key.name.to_owned()),
        Rule::Map(table) if table.find(name).is_some_and(|key| key.name != "name") => Some(format!("{}.ID", key.name)),
        _ => None,
    })
}

/// A path one key longer; keys that TOML would quote are quoted.
pub(crate) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
