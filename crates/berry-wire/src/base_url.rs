//! `base_url`: where a provider is reached, read strictly and once, so that the path of a request has nothing left to decide.
//!
//! The rule (documented for users): a path that ends in a version (`/v1`, `/api/paas/v4`, `/v1beta`) or in `/openai` is kept;
//! a full endpoint URL is used as it is; a trailing `#` keeps the path as it is, without a version; else the protocol's own
//! version is appended. In all cases what follows is the operation's path, `/chat/completions` say: a full endpoint URL and a
//! `#` only say that no version comes before it, which is also what lets the other operations of such a provider be reached.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use berry_vocab::Protocol;

use crate::protocol::{Route, Shape, spec};
use crate::route::Operation;

/// Where a provider is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    tls: bool,
    host: String,
    port: u16,
    authority: String,
    /// What stands before an operation's path: empty, or beginning with `/` and not ending with it.
    prefix: String,
    full_endpoint: bool,
    /// A Gemini endpoint's URL names the model too, so that it can only be used whole.
    whole: Option<(Operation, String)>,
}

/// Why a `base_url` cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseUrlError {
    /// It holds a space, a control byte or a backslash.
    Character,
    /// It begins with neither `http://` nor `https://`.
    Scheme,
    /// It holds a user name or a password.
    UserInfo,
    /// It names no host.
    NoHost,
    /// The host is no ASCII.
    NonAsciiHost,
    /// The host is neither a name nor an address.
    Host,
    /// The port is no number from 1 to 65535.
    Port,
    /// The path holds an empty segment, a dot segment, a broken escape or a byte that no path may hold.
    Path,
    /// It holds a query.
    Query,
    /// It holds a fragment.
    Fragment,
}

// === impl BaseUrl ===

impl BaseUrl {
    /// Reads the URL as the configuration has it.
    pub fn parse(text: &str, protocol: Protocol) -> Result<BaseUrl, BaseUrlError> {
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\') {
            return Err(BaseUrlError::Character);
        }
        let (tls, rest) = scheme(text)?;
        let (rest, as_it_is) = match rest.split_once('#') {
            Some((rest, "")) => (rest, true),
            Some(_) => return Err(BaseUrlError::Fragment),
            None => (rest, false),
        };
        if rest.contains('?') {
            return Err(BaseUrlError::Query);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = host_and_port(authority)?;
        let path = path.trim_end_matches('/');
        check_path(path)?;

        let default_port = if tls { 443 } else { 80 };
        let port = port.unwrap_or(default_port);
        let mut authority = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if port != default_port {
            authority.push_str(&format!(":{port}"));
        }
        let mut url =
            BaseUrl { tls, host, port, authority, prefix: path.to_owned(), full_endpoint: false, whole: None };
        url.settle_prefix(path, protocol, as_it_is);
        Ok(url)
    }

    /// Whether it is `https`.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host: a name in lower case, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, said or by default.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `host` header: an IPv6 address in brackets, a default port left out.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether the URL was that of one operation's endpoint.
    pub fn full_endpoint(&self) -> bool {
        self.full_endpoint
    }

    /// What stands before an operation's path.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The path that serves this operation whatever the model, if the URL was that of its endpoint (Gemini).
    pub(crate) fn whole_for(&self, operation: Operation) -> Option<&str> {
        self.whole.as_ref().filter(|(only, _)| *only == operation).map(|(_, path)| path.as_str())
    }

    fn settle_prefix(&mut self, path: &str, protocol: Protocol, as_it_is: bool) {
        let spec = spec(protocol);
        if ends_in_version(path) {
            return;
        }
        let endpoints = spec.routes.iter().filter_map(|route| Some((route, prefix_of_endpoint(path, route)?)));
        if let Some((route, prefix)) = endpoints.min_by_key(|(_, prefix)| prefix.len()) {
            self.full_endpoint = true;
            self.prefix = prefix.to_owned();
            if matches!(route.shape, Shape::Verb(_)) {
                self.whole = Some((route.operation, path.to_owned()));
            }
        } else if !as_it_is {
            self.prefix.push_str(spec.versions.first().copied().unwrap_or_default());
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.prefix)
    }
}

// === impl BaseUrlError ===

impl BaseUrlError {
    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            BaseUrlError::Character => "remove spaces, control characters and backslashes",
            BaseUrlError::Scheme => "begin it with https:// (or http:// for a server in your own network)",
            BaseUrlError::UserInfo => "remove what stands before the @ and put the key into api_key",
            BaseUrlError::NoHost => "name the host, as in https://api.openai.com/v1",
            BaseUrlError::NonAsciiHost => "write the host in punycode, as in xn--bcher-kva.example",
            BaseUrlError::Host => "write a host name, an IPv4 address or an IPv6 address in brackets",
            BaseUrlError::Port => "write a port from 1 to 65535, or none for the scheme's own",
            BaseUrlError::Path => "write the path plainly: no //, no . or .. segments, other than ASCII as %XX",
            BaseUrlError::Query => "remove the ? and what follows; name the API's version in the path",
            BaseUrlError::Fragment => "remove what follows the #; a # alone at the end keeps the path as it is",
        }
    }
}

impl fmt::Display for BaseUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BaseUrlError::Character => "the URL holds a character that no URL may hold",
            BaseUrlError::Scheme => "the URL is neither http nor https",
            BaseUrlError::UserInfo => "the URL holds a user name or password",
            BaseUrlError::NoHost => "the URL names no host",
            BaseUrlError::NonAsciiHost => "the URL's host is not ASCII",
            BaseUrlError::Host => "the URL's host is neither a name nor an address",
            BaseUrlError::Port => "the URL's port is no port",
            BaseUrlError::Path => "the URL's path is malformed",
            BaseUrlError::Query => "the URL holds a query",
            BaseUrlError::Fragment => "the URL holds a fragment",
        })
    }
}

impl std::error::Error for BaseUrlError {}

fn scheme(text: &str) -> Result<(bool, &str), BaseUrlError> {
    let (scheme, rest) = text.split_once("://").ok_or(BaseUrlError::Scheme)?;
    match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => Ok((true, rest)),
        _ if scheme.eq_ignore_ascii_case("http") => Ok((false, rest)),
        _ => Err(BaseUrlError::Scheme),
    }
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), BaseUrlError> {
    if authority.contains('@') {
        return Err(BaseUrlError::UserInfo);
    }
    if !authority.is_ascii() {
        return Err(BaseUrlError::NonAsciiHost);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(BaseUrlError::Host)?;
            let address: Ipv6Addr = address.parse().map_err(|_| BaseUrlError::Host)?;
            (address.to_string(), port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (name_or_ipv4(host)?, port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(parse_port(digits)?),
        None if port.is_empty() => None,
        None => return Err(BaseUrlError::Host),
    };
    Ok((host, port))
}

/// A name whose last label is a number would be taken for an address by some resolvers, so it must be one in four parts.
fn name_or_ipv4(host: &str) -> Result<String, BaseUrlError> {
    if host.is_empty() {
        return Err(BaseUrlError::NoHost);
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(BaseUrlError::Host);
    }
    let last = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let digits = last.strip_prefix("0x").map_or(&*last, |hex| hex.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    if digits.bytes().all(|byte| byte.is_ascii_digit()) && name.parse::<Ipv4Addr>().is_err() {
        return Err(BaseUrlError::Host);
    }
    Ok(name.to_ascii_lowercase())
}

fn parse_port(digits: &str) -> Result<u16, BaseUrlError> {
    if digits.bytes().any(|byte| !byte.is_ascii_digit()) {
        return Err(BaseUrlError::Port);
    }
    digits.parse().ok().filter(|port| *port != 0).ok_or(BaseUrlError::Port)
}

fn check_path(path: &str) -> Result<(), BaseUrlError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&byte);
    let is_segment = |segment: &str| {
        let decoded = crate::percent::decode(segment);
        decoded.is_some_and(|text| !matches!(&*text, "" | "." | "..") && !text.contains(['/', '\\', '\0']))
    };
    let segments = path.strip_prefix('/').into_iter().flat_map(|path| path.split('/'));
    if path.bytes().all(is_plain) && segments.into_iter().all(is_segment) { Ok(()) } else { Err(BaseUrlError::Path) }
}

/// `v1`, `v4`, `v1beta`, `v1alpha2`; or `openai`, below which vendors put their copy of OpenAI's API.
fn ends_in_version(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    let Some(version) = last.strip_prefix('v') else {
        return last == "openai";
    };
    let rest = version.trim_start_matches(|c: char| c.is_ascii_digit());
    let stage = rest.trim_end_matches(|c: char| c.is_ascii_digit());
    rest.len() < version.len() && matches!(stage, "" | "alpha" | "beta" | "preview")
}

/// What stands before the endpoint of this route, if the path ends in it.
fn prefix_of_endpoint<'p>(path: &'p str, route: &Route) -> Option<&'p str> {
    match route.shape {
        Shape::Exact(endpoint) => path.strip_suffix(endpoint),
        Shape::Family(family) => {
            let (front, _) = path.rsplit_once('/')?;
            front.strip_suffix(family.trim_end_matches('/'))
        }
        Shape::Verb(verb) => {
            let (front, last) = path.rsplit_once('/')?;
            last.strip_suffix(verb)?.strip_suffix(':')?;
            front.strip_suffix("/models").or_else(|| front.strip_suffix("/tunedModels"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Matched, find};
    use crate::upstream_path;

    /// What is asked for with "m" as the model, on the path that each protocol's clients use most.
    fn called(url: &str, protocol: Protocol) -> String {
        let path = match protocol {
            Protocol::OpenAi => "/v1/chat/completions",
            Protocol::Anthropic => "/v1/messages",
            Protocol::Gemini => "/v1beta/models/x:generateContent",
        };
        let Ok(Matched::Call(call)) = find("POST", path) else { panic!("{path} is a call") };
        let base = BaseUrl::parse(url, protocol).unwrap_or_else(|error| panic!("{url}: {error}"));
        format!("{}{}", base.authority(), upstream_path(&base, &call, "m", None))
    }

    #[test]
    fn each_vendors_url_leads_to_its_endpoint() {
        use Protocol::{Anthropic, Gemini, OpenAi};
        for (url, protocol, expected) in [
            ("https://api.openai.com", OpenAi, "api.openai.com/v1/chat/completions"),
            ("https://api.openai.com/v1/", OpenAi, "api.openai.com/v1/chat/completions"),
            ("https://api.deepseek.com", OpenAi, "api.deepseek.com/v1/chat/completions"),
            ("https://api.moonshot.cn/v1", OpenAi, "api.moonshot.cn/v1/chat/completions"),
            ("https://open.bigmodel.cn/api/paas/v4/", OpenAi, "open.bigmodel.cn/api/paas/v4/chat/completions"),
            ("https://api.z.ai/api/coding/paas/v4", OpenAi, "api.z.ai/api/coding/paas/v4/chat/completions"),
            (
                "https://dashscope.aliyuncs.com/compatible-mode/v1",
                OpenAi,
                "dashscope.aliyuncs.com/compatible-mode/v1/chat/completions",
            ),
            ("https://ark.cn-beijing.volces.com/api/v3", OpenAi, "ark.cn-beijing.volces.com/api/v3/chat/completions"),
            ("https://api.siliconflow.cn/v1", OpenAi, "api.siliconflow.cn/v1/chat/completions"),
            ("https://api.groq.com/openai/v1", OpenAi, "api.groq.com/openai/v1/chat/completions"),
            ("https://openrouter.ai/api/v1", OpenAi, "openrouter.ai/api/v1/chat/completions"),
            ("https://api.mistral.ai", OpenAi, "api.mistral.ai/v1/chat/completions"),
            ("https://api.x.ai/v1", OpenAi, "api.x.ai/v1/chat/completions"),
            ("https://api.fireworks.ai/inference/v1", OpenAi, "api.fireworks.ai/inference/v1/chat/completions"),
            ("https://api.cohere.ai/compatibility/v1", OpenAi, "api.cohere.ai/compatibility/v1/chat/completions"),
            ("https://qianfan.baidubce.com/v2", OpenAi, "qianfan.baidubce.com/v2/chat/completions"),
            (
                "https://generativelanguage.googleapis.com/v1beta/openai/",
                OpenAi,
                "generativelanguage.googleapis.com/v1beta/openai/chat/completions",
            ),
            ("https://mine.openai.azure.com/openai/v1", OpenAi, "mine.openai.azure.com/openai/v1/chat/completions"),
            (
                "https://mine.openai.azure.com/openai/deployments/gpt-4o/chat/completions",
                OpenAi,
                "mine.openai.azure.com/openai/deployments/gpt-4o/chat/completions",
            ),
            ("https://api.perplexity.ai#", OpenAi, "api.perplexity.ai/chat/completions"),
            ("https://api.perplexity.ai/chat/completions", OpenAi, "api.perplexity.ai/chat/completions"),
            ("https://models.github.ai/inference#", OpenAi, "models.github.ai/inference/chat/completions"),
            ("http://localhost:11434", OpenAi, "localhost:11434/v1/chat/completions"),
            ("http://127.0.0.1:8000/v1", OpenAi, "127.0.0.1:8000/v1/chat/completions"),
            ("http://[::1]:8000", OpenAi, "[::1]:8000/v1/chat/completions"),
            ("https://api.anthropic.com", Anthropic, "api.anthropic.com/v1/messages"),
            ("https://api.anthropic.com/v1/messages", Anthropic, "api.anthropic.com/v1/messages"),
            ("https://api.deepseek.com/anthropic", Anthropic, "api.deepseek.com/anthropic/v1/messages"),
            ("https://api.moonshot.cn/anthropic/", Anthropic, "api.moonshot.cn/anthropic/v1/messages"),
            (
                "https://generativelanguage.googleapis.com",
                Gemini,
                "generativelanguage.googleapis.com/v1beta/models/m:generateContent",
            ),
            (
                "https://generativelanguage.googleapis.com/v1",
                Gemini,
                "generativelanguage.googleapis.com/v1/models/m:generateContent",
            ),
            (
                "https://proxy.example/v1beta/models/own:generateContent",
                Gemini,
                "proxy.example/v1beta/models/own:generateContent",
            ),
        ] {
            assert_eq!(called(url, protocol), expected, "{url}");
        }
    }

    #[test]
    fn a_full_endpoint_still_leads_to_the_other_operations() {
        let base =
            BaseUrl::parse("https://api.example/openai/deployments/d/chat/completions", Protocol::OpenAi).unwrap();
        assert!(base.full_endpoint());
        let Ok(Matched::Call(call)) = find("POST", "/v1/images/edits") else { panic!() };
        assert_eq!(upstream_path(&base, &call, "m", None), "/openai/deployments/d/images/edits");
        let base = BaseUrl::parse("https://p.example/v1/models/own:generateContent", Protocol::Gemini).unwrap();
        let Ok(Matched::Call(call)) = find("POST", "/v1beta/models/x:countTokens") else { panic!() };
        assert_eq!(upstream_path(&base, &call, "m", None), "/v1/models/m:countTokens");
    }

    #[test]
    fn default_ports_are_left_out_of_the_authority() {
        for (url, tls, host, port, authority) in [
            ("HTTPS://API.Example.COM:443/v1", true, "api.example.com", 443, "api.example.com"),
            ("http://h:80", false, "h", 80, "h"),
            ("https://h:80", true, "h", 80, "h:80"),
            ("http://[2001:DB8::1]", false, "2001:db8::1", 80, "[2001:db8::1]"),
            ("http://my_service.default.svc.:9/", false, "my_service.default.svc", 9, "my_service.default.svc:9"),
        ] {
            let base = BaseUrl::parse(url, Protocol::OpenAi).unwrap();
            assert_eq!(
                (base.is_tls(), base.host(), base.port(), base.authority()),
                (tls, host, port, authority),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused_with_its_reason() {
        use BaseUrlError::*;
        for (url, error) in [
            ("", Scheme),
            ("api.openai.com/v1", Scheme),
            ("ftp://h", Scheme),
            ("https:/h", Scheme),
            ("https://", NoHost),
            ("https:///v1", NoHost),
            ("https://:443", NoHost),
            ("https://user:pass@h/v1", UserInfo),
            ("https://h/v1?api-version=1", Query),
            ("https://h?x", Query),
            ("https://h/v1#x", Fragment),
            ("https://h/##", Fragment),
            ("https://h /v1", Character),
            ("https://h/v1\n", Character),
            ("https://h\\v1", Character),
            ("https://bücher.example", NonAsciiHost),
            ("https://h:0", Port),
            ("https://h:65536", Port),
            ("https://h:", Port),
            ("https://h:+80", Port),
            ("https://h:80:80", Port),
            ("https://a..b", Host),
            ("https://a%2eb", Host),
            ("https://[::1", Host),
            ("https://[::1]x", Host),
            ("https://[fe80::1%25eth0]", Host),
            ("https://2130706433", Host),
            ("https://0x7f.1", Host),
            ("https://127.0.0.0x1", Host),
            ("https://127.1", Host),
            ("https://h/a//b", Path),
            ("https://h/../v1", Path),
            ("https://h/%2e%2e/v1", Path),
            ("https://h/a%2fb", Path),
            ("https://h/a%zz", Path),
            ("https://h/модель", Path),
            ("https://h/a|b", Path),
        ] {
            assert_eq!(BaseUrl::parse(url, Protocol::OpenAi), Err(error), "{url}");
            assert!(!error.remedy().is_empty() && !error.to_string().ends_with('.'));
        }
    }
}
