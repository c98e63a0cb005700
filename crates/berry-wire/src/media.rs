//! The type of a body, from its `content-type`: JSON, a form, or what no route takes.

use berry_vocab::{Code, Failure};

use crate::route::{Call, Operation};

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media<'h> {
    /// JSON, or not said, which has always meant JSON.
    Json,
    /// `multipart/form-data`; the header's whole value, which holds the boundary.
    Form(&'h str),
}

/// What the body of this call is, if the route takes it.
pub(crate) fn media<'h>(call: &Call<'_>, content_type: Option<&'h str>) -> Result<Media<'h>, Failure> {
    let Some(header) = content_type else {
        return Ok(Media::Json);
    };
    let essence = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let forms = takes_forms(call);
    match essence.as_str() {
        "" | "application/json" | "text/json" => Ok(Media::Json),
        _ if essence.starts_with("application/") && essence.ends_with("+json") => Ok(Media::Json),
        "multipart/form-data" if forms => Ok(Media::Form(header)),
        other => {
            Err(unsupported(other, if forms { "application/json or multipart/form-data" } else { "application/json" }))
        }
    }
}

/// The routes that take files: all of images and audio, but for the two that make something out of words alone.
fn takes_forms(call: &Call<'_>) -> bool {
    matches!(call.operation, Operation::Images | Operation::Audio)
        && !matches!(call.suffix, "/images/generations" | "/audio/speech")
}

/// Says which type came and which would do. A type's name has no letters that could spoil a message; the rest is left out.
fn unsupported(came: &str, takes: &str) -> Failure {
    const LONGEST: usize = 64;
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '+' | '-' | '_');
    let came: String = came.chars().filter(is_plain).take(LONGEST).collect();
    let message = format!("a body of type `{came}` is not taken here; send `content-type: {takes}`");
    Failure::new(Code::UnsupportedMedia, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Matched, find};

    fn media_of(path: &str, content_type: Option<&'static str>) -> Result<Media<'static>, Failure> {
        let Ok(Matched::Call(call)) = find("POST", path) else { panic!("{path} is a call") };
        media(&call, content_type)
    }

    fn of(path: &str, content_type: Option<&'static str>) -> Result<Media<'static>, Code> {
        media_of(path, content_type).map_err(|failure| failure.code())
    }

    #[test]
    fn json_is_taken_everywhere_and_needs_no_header() {
        for path in ["/v1/chat/completions", "/v1/audio/transcriptions", "/v1/messages"] {
            for json in [None, Some(""), Some("Application/JSON; charset=utf-8"), Some("application/vnd.x+json")] {
                assert_eq!(of(path, json), Ok(Media::Json), "{path} {json:?}");
            }
            for other in
                ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "multipart/mixed"]
            {
                assert_eq!(of(path, Some(other)), Err(Code::UnsupportedMedia), "{path} {other}");
                let told = media_of(path, Some(other)).unwrap_err();
                assert!(told.message().contains(other) && told.message().contains("application/json"), "{told}");
            }
        }
    }

    #[test]
    fn forms_are_taken_where_files_are_sent() {
        let form = Some("multipart/form-data; boundary=x");
        for path in ["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits", "/v1/images/variations"]
        {
            assert!(matches!(of(path, form), Ok(Media::Form(_))), "{path}");
        }
        for path in
            ["/v1/audio/speech", "/v1/images/generations", "/v1/chat/completions", "/v1beta/models/x:generateContent"]
        {
            assert_eq!(of(path, form), Err(Code::UnsupportedMedia), "{path}");
        }
    }
}
