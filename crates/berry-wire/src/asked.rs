//! Station 3 of a request's path: body to what is asked, and, for each backend, the same body with that backend's model in it.
//!
//! The body is read once and never re-serialised. What must change is kept as cuts into the original bytes, so that a failover
//! to a backend with another model name costs a few slices.

use std::borrow::Cow;
use std::ops::Range;

use berry_vocab::{Code, Failure, Protocol};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::media::{Media, media};
use crate::multipart::{self, Form};
use crate::percent;
use crate::pieces::Pieces;
use crate::route::{Call, Operation};
use crate::scan::{Scan, ScanError, each_member, scan_json, string_value};

/// How long a model's or a backend's name may be.
pub const MAX_MODEL_BYTES: usize = 256;

/// What a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The model, by the name that the client gave.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The backend that the client wants to force: a provider's id.
    pub backend: Option<String>,
    /// Whether Berry asks for usage that the client did not ask for.
    pub adds_usage: bool,
    /// Where the body changes before it is sent, in the order in which the places stand in it.
    edits: SmallVec<[Edit; 2]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    at: Range<usize>,
    with: With,
}

/// What takes the place of an edit's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    /// Nothing: a control field is removed.
    Nothing,
    /// The model, as a JSON string.
    Json,
    /// `models/` and the model, as a JSON string: how Gemini names it in bodies.
    JsonResource,
    /// The model's bytes: a field of a form.
    Text,
    /// What asks for usage in a stream, be the model what it may.
    Usage(&'static str),
}

/// Reads what a call asks for.
pub fn read(call: &Call<'_>, content_type: Option<&str>, body: &[u8]) -> Result<Asked, Failure> {
    match media(call, content_type)? {
        Media::Form(header) => read_form(header, body),
        Media::Json if call.protocol == Protocol::Gemini => read_gemini(call, body),
        Media::Json => read_json(body),
    }
}

// === impl Asked ===

impl Asked {
    /// The body for a backend that knows the model by this name. `body` must be the one that was read.
    pub fn edited(&self, body: &Bytes, model: &str) -> Pieces {
        let same = model == self.model;
        let mut pieces = Pieces::default();
        let mut done = 0;
        for edit in self.edits.iter().filter(|edit| !(same && edit.with.is_of_the_model())) {
            pieces.push(slice(body, done..edit.at.start));
            pieces.push(edit.with.bytes(model));
            done = done.max(edit.at.end);
        }
        pieces.push(slice(body, done..body.len()));
        pieces
    }

    /// Asks for the usage of a stream that would not tell it, in the protocol that has a word for that: OpenAI's chats and
    /// completions. `body` must be the one that was read.
    pub fn ask_usage(&mut self, operation: Operation, body: &[u8]) {
        if !self.stream || !matches!(operation, Operation::ChatCompletions | Operation::Completions) {
            return;
        }
        if let Some((at, text)) = usage_edit(body) {
            self.edits.push(Edit { at, with: With::Usage(text) });
            self.edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
            self.adds_usage = true;
        }
    }

    fn new(model: String, stream: bool) -> Result<Asked, Failure> {
        check_name(&model, "model")?;
        Ok(Asked { model, stream, backend: None, adds_usage: false, edits: SmallVec::new() })
    }

    fn with_backend(mut self, backend: Option<(String, Range<usize>)>) -> Result<Asked, Failure> {
        if let Some((name, cut)) = backend {
            check_name(&name, "backend")?;
            self.backend = Some(name);
            self.edits.push(Edit { at: cut, with: With::Nothing });
        }
        self.edits.sort_by_key(|edit| edit.at.start);
        Ok(self)
    }
}

impl With {
    fn is_of_the_model(self) -> bool {
        matches!(self, With::Json | With::JsonResource | With::Text)
    }

    fn bytes(self, model: &str) -> Bytes {
        match self {
            With::Nothing => Bytes::new(),
            With::Usage(text) => Bytes::from_static(text.as_bytes()),
            With::Text => Bytes::copy_from_slice(model.as_bytes()),
            With::Json => Bytes::from(crate::protocol::to_json(&model)),
            With::JsonResource => Bytes::from(crate::protocol::to_json(&resource(model))),
        }
    }
}

fn read_json(body: &[u8]) -> Result<Asked, Failure> {
    let scan = scan_json(body).map_err(refused_json)?;
    let Some(model) = &scan.model else {
        return Err(no_model());
    };
    let mut asked = Asked::new(string_at(body, &model.value, "model")?, stream_of(body, &scan)?)?;
    asked.edits.push(Edit { at: model.value.clone(), with: With::Json });
    asked.with_backend(json_backend(body, &scan)?)
}

/// Gemini names the model in the path and says by the operation whether it streams. Some bodies name the model again; there it
/// changes with the path, for the vendor wants both the same.
fn read_gemini(call: &Call<'_>, body: &[u8]) -> Result<Asked, Failure> {
    let model = call.path_model.and_then(percent::decode).map(Cow::into_owned).ok_or_else(|| {
        Failure::new(Code::InvalidRequest, "the model in the path is not valid percent-encoded UTF-8").param("model")
    })?;
    let scan = scan_json(body).map_err(refused_json)?;
    let mut asked = Asked::new(model, call.operation == Operation::StreamGenerateContent)?;
    if let Some(named) = &scan.model {
        push_named_again(&mut asked, body, named.value.clone());
    }
    for place in nested_models(call.operation, body) {
        push_named_again(&mut asked, body, place);
    }
    asked.with_backend(json_backend(body, &scan)?)
}

fn read_form(content_type: &str, body: &[u8]) -> Result<Asked, Failure> {
    let refused = |error: multipart::FormError| Failure::new(Code::InvalidRequest, error.to_string());
    let boundary = multipart::boundary(content_type).ok_or_else(|| refused(multipart::FormError::NoBoundary))?;
    let Form { model, stream, backend } = multipart::scan_form(body, &boundary).map_err(refused)?;
    let Some(model) = model else { return Err(no_model()) };
    let stream = match stream {
        Some(field) => form_bool(body.get(field.value).unwrap_or_default())?,
        None => false,
    };
    let mut asked = Asked::new(text_at(body, &model.value, "model")?, stream)?;
    asked.edits.push(Edit { at: model.value, with: With::Text });
    let backend =
        backend.map(|field| text_at(body, &field.value, "backend").map(|name| (name, field.cut))).transpose()?;
    asked.with_backend(backend)
}

/// Where and how a body must change so that it asks for usage; `None`: it does already, or cannot be read.
fn usage_edit(body: &[u8]) -> Option<(Range<usize>, &'static str)> {
    let place = |text: &[u8]| {
        let start = (text.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
        Some(start..start + text.len())
    };
    let mut options = None;
    each_member(body, |name, value| {
        if name == b"stream_options" {
            options = Some(value);
        }
    })
    .ok()?;
    let Some(options) = options else {
        let first = memchr::memchr(b'{', body)? + 1;
        return Some((first..first, r#""stream_options":{"include_usage":true},"#));
    };
    if options == b"null" {
        return Some((place(options)?, r#"{"include_usage":true}"#));
    }
    let (mut asked, mut is_empty) = (None, true);
    each_member(options, |name, value| {
        is_empty = false;
        if name == b"include_usage" {
            asked = Some(value);
        }
    })
    .ok()?;
    match asked {
        Some(b"true") => None,
        Some(other) => Some((place(other)?, "true")),
        None => {
            let first = place(options)?.start + 1;
            Some((first..first, if is_empty { r#""include_usage":true"# } else { r#""include_usage":true,"# }))
        }
    }
}

/// A model that the body names beside the path is left as it is where it is another one: that is the backend's to refuse.
fn push_named_again(asked: &mut Asked, body: &[u8], place: Range<usize>) {
    let Some(name) = body.get(place.clone()).and_then(string_value) else {
        return;
    };
    if name == asked.model {
        asked.edits.push(Edit { at: place, with: With::Json });
    } else if name == *resource(&asked.model) {
        asked.edits.push(Edit { at: place, with: With::JsonResource });
    }
}

/// Where Gemini's nested requests name their model. A body that does not parse has none, and is the backend's to refuse.
fn nested_models(operation: Operation, body: &[u8]) -> Vec<Range<usize>> {
    #[derive(Deserialize)]
    struct Request<'b> {
        #[serde(borrow)]
        model: Option<&'b RawValue>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Nested<'b> {
        #[serde(borrow, default)]
        requests: Vec<Request<'b>>,
        #[serde(borrow, alias = "generate_content_request")]
        generate_content_request: Option<Request<'b>>,
    }
    if !matches!(operation, Operation::BatchEmbedContents | Operation::GeminiCountTokens) {
        return Vec::new();
    }
    let Ok(nested) = serde_json::from_slice::<Nested<'_>>(body) else {
        return Vec::new();
    };
    let requests = nested.requests.into_iter().chain(nested.generate_content_request);
    let origin = body.as_ptr() as usize;
    let place = |text: &str| (text.as_ptr() as usize).checked_sub(origin).map(|start| start..start + text.len());
    requests.filter_map(|request| place(request.model?.get())).collect()
}

fn resource(model: &str) -> Cow<'_, str> {
    if model.starts_with("models/") || model.starts_with("tunedModels/") {
        Cow::Borrowed(model)
    } else {
        Cow::Owned(["models/", model].concat())
    }
}

fn json_backend(body: &[u8], scan: &Scan) -> Result<Option<(String, Range<usize>)>, Failure> {
    let Some(member) = &scan.backend else { return Ok(None) };
    Ok(Some((string_at(body, &member.value, "backend")?, member.cut.clone())))
}

fn stream_of(body: &[u8], scan: &Scan) -> Result<bool, Failure> {
    match scan.stream.as_ref().and_then(|member| body.get(member.value.clone())) {
        None | Some(b"false" | b"null") => Ok(false),
        Some(b"true") => Ok(true),
        Some(_) => Err(Failure::new(Code::InvalidRequest, "\"stream\" must be true or false").param("stream")),
    }
}

fn form_bool(text: &[u8]) -> Result<bool, Failure> {
    match text {
        b"" | b"false" | b"False" | b"0" => Ok(false),
        b"true" | b"True" | b"1" => Ok(true),
        _ => Err(Failure::new(Code::InvalidRequest, "\"stream\" must be true or false").param("stream")),
    }
}

fn string_at(body: &[u8], place: &Range<usize>, param: &'static str) -> Result<String, Failure> {
    let literal = body.get(place.clone()).unwrap_or_default();
    if literal.first() != Some(&b'"') {
        return Err(Failure::new(Code::InvalidRequest, format!("\"{param}\" must be a string")).param(param));
    }
    if literal.len() > 6 * MAX_MODEL_BYTES + 2 {
        return Err(too_long(param));
    }
    string_value(literal).ok_or_else(|| {
        Failure::new(
            Code::InvalidJson,
            format!("the string in \"{param}\" holds a broken escape or a control character"),
        )
    })
}

fn text_at(body: &[u8], place: &Range<usize>, param: &'static str) -> Result<String, Failure> {
    let text = simdutf8::basic::from_utf8(body.get(place.clone()).unwrap_or_default());
    let refused = |_| Failure::new(Code::InvalidRequest, format!("\"{param}\" must be UTF-8 text")).param(param);
    text.map(str::to_owned).map_err(refused)
}

/// A name that could be a model's or a provider's. Control characters would let it write into headers, logs and forms.
fn check_name(name: &str, param: &'static str) -> Result<(), Failure> {
    let refused = |message: String| Err(Failure::new(Code::InvalidRequest, message).param(param));
    if name.is_empty() {
        return refused(format!("\"{param}\" is empty; name one, as GET /v1/models lists them"));
    }
    if name.len() > MAX_MODEL_BYTES {
        return Err(too_long(param));
    }
    if name.chars().any(char::is_control) {
        return refused(format!("\"{param}\" holds a control character"));
    }
    Ok(())
}

fn too_long(param: &'static str) -> Failure {
    Failure::new(Code::InvalidRequest, format!("\"{param}\" is longer than {MAX_MODEL_BYTES} bytes")).param(param)
}

fn no_model() -> Failure {
    let message = "the request names no model; send \"model\" with one of the names that GET /v1/models lists";
    Failure::new(Code::InvalidRequest, message).param("model")
}

fn refused_json(error: ScanError) -> Failure {
    match error {
        ScanError::TooDeep => Failure::new(Code::JsonDepth, error.to_string()),
        ScanError::Duplicate(name) => Failure::new(Code::InvalidRequest, error.to_string()).param(name),
        _ => Failure::new(Code::InvalidJson, error.to_string()),
    }
}

/// A slice that cannot panic: edits lie within the body that was read, and for any other body the answer is empty.
fn slice(body: &Bytes, place: Range<usize>) -> Bytes {
    if place.start < place.end && place.end <= body.len() { body.slice(place) } else { Bytes::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Matched, find};

    fn ask(path: &str, content_type: Option<&str>, body: &str) -> Result<Asked, Failure> {
        let Ok(Matched::Call(call)) = find("POST", path) else { panic!("{path} is a call") };
        read(&call, content_type, body.as_bytes())
    }

    fn chat(body: &str) -> Result<Asked, Failure> {
        ask("/v1/chat/completions", None, body)
    }

    fn edited(asked: &Asked, body: &str, model: &str) -> String {
        let pieces = asked.edited(&Bytes::copy_from_slice(body.as_bytes()), model);
        assert_eq!(pieces.len(), pieces.to_vec().len());
        String::from_utf8(pieces.to_vec()).unwrap()
    }

    #[test]
    fn a_body_that_needs_no_change_stays_one_piece_of_the_same_memory() {
        let body = Bytes::from_static(br#"{"model":"m","messages":[]}"#);
        let asked = chat(r#"{"model":"m","messages":[]}"#).unwrap();
        let pieces = asked.edited(&body, "m");
        assert_eq!(pieces.count(), 1);
        assert_eq!(pieces.iter().next().map(|piece| piece.as_ptr()), Some(body.as_ptr()));
    }

    #[test]
    fn only_the_model_and_the_control_field_change() {
        let body = r#"{ "n":1e400, "model" : "m\u002d1" ,"backend":"cheap", "x":"\u0000" }"#;
        let asked = chat(body).unwrap();
        assert_eq!((asked.model.as_str(), asked.stream, asked.backend.as_deref()), ("m-1", false, Some("cheap")));
        assert_eq!(edited(&asked, body, "m-1"), r#"{ "n":1e400, "model" : "m\u002d1" , "x":"\u0000" }"#);
        assert_eq!(edited(&asked, body, "a\"b"), r#"{ "n":1e400, "model" : "a\"b" , "x":"\u0000" }"#);
    }

    #[test]
    fn usage_is_asked_for_once_and_nothing_else_changes() {
        for (body, sent) in [
            (
                r#"{"model":"m","stream":true}"#,
                Some(r#"{"stream_options":{"include_usage":true},"model":"M","stream":true}"#),
            ),
            (
                r#" { "stream":true, "stream_options": null , "model":"m"}"#,
                Some(r#" { "stream":true, "stream_options": {"include_usage":true} , "model":"M"}"#),
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{"x":1}}"#,
                Some(r#"{"model":"M","stream":true,"stream_options":{"include_usage":true,"x":1}}"#),
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{ }}"#,
                Some(r#"{"model":"M","stream":true,"stream_options":{"include_usage":true }}"#),
            ),
            (
                r#"{"stream_options":{"include_usage":false},"model":"m","stream":true}"#,
                Some(r#"{"stream_options":{"include_usage":true},"model":"M","stream":true}"#),
            ),
            (
                r#"{"backend":"x","model":"m","stream":true}"#,
                Some(r#"{"stream_options":{"include_usage":true},"model":"M","stream":true}"#),
            ),
            (r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#, None),
            (r#"{"model":"m","stream":true,"stream_options":7}"#, None),
            (r#"{"model":"m"}"#, None),
        ] {
            let mut asked = chat(body).unwrap();
            asked.ask_usage(Operation::ChatCompletions, body.as_bytes());
            let (unchanged, same) = (body.replace("\"m\"", "\"M\""), sent.map(|sent| sent.replace("\"M\"", "\"m\"")));
            assert_eq!(edited(&asked, body, "M"), sent.unwrap_or(&unchanged), "{body}");
            assert_eq!(edited(&asked, body, "m"), same.as_deref().unwrap_or(body), "{body}");
            assert_eq!(asked.adds_usage, sent.is_some(), "{body}");
        }
        let body = r#"{"model":"m","stream":true}"#;
        let mut asked = ask("/v1/responses", None, body).unwrap();
        asked.ask_usage(Operation::Responses, body.as_bytes());
        assert_eq!(edited(&asked, body, "m"), body, "it tells its usage anyway");
    }

    #[test]
    fn what_is_asked_wrongly_is_refused_with_the_field_named() {
        let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(257));
        let longer = format!(r#"{{"model":"{}"}}"#, "m".repeat(100_000));
        for (body, code, param) in [
            ("{}", Code::InvalidRequest, Some("model")),
            (r#"{"model":""}"#, Code::InvalidRequest, Some("model")),
            (r#"{"model":null}"#, Code::InvalidRequest, Some("model")),
            (r#"{"model":["m"]}"#, Code::InvalidRequest, Some("model")),
            (r#"{"model":"a\nb"}"#, Code::InvalidRequest, Some("model")),
            (r#"{"model":"a\ud800"}"#, Code::InvalidJson, None),
            (r#"{"model":"a\q"}"#, Code::InvalidJson, None),
            (&long, Code::InvalidRequest, Some("model")),
            (&longer, Code::InvalidRequest, Some("model")),
            (r#"{"model":"m","model":"n"}"#, Code::InvalidRequest, Some("model")),
            (r#"{"model":"m","stream":"true"}"#, Code::InvalidRequest, Some("stream")),
            (r#"{"model":"m","stream":1}"#, Code::InvalidRequest, Some("stream")),
            (r#"{"model":"m","backend":1}"#, Code::InvalidRequest, Some("backend")),
            (r#"{"model":"m","backend":""}"#, Code::InvalidRequest, Some("backend")),
            (r#"{"model":"m""#, Code::InvalidJson, None),
        ] {
            let failure = chat(body).unwrap_err();
            assert_eq!((failure.code(), failure.at_param()), (code, param), "{}", &body[..body.len().min(60)]);
        }
        let deep = format!(r#"{{"model":"m","x":{}{}}}"#, "[".repeat(128), "]".repeat(128));
        assert_eq!(chat(&deep).unwrap_err().code(), Code::JsonDepth);
        assert!(chat(r#"{"model":"m","stream":true}"#).unwrap().stream);
        assert!(!chat(r#"{"model":"m","stream":null}"#).unwrap().stream);
    }

    #[test]
    fn gemini_names_the_model_in_the_path_and_streams_by_the_verb() {
        let body = r#"{"contents":[],"backend":"b","stream":"whatever"}"#;
        let asked = ask("/v1beta/models/a%2Fb:streamGenerateContent", None, body).unwrap();
        assert_eq!((asked.model.as_str(), asked.stream, asked.backend.as_deref()), ("a/b", true, Some("b")));
        assert_eq!(edited(&asked, body, "other"), r#"{"contents":[],"stream":"whatever"}"#);
        assert!(!ask("/v1beta/models/m:generateContent", None, "{}").unwrap().stream);
        let broken = ask("/v1beta/models/%ff:generateContent", None, "{}").unwrap_err();
        assert_eq!((broken.code(), broken.at_param()), (Code::InvalidRequest, Some("model")));
        assert_eq!(ask("/v1beta/models/m:generateContent", None, "[]").unwrap_err().code(), Code::InvalidJson);
    }

    #[test]
    fn a_gemini_body_that_names_the_model_again_changes_with_the_path() {
        let body = r#"{"requests":[{"model":"models/m","content":{"model":"models/m"}},{"model":"m"},{"model":"x"},{}],"model":"models/m"}"#;
        let asked = ask("/v1beta/models/m:batchEmbedContents", None, body).unwrap();
        assert_eq!(
            edited(&asked, body, "n"),
            r#"{"requests":[{"model":"models/n","content":{"model":"models/m"}},{"model":"n"},{"model":"x"},{}],"model":"models/n"}"#
        );
        let body = r#"{"generateContentRequest":{"model":"models/m","contents":[]}}"#;
        let asked = ask("/v1beta/models/m:countTokens", None, body).unwrap();
        assert_eq!(edited(&asked, body, "tunedModels/n"), body.replace("models/m", "tunedModels/n"));
    }

    #[test]
    fn a_form_changes_in_its_model_and_loses_its_control_field() {
        let part = |name: &str, value: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let form = |model: &str, backend: &str| {
            let file = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\0\r\n";
            [file, &part("model", model), backend, &part("stream", "true"), "--b--\r\n"].concat()
        };
        let body = form("whisper-1", &part("backend", "cheap"));
        let asked = ask("/v1/audio/transcriptions", Some("multipart/form-data; boundary=b"), &body).unwrap();
        assert_eq!((asked.model.as_str(), asked.stream, asked.backend.as_deref()), ("whisper-1", true, Some("cheap")));
        assert_eq!(edited(&asked, &body, "w/\"3"), form("w/\"3", ""));
        assert_eq!(edited(&asked, &body, "whisper-1"), form("whisper-1", ""));

        let refused = |content_type, body| ask("/v1/images/edits", Some(content_type), body).unwrap_err().code();
        assert_eq!(refused("multipart/form-data", &body), Code::InvalidRequest);
        assert_eq!(refused("multipart/form-data; boundary=c", &body), Code::InvalidRequest);
        assert_eq!(refused("multipart/form-data; boundary=b", "--b--"), Code::InvalidRequest);
        assert_eq!(refused("multipart/mixed; boundary=b", &body), Code::UnsupportedMedia);
    }

    #[test]
    fn editing_another_body_than_the_one_read_does_not_panic() {
        let asked = chat(r#"{"model":"a long name","backend":"b"}"#).unwrap();
        for body in ["", "{}", r#"{"model":"x"}"#] {
            asked.edited(&Bytes::from_static(body.as_bytes()), "m");
        }
    }
}
