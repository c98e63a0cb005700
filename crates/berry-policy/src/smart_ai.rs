//! The numbers of `[settings.smart_ai]`, as the file gives them. What they do stands in `confidence.rs` and
//! `balance/smart_ai.rs`.

use std::time::Duration;

/// How confidence in a backend grows, shrinks and fades, and how much it weighs.
#[derive(Clone, Debug, PartialEq)]
pub struct SmartAi {
    /// The confidence in a backend that nobody has used yet.
    pub initial_confidence: f64,
    /// The least confidence that a backend can have.
    pub min_confidence: f64,
    /// Whether confidence drifts toward 0.5 while a backend is idle.
    pub enable_time_decay: bool,
    /// How often a backend is checked by the cheapest request there is.
    pub lightweight_check_interval: Duration,
    /// The share of the picks that goes by weight alone.
    pub exploration_ratio: f64,
    /// The factor for a proven backend (confidence above 0.9) that is not premium.
    pub non_premium_stability_bonus: f64,
    /// What a success adds.
    pub success_boost: f64,
    /// What a failed connection takes off.
    pub network_error_penalty: f64,
    /// What a refused key takes off.
    pub auth_error_penalty: f64,
    /// What a rate limit takes off.
    pub rate_limit_penalty: f64,
    /// What a 5xx, a truncated or a bad answer takes off.
    pub server_error_penalty: f64,
    /// What "no such model" takes off.
    pub model_error_penalty: f64,
    /// What a time-out takes off.
    pub timeout_penalty: f64,
}

impl Default for SmartAi {
    fn default() -> Self {
        Self {
            initial_confidence: 0.8,
            min_confidence: 0.05,
            enable_time_decay: true,
            lightweight_check_interval: Duration::from_secs(600),
            exploration_ratio: 0.2,
            non_premium_stability_bonus: 1.1,
            success_boost: 0.1,
            network_error_penalty: 0.3,
            auth_error_penalty: 0.8,
            rate_limit_penalty: 0.1,
            server_error_penalty: 0.2,
            model_error_penalty: 0.3,
            timeout_penalty: 0.2,
        }
    }
}
