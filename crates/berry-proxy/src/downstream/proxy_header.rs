//! What a trusted proxy says of a connection before anything else: the PROXY protocol, version 2 (HAProxy's specification of
//! 2020-03-05). Its address is read, its TLVs are passed over. Version 1, garbage and clients without an address of IP end the
//! connection: there is no way to answer that a proxy would understand, and whoever asks must not be taken for the proxy.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Of what follows the fixed part: addresses, then TLVs such as a TLS client's certificate. The specification allows 64 KiB.
const LONGEST: usize = 4096;

/// What a header starts with: signature, version and command, family, length of the rest.
const FIXED: usize = 16;

/// The address that the connection comes from by its header. `None`: the proxy has opened it for itself, to see whether we live.
///
/// # Errors
/// The connection's, and `InvalidData` where what came is no such header.
pub(super) async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut fixed = [0; FIXED];
    io.read_exact(&mut fixed).await?;
    let [.., version_and_command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !fixed.starts_with(SIGNATURE) || version_and_command >> 4 != 2 || length > LONGEST {
        return Err(malformed());
    }
    let mut rest = vec![0; length];
    io.read_exact(&mut rest).await?;
    match (version_and_command & 0xf, family) {
        (0, _) => Ok(None),
        (1, 0x11) if length >= 12 => Ok(first::<4>(&rest).map(IpAddr::from)),
        (1, 0x21) if length >= 36 => Ok(first::<16>(&rest).map(IpAddr::from)),
        _ => Err(malformed()),
    }
}

fn first<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.first_chunk().copied()
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no header of the PROXY protocol, version 2, for TCP")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[version_and_command, family], &length, rest].concat()
    }

    /// `Err`: the connection is not served.
    async fn told(bytes: &[u8]) -> Result<(Option<IpAddr>, Vec<u8>), io::ErrorKind> {
        let mut io = bytes;
        let source = read(&mut io).await.map_err(|error| error.kind())?;
        Ok((source, io.to_vec()))
    }

    const V4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 1, 2, 3, 4];

    #[tokio::test]
    async fn the_source_is_read_and_nothing_behind_the_header() {
        let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9][..], &[0; 20]].concat();
        let with_tlv = [&V4[..], &[4, 0, 1, 0]].concat();
        let mapped = [&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 9][..], &[0; 20]].concat();
        for (header, source) in [
            (header(0x21, 0x11, &V4), Some("203.0.113.9")),
            (header(0x21, 0x11, &with_tlv), Some("203.0.113.9")),
            (header(0x21, 0x21, &v6), Some("2001:db8::9")),
            (header(0x21, 0x21, &mapped), Some("::ffff:203.0.113.9")),
            (header(0x20, 0x00, &[]), None),
            (header(0x20, 0x11, &V4), None),
            (header(0x20, 0x31, &[0; 216]), None),
        ] {
            let bytes = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            let (told, behind) = told(&bytes).await.unwrap();
            assert_eq!((told.map(|ip| ip.to_string()).as_deref(), &behind[..]), (source, &b"GET / HTTP/1.1\r\n"[..]));
        }
    }

    #[tokio::test]
    async fn whatever_else_comes_ends_the_connection() {
        for bytes in [
            b"GET / HTTP/1.1\r\nhost: b\r\n\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\nGET / HTTP/1.1\r\n\r\n".to_vec(),
            header(0x11, 0x11, &V4),
            header(0x31, 0x11, &V4),
            header(0x22, 0x11, &V4),
            // No TCP, no IP, not said.
            header(0x21, 0x12, &V4),
            header(0x21, 0x31, &[0; 216]),
            header(0x21, 0x00, &[]),
            header(0x21, 0x11, &V4[..11]),
            header(0x21, 0x21, &V4),
            header(0x20, 0x00, &[0; LONGEST + 1]),
        ] {
            assert_eq!(told(&bytes).await, Err(io::ErrorKind::InvalidData), "{bytes:?}");
        }
        let whole = header(0x21, 0x11, &V4);
        for length in 0..whole.len() {
            assert_eq!(told(&whole[..length]).await, Err(io::ErrorKind::UnexpectedEof), "{length}");
        }
    }
}
