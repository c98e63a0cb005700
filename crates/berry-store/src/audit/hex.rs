//! Bytes as lower-case hexadecimal digits. Reading takes no other form, so that there is one way only to write a hash.

/// Appends the digits of `bytes`.
pub(super) fn push(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// The digits of `bytes`.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    push(bytes, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// So many bytes; `None`: `digits` is anything else.
pub(super) fn read<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if digits.len() != N * 2 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_is_read() {
        assert_eq!(text(&[0, 0x1f, 0xfe]), "001ffe");
        assert_eq!(read(b"001ffe"), Some([0, 0x1f, 0xfe]));
        for wrong in [&b"001FFE"[..], b"001ff", b"001ffe0", b"001ffg", b""] {
            assert_eq!(read::<3>(wrong), None);
        }
    }
}
