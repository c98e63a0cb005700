//! `[settings.smart_ai]` and its `confidence_adjustments`

use berry_policy::SmartAi;

use crate::checked::Checked;
use crate::registry::{Key, Rule, Table};

const SHARE: Rule = Rule::Number(0.0, 1.0);

pub(crate) static TABLE: Table = Table::new(
    "How the strategy `smart_ai` learns which backends to trust.",
    &[
        Key::new("initial_confidence", SHARE, "0.8", "Confidence of a backend that nothing is known about."),
        Key::new("min_confidence", SHARE, "0.05", "Confidence never falls below this."),
        Key::new(
            "enable_time_decay",
            Rule::Flag,
            "true",
            "Whether confidence drifts toward 0.5 while a backend is idle.",
        ),
        Key::new(
            "lightweight_check_interval_seconds",
            Rule::Seconds(1.0, 86_400.0),
            "600",
            "Time between light checks of a backend that sees no traffic.",
        ),
        Key::new(
            "exploration_ratio",
            SHARE,
            "0.2",
            "Share of the picks that go by weight alone, so that a quiet or recovered backend is seen again.",
        ),
        Key::new(
            "non_premium_stability_bonus",
            Rule::Number(1.0, 2.0),
            "1.1",
            "Factor for backends that are not tagged `premium` and have proved stable.",
        ),
        Key::new(
            "confidence_adjustments",
            Rule::Table(&ADJUSTMENTS),
            "{}",
            "What an outcome adds to or takes from confidence.",
        ),
    ],
);

pub(crate) static ADJUSTMENTS: Table = Table::new(
    "What an outcome adds to or takes from confidence.",
    &[
        Key::new("success_boost", SHARE, "0.1", "Added by a success."),
        Key::new("network_error_penalty", SHARE, "0.3", "Taken by a broken or refused connection."),
        Key::new("auth_error_penalty", SHARE, "0.8", "Taken by a refused key."),
        Key::new("rate_limit_penalty", SHARE, "0.1", "Taken by a rate limit."),
        Key::new("server_error_penalty", SHARE, "0.2", "Taken by an error of the server."),
        Key::new("model_error_penalty", SHARE, "0.3", "Taken by an answer that the model is not there."),
        Key::new("timeout_penalty", SHARE, "0.2", "Taken by a timeout."),
    ],
);

pub(crate) fn build(t: &Checked) -> SmartAi {
    let adjust = t.table("confidence_adjustments", &ADJUSTMENTS);
    let number = |t: &Checked, name| t.number(name).unwrap_or_default();
    SmartAi {
        initial_confidence: number(t, "initial_confidence"),
        min_confidence: number(t, "min_confidence"),
        enable_time_decay: t.flag("enable_time_decay"),
        lightweight_check_interval: t.duration("lightweight_check_interval_seconds").unwrap_or_default(),
        exploration_ratio: number(t, "exploration_ratio"),
        non_premium_stability_bonus: number(t, "non_premium_stability_bonus"),
        success_boost: number(&adjust, "success_boost"),
        network_error_penalty: number(&adjust, "network_error_penalty"),
        auth_error_penalty: number(&adjust, "auth_error_penalty"),
        rate_limit_penalty: number(&adjust, "rate_limit_penalty"),
        server_error_penalty: number(&adjust, "server_error_penalty"),
        model_error_penalty: number(&adjust, "model_error_penalty"),
        timeout_penalty: number(&adjust, "timeout_penalty"),
    }
}
