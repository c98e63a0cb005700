//! What is written in a file, for people to look at from afar: as JSON, table by table along the registry, so that nothing gets
//! in that is not known to be no secret. Comments and unknown keys may hold a key that was put aside; they are left out.

use serde_json::{Map, Value, json};

use crate::checked::{Checked, Entry, Got};

const HIDDEN: &str = "***";

/// What is written in a table.
pub(crate) fn table(table: &Checked) -> Value {
    Value::Object(table.entries.iter().map(|entry| (entry.key.name.to_owned(), entry_value(entry))).collect())
}

fn entry_value(entry: &Entry) -> Value {
    match &entry.got {
        Got::Flag(value) => json!(value),
        Got::Whole(value) => json!(value),
        Got::Number(value) => json!(value),
        Got::Duration(value) => json!(value.as_secs_f64()),
        Got::Bytes(value) => json!(value),
        Got::Text(value) => json!(value),
        Got::Texts(values) => values.iter().map(|text| json!(text.value)).collect(),
        Got::Secret(_) => json!(HIDDEN),
        Got::Secrets(values) => values.iter().map(|_| json!(HIDDEN)).collect(),
        Got::Headers(values) => {
            Value::Object(values.iter().map(|(name, _)| (name.value.clone(), json!(HIDDEN))).collect())
        }
        Got::Listen(value) => json!(value.to_string()),
        Got::Instant(value) => json!(value),
        Got::Table(value) => table(value),
        Got::Tables(values) => tables(values),
    }
}

/// Tables by id as an object, those of an array as an array.
fn tables(values: &[Checked]) -> Value {
    match values.iter().all(|value| !value.id.is_empty()) {
        true => Value::Object(values.iter().map(|value| (value.id.clone(), table(value))).collect::<Map<_, _>>()),
        false => values.iter().map(table).collect(),
    }
}
