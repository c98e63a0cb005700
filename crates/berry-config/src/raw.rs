//! Raw: what was typed, each key and value with its place. Nothing is judged here beyond TOML's own syntax.

use std::ops::Range;

use toml::de::{DeInteger, DeTable, DeValue};

/// A table in the order of the file.
pub(crate) struct RawTable {
    pub(crate) entries: Vec<RawEntry>,
}

/// A key and its value.
pub(crate) struct RawEntry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) node: RawNode,
}

/// A value and the bytes that spell it.
pub(crate) struct RawNode {
    pub(crate) span: Range<usize>,
    pub(crate) value: RawValue,
}

/// What TOML knows.
pub(crate) enum RawValue {
    Text(String),
    /// Held at the ends of `i64` when it is beyond them: every range ends before.
    Whole(i64),
    Number(f64),
    Flag(bool),
    Instant(toml::value::Datetime),
    List(Vec<RawNode>),
    Table(RawTable),
}

/// A fault of TOML's syntax.
pub(crate) struct SyntaxFault {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
}

/// Reads the text as far as its syntax allows.
pub(crate) fn parse(text: &str) -> (RawTable, Vec<SyntaxFault>) {
    let (document, faults) = DeTable::parse_recoverable(text);
    let faults = faults
        .into_iter()
        .map(|fault| SyntaxFault { span: fault.span().unwrap_or(0..0), message: fault.message().to_owned() })
        .collect();
    (RawTable::new(document.get_ref()), faults)
}

/// Reads one value, as the defaults in the registries are written.
pub(crate) fn parse_value(text: &str) -> Option<RawNode> {
    let value = DeValue::parse(text).ok()?;
    Some(RawNode { span: value.span(), value: RawValue::new(value.get_ref()) })
}

// === impl RawTable ===

impl RawTable {
    fn new(table: &DeTable<'_>) -> Self {
        let mut entries: Vec<RawEntry> = table
            .iter()
            .map(|(key, value)| RawEntry {
                key: key.get_ref().to_string(),
                key_span: key.span(),
                node: RawNode { span: value.span(), value: RawValue::new(value.get_ref()) },
            })
            .collect();
        // toml's own map sorts by name.
        entries.sort_by_key(|entry| entry.key_span.start);
        Self { entries }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&RawValue> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node.value)
    }
}

// === impl RawValue ===

impl RawValue {
    fn new(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => RawValue::Text(text.to_string()),
            DeValue::Integer(number) => RawValue::Whole(whole(number)),
            DeValue::Float(number) => RawValue::Number(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => RawValue::Flag(*flag),
            DeValue::Datetime(instant) => RawValue::Instant(*instant),
            DeValue::Array(list) => RawValue::List(
                list.iter().map(|v| RawNode { span: v.span(), value: RawValue::new(v.get_ref()) }).collect(),
            ),
            DeValue::Table(table) => RawValue::Table(RawTable::new(table)),
        }
    }

    /// What it is, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            RawValue::Text(_) => "a string",
            RawValue::Whole(_) => "an integer",
            RawValue::Number(_) => "a number with a fraction",
            RawValue::Flag(_) => "a boolean",
            RawValue::Instant(_) => "a date",
            RawValue::List(_) => "an array",
            RawValue::Table(_) => "a table",
        }
    }
}

fn whole(number: &DeInteger<'_>) -> i64 {
    let beyond = if number.as_str().starts_with('-') { i64::MIN } else { i64::MAX };
    i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(beyond)
}
