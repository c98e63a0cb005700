//! The timeouts that `[settings]`, `[providers.ID]` and `[models.ID]` share. The nearest wins: model, provider, settings.

use std::time::Duration;

use crate::checked::Checked;
use crate::config::Timeouts;
use crate::problem::{Place, Problems};
use crate::registry::{Key, Rule};

pub(crate) const REQUEST: Key = Key::optional(
    "request_timeout_seconds",
    Rule::Seconds(1.0, 3600.0),
    "Time to the head and first byte of an answer (of a stream: its first event), per attempt. Unset: 120 for a stream, 600 for a plain answer.",
);

pub(crate) const STREAM_IDLE: Key = Key::optional(
    "stream_idle_timeout_seconds",
    Rule::Seconds(0.1, 86_400.0),
    "Longest silence between the events of a stream. Unset: 300.",
);

pub(crate) const DEADLINE: Key = Key::optional(
    "request_deadline_seconds",
    Rule::Seconds(0.1, 86_400.0),
    "Time over all attempts, until the answer begins. Unset: 900.",
);

pub(crate) const TOTAL: Key = Key::optional(
    "request_total_seconds",
    Rule::Seconds(0.1, 604_800.0),
    "Time over the whole answer. Unset: no limit.",
);

/// `request_deadline_seconds` where no table sets it.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(900);
/// `request_timeout_seconds` of a stream where no table sets it.
const STREAM_DEFAULT: Duration = Duration::from_secs(120);

pub(crate) fn build(t: &Checked) -> Timeouts {
    Timeouts {
        request: t.duration(REQUEST.name),
        stream_idle: t.duration(STREAM_IDLE.name),
        deadline: t.duration(DEADLINE.name),
        total: t.duration(TOTAL.name),
    }
}

/// Warns where one attempt may use up the time of all.
pub(crate) fn check(problems: &mut Problems, t: &Checked, outer: &[Timeouts]) {
    let own = build(t);
    if own.request.is_none() && own.deadline.is_none() {
        return;
    }
    let inherited = |get: fn(&Timeouts) -> Option<Duration>| get(&own).or_else(|| outer.iter().find_map(get));
    let request = inherited(|timeouts| timeouts.request).unwrap_or(STREAM_DEFAULT);
    let deadline = inherited(|timeouts| timeouts.deadline).unwrap_or(DEADLINE_DEFAULT);
    if deadline <= request {
        let at: Place = t.at(if t.has(DEADLINE.name) { DEADLINE.name } else { REQUEST.name });
        problems.warning(
            &at,
            format!(
                "the deadline of {} s leaves no room for a second attempt after a first one of up to {} s",
                deadline.as_secs_f64(),
                request.as_secs_f64()
            ),
            "make request_deadline_seconds longer than request_timeout_seconds, at best more than twice as long",
        );
    }
}
