//! The numbers of a public model: whose turn it is, what repeated visits and second attempts it may still afford.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use berry_policy::{HedgeBudget, RetryBudget};
use berry_vocab::Moment;
use parking_lot::Mutex;

use crate::live::Slots;

/// The numbers of one public model.
#[derive(Debug)]
pub struct ModelLive {
    pub(crate) turns: AtomicU64,
    pub(crate) budget: Mutex<RetryBudget>,
    pub(crate) hedge: Mutex<HedgeBudget>,
    /// Requests at once.
    pub(crate) slots: Arc<Slots>,
}

impl ModelLive {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            turns: AtomicU64::new(0),
            budget: Mutex::new(RetryBudget::new(now)),
            hedge: Mutex::new(HedgeBudget::default()),
            slots: Arc::default(),
        }
    }
}
