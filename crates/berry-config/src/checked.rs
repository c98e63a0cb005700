//! A table whose values each fit their rule. The tables' own modules take typed values out of it and make the [`Config`]; what is
//! not written, or did not fit (which is reported already), has its default.
//!
//! [`Config`]: crate::Config

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use berry_vocab::{Net, Nets, Secret};

use crate::problem::Place;
use crate::raw;
use crate::registry::{Default, Key, Table};
use crate::rule;

/// A value with its place.
#[derive(Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// A value that fits its rule.
#[derive(Clone)]
pub(crate) enum Got {
    Flag(bool),
    Whole(i64),
    Number(f64),
    Duration(Duration),
    Bytes(u64),
    Text(String),
    Texts(Vec<At<String>>),
    Secret(Secret),
    Secrets(Vec<At<Secret>>),
    Headers(Vec<(At<String>, Secret)>),
    Listen(SocketAddr),
    Instant(i64),
    Table(Checked),
    Tables(Vec<Checked>),
}

/// A table whose values fit their rules.
#[derive(Clone)]
pub(crate) struct Checked {
    /// Its key, where the table is one of many by id.
    pub(crate) id: String,
    /// Its name in the file.
    pub(crate) place: Place,
    pub(crate) table: &'static Table,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: &'static Key,
    pub(crate) place: Place,
    pub(crate) got: Got,
}

impl Checked {
    /// A table of which nothing is written.
    pub(crate) fn empty(table: &'static Table) -> Self {
        Self { id: String::new(), place: Place::default(), table, entries: Vec::new() }
    }

    /// Whether the key is written, with a value that fits.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// Where the key's value stands; if it is not written, the table.
    pub(crate) fn at(&self, name: &str) -> Place {
        self.entry(name).map_or_else(|| self.place.clone(), |entry| entry.place.clone())
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.got(name).as_deref(), Some(Got::Flag(true)))
    }

    pub(crate) fn whole(&self, name: &str) -> Option<i64> {
        match self.got(name).as_deref() {
            Some(Got::Whole(value)) => Some(*value),
            _ => None,
        }
    }

    /// A number of things.
    pub(crate) fn count(&self, name: &str) -> Option<u32> {
        self.whole(name).and_then(|value| u32::try_from(value).ok())
    }

    /// A number that its rule keeps within a byte; 0 where there is none.
    pub(crate) fn small(&self, name: &str) -> u8 {
        self.whole(name).and_then(|value| u8::try_from(value).ok()).unwrap_or_default()
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.got(name).as_deref() {
            Some(Got::Number(value)) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        match self.got(name).as_deref() {
            Some(Got::Duration(value)) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self, name: &str) -> Option<u64> {
        match self.got(name).as_deref() {
            Some(Got::Bytes(value)) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.got(name).as_deref() {
            Some(Got::Text(value)) => Some(value.clone()),
            _ => None,
        }
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<At<String>> {
        match self.got(name).as_deref() {
            Some(Got::Texts(values)) => values.clone(),
            _ => Vec::new(),
        }
    }

    /// As [`Checked::texts`], without the places.
    pub(crate) fn strings(&self, name: &str) -> Vec<String> {
        self.texts(name).into_iter().map(|text| text.value).collect()
    }

    /// Addresses and networks.
    pub(crate) fn nets(&self, name: &str) -> Nets {
        self.texts(name).iter().filter_map(|text| Net::parse(&text.value)).collect()
    }

    pub(crate) fn secret(&self, name: &str) -> Option<Secret> {
        match self.got(name).as_deref() {
            Some(Got::Secret(value)) => Some(value.clone()),
            _ => None,
        }
    }

    pub(crate) fn secrets(&self, name: &str) -> Vec<At<Secret>> {
        match self.got(name).as_deref() {
            Some(Got::Secrets(values)) => values.clone(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<(At<String>, Secret)> {
        match self.got(name).as_deref() {
            Some(Got::Headers(values)) => values.clone(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn listen(&self, name: &str) -> Option<SocketAddr> {
        match self.got(name).as_deref() {
            Some(Got::Listen(value)) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn instant(&self, name: &str) -> Option<i64> {
        match self.got(name).as_deref() {
            Some(Got::Instant(value)) => Some(*value),
            _ => None,
        }
    }

    /// A table in this one; an empty one where it is not written.
    pub(crate) fn table(&self, name: &str, table: &'static Table) -> Checked {
        match self.got(name).as_deref() {
            Some(Got::Table(value)) => value.clone(),
            _ => Checked::empty(table),
        }
    }

    /// Tables in this one, by id or in an array.
    pub(crate) fn tables(&self, name: &str) -> Vec<Checked> {
        match self.got(name).as_deref() {
            Some(Got::Tables(values)) => values.clone(),
            _ => Vec::new(),
        }
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        debug_assert!(self.table.find(name).is_some(), "`{name}` is asked for and not registered");
        self.entries.iter().find(|entry| entry.key.name == name)
    }

    fn got(&self, name: &str) -> Option<Cow<'_, Got>> {
        if let Some(entry) = self.entry(name) {
            return Some(Cow::Borrowed(&entry.got));
        }
        default(self.table.find(name)?).map(Cow::Owned)
    }
}

/// The default of a key, as its rule reads it.
pub(crate) fn default(key: &Key) -> Option<Got> {
    let Default::Is(text) = key.default else { return None };
    rule::plain(&key.rule, &raw::parse_value(text)?.value).ok()
}
