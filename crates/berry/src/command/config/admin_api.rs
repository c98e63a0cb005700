//! A word with the running gateway, over its admin listener. What it listens on and who is an admin is read from the text that
//! it runs. Plain HTTP only: to trust a certificate somebody would have to say which.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use berry_config::{Config, UserToken};
use berry_vocab::Secret;
use serde_json::Value;

const CONNECT: Duration = Duration::from_secs(2);

/// A reload checks and builds everything before it answers.
const ANSWER: Duration = Duration::from_secs(60);

/// No report is longer.
const LONGEST: u64 = 16 << 20;

/// Where the gateway is asked, and as whom.
pub(super) struct AdminApi {
    address: SocketAddr,
    token: Secret,
}

impl AdminApi {
    /// That of a gateway which runs this, if it can be used from here.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let listen = config.admin.listen;
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let mut admins = config.users.iter().filter(|user| user.enabled && user.tags.iter().any(|tag| tag == "admin"));
        let token = admins.find_map(|user| match &user.token {
            UserToken::Plain(token) => Some(token.clone()),
            UserToken::Sha256(_) => None,
        })?;
        let is_usable = ip.is_loopback() && listen.port() != 0 && config.admin.tls.is_none();
        is_usable.then(|| Self { address: SocketAddr::new(ip, listen.port()), token })
    }

    /// Posts a body. Gives status and answer.
    pub(super) fn post(&self, path: &str, body: &Value) -> io::Result<(u16, Value)> {
        let mut stream = TcpStream::connect_timeout(&self.address, CONNECT)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(CONNECT))?;
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            self.address,
            self.token.expose(),
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.take(LONGEST).read_to_string(&mut answer)?;
        read(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no answer of an admin API"))
    }
}

fn read(answer: &str) -> Option<(u16, Value)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_of_the_admin_api_is_one() {
        let (status, value) = read("HTTP/1.1 200 OK\r\na: b\r\n\r\n{\"result\":\"applied\"}").unwrap();
        assert_eq!((status, &value["result"]), (200, &"applied".into()));
        for other in ["", "SSH-2.0-x\r\n\r\n{}", "HTTP/1.1 200 OK\r\n\r\n<html>", "HTTP/1.1 2\r\n\r\n{}"] {
            assert!(read(other).is_none(), "{other}");
        }
    }
}
