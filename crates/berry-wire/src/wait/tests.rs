//! How long a backend asks to be left alone, in every form that vendors say it in.

use proptest::prelude::*;

use super::*;

/// Tuesday, 25 November 2025, 09:30:00 UTC.
const NOW: u64 = 1_764_063_000_000;

fn asked(fields: &[(&str, &str)]) -> Option<Duration> {
    wait(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), NOW)
}

fn millis(millis: u64) -> Option<Duration> {
    Some(Duration::from_millis(millis))
}

#[test]
fn retry_after_is_read_in_every_form() {
    for (name, value, expected) in [
        ("retry-after", "20", millis(20_000)),
        ("Retry-After", " 0 ", millis(0)),
        ("retry-after", "1.5", millis(1_500)),
        ("retry-after", "Tue, 25 Nov 2025 09:30:30 GMT", millis(30_000)),
        ("retry-after", "Tuesday, 25-Nov-25 09:31:00 GMT", millis(60_000)),
        ("retry-after", "Tue Nov 25 09:30:01 2025", millis(1_000)),
        ("retry-after", "Mon Dec  1 09:30:00 2025", millis(6 * 86_400_000)),
        ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", millis(0)),
        ("retry-after", "Sunday, 06-Nov-94 08:49:37 GMT", millis(0)),
        ("retry-after", "Sun Nov  6 08:49:37 1994", millis(0)),
        ("retry-after-ms", "250", millis(250)),
        ("retry-after-ms", "1500.25", Some(Duration::from_micros(1_500_250))),
    ] {
        assert_eq!(asked(&[(name, value)]), expected, "{name}: {value}");
    }
    assert_eq!(asked(&[("retry-after", "9"), ("retry-after-ms", "8123")]), millis(8_123));
}

#[test]
fn garbage_is_passed_over() {
    for garbage in [
        "",
        "-1",
        "-0",
        "+1",
        "NaN",
        "inf",
        "1e3",
        "0x10",
        ".",
        "1.",
        ".5",
        "1,5",
        "soon",
        "1 s",
        "99999999999999999999999",
        "Tue, 25 Nov 2125 09:30:30 GMT",
        "Tue, 32 Nov 2025 09:30:30 GMT",
        "\u{fffd}",
    ] {
        assert_eq!(asked(&[("retry-after", garbage)]), None, "{garbage}");
        assert_eq!(asked(&[("retry-after-ms", garbage), ("retry-after", "3")]), millis(3_000), "{garbage}");
        let resets = [("retry-after", garbage), ("x-ratelimit-reset-requests", "2s")];
        assert_eq!(asked(&resets), millis(2_000), "{garbage}");
    }
    assert_eq!(asked(&[("retry-after", "400000000")]), None, "more than ten years");
    for garbage in ["s", "1x", "1s2", "1h-2m", "m1", "1..5s", "1 s"] {
        assert_eq!(asked(&[("x-ratelimit-reset-requests", garbage)]), None, "{garbage}");
    }
    assert_eq!(asked(&[("content-type", "3"), ("x-retry-after", "3")]), None);
    assert_eq!(wait([(&b"retry-after"[..], &b"\xff\xfe"[..])].into_iter(), NOW), None);
}

#[test]
fn spans_are_read_as_they_are_written() {
    for (value, expected) in [
        ("1s", 1_000),
        ("6m0s", 360_000),
        ("250ms", 250),
        ("1h2m", 3_720_000),
        ("2m59.56s", 179_560),
        ("7.66s", 7_660),
        ("1d", 86_400_000),
        ("33011.382", 33_011_382),
        ("0s", 0),
    ] {
        assert_eq!(asked(&[("x-ratelimit-reset-tokens", value)]), millis(expected), "{value}");
    }
}

#[test]
fn a_reset_counts_for_the_limit_that_is_used_up() {
    let both = [("x-ratelimit-reset-requests", "1s"), ("x-ratelimit-reset-tokens", "6m0s")];
    let left = |requests: &'static str, tokens: &'static str| {
        let left = [("X-RateLimit-Remaining-Requests", requests), ("x-ratelimit-remaining-tokens", tokens)];
        asked(&[&both[..], &left].concat())
    };
    assert_eq!(asked(&both), millis(1_000), "nobody says which, so the smaller");
    assert_eq!(left("0", "50"), millis(1_000));
    assert_eq!(left("50", "0"), millis(360_000));
    assert_eq!(left("0", "0"), millis(360_000), "both must be whole again");
    assert_eq!(left("50", "50"), None);
    assert_eq!(left("?", "50"), millis(1_000));
    assert_eq!(left("-1", "-1"), millis(1_000), "Azure does not know");
}

#[test]
fn anthropics_resets_are_dates() {
    let reset = ("anthropic-ratelimit-output-tokens-reset", "2025-11-25T09:30:12Z");
    assert_eq!(asked(&[reset, ("anthropic-ratelimit-output-tokens-remaining", "0")]), millis(12_000));
    assert_eq!(asked(&[reset, ("anthropic-ratelimit-output-tokens-remaining", "8000")]), None);
    assert_eq!(asked(&[("anthropic-ratelimit-requests-reset", "2025-11-25T10:30:00.5+01:00")]), millis(500));
    assert_eq!(asked(&[("anthropic-ratelimit-requests-reset", "2025-11-25T09:29:59Z")]), millis(0));
    assert_eq!(asked(&[("anthropic-ratelimit-requests-reset", "2055-11-25T09:29:59Z")]), None);
}

#[test]
fn a_bare_reset_is_known_by_its_size() {
    for (value, expected) in [
        ("1764063007500", millis(7_500)),
        ("1764063060", millis(60_000)),
        ("1764062000", millis(0)),
        ("59", millis(59_000)),
        ("500000000", None),
        ("9764063060", None),
    ] {
        assert_eq!(asked(&[("x-ratelimit-reset", value), ("x-ratelimit-remaining", "0")]), expected, "{value}");
    }
}

#[test]
fn openrouters_bodies_hold_the_header() {
    let body = br#"{"error":{"code":429,"metadata":{"headers":{"X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1764063042000"}}}}"#;
    assert_eq!(wait_in_body(Protocol::OpenAi, body, NOW), millis(42_000));
    assert_eq!(wait_in_body(Protocol::Gemini, body, NOW), None);
}

#[test]
fn geminis_bodies_name_a_delay() {
    let body = br#"{"error":{"code":429,"details":[{"@type":"x"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.074824224s"}]}}"#;
    assert_eq!(wait_in_body(Protocol::Gemini, body, NOW), Some(Duration::new(34, 74_824_224)));
    let listed = [&b"["[..], body, b"]"].concat();
    assert_eq!(wait_in_body(Protocol::OpenAi, &listed, NOW), Some(Duration::new(34, 74_824_224)));
    assert_eq!(wait_in_body(Protocol::Anthropic, body, NOW), None);
    for other in
        ["", "{}", r#"{"error":{"details":[{"retryDelay":34}]}}"#, r#"{"error":{"details":{"retryDelay":"3s"}}}"#]
    {
        assert_eq!(wait_in_body(Protocol::Gemini, other.as_bytes(), NOW), None, "{other}");
    }
}

fn http_date_of(seconds: i64, form: &str) -> String {
    Timestamp::from_second(seconds).unwrap().to_zoned(TimeZone::UTC).strftime(form).to_string()
}

proptest! {
    #[test]
    fn any_fields_are_read_without_a_panic(
        fields in proptest::collection::vec((0..12usize, any::<Vec<u8>>()), 0..6), now: u64, body: Vec<u8>
    ) {
        let names: Vec<&str> = OUTRIGHT.iter().map(|row| row.0).chain(RESETS.iter().flat_map(|row| [row.0, row.1])).collect();
        let fields = fields.iter().map(|(name, value)| (names[*name].as_bytes(), value.as_slice()));
        prop_assert!(wait(fields, now).is_none_or(|wait| wait <= TEN_YEARS));
        let _ = wait_in_body(Protocol::Gemini, &body, NOW);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "[0-9hmsduµn.:TZ+ -]{0,24}", now: u64) {
        for form in [Form::Millis, Form::SecondsOrDate, Form::Spans, Form::Date, Form::Unix] {
            prop_assert!(form.read(&text, now).is_none_or(|wait| wait <= TEN_YEARS));
        }
    }

    #[test]
    fn a_written_wait_is_read_back_in_every_form(wait in 0..300_000_000_000u64) {
        let expected = millis(wait);
        let (seconds, part) = (wait / 1000, wait % 1000);
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        for (name, value) in [
            ("retry-after-ms", wait.to_string()),
            ("retry-after", format!("{seconds}.{part:03}")),
            ("x-ratelimit-reset-requests", format!("{seconds}.{part:03}s")),
            ("x-ratelimit-reset-tokens", format!("{hours}h{minutes}m{}s{part}ms", seconds % 60)),
            ("x-ratelimit-reset", (NOW + wait).to_string()),
            (
                "anthropic-ratelimit-tokens-reset",
                Timestamp::from_millisecond((NOW + wait).cast_signed()).unwrap().to_string(),
            ),
        ] {
            prop_assert_eq!(asked(&[(name, &value)]), expected, "{}: {}", name, value);
        }
        let date = (NOW / 1000 + seconds).cast_signed();
        for form in HTTP_DATES {
            let written = http_date_of(date, form);
            prop_assert_eq!(asked(&[("retry-after", &written)]), millis(seconds * 1000), "{}", written);
        }
    }
}
