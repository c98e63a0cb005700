//! A request of the demo's: one description, written as a curl line for people and as HTTP for the sample traffic.

use std::fmt::Write as _;

/// A request.
pub(super) struct Call {
    /// What it shows.
    pub(super) title: &'static str,
    base: String,
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
}

impl Call {
    pub(super) fn get(title: &'static str, base: &str, path: &'static str) -> Self {
        Self { title, base: base.to_owned(), path, headers: Vec::new(), body: None }
    }

    pub(super) fn post(title: &'static str, base: &str, path: &'static str, body: String) -> Self {
        let call = Self { body: Some(body), ..Self::get(title, base, path) };
        call.header("content-type", "application/json")
    }

    pub(super) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// As a shell takes it; nothing here holds a quote. `-i` shows the headers, `-N` each event as it comes.
    pub(super) fn curl(&self) -> String {
        let mut line = format!("curl -siN {}{}", self.base, self.path);
        for (name, value) in &self.headers {
            let _ = write!(line, " -H '{name}: {value}'");
        }
        if let Some(body) = &self.body {
            let _ = write!(line, " \\\n  -d '{body}'");
        }
        line
    }

    /// The host and port to connect to.
    pub(super) fn authority(&self) -> &str {
        self.base.strip_prefix("http://").unwrap_or(&self.base)
    }

    /// As HTTP/1.1, on a connection of its own.
    pub(super) fn request(&self) -> String {
        let method = if self.body.is_some() { "POST" } else { "GET" };
        let mut text =
            format!("{method} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.path, self.authority());
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let body = self.body.as_deref().unwrap_or_default();
        let _ = write!(text, "content-length: {}\r\n\r\n{body}", body.len());
        text
    }
}
