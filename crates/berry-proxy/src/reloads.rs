//! What came of each time that the configuration was read again, counted for the metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::metrics::Exposition;

/// What came of reading the configuration again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// It is in force.
    Applied,
    /// It says what is in force already.
    Unchanged,
    /// It does not hold; the former one stays in force.
    Invalid,
    /// It holds, but looks like a mistake; the former one stays in force.
    Refused,
    /// It holds, and there can be no record of it; the former one stays in force.
    Unrecorded,
}

/// How often each came.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    counts: [AtomicU64; Reload::ALL.len()],
    unkept: AtomicU64,
}

impl Reload {
    const ALL: [Self; 5] = [Self::Applied, Self::Unchanged, Self::Invalid, Self::Refused, Self::Unrecorded];

    /// Its name, in metrics and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Invalid => "invalid",
            Self::Refused => "refused",
            Self::Unrecorded => "unrecorded",
        }
    }
}

impl Reloads {
    pub(crate) fn count(&self, reload: Reload) {
        if let Some(count) = self.counts.get(reload as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn count_unkept(&self) {
        self.unkept.fetch_add(1, Relaxed);
    }

    pub(crate) fn expose(&self, out: &mut Exposition) {
        out.family("berry_config_reloads_total", "counter", "Times that the configuration was read again.");
        for (reload, count) in Reload::ALL.iter().zip(&self.counts) {
            out.sample("berry_config_reloads_total", &[("result", reload.as_str())], count.load(Relaxed) as f64);
        }
        let help = "Generations that ran and could not be written into the history.";
        out.family("berry_config_history_failures_total", "counter", help);
        out.sample("berry_config_history_failures_total", &[], self.unkept.load(Relaxed) as f64);
    }
}
