//! `rate_limit` of a user, a provider and a model.

use std::num::NonZeroU32;

use berry_policy::WindowLimits;

use crate::checked::Checked;
use crate::config::RateLimit;
use crate::problem::Problems;
use crate::registry::{ANY_WHOLE, Key, Rule, Table};

const COUNT: Rule = Rule::Whole(1, ANY_WHOLE);

pub(crate) static TABLE: Table = Table::new(
    "How much there may be in a time; each limit is optional, and allows its whole amount at once.",
    &[
        Key::optional("requests_per_minute", COUNT, "Requests in a minute."),
        Key::optional("requests_per_hour", COUNT, "Requests in an hour; at least those of a minute."),
        Key::optional("requests_per_day", COUNT, "Requests in a day; at least those of an hour."),
        Key::optional("tokens_per_minute", COUNT, "Tokens in a minute, in and out."),
        Key::optional("tokens_per_day", COUNT, "Tokens in a day; at least those of a minute."),
        Key::optional("concurrent_requests", COUNT, "Requests at once."),
    ],
);

/// The limits of what a table describes: its `rate_limit` and its `max_concurrent_requests`.
pub(crate) fn of(t: &Checked) -> RateLimit {
    let mut limits = build(&t.table("rate_limit", &TABLE));
    // Two names of one limit: where both are given, both are to hold.
    limits.concurrent_requests =
        [limits.concurrent_requests, t.count("max_concurrent_requests")].into_iter().flatten().min();
    limits
}

fn build(t: &Checked) -> RateLimit {
    let count = |name| t.count(name).and_then(NonZeroU32::new);
    RateLimit {
        requests: WindowLimits {
            per_minute: count("requests_per_minute"),
            per_hour: count("requests_per_hour"),
            per_day: count("requests_per_day"),
        },
        tokens: WindowLimits {
            per_minute: count("tokens_per_minute"),
            per_hour: None,
            per_day: count("tokens_per_day"),
        },
        concurrent_requests: t.count("concurrent_requests"),
    }
}

/// A longer time must not allow less than a shorter one.
pub(crate) fn check(problems: &mut Problems, of: &Checked) {
    let t = &of.table("rate_limit", &TABLE);
    let windows = [
        ["requests_per_minute", "requests_per_hour"],
        ["requests_per_hour", "requests_per_day"],
        ["requests_per_minute", "requests_per_day"],
        ["tokens_per_minute", "tokens_per_day"],
    ];
    for [short, long] in windows {
        let (Some(less), Some(more)) = (t.whole(short), t.whole(long)) else {
            continue;
        };
        // Minute and day are compared only where no hour stands between them.
        let between = short == "requests_per_minute" && long == "requests_per_day" && t.has("requests_per_hour");
        if less > more && !between {
            let remedy = format!("make `{long}` at least {less}, or `{short}` at most {more}");
            problems.error(&t.at(long), format!("`{long}` is less than `{short}`"), remedy);
        }
    }
}
