//! JSON Schema (draft 2020-12) of the file, for editors; derived from the registries.

use serde_json::{Map, Value, json};

use crate::raw::{self, RawValue};
use crate::registry::{ANY_WHOLE, Default, Effect, Key, Rule, Table};
use crate::table::ROOT;

/// The schema of the configuration file.
pub fn schema() -> Value {
    let mut schema = table(&ROOT);
    if let Some(root) = schema.as_object_mut() {
        root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".to_owned(), json!("Berry"));
        root.insert("$defs".to_owned(), json!({ "secret": secret() }));
    }
    schema
}

fn table(table: &Table) -> Value {
    let properties: Map<String, Value> = table.keys.iter().map(|row| (row.name.to_owned(), key(row))).collect();
    let required: Vec<&str> =
        table.keys.iter().filter(|key| key.default == Default::Required).map(|key| key.name).collect();
    // An unknown key is a warning; an editor shows it as one that does not belong.
    let mut schema = json!({
        "type": "object",
        "description": table.doc,
        "properties": properties,
        "additionalProperties": table.open,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let either = table.keys.iter().find_map(|key| match key.default {
        Default::RequiredWithout(other) => Some([key.name, other]),
        _ => None,
    });
    if let Some(either) = either {
        schema["anyOf"] = json!(either.map(|name| json!({ "required": [name] })));
    }
    schema
}

fn key(key: &Key) -> Value {
    let mut schema = rule(&key.rule);
    let note = match key.effect {
        Effect::Now => "",
        Effect::Later(_) => " Accepted, but not in effect yet in this version.",
    };
    schema["description"] = json!(format!("{}{note}", key.doc));
    if let Default::Is(text) = key.default
        && let Some(node) = raw::parse_value(text)
    {
        schema["default"] = value(&node.value);
    }
    schema
}

fn rule(rule: &Rule) -> Value {
    match rule {
        Rule::Flag => json!({ "type": "boolean" }),
        Rule::Whole(min, ANY_WHOLE) => json!({ "type": "integer", "minimum": min }),
        Rule::Whole(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Rule::WholeOr(min, max, word) => json!({
            "anyOf": [{ "type": "integer", "minimum": min, "maximum": max }, { "type": "string", "enum": [word] }]
        }),
        Rule::Number(min, max) => json!({ "type": "number", "minimum": min, "maximum": max }),
        Rule::Above(min, max) => json!({ "type": "number", "exclusiveMinimum": min, "maximum": max }),
        Rule::Seconds(min, max) => json!({
            "anyOf": [
                { "type": "number", "minimum": min, "maximum": max },
                { "type": "string", "pattern": "^\\s*[0-9][0-9_.]*\\s*(ms|s|secs?|m|mins?|h|d)?\\s*$" },
            ]
        }),
        Rule::Bytes(min, max) => json!({
            "anyOf": [
                { "type": "integer", "minimum": min, "maximum": max },
                { "type": "string", "pattern": "^\\s*[0-9][0-9_.]*\\s*([kKmMgG]?[iI]?[bB]?)\\s*$" },
            ]
        }),
        Rule::Text | Rule::Path => json!({ "type": "string", "minLength": 1 }),
        Rule::Word(words) => json!({ "type": "string", "enum": (words.now)() }),
        Rule::Texts | Rule::HeaderNames | Rule::Nets => {
            json!({ "type": "array", "items": { "type": "string", "minLength": 1 } })
        }
        Rule::Secret => json!({ "$ref": "#/$defs/secret" }),
        Rule::Secrets => json!({ "type": "array", "items": { "$ref": "#/$defs/secret" } }),
        Rule::Listen => json!({ "anyOf": [
            { "type": "string", "minLength": 1 },
            { "type": "integer", "minimum": 0, "maximum": 65535 },
        ] }),
        Rule::Headers => json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/secret" } }),
        // Editors hand a TOML date over as a string.
        Rule::Instant => json!({ "type": "string", "format": "date-time" }),
        Rule::Table(inner) => table(inner),
        Rule::Map(inner) => json!({
            "type": "object",
            "patternProperties": { "^.+$": table(inner) },
            "additionalProperties": false,
        }),
        Rule::List(inner) => json!({ "type": "array", "minItems": 1, "items": table(inner) }),
    }
}

fn secret() -> Value {
    let place = |name: &str, doc: &str| {
        json!({
            "type": "object",
            "properties": { name: { "type": "string", "description": doc } },
            "required": [name],
            "additionalProperties": false,
        })
    };
    json!({
        "anyOf": [
            { "type": "string", "description": "The secret in clear, or sealed by `berry secret seal`." },
            place("file", "A file that holds the secret, relative to the configuration file."),
            place("env", "An environment variable that holds the secret."),
        ]
    })
}

fn value(raw: &RawValue) -> Value {
    match raw {
        RawValue::Text(text) => json!(text),
        RawValue::Whole(number) => json!(number),
        RawValue::Number(number) => json!(number),
        RawValue::Flag(flag) => json!(flag),
        RawValue::Instant(instant) => json!(instant.to_string()),
        RawValue::List(list) => list.iter().map(|node| value(&node.value)).collect(),
        RawValue::Table(table) => table
            .entries
            .iter()
            .map(|entry| (entry.key.clone(), value(&entry.node.value)))
            .collect::<Map<_, _>>()
            .into(),
    }
}
