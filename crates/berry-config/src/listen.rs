//! Addresses of listeners, as the file and the command line write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Why an address to listen on could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenError(&'static str);

impl ListenError {
    /// What to write instead.
    pub fn remedy(&self) -> &'static str {
        "write an IP address and a port, like 127.0.0.1:3000, [::1]:3000, or 0.0.0.0:3000 for all addresses"
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ListenError {}

/// Reads `127.0.0.1:3000`, `[::]:3000`, `localhost:3000` (127.0.0.1), `:3000` (all IPv4 addresses) or a bare port (127.0.0.1).
///
/// Other names are not looked up: an address to listen on must not depend on DNS.
pub fn parse_listen(text: &str) -> Result<SocketAddr, ListenError> {
    let text = text.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None if text.parse::<IpAddr>().is_ok() => return Err(ListenError("has no port")),
        None => ("localhost", text),
    };
    let address = match host {
        "" | "*" => Ipv4Addr::UNSPECIFIED,
        _ if host.eq_ignore_ascii_case("localhost") => Ipv4Addr::LOCALHOST,
        _ if text.parse::<IpAddr>().is_ok() => {
            return Err(ListenError("has no port, or an IPv6 address without brackets"));
        }
        _ => return Err(ListenError("is no IP address and port")),
    };
    match port.parse::<u16>() {
        Ok(port) => Ok(SocketAddr::new(address.into(), port)),
        Err(_) => Err(ListenError("has no port from 0 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_people_write_them() {
        for (text, address) in [
            ("127.0.0.1:3000", "127.0.0.1:3000"),
            ("0.0.0.0:3000", "0.0.0.0:3000"),
            ("[::]:3000", "[::]:3000"),
            (":3000", "0.0.0.0:3000"),
            ("localhost:3000", "127.0.0.1:3000"),
            ("3000", "127.0.0.1:3000"),
            (" 127.0.0.1:0 ", "127.0.0.1:0"),
        ] {
            assert_eq!(parse_listen(text).map(|a| a.to_string()).as_deref(), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "127.0.0.1", "::1", "::", "example.com:80", "localhost", "127.0.0.1:99999", "-1", "70000", ":"]
        {
            assert!(parse_listen(text).is_err(), "{text}");
        }
    }
}
