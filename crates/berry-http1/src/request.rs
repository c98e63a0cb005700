//! Request heads.

use crate::fields::{self, Field, Meaning, Span};
use crate::{Fault, Framing, Limits, Version};

/// The methods that Berry tells apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// GET
    #[default]
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// OPTIONS
    Options,
    /// Any other token.
    Other,
}

impl Method {
    /// The method of that name (methods are case-sensitive, RFC 9110 section 9.1).
    pub fn from_name(name: &[u8]) -> Self {
        match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }

    /// Its name; `OTHER` for those not told apart, so that what a client sends never becomes a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Options => "OPTIONS",
            Method::Other => "OTHER",
        }
    }
}

/// A request's head, as spans of the bytes that it was read from. Reused from request to request, so that reading allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// Method.
    pub method: Method,
    /// Path of the target, without its query; absolute form is reduced to its path.
    pub path: Span,
    /// Query of the target, without `?`.
    pub query: Option<Span>,
    /// Version.
    pub version: Version,
    /// Field lines in their order.
    pub fields: Vec<Field>,
    /// Length of the head with its blank line, in bytes.
    pub length: usize,
    /// How long the body is.
    pub framing: Framing,
    /// Whether the client lets the connection go on after this exchange.
    pub keep_alive: bool,
    /// Whether it waits for a 100 before it sends the body.
    pub expects_continue: bool,
    /// Whether it expects something else, which nobody here can fulfil (417).
    pub expects_other: bool,
    /// Whether Connection names further fields, which must not cross then.
    pub connection_names_fields: bool,
}

impl RequestHead {
    /// The value of the first field of that name (lower case).
    pub fn first<'b>(&self, bytes: &'b [u8], name: &str) -> Option<&'b [u8]> {
        self.all(bytes, name).next()
    }

    /// The values of all fields of that name (lower case), in their order.
    pub fn all<'s, 'b: 's>(&'s self, bytes: &'b [u8], name: &'s str) -> impl Iterator<Item = &'b [u8]> + 's {
        let of_name = move |field: &&Field| field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(of_name).map(move |field| field.value.of(bytes))
    }
}

/// Reads the request head at the start of `bytes` into `head`. `Ok(false)`: it is not complete yet.
///
/// # Errors
/// Whatever RFC 9112 lets a recipient refuse, and all that leaves room for two readings: see [`Fault`].
pub fn read_request(bytes: &[u8], limits: &Limits, head: &mut RequestHead) -> Result<bool, Fault> {
    head.fields.clear();
    // One empty line before a request is forgiven (RFC 9112, section 2.2).
    if bytes == b"\r" {
        return Ok(false);
    }
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let complete = match read_request_line(bytes, start, limits, head)? {
        Some(at) => read_fields(bytes, at, limits, head)?,
        None => false,
    };
    let length = if complete { head.length } else { bytes.len() };
    if length > limits.head { Err(Fault::HeadTooLarge) } else { Ok(complete) }
}

fn read_request_line(
    bytes: &[u8],
    start: usize,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Option<usize>, Fault> {
    const LONGEST_METHOD: usize = 24;
    let rest = bytes.get(start..).unwrap_or_default();
    let Some(method_len) = rest.iter().position(|&b| !fields::is_token(b)) else {
        return if rest.len() > LONGEST_METHOD { Err(Fault::Malformed("the method is too long")) } else { Ok(None) };
    };
    if method_len == 0 || method_len > LONGEST_METHOD || rest.get(method_len) != Some(&b' ') {
        return Err(Fault::Malformed("the request line must be a method, a target and a version"));
    }
    let name = rest.get(..method_len).unwrap_or_default();
    if matches!(name, b"CONNECT" | b"TRACE") {
        return Err(Fault::Method);
    }
    head.method = Method::from_name(name);
    let target_start = start + method_len + 1;
    let target_rest = bytes.get(target_start..).unwrap_or_default();
    let target_len = target_rest.iter().position(|&b| !(0x21..=0x7e).contains(&b));
    if target_len.unwrap_or(target_rest.len()) > limits.target {
        return Err(Fault::TargetTooLong);
    }
    let Some(target_len) = target_len else { return Ok(None) };
    if target_len == 0 || target_rest.get(target_len) != Some(&b' ') {
        return Err(Fault::Malformed("the request target must be visible ASCII between single spaces"));
    }
    read_target(bytes, target_start, target_start + target_len, head)?;
    read_version(bytes, target_start + target_len + 1, head)
}

fn read_version(bytes: &[u8], at: usize, head: &mut RequestHead) -> Result<Option<usize>, Fault> {
    let rest = bytes.get(at..).unwrap_or_default();
    head.version = match rest.get(..10) {
        Some(b"HTTP/1.1\r\n") => Version::Http11,
        Some(b"HTTP/1.0\r\n") => Version::Http10,
        Some(line) if line.starts_with(b"HTTP/") && line.get(8..10) == Some(b"\r\n") => return Err(Fault::Version),
        Some(_) => return Err(Fault::Malformed("the request line must end with HTTP/1.1 and CRLF")),
        None if b"HTTP/1.".starts_with(rest.get(..rest.len().min(7)).unwrap_or_default()) => return Ok(None),
        None => return Err(Fault::Malformed("the request line must end with HTTP/1.1 and CRLF")),
    };
    Ok(Some(at + 10))
}

/// Origin form, absolute form (reduced to its path), `*`; anything else has an empty path, which no route answers to.
fn read_target(bytes: &[u8], start: usize, end: usize, head: &mut RequestHead) -> Result<(), Fault> {
    let target = bytes.get(start..end).unwrap_or_default();
    if target.contains(&b'#') {
        return Err(Fault::Malformed("the request target must not have a fragment"));
    }
    let scheme = target.iter().take(6).position(|&b| b == b':');
    let path_at = match (target.first(), scheme) {
        (Some(b'/' | b'*'), _) => 0,
        (_, Some(colon)) if target.get(colon..colon + 3) == Some(b"://") => {
            let authority = target.get(colon + 3..).unwrap_or_default();
            colon + 3 + authority.iter().position(|&b| b == b'/' || b == b'?').unwrap_or(authority.len())
        }
        _ => target.len(),
    };
    let query_at = target.get(path_at..).unwrap_or_default().iter().position(|&b| b == b'?').map(|i| path_at + i);
    head.path = Span::new(start + path_at, start + query_at.unwrap_or(target.len()));
    head.query = query_at.map(|at| Span::new(start + at + 1, end));
    Ok(())
}

fn read_fields(bytes: &[u8], at: usize, limits: &Limits, head: &mut RequestHead) -> Result<bool, Fault> {
    let mut meaning = Meaning::default();
    let Some(end) = fields::read_fields(bytes, at, limits, &mut head.fields, &mut meaning)? else { return Ok(false) };
    let is_http10 = head.version == Version::Http10;
    // In answers it matters to nobody: only listed fields cross.
    if meaning.has_twin {
        return Err(Fault::Malformed("a field name with _ stands for one with -"));
    }
    if meaning.hosts > 1 || (meaning.hosts == 0 && !is_http10) {
        return Err(Fault::Malformed("host must stand once"));
    }
    head.length = end;
    head.framing = meaning.request_framing(is_http10)?;
    head.keep_alive = !meaning.close && (!is_http10 || meaning.keep_alive);
    head.expects_continue = meaning.expect_continue && !is_http10;
    head.expects_other = meaning.expect_other;
    head.connection_names_fields = meaning.names_fields;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<RequestHead>, Fault> {
        let mut head = RequestHead::default();
        read_request(text.as_bytes(), &Limits::default(), &mut head).map(|complete| complete.then_some(head))
    }

    const GOOD: &str = "POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: berry\r\nContent-Type: application/json \r\n\
                        X-Empty:\r\nContent-Length: 12\r\n\r\n{\"model\":1}\n";

    #[test]
    fn a_head_is_read_with_its_parts() {
        let head = read(GOOD).unwrap().unwrap();
        let bytes = GOOD.as_bytes();
        assert_eq!(head.method, Method::Post);
        assert_eq!(head.path.of(bytes), b"/v1/chat/completions");
        assert_eq!(head.query.unwrap().of(bytes), b"a=b");
        assert_eq!(head.first(bytes, "content-type").unwrap(), b"application/json");
        assert_eq!(head.first(bytes, "x-empty").unwrap(), b"");
        assert_eq!((head.framing, head.keep_alive), (Framing::Length(12), true));
        assert_eq!(head.length, GOOD.len() - 12);
    }

    #[test]
    fn a_head_is_incomplete_until_its_last_byte() {
        for text in [GOOD, &format!("\r\n{GOOD}")] {
            for end in 0..read(text).unwrap().unwrap().length {
                assert!(read(&text[..end]).unwrap().is_none(), "complete at {end}");
            }
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let cases = [
            ("both lengths", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
            ("both lengths, other order", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
            ("equal lengths twice", "Content-Length: 3\r\nContent-Length: 3\r\n"),
            ("different lengths", "Content-Length: 3\r\nContent-Length: 4\r\n"),
            ("a list of lengths", "Content-Length: 3, 3\r\n"),
            ("a signed length", "Content-Length: +3\r\n"),
            ("a negative length", "Content-Length: -3\r\n"),
            ("a hex length", "Content-Length: 0x3\r\n"),
            ("an empty length", "Content-Length:\r\n"),
            ("a length beyond 64 bits", "Content-Length: 99999999999999999999\r\n"),
            ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            ("space before the colon", "Content-Length : 3\r\n"),
            ("a folded line", "X-A: b\r\n c\r\n"),
            ("a bare LF", "X-A: b\nContent-Length: 3\r\n"),
            ("a bare CR", "X-A: b\rContent-Length: 3\r\n"),
            ("NUL in a value", "X-A: b\0c\r\n"),
            ("no colon", "X-A\r\n"),
            ("no name", ": b\r\n"),
            ("a twin with underscores", "Content_Length: 3\r\n"),
            ("a second host", "Host: other\r\n"),
            ("non-ASCII in a name", "X-\u{e4}: b\r\n"),
        ];
        for (what, field) in cases {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n");
            assert!(matches!(read(&text), Err(Fault::Malformed(_))), "{what}: {:?}", read(&text));
        }
    }

    #[test]
    fn odd_request_lines_are_refused() {
        for line in [
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET /\tx HTTP/1.1",
            "GET HTTP/1.1",
            "GET / http/1.1",
            "GET /a b HTTP/1.1",
            "G\u{e4}T / HTTP/1.1",
            "GET /\u{e4} HTTP/1.1",
            "GET /#x HTTP/1.1",
        ] {
            assert!(matches!(read(&format!("{line}\r\nHost: a\r\n\r\n")), Err(Fault::Malformed(_))), "{line}");
        }
        assert!(matches!(read("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), Err(Fault::Version)));
        assert!(matches!(read("GET / HTTP/1.1\nHost: a\n\n"), Err(Fault::Malformed(_))));
        assert!(matches!(read("GET / HTTP/1.1\r\n\r\n"), Err(Fault::Malformed("host must stand once"))));
    }

    #[test]
    fn limits_have_their_own_answers() {
        let long_target = format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000));
        assert_eq!(read(&long_target).unwrap_err().status(), 414);
        let long_head = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(40_000));
        assert_eq!(read(&long_head).unwrap_err().status(), 431);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101));
        assert_eq!(read(&many).unwrap_err().status(), 431);
        assert_eq!(
            read("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n").unwrap_err().status(),
            501
        );
        assert_eq!(read("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").unwrap_err().status(), 501);
        assert_eq!(read("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap_err().status(), 501);
    }

    #[test]
    fn what_is_expected_is_told_apart() {
        for (expect, wants_continue, other) in
            [("", false, false), ("Expect: 100-Continue\r\n", true, false), ("Expect: tea\r\n", false, true)]
        {
            let head = read(&format!("POST / HTTP/1.1\r\nHost: a\r\n{expect}\r\n")).unwrap().unwrap();
            assert_eq!((head.expects_continue, head.expects_other), (wants_continue, other), "{expect}");
        }
    }

    #[test]
    fn targets_are_reduced_to_their_paths() {
        for (target, path) in
            [("/a", "/a"), ("http://x:1/a?b", "/a"), ("https://x/", "/"), ("http://x", ""), ("*", "*"), ("x:443", "")]
        {
            let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let head = read(&text).unwrap().unwrap();
            assert_eq!(head.path.of(text.as_bytes()), path.as_bytes(), "{target}");
        }
    }

    #[test]
    fn persistence_follows_version_and_connection() {
        for (version, connection, expected) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: keep-alive\r\n", true),
            ("1.1", "Connection: keep-alive, Close\r\n", false),
        ] {
            let head = read(&format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n")).unwrap().unwrap();
            assert_eq!(head.keep_alive, expected, "{version} {connection}");
        }
        assert!(read("GET / HTTP/1.1\r\nHost: a\r\nConnection: x-y\r\n\r\n").unwrap().unwrap().connection_names_fields);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let mut head = RequestHead::default();
            let _ = read_request(&bytes, &Limits::default(), &mut head);
        }

        #[test]
        fn a_complete_head_ends_where_the_search_says(tail in "[ -~\r\n]{0,60}") {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{tail}\r\n\r\n");
            let mut head = RequestHead::default();
            if let Ok(true) = read_request(text.as_bytes(), &Limits::default(), &mut head) {
                proptest::prop_assert_eq!(find_end(text.as_bytes()), Some(head.length));
            }
        }
    }

    fn find_end(bytes: &[u8]) -> Option<usize> {
        crate::find_head_end(bytes, 0).unwrap()
    }
}
