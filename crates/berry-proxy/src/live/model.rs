//! The numbers of a public model: whose turn it is, what repeated visits and second attempts it may still afford.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use berry_policy::{HedgeBudget, RetryBudget};
use berry_vocab::Moment;
use parking_lot::Mutex;

use crate::live::{Meter, Slots};

/// The numbers of one public model.
#[derive(Debug)]
pub struct ModelLive {
    pub(crate) turns: AtomicU64,
    pub(crate) budget: Mutex<RetryBudget>,
    pub(crate) hedge: Mutex<HedgeBudget>,
    /// Requests at once.
    pub(crate) slots: Arc<Slots>,
    pub(crate) meter: Arc<Meter>,
    /// Tokens that an answer has, smoothed; 0: unknown.
    typical_output: AtomicU32,
}

impl ModelLive {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            turns: AtomicU64::new(0),
            budget: Mutex::new(RetryBudget::new(now)),
            hedge: Mutex::new(HedgeBudget::default()),
            slots: Arc::default(),
            meter: Arc::default(),
            typical_output: AtomicU32::new(0),
        }
    }

    /// Tokens that an answer has, about; 0: unknown.
    pub(crate) fn typical_output(&self) -> u32 {
        self.typical_output.load(Relaxed)
    }

    /// Takes an answer's tokens into account.
    pub(crate) fn note_output(&self, tokens: u32) {
        // Two threads at once may lose one of both: it is no count.
        let before = self.typical_output();
        let smoothed = if before == 0 { tokens } else { before - before / 8 + tokens / 8 };
        self.typical_output.store(smoothed.max(1), Relaxed);
    }
}
