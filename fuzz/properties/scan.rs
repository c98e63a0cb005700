//! What holds of every body, be it a request's or an answer's: the scan agrees with a parser wherever that accepts an object,
//! an edit changes what was asked for and nothing else, and what is no JSON at all is judged without a panic.

use berry_vocab::Protocol;
use berry_wire::{
    Asked, Call, MAX_DEPTH, Matched, Member, Operation, PlainFault, Scan, ScanError, bound_state, complaint, find,
    made_state, of_error_object, plain_fault, read, scan_json, wait_in_body,
};
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Paths of each kind of body, with a content type.
const ROUTES: [(&str, &str); 5] = [
    ("/v1/chat/completions", "application/json"),
    ("/v1/messages", "application/json"),
    ("/v1beta/models/m%2Fn:batchEmbedContents", "application/json"),
    ("/v1beta/models/m:countTokens", "application/json"),
    ("/v1/audio/transcriptions", "multipart/form-data; boundary=b"),
];

/// A name that must be escaped in JSON.
const OTHER: &str = "another/\"模型\"\\";

/// The longest wait that anybody is believed.
const TEN_YEARS: u64 = 10 * 366 * 86_400;

pub(crate) fn check(body: &[u8]) {
    let members = members_of(body);
    let scan = scan_json(body);
    if let Ok(scan) = &scan {
        spans_lie_in_their_body(scan, body);
    }
    if let Some(members) = &members {
        the_scan_agrees_with_the_parser(&scan, body, members);
        a_good_answer_passes_and_its_beginning_does_not(body, members);
    }
    for (path, content_type) in ROUTES {
        let Ok(Matched::Call(call)) = find("POST", path) else { panic!("{path} is a call") };
        if let Ok(asked) = read(&call, Some(content_type), body) {
            an_edit_changes_what_was_asked_for(&call, content_type, &asked, body, members.as_deref());
        }
    }
    any_answer_can_be_judged(body);
}

/// The members of an object, each with its value as it is written.
struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name, value.get().to_owned()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

fn members_of(body: &[u8]) -> Option<Vec<(String, String)>> {
    let members: Members = serde_json::from_str(std::str::from_utf8(body).ok()?).ok()?;
    Some(members.0)
}

fn read_members(scan: &Scan) -> [(&'static str, Option<&Member>); 3] {
    [("model", scan.model.as_ref()), ("stream", scan.stream.as_ref()), ("backend", scan.backend.as_ref())]
}

fn spans_lie_in_their_body(scan: &Scan, body: &[u8]) {
    for (name, member) in read_members(scan) {
        let Some(Member { value, cut }) = member else { continue };
        assert!(cut.start <= value.start && value.start < value.end && value.end <= cut.end, "{name}: {member:?}");
        assert!(cut.end <= body.len(), "{name}: {member:?}");
    }
}

fn the_scan_agrees_with_the_parser(scan: &Result<Scan, ScanError>, body: &[u8], members: &[(String, String)]) {
    let times = |name: &str| members.iter().filter(|(its, _)| its == name).count();
    match scan {
        Err(ScanError::TooDeep) => assert!(depth(body) > MAX_DEPTH, "{}", depth(body)),
        Err(ScanError::Duplicate(name)) => assert!(times(name) > 1, "{name}"),
        Err(error) => panic!("{error}"),
        Ok(scan) => {
            assert!(depth(body) <= MAX_DEPTH, "{}", depth(body));
            for (name, member) in read_members(scan) {
                let value = member.map(|member| &body[member.value.clone()]);
                let expected = members.iter().find(|(its, _)| its == name).map(|(_, value)| value.as_bytes());
                assert_eq!(value, expected, "{name}");
                let Some(member) = member else { continue };
                let rest = [&body[..member.cut.start], &body[member.cut.end..]].concat();
                let others: Vec<_> = members.iter().filter(|(its, _)| its != name).cloned().collect();
                assert_eq!(members_of(&rest), Some(others), "without {name}");
            }
        }
    }
}

/// How deep a valid body nests.
fn depth(body: &[u8]) -> u32 {
    let (mut depth, mut deepest, mut is_in_string, mut is_escaped) = (0_u32, 0, false, false);
    for byte in body {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_in_string = !is_in_string,
            b'{' | b'[' if !is_in_string => depth += 1,
            b'}' | b']' if !is_in_string => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// An object that names no error is a good answer to every operation, and one that was cut short to none that answers in JSON.
fn a_good_answer_passes_and_its_beginning_does_not(body: &[u8], members: &[(String, String)]) {
    if members.iter().any(|(name, _)| matches!(name.as_str(), "error" | "type")) {
        return;
    }
    let text = body.trim_ascii();
    for operation in Operation::all() {
        assert_eq!(plain_fault(*operation, body), None, "{operation:?}");
        if *operation != Operation::Audio && depth(body) <= MAX_DEPTH {
            let cut = &text[..text.len() / 2];
            let cut_fault = plain_fault(*operation, cut);
            let is_bytes = *operation == Operation::Images && cut.is_empty();
            assert!(is_bytes || cut_fault == Some(PlainFault::Garbled), "{operation:?}: {cut_fault:?}");
        }
    }
}

fn an_edit_changes_what_was_asked_for(
    call: &Call<'_>,
    content_type: &str,
    asked: &Asked,
    body: &[u8],
    members: Option<&[(String, String)]>,
) {
    let bytes = Bytes::copy_from_slice(body);
    let same = asked.edited(&bytes, &asked.model);
    if asked.backend.is_none() {
        assert_eq!(same.to_vec(), body);
    }
    let other = asked.edited(&bytes, OTHER);
    assert!(other.iter().all(|piece| !piece.is_empty()));
    let edited = other.to_vec();
    assert_eq!(other.len(), edited.len());
    let again = read(call, Some(content_type), &edited).unwrap_or_else(|failure| panic!("{failure}"));
    let model = if call.protocol == Protocol::Gemini { &asked.model } else { OTHER };
    assert_eq!((again.model.as_str(), again.stream, again.backend), (model, asked.stream, None));
    if let (Some(members), Protocol::OpenAi | Protocol::Anthropic) = (members, call.protocol) {
        let expected = members.iter().filter(|(name, _)| name != "backend").map(|(name, value)| match name.as_str() {
            "model" => (name.clone(), serde_json::to_string(OTHER).unwrap()),
            _ => (name.clone(), value.clone()),
        });
        assert_eq!(members_of(&edited), Some(expected.collect()));
    }
}

fn any_answer_can_be_judged(body: &[u8]) {
    for operation in Operation::all() {
        plain_fault(*operation, body);
        made_state(*operation, body);
        assert_eq!(bound_state(*operation, body), bound_state(*operation, body));
    }
    for protocol in Protocol::ALL {
        of_error_object(protocol, body);
        for status in [200, 400, 404, 429, 503] {
            complaint(protocol, status, body);
        }
        let wait = wait_in_body(protocol, body, 1_764_000_000_000);
        assert!(wait.is_none_or(|wait| wait.as_secs() <= TEN_YEARS), "{wait:?}");
    }
}
