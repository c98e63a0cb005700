//! What holds of the headers in which a vendor names a wait, whatever it writes there: no wait is beyond reason, and fields that
//! are none of these headers, the case of names and the order of fields change nothing.
//!
//! Each line is a field: its name, a colon, its value.

use std::collections::HashSet;
use std::time::Duration;

use berry_wire::wait;

/// Now, in milliseconds since 1970: the beginning, a day of 2025, and the end of all time.
const NOWS: [u64; 3] = [0, 1_764_000_000_000, u64::MAX];

/// The longest wait that anybody is believed.
const TEN_YEARS: Duration = Duration::from_secs(10 * 366 * 86_400);

/// As many fields of one answer are looked at.
const MAX_FIELDS: usize = 32;

pub(crate) fn check(input: &[u8]) {
    let fields: Vec<(&[u8], &[u8])> = input.split(|byte| *byte == b'\n').map(split).collect();
    let upper: Vec<Vec<u8>> = fields.iter().map(|(name, _)| name.to_ascii_uppercase()).collect();
    let names: HashSet<&[u8]> = upper.iter().map(Vec::as_slice).collect();
    for now in NOWS {
        let asked = wait(fields.iter().copied(), now);
        assert!(asked.is_none_or(|wait| wait <= TEN_YEARS), "{asked:?}");

        let shouted = upper.iter().zip(&fields).map(|(name, (_, value))| (name.as_slice(), *value));
        assert_eq!(wait(shouted, now), asked, "in capitals");

        let noise = std::iter::repeat_n((&b"x-request-id"[..], &b"1"[..]), MAX_FIELDS);
        assert_eq!(wait(noise.chain(fields.iter().copied()), now), asked, "after other fields");

        if names.len() == fields.len() && fields.len() <= MAX_FIELDS {
            assert_eq!(wait(fields.iter().rev().copied(), now), asked, "in reverse");
        }
    }
    retry_after_in_seconds_means_them(&fields);
}

fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    (&line[..colon], line.get(colon + 1..).unwrap_or_default())
}

fn retry_after_in_seconds_means_them(fields: &[(&[u8], &[u8])]) {
    for (_, value) in fields {
        let Some(seconds) = std::str::from_utf8(value).ok().and_then(|value| value.parse::<u32>().ok()) else {
            continue;
        };
        let is_plain = value.iter().all(u8::is_ascii_digit);
        let asked = wait([(&b"retry-after"[..], *value)].into_iter(), 0);
        let meant = Some(Duration::from_secs(seconds.into())).filter(|wait| *wait <= TEN_YEARS && is_plain);
        assert_eq!(asked, meant);
    }
}
