//! `proxy_url`, taken apart. No message holds a part of it: it may carry a password.

use berry_vocab::Secret;

use crate::config::{ProxyScheme, ProxyUrl};
use crate::rule::Misfit;

const REMEDY: &str = "write http://host:port or socks5://host:port, with user:password@ before the host where needed";

/// Reads `http://`, `socks5://` or `socks5h://`, credentials, host and port.
pub(crate) fn parse(text: &str) -> Result<ProxyUrl, Misfit> {
    let bad = |what: &str| Misfit::new(what, REMEDY);
    let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("has no scheme"))?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => ProxyScheme::Http,
        "socks5" | "socks5h" => ProxyScheme::Socks5,
        "https" => {
            return Err(bad("asks for a proxy that is itself spoken to over TLS, which is not supported"));
        }
        _ => return Err(bad("has a scheme that is not supported")),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (credentials, address) = match rest.rsplit_once('@') {
        Some((credentials, address)) => (Some(self::credentials(credentials)?), address),
        None => (None, rest),
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(|| bad("has no port"))?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| bad("has no port from 1 to 65535"))?;
    Ok(ProxyUrl { scheme, host: self::host(host).ok_or_else(|| bad("has no host"))?, port, credentials })
}

fn host(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']')?;
        return address.parse::<std::net::Ipv6Addr>().ok().map(|address| address.to_string());
    }
    let fits = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    fits.then(|| text.to_ascii_lowercase())
}

fn credentials(text: &str) -> Result<(String, Secret), Misfit> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = (percent_decoded(user), percent_decoded(password));
    let (Some(user), Some(password)) = decoded else {
        return Err(Misfit::new("has credentials that are not percent-encoded UTF-8", REMEDY));
    };
    Ok((user, Secret::new(password)))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let plain = match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            _ => byte,
        };
        bytes.push(plain);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_read_with_and_without_credentials() {
        let proxy = parse("socks5h://me:p%40ss@Proxy.example:1080/").ok().unwrap();
        assert_eq!((proxy.scheme, proxy.host.as_str(), proxy.port), (ProxyScheme::Socks5, "proxy.example", 1080));
        let (user, password) = proxy.credentials.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("me", "p@ss"));
        let proxy = parse("http://[::1]:8080").ok().unwrap();
        assert_eq!((proxy.scheme, proxy.host.as_str(), proxy.credentials), (ProxyScheme::Http, "::1", None));
    }

    #[test]
    fn proxies_that_cannot_be_used_are_refused() {
        for text in
            ["", "proxy:80", "https://p:443", "ftp://p:21", "http://p", "http://:80", "http://p:0", "http://a%zz@p:1"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
