//! `[users.ID.rate_limit]`

use std::num::NonZeroU32;

use berry_policy::RequestLimits;

use crate::checked::Checked;
use crate::config::RateLimit;
use crate::problem::Problems;
use crate::registry::{ANY_WHOLE, Key, Rule, Table};

/// What holds while tokens are not counted.
const TOKENS_LATER: &str = "until a later version counts tokens, this user's are not limited; limit its requests";

const COUNT: Rule = Rule::Whole(1, ANY_WHOLE);

pub(crate) static TABLE: Table = Table::new(
    "What a user may ask for in a time; each limit is optional, and allows its whole amount at once.",
    &[
        Key::optional("requests_per_minute", COUNT, "Requests in a minute."),
        Key::optional("requests_per_hour", COUNT, "Requests in an hour; at least those of a minute."),
        Key::optional("requests_per_day", COUNT, "Requests in a day; at least those of an hour."),
        Key::optional("tokens_per_minute", COUNT, "Tokens in a minute.").later_saying(TOKENS_LATER),
        Key::optional("tokens_per_day", COUNT, "Tokens in a day; at least those of a minute.")
            .later_saying(TOKENS_LATER),
        Key::optional("concurrent_requests", COUNT, "Requests at once."),
    ],
);

pub(crate) fn build(t: &Checked) -> RateLimit {
    let count = |name| t.count(name).and_then(NonZeroU32::new);
    RateLimit {
        requests: RequestLimits {
            per_minute: count("requests_per_minute"),
            per_hour: count("requests_per_hour"),
            per_day: count("requests_per_day"),
        },
        concurrent_requests: t.count("concurrent_requests"),
    }
}

/// A longer time must not allow less than a shorter one.
pub(crate) fn check(problems: &mut Problems, t: &Checked) {
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
