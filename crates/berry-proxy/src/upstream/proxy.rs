//! The way through a provider's `proxy_url`: HTTP CONNECT (RFC 9110, section 9.3.6) and SOCKS 5 (RFC 1928, RFC 1929).

use berry_config::{ProxyScheme, ProxyUrl};
use berry_http1::{Limits, ResponseHead, read_response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::ports::{Address, ConnectFault, Io};
use crate::upstream::endpoint::Endpoint;

/// Makes a connection to a proxy into one to the endpoint behind it. Cleartext through an HTTP proxy needs no tunnel: its
/// requests are written in absolute form instead.
pub(crate) async fn tunnel(mut io: Io, proxy: &ProxyUrl, endpoint: &Endpoint) -> Result<Io, ConnectFault> {
    let done = match proxy.scheme {
        ProxyScheme::Http if endpoint.needs_absolute_form() => Some(()),
        ProxyScheme::Http => connect(&mut io, proxy, endpoint.address()).await,
        ProxyScheme::Socks5 => socks5(&mut io, proxy, endpoint.address()).await,
    };
    done.map(|()| io).ok_or(ConnectFault::Proxy)
}

/// The `proxy-authorization` field line of a proxy with credentials; empty without.
pub(crate) fn authorization(proxy: &ProxyUrl) -> String {
    match &proxy.credentials {
        None => String::new(),
        Some((user, password)) => {
            format!("proxy-authorization: Basic {}\r\n", base64(format!("{user}:{}", password.expose()).as_bytes()))
        }
    }
}

async fn connect(io: &mut Io, proxy: &ProxyUrl, to: Address<'_>) -> Option<()> {
    let authority = match to.host.contains(':') {
        true => format!("[{}]:{}", to.host, to.port),
        false => format!("{}:{}", to.host, to.port),
    };
    let head = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{}\r\n", authorization(proxy));
    io.write_all(head.as_bytes()).await.ok()?;
    io.flush().await.ok()?;
    let (mut answer, mut parsed) = (Vec::new(), ResponseHead::default());
    loop {
        // Byte by byte: what follows the head belongs to the tunnel.
        answer.push(io.read_u8().await.ok()?);
        if answer.ends_with(b"\r\n\r\n") && read_response(&answer, &Limits::default(), &mut parsed).ok()? {
            return (200..300).contains(&parsed.status).then_some(());
        }
        if answer.len() > Limits::default().head {
            return None;
        }
    }
}

async fn socks5(io: &mut Io, proxy: &ProxyUrl, to: Address<'_>) -> Option<()> {
    const VERSION: u8 = 5;
    const NO_AUTHENTICATION: u8 = 0;
    const USER_PASSWORD: u8 = 2;
    let method = if proxy.credentials.is_some() { USER_PASSWORD } else { NO_AUTHENTICATION };
    io.write_all(&[VERSION, 1, method]).await.ok()?;
    io.flush().await.ok()?;
    let mut chosen = [0; 2];
    io.read_exact(&mut chosen).await.ok()?;
    if chosen != [VERSION, method] {
        return None;
    }
    if let Some((user, password)) = &proxy.credentials {
        let mut request = vec![1];
        push_short(&mut request, user.as_bytes())?;
        push_short(&mut request, password.expose().as_bytes())?;
        io.write_all(&request).await.ok()?;
        io.flush().await.ok()?;
        io.read_exact(&mut chosen).await.ok()?;
        if chosen[1] != 0 {
            return None;
        }
    }
    socks5_connect(io, to).await
}

async fn socks5_connect(io: &mut Io, to: Address<'_>) -> Option<()> {
    // Version 5, CONNECT, reserved, a domain name: the proxy resolves it.
    let mut request = vec![5, 1, 0, 3];
    push_short(&mut request, to.host.as_bytes())?;
    request.extend_from_slice(&to.port.to_be_bytes());
    io.write_all(&request).await.ok()?;
    io.flush().await.ok()?;
    let mut head = [0; 4];
    io.read_exact(&mut head).await.ok()?;
    if head[0] != 5 || head[1] != 0 {
        return None;
    }
    let address_len = match head[3] {
        1 => 4,
        4 => 16,
        3 => usize::from(io.read_u8().await.ok()?),
        _ => return None,
    };
    let mut bound = vec![0; address_len + 2];
    io.read_exact(&mut bound).await.ok()?;
    Some(())
}

fn push_short(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    out.push(u8::try_from(text.len()).ok()?);
    out.extend_from_slice(text);
    Some(())
}

/// RFC 4648, section 4. Short credentials only, so a table walk is all it takes.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (i, &b)| word | u32::from(b) << (16 - 8 * i));
        for i in 0..4 {
            let sextet = (word >> (18 - 6 * i)) & 63;
            let symbol = ALPHABET.get(sextet as usize).copied().unwrap_or(b'=');
            out.push(if i <= chunk.len() { char::from(symbol) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_written_as_rfc_4648_says() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
