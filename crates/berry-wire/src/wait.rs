//! How long a vendor asks to be left alone: the forms in which its answers say so, as data. What a wait is good for, and how
//! long Berry is willing to wait at most, is decided elsewhere.
//!
//! A header that cannot be read, or that names more than ten years, is as good as none.

use std::time::Duration;

use berry_vocab::Protocol;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use smallvec::SmallVec;

use crate::error_object::{error_object, find_at};

/// How a wait is written.
#[derive(Clone, Copy)]
enum Form {
    /// Milliseconds.
    Millis,
    /// Seconds, or a date of HTTP's.
    SecondsOrDate,
    /// `1h2m3.5s`, or seconds.
    Spans,
    /// A date by RFC 3339.
    Date,
    /// Milliseconds or seconds since 1970, or seconds from now: their sizes tell.
    Unix,
}

/// The headers that say it outright, the most exact one first. `retry-after-ms` is OpenAI's and Azure's.
const OUTRIGHT: [(&str, Form); 2] = [("retry-after-ms", Form::Millis), ("retry-after", Form::SecondsOrDate)];

/// The headers that say when a limit is whole again, each with the one that says what is left of it. OpenAI's and Groq's as
/// their users quote them (community.openai.com, 1268905, 2025); Anthropic's by docs.aws.amazon.com/claude-platform, rate
/// limits, November 2026. Under the last name OpenRouter sends milliseconds, and others seconds.
const RESETS: [(&str, &str, Form); 7] = [
    ("x-ratelimit-reset-requests", "x-ratelimit-remaining-requests", Form::Spans),
    ("x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens", Form::Spans),
    ("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-requests-remaining", Form::Date),
    ("anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-tokens-remaining", Form::Date),
    ("anthropic-ratelimit-input-tokens-reset", "anthropic-ratelimit-input-tokens-remaining", Form::Date),
    ("anthropic-ratelimit-output-tokens-reset", "anthropic-ratelimit-output-tokens-remaining", Form::Date),
    ("x-ratelimit-reset", "x-ratelimit-remaining", Form::Unix),
];

/// Where error objects say it: google.rpc.RetryInfo, which Google sends under OpenAI's paths too, and OpenRouter, whose 429 has
/// the header in the body alone (seen in threads of 2026).
const IN_BODIES: [(Protocol, &str, Form); 3] = [
    (Protocol::Gemini, "/details/*/retryDelay", Form::Spans),
    (Protocol::OpenAi, "/details/*/retryDelay", Form::Spans),
    (Protocol::OpenAi, "/metadata/headers/X-RateLimit-Reset", Form::Unix),
];

/// HTTP's three forms of a date: RFC 9110, 5.6.7.
const HTTP_DATES: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// The units of spans, in nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

const TEN_YEARS: Duration = Duration::from_secs(10 * 366 * 86_400);

/// More fields than these of one answer are not looked at.
const MAX_FIELDS: usize = 32;

/// How long the headers of an answer ask Berry to wait; `unix_millis` is now.
///
/// Of limits with nothing left, the one that takes longest counts. Where no header says what is left, it is the one that is
/// whole again first: waiting for the other could be for nothing.
pub fn wait<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, unix_millis: u64) -> Option<Duration> {
    let fields: Fields<'a> = fields.filter(|(name, _)| is_of_limits(name)).take(MAX_FIELDS).collect();
    let read = |name: &str, form: Form| form.read(field(&fields, name)?, unix_millis);
    if let Some(wait) = OUTRIGHT.iter().find_map(|(name, form)| read(name, *form)) {
        return Some(wait);
    }
    let (mut used_up, mut unsaid) = (None, None);
    for (reset, left, form) in RESETS {
        match (read(reset, form), is_used_up(&fields, left)) {
            (Some(wait), Some(true)) => used_up = used_up.max(Some(wait)),
            (Some(wait), None) => unsaid = Some(unsaid.map_or(wait, |other| wait.min(other))),
            _ => {}
        }
    }
    used_up.or(unsaid)
}

/// How long the error object in a body asks Berry to wait; `unix_millis` is now.
pub fn wait_in_body(protocol: Protocol, body: &[u8], unix_millis: u64) -> Option<Duration> {
    let error = error_object(body)?;
    let mut rows = IN_BODIES.iter().filter(|(its, ..)| *its == protocol);
    rows.find_map(|(_, at, form)| find_at(&error, at, &mut |value| form.read(value.as_str()?, unix_millis)))
}

type Fields<'a> = SmallVec<[(&'a [u8], &'a [u8]); 8]>;

fn is_of_limits(name: &[u8]) -> bool {
    ["retry-after", "x-ratelimit-re", "anthropic-ratelimit-"]
        .iter()
        .any(|start| name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes())))
}

fn field<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a str> {
    let (_, value) = fields.iter().find(|(its, _)| its.eq_ignore_ascii_case(name.as_bytes()))?;
    std::str::from_utf8(value).ok().map(str::trim_ascii)
}

/// Whether nothing is left of a limit; `None` where nobody says. Azure says -1 where it does not know.
fn is_used_up(fields: &Fields<'_>, left: &str) -> Option<bool> {
    decimal(field(fields, left)?).map(|left| left.is_zero())
}

impl Form {
    fn read(self, text: &str, unix_millis: u64) -> Option<Duration> {
        let until = |time: Timestamp| {
            let wait = time.as_millisecond().checked_sub_unsigned(unix_millis)?;
            Some(Duration::from_millis(wait.try_into().unwrap_or(0)))
        };
        let wait = match self {
            Form::Millis => decimal(text)?.checked_div(1000)?,
            Form::SecondsOrDate => decimal(text).or_else(|| until(http_date(text)?))?,
            Form::Spans => spans(text)?,
            Form::Date => until(text.parse().ok()?)?,
            Form::Unix => unix(decimal(text)?, unix_millis),
        };
        (wait <= TEN_YEARS).then_some(wait)
    }
}

/// A number as seconds: digits, and after a point further digits, of which nine count. Nothing else is a number here, so that
/// there is nothing negative, infinite or none.
fn decimal(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanos = nanos.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    Some(Duration::new(whole.parse().ok()?, nanos))
}

/// Spans one after the other, as Go writes them, or seconds without a unit.
fn spans(text: &str) -> Option<Duration> {
    if let Some(seconds) = decimal(text) {
        return Some(seconds);
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let number_end = rest.find(|char: char| char != '.' && !char.is_ascii_digit())?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|char: char| char.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let span = decimal(number)?.as_nanos().checked_mul(u128::from(*nanos))? / 1_000_000_000;
        sum = sum.checked_add(Duration::from_nanos(span.try_into().ok()?))?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}

/// As seconds, 2001 and later are times since 1970; as milliseconds, 1973 and later.
fn unix(number: Duration, unix_millis: u64) -> Duration {
    let now = Duration::from_millis(unix_millis);
    match number.as_secs() {
        100_000_000_000.. => (number / 1000).saturating_sub(now),
        1_000_000_000.. => number.saturating_sub(now),
        _ => number,
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    let date = HTTP_DATES.iter().find_map(|form| DateTime::strptime(form, text).ok())?;
    TimeZone::UTC.to_timestamp(date).ok()
}

#[cfg(test)]
mod tests;
