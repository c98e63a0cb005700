//! `[settings]`

use crate::checked::Checked;
use crate::config::{AskUsage, Settings};
use crate::registry::{ANY_WHOLE, Key, Rule, Table, Words};
use crate::table::{smart_ai, timeouts};

pub(crate) static TABLE: Table = Table::new(
    "How requests are tried, timed and checked.",
    &[
        Key::new(
            "health_check_interval_seconds",
            Rule::Seconds(1.0, 3600.0),
            "30",
            "Time between active checks of a healthy backend (its list of models).",
        ),
        Key::new(
            "recovery_check_interval_seconds",
            Rule::Seconds(1.0, 3600.0),
            "120",
            "Time between one-token requests to a backend that is open.",
        ),
        Key::new("health_check_timeout_seconds", Rule::Seconds(1.0, 300.0), "10", "Time limit of one check."),
        timeouts::REQUEST,
        timeouts::STREAM_IDLE,
        timeouts::DEADLINE,
        timeouts::TOTAL,
        Key::new(
            "max_retries",
            Rule::Whole(0, 10),
            "3",
            "Repeated visits to backends already tried, for one request. First visits to others do not count.",
        ),
        Key::new(
            "max_internal_retries",
            Rule::Whole(0, 10),
            "2",
            "Of the repeated visits, how many on any one backend.",
        ),
        Key::new(
            "circuit_breaker_failure_threshold",
            Rule::Whole(1, ANY_WHOLE),
            "5",
            "Soft failures in a row (5xx, timeout, broken answer) that take a backend out.",
        ),
        Key::new(
            "circuit_breaker_timeout_seconds",
            Rule::Seconds(1.0, 86_400.0),
            "60",
            "How long a backend stays out before it is tried gently; doubles up to 5 minutes while it keeps failing.",
        ),
        Key::new(
            "retry_budget_percent",
            Rule::Number(0.0, 100.0),
            "20",
            "Repeated visits that a model's requests may add, in percent of them; first visits do not count.",
        ),
        Key::new(
            "retry_budget_per_second",
            Rule::Number(0.0, 1e6),
            "10",
            "Repeated visits a second that each model may have beside that.",
        ),
        Key::optional(
            "stream_keepalive_seconds",
            Rule::Seconds(1.0, 3600.0),
            "Time after which a waiting stream gets a comment, so that nobody on the way hangs up; later failures are \
             then events in the stream, not a status. Unset: off.",
        ),
        Key::new(
            "ask_usage",
            Rule::Word(Words { now: || vec!["limited", "always", "never"], later: &[] }),
            "\"limited\"",
            "For whom OpenAI streams are asked to report their usage: where tokens are limited, all, or nobody.",
        ),
        Key::new("smart_ai", Rule::Table(&smart_ai::TABLE), "{}", "How the strategy `smart_ai` learns."),
    ],
);

pub(crate) fn build(t: &Checked) -> Settings {
    Settings {
        health_check_interval: t.duration("health_check_interval_seconds").unwrap_or_default(),
        recovery_check_interval: t.duration("recovery_check_interval_seconds").unwrap_or_default(),
        health_check_timeout: t.duration("health_check_timeout_seconds").unwrap_or_default(),
        timeouts: timeouts::build(t),
        max_retries: t.small("max_retries"),
        max_internal_retries: t.small("max_internal_retries"),
        circuit_breaker_failure_threshold: t.count("circuit_breaker_failure_threshold").unwrap_or(u32::MAX),
        circuit_breaker_timeout: t.duration("circuit_breaker_timeout_seconds").unwrap_or_default(),
        retry_budget_percent: t.number("retry_budget_percent").unwrap_or_default(),
        retry_budget_per_second: t.number("retry_budget_per_second").unwrap_or_default(),
        stream_keepalive: t.duration("stream_keepalive_seconds"),
        ask_usage: match t.text("ask_usage").as_deref() {
            Some("always") => AskUsage::Always,
            Some("never") => AskUsage::Never,
            _ => AskUsage::Limited,
        },
        smart_ai: smart_ai::build(&t.table("smart_ai", &smart_ai::TABLE)),
    }
}
