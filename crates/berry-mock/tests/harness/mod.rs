//! A client on the raw socket: it sends text and keeps every byte that comes back, however broken.

#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each test file uses a part of it, one all")]

use berry_mock::{Fault, Mock, Options};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A started mock.
pub async fn mock() -> Mock {
    Mock::start(Options::default()).await.unwrap()
}

/// A mock that plays this fault for every request.
pub async fn faulty(fault: &str) -> Mock {
    let fault = Some(Fault::parse(fault).unwrap());
    Mock::start(Options { fault, ..Options::default() }).await.unwrap()
}

/// A request for a chat by this model.
pub fn chat(model: &str, stream: bool) -> String {
    post("/v1/chat/completions", &format!(r#"{{"model":"{model}","stream":{stream},"messages":[]}}"#))
}

/// A POST with this body.
pub fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: mock\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// What came back, and how it ended.
pub struct Answer {
    pub bytes: Vec<u8>,
    /// None: a clean close. Some: the error that the read gave.
    pub error: Option<io::ErrorKind>,
}

/// An answer taken apart.
pub struct Parsed {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// The body came to the end that the head promised.
    pub whole: bool,
    /// What followed it.
    pub rest: Vec<u8>,
}

/// Sends one request, with a close asked for, and reads to the end of the connection.
pub async fn ask(mock: &Mock, request: &str) -> Answer {
    let mut stream = TcpStream::connect(mock.addr()).await.unwrap();
    let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    stream.write_all(request.as_bytes()).await.unwrap();
    drain(&mut stream).await
}

/// Reads to the end of the connection.
pub async fn drain(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).await.err().map(|error| error.kind());
    Answer { bytes, error }
}

/// Reads until what has come satisfies the condition.
pub async fn read_until(stream: &mut TcpStream, mut holds: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !holds(&bytes) {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "closed early: {}", String::from_utf8_lossy(&bytes));
    }
    bytes
}

pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    find(bytes, part).is_some()
}

pub fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn parse(&self) -> Parsed {
        parse(&self.bytes)
    }
}

impl Parsed {
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Takes the first answer of these bytes apart.
pub fn parse(bytes: &[u8]) -> Parsed {
    let end = find(bytes, b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head[9..12].parse().unwrap();
    let mut parsed = Parsed { status, head, body: Vec::new(), whole: true, rest: Vec::new() };
    let mut rest = &bytes[end + 4..];
    if parsed.field("transfer-encoding") == Some("chunked") {
        parsed.whole = false;
        while let Some(line) = find(rest, b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            if rest.len() < line + 2 + size + 2 {
                break;
            }
            parsed.body.extend_from_slice(&rest[line + 2..line + 2 + size]);
            rest = &rest[line + 2 + size + 2..];
            if size == 0 {
                parsed.whole = true;
                break;
            }
        }
    } else if let Some(length) = parsed.field("content-length").map(|length| length.parse::<usize>().unwrap()) {
        parsed.whole = rest.len() >= length;
        let (body, further) = rest.split_at(length.min(rest.len()));
        parsed.body = body.to_vec();
        rest = further;
    } else {
        parsed.body = rest.to_vec();
        rest = &[];
    }
    parsed.rest = rest.to_vec();
    parsed
}
