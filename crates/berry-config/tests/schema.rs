//! The schema covers what files hold: every example is valid by it, and every key has a description.

#![expect(clippy::unwrap_used, reason = "helpers of tests; a panic is how a test fails")]

use std::path::Path;

use berry_config::schema;
use serde_json::Value;

/// Checks the parts of JSON Schema that the schema uses.
fn fault(schema: &Value, value: &Value, root: &Value, path: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        return fault(target, value, root, path);
    }
    if let Some(choices) = schema["anyOf"].as_array()
        && !choices.iter().any(|choice| fault(choice, value, root, path).is_none())
    {
        return Some(format!("{path}: fits none of the forms"));
    }
    let of_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    let number = value.as_f64();
    let outside = |key: &str, out: fn(f64, f64) -> bool| {
        schema[key].as_f64().zip(number).is_some_and(|(bound, number)| out(number, bound))
    };
    if !of_type
        || schema["enum"].as_array().is_some_and(|words| !words.contains(value))
        || outside("minimum", |n, bound| n < bound)
        || outside("maximum", |n, bound| n > bound)
        || outside("exclusiveMinimum", |n, bound| n <= bound)
    {
        return Some(format!("{path}: {value} does not fit {schema}"));
    }
    let items = value.as_array().into_iter().flatten();
    items
        .enumerate()
        .find_map(|(i, item)| fault(&schema["items"], item, root, &format!("{path}[{i}]")))
        .or_else(|| {
            value
                .as_object()
                .into_iter()
                .flatten()
                .find_map(|(key, inner)| member_fault(schema, key, inner, root, path))
        })
        .or_else(|| {
            let missing =
                schema["required"].as_array()?.iter().find(|key| value.get(key.as_str().unwrap()).is_none())?;
            Some(format!("{path}: {missing} is missing"))
        })
}

fn member_fault(schema: &Value, key: &str, inner: &Value, root: &Value, path: &str) -> Option<String> {
    let path = format!("{path}.{key}");
    if let Some(property) = schema["properties"].get(key).or_else(|| schema["patternProperties"].get("^.+$")) {
        return fault(property, inner, root, &path);
    }
    match &schema["additionalProperties"] {
        Value::Bool(false) => Some(format!("{path}: unknown")),
        other if other.is_object() => fault(other, inner, root, &path),
        _ => None,
    }
}

#[test]
fn every_example_is_valid_by_the_schema() {
    let schema = schema();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let table: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
            let value = json(&toml::Value::Table(table));
            assert_eq!(fault(&schema, &value, &schema, ""), None, "{}", path.display());
        }
    }
}

/// As editors hand TOML over: dates are strings.
fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(list) => list.iter().map(json).collect(),
        toml::Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), json(value))).collect(),
        toml::Value::String(text) => text.clone().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(flag) => (*flag).into(),
    }
}

#[test]
fn the_schema_refuses_what_load_refuses() {
    let schema = schema();
    for (text, wrong) in [
        ("[settings]\nmax_retries = 11", true),
        ("[settings]\nmax_retries = 10", false),
        ("[settings]\nmax_retires = 1", true),
        ("[models.a]\nstrategy = \"fastest\"\nbackends = []", true),
        ("[models.a]\nbackends = [{ provider = \"a\", model = \"b\", weight = 0 }]", true),
        ("[models.a]\nbackends = [{ provider = \"a\" }]", true),
        ("[providers.a]\nbase_url = \"x\"\napi_key = { file = \"y\" }\nheaders = { a = { env = \"B\" } }", false),
        ("[providers.a]\nbase_url = \"x\"\napi_key = { vault = \"y\" }", true),
    ] {
        let table: toml::Table = text.parse().unwrap();
        let value = json(&toml::Value::Table(table));
        assert_eq!(fault(&schema, &value, &schema, "").is_some(), wrong, "{text}");
    }
}

#[test]
fn every_key_has_a_description_and_every_default_fits() {
    let schema = schema();
    let mut count = 0;
    descriptions(&schema, &schema, "", &mut count);
    assert!(count > 120, "{count}");
}

fn descriptions(schema: &Value, root: &Value, path: &str, count: &mut usize) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        assert!(property["description"].as_str().is_some_and(|text| text.ends_with(['.', '"'])), "{path}");
        if let Some(default) = property.get("default") {
            assert_eq!(fault(property, default, root, &path), None);
        }
        *count += 1;
        for inner in [property, &property["items"], &property["patternProperties"]["^.+$"]] {
            descriptions(inner, root, &path, count);
        }
    }
}
