//! `[models.ID]`

use std::time::Duration;

use berry_policy::Strategy;
use berry_vocab::ModelId;

use crate::check::names::ModelNames;
use crate::checked::Checked;
use crate::config::{Hedge, HedgeAfter, Model};
use crate::registry::{ANY_WHOLE, Key, Rule, Table, Words};
use crate::table::{backend, rate_limit, timeouts};

pub(crate) static HEDGE: Table = Table::new(
    "A second request to another backend when the first is slow; without this table there is none.",
    &[
        Key::new(
            "after_ms",
            Rule::WholeOr(1, 600_000, "p95"),
            "\"p95\"",
            "Wait before the second request: milliseconds, or \"p95\": as long as 95 of 100 first bytes take.",
        ),
        Key::new("max_share", Rule::Number(0.0, 1.0), "0.05", "Share of the requests that may have a second one."),
    ],
);

pub(crate) static TABLE: Table = Table::new(
    "A public model and its backends.",
    &[
        Key::optional(
            "name",
            Rule::Text,
            "The public name, or a pattern like `gpt-*`; an exact name wins. Unset: the id.",
        ),
        Key::new(
            "strategy",
            Rule::Word(Words { now: strategies, later: &[] }),
            "\"weighted_random\"",
            "How one of the eligible backends is chosen.",
        ),
        Key::new("enabled", Rule::Flag, "true", "Whether it is served."),
        Key::new(
            "fallbacks",
            Rule::Texts,
            "[]",
            "Other public models, tried in order when no backend of this one could answer.",
        ),
        Key::required("backends", Rule::List(&backend::TABLE), "The ways to serve it."),
        timeouts::REQUEST,
        timeouts::STREAM_IDLE,
        timeouts::DEADLINE,
        timeouts::TOTAL,
        Key::optional("hedge", Rule::Table(&HEDGE), "A second request when the first is slow. Unset: off."),
        Key::new(
            "lossy",
            Rule::Word(Words { now: || vec!["report", "reject"], later: &[] }),
            "\"report\"",
            "What happens when a translation between protocols would lose a field.",
        )
        .later(),
        Key::optional("rate_limit", Rule::Table(&rate_limit::TABLE), "What it is asked for in a time."),
        Key::optional("max_concurrent_requests", Rule::Whole(1, ANY_WHOLE), "Requests at once. Unset: no limit."),
    ],
);

/// The public name of a model's table.
pub(crate) fn name(t: &Checked) -> String {
    t.text("name").unwrap_or_else(|| t.id.clone())
}

pub(crate) fn build(t: &Checked, names: &ModelNames) -> Model {
    Model {
        id: ModelId::new(&t.id),
        name: name(t),
        strategy: t.text("strategy").and_then(|name| Strategy::from_name(&name)).unwrap_or_default(),
        enabled: t.flag("enabled"),
        fallbacks: t.strings("fallbacks").iter().filter_map(|name| names.find(name)).collect(),
        backends: t.tables("backends").iter().filter_map(backend::build).collect(),
        timeouts: timeouts::build(t),
        rate_limit: rate_limit::of(t),
        hedge: t.has("hedge").then(|| hedge(&t.table("hedge", &HEDGE))),
    }
}

fn hedge(t: &Checked) -> Hedge {
    let fixed = t.whole("after_ms").and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
    Hedge {
        after: fixed.map_or(HedgeAfter::P95, HedgeAfter::Fixed),
        max_share: t.number("max_share").unwrap_or_default(),
    }
}

fn strategies() -> Vec<&'static str> {
    Strategy::all().iter().map(|row| row.name).collect()
}
