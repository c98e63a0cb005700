//! Properties of the scan and the edit, over generated bodies: whatever a valid body looks like, only the asked-for bytes change;
//! and whatever bytes come, nothing panics.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::collections::HashMap;

use berry_vocab::Code;
use berry_wire::{Asked, Call, Matched, boundary, find, read, scan_form, scan_json};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::value::RawValue;

fn call(path: &str) -> Call<'_> {
    match find("POST", path) {
        Ok(Matched::Call(call)) => call,
        other => panic!("{path}: {other:?}"),
    }
}

fn ask(body: &str) -> Asked {
    read(&call("/v1/chat/completions"), Some("application/json"), body.as_bytes())
        .unwrap_or_else(|f| panic!("{f}: {body}"))
}

fn edited(asked: &Asked, body: &str, model: &str) -> String {
    let pieces = asked.edited(&Bytes::copy_from_slice(body.as_bytes()), model);
    assert!(pieces.iter().all(|piece| !piece.is_empty()));
    String::from_utf8(pieces.to_vec()).unwrap()
}

/// White space as JSON has it.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(String::new()), 2 => Just(" ".to_owned()), 1 => "[ \t\r\n]{1,40}"]
}

/// A JSON string literal, some of whose characters are written with escapes that need none.
fn literal(text: String, escapes: Vec<bool>) -> String {
    let mut literal = String::from("\"");
    for (index, char) in text.chars().enumerate() {
        let escape = escapes.get(index % escapes.len().max(1)).copied().unwrap_or(false);
        if escape || char < ' ' || char == '"' || char == '\\' {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                literal.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            literal.push(char);
        }
    }
    literal + "\""
}

fn string() -> impl Strategy<Value = String> {
    let plain = prop_oneof![
        4 => ".{0,12}".boxed(),
        1 => "[a-z \\\\\"\n]{0,300}".boxed(),
        1 => Just(r#"","model":"x","backend":"y"#.to_owned()).boxed(),
        1 => Just(r#"{"model":"x\"#.to_owned()).boxed(),
    ];
    let mostly_plain = prop::collection::vec(prop::bool::weighted(0.1), 1..8);
    let by_serde = prop_oneof![
        4 => ".{0,12}",
        1 => "[a-z \\\\\"\n]{0,300}",
        1 => Just(r#"\"model":"x","\\"#.to_owned()),
    ];
    prop_oneof![
        (plain, mostly_plain).prop_map(|(text, escapes)| literal(text, escapes)),
        by_serde.prop_map(|text| serde_json::to_string(&text).unwrap()),
    ]
}

fn value() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just("1e400".to_owned()),
        Just("-0.0000000000000000000000000000000001E-9".to_owned()),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?",
    ];
    let numbers = prop::collection::vec(0u32..1_000_000, 0..120).prop_map(|n| serde_json::to_string(&n).unwrap());
    let leaf = prop_oneof![
        4 => string().boxed(),
        2 => number.boxed(),
        1 => numbers.boxed(),
        1 => prop::sample::select(vec!["true", "false", "null", "{}", "[]"]).prop_map(str::to_owned).boxed(),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let key = prop_oneof![string(), Just("\"model\"".to_owned()), Just("\"stream\"".to_owned())];
        let member = (space(), key, space(), space(), inner.clone(), space())
            .prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
        let item = (space(), inner, space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        prop_oneof![
            prop::collection::vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// A top-level member that Berry does not read; the same key may come twice.
fn unread() -> impl Strategy<Value = (String, String)> {
    let key = prop_oneof![
        prop::sample::select(vec!["messages", "user", "Model", "models", "mode", "streams", "back", ""])
            .prop_map(str::to_owned),
        "[a-z]{1,12}".prop_filter("unread", |key| !["model", "stream", "backend"].contains(&key.as_str())),
    ];
    (key.prop_map(|key| serde_json::to_string(&key).unwrap()), value())
}

#[derive(Debug, Clone)]
struct Body {
    members: Vec<(String, String)>,
    spaces: Vec<String>,
    model_at: usize,
    model: String,
    stream: Option<Option<bool>>,
    backend: Option<String>,
}

impl Body {
    fn text(&self) -> String {
        let space = |index: usize| self.spaces[index % self.spaces.len()].as_str();
        let members = self.members.iter().enumerate().map(|(index, (key, value))| {
            let at = index * 4;
            [space(at), key, space(at + 1), ":", space(at + 2), value, space(at + 3)].concat()
        });
        format!("{}{{{}}}{}", space(1), members.collect::<Vec<_>>().join(","), space(2))
    }
}

fn body() -> impl Strategy<Value = Body> {
    let escapes = || prop::collection::vec(prop::bool::weighted(0.15), 1..6);
    let read = (
        ("[a-zA-Z0-9:/._-]{1,40}|модель|a\"b\\\\c|😀", escapes(), escapes(), any::<prop::sample::Index>()),
        (prop::option::of(prop::option::of(any::<bool>())), escapes(), any::<prop::sample::Index>()),
        (prop::option::of("[a-z]{1,9}"), escapes(), any::<prop::sample::Index>()),
    );
    (prop::collection::vec(unread(), 0..7), prop::collection::vec(space(), 3..9), read).prop_map(
        |(
            mut members,
            spaces,
            ((model, escapes, key_escapes, at), (stream, stream_escapes, stream_at), (backend, e, b_at)),
        )| {
            if let Some(stream) = stream {
                let value = stream.map_or("null".to_owned(), |stream| stream.to_string());
                let member = (literal("stream".to_owned(), stream_escapes), value);
                members.insert(stream_at.index(members.len() + 1), member);
            }
            if let Some(backend) = &backend {
                let member = (literal("backend".to_owned(), e.clone()), literal(backend.clone(), e));
                members.insert(b_at.index(members.len() + 1), member);
            }
            let model_at = at.index(members.len() + 1);
            let member = (literal("model".to_owned(), key_escapes), literal(model.clone(), escapes));
            members.insert(model_at, member);
            Body { members, spaces, model_at, model, stream, backend }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_replaces_the_models_value_and_not_one_byte_more(mut body in body()) {
        body.members.retain(|(key, _)| serde_json::from_str::<String>(key).unwrap() != "backend");
        body.model_at = body.members.iter().position(|(key, _)| serde_json::from_str::<String>(key).unwrap() == "model").unwrap();
        let text = body.text();
        let asked = ask(&text);
        prop_assert_eq!(&asked.model, &body.model);
        prop_assert_eq!(asked.stream, body.stream.flatten().unwrap_or(false));
        prop_assert_eq!(edited(&asked, &text, &body.model), text);
        let mut expected = body.clone();
        expected.members[body.model_at].1 = r#""other \"model\" ☃""#.to_owned();
        prop_assert_eq!(edited(&asked, &body.text(), "other \"model\" ☃"), expected.text());
    }

    #[test]
    fn the_control_field_goes_and_every_other_member_stays_as_written(body in body()) {
        let text = body.text();
        let asked = ask(&text);
        prop_assert_eq!(&asked.backend, &body.backend);
        let sent = edited(&asked, &text, &body.model);
        let members = |text: &str| -> HashMap<String, Box<RawValue>> { serde_json::from_str(text).unwrap() };
        let (mut before, after) = (members(&text), members(&sent));
        before.remove("backend");
        prop_assert_eq!(before.len(), after.len());
        for (key, value) in &before {
            prop_assert_eq!(value.get(), after[key].get());
        }
        prop_assert_eq!(body.backend.is_none(), sent == text);
    }

    #[test]
    fn where_serde_json_reads_an_object_the_scan_reads_the_same(body in body(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = body.text().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let Ok(members) = serde_json::from_slice::<HashMap<String, Box<RawValue>>>(&bytes) else { return Ok(()) };
        match scan_json(&bytes) {
            Ok(scan) => for (name, found) in [("model", scan.model), ("stream", scan.stream), ("backend", scan.backend)] {
                let found = found.map(|member| String::from_utf8_lossy(&bytes[member.value]).into_owned());
                prop_assert_eq!(found.as_deref(), members.get(name).map(|value| value.get()));
            },
            Err(error) => prop_assert!(matches!(error, berry_wire::ScanError::Duplicate(_)), "{}", error),
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), path in "[/a-z0-9:%.]{0,40}") {
        let _ = scan_json(&bytes);
        let _ = scan_form(&bytes, "b");
        let _ = find("POST", &path);
        let _ = berry_wire::dialect_of_path(&path);
        let _ = berry_wire::BaseUrl::parse(&format!("https://{path}"), berry_vocab::Protocol::OpenAi);
        let _ = boundary(&String::from_utf8_lossy(&bytes));
        for path in ["/v1/chat/completions", "/v1beta/models/m:batchEmbedContents", "/v1/audio/translations"] {
            for content_type in [None, Some("multipart/form-data; boundary=b")] {
                let _ = read(&call(path), content_type, &bytes);
            }
        }
    }

    #[test]
    fn no_json_like_text_makes_the_reader_panic(text in r#"[{}\[\]",:\\ a1]{0,80}"#, tail in r#"[{}\[\]",:\\ ]{0,8}"#) {
        for text in [text.clone(), format!("{{\"model\":{text}{tail}}}"), format!("{{\"m\":\"{text}")] {
            if let (Ok(scan), Ok(members)) =
                (scan_json(text.as_bytes()), serde_json::from_str::<HashMap<String, Box<RawValue>>>(&text))
            {
                let found = scan.model.map(|member| text[member.value].to_owned());
                prop_assert_eq!(found.as_deref(), members.get("model").map(|value| value.get()));
            }
        }
    }

    #[test]
    fn a_forms_edit_replaces_the_models_value_and_drops_the_control_part(
        files in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4),
        model in "[a-zA-Z0-9:/._-]{1,40}",
        new in "[a-zA-Z0-9:/._-]{1,40}",
        backend in prop::option::of("[a-z]{1,9}"),
        (model_at, backend_at) in any::<(prop::sample::Index, prop::sample::Index)>(),
        quoted in any::<bool>(),
    ) {
        let edge = "-------------------------3b1f.e'x";
        let field = |name: &str, value: &str| {
            let name = if quoted { format!("\"{name}\"") } else { name.to_owned() };
            format!("--{edge}\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n").into_bytes()
        };
        let form = |model: &str, backend: Option<&str>| {
            let mut parts: Vec<Vec<u8>> = files.iter().map(|bytes| {
                let head = format!("--{edge}\r\ncontent-type: x/y\r\ncontent-disposition: form-data; name=\"model\"; filename=\"f\"\r\n\r\n");
                [head.as_bytes(), bytes, b"\r\n"].concat()
            }).collect();
            let at = model_at.index(parts.len() + 1);
            parts.insert(at, field("model", model));
            if let Some(backend) = backend {
                parts.insert(backend_at.index(parts.len() + 1), field("backend", backend));
            }
            [parts.concat(), format!("--{edge}--\r\n").into_bytes()].concat()
        };
        let body = form(&model, backend.as_deref());
        let content_type = format!("multipart/form-data; boundary=\"{edge}\"");
        let asked = read(&call("/v1/audio/transcriptions"), Some(&content_type), &body).unwrap();
        prop_assert_eq!((&asked.model, &asked.backend), (&model, &backend));
        prop_assert_eq!(asked.edited(&Bytes::from(body), &new).to_vec(), form(&new, None));
    }
}

#[test]
fn a_form_cut_anywhere_is_refused_or_read_without_panic() {
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b\r\nContent-Disposition: form-data; name=file; filename=x\r\n\r\n\0\r\n--b--\r\n";
    for end in 0..form.len() {
        let result = read(&call("/v1/images/edits"), Some("multipart/form-data; boundary=b"), &form.as_bytes()[..end]);
        match result {
            Ok(asked) => assert!(asked.model == "m" && end >= form.len() - 2),
            Err(failure) => assert_eq!(failure.code(), Code::InvalidRequest),
        }
    }
}
