//! The numbers of a user: what it has taken of its limits, and how often each of them refused. Twenty-odd bytes for each window
//! and limit, for configured users only: who shows an unknown token leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use berry_policy::{Quantity, Window};

use crate::live::{Meter, Slots};

/// One of a user's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserLimit {
    /// Of requests or tokens in a time.
    InATime(Quantity, Window),
    /// Of requests at once.
    AtOnce,
}

/// The numbers of one user.
#[derive(Debug, Default)]
pub struct UserLive {
    pub(crate) meter: Arc<Meter>,
    /// Requests at once, where that is limited.
    pub(crate) slots: Arc<Slots>,
    /// Requests that were refused, by the place of the limit among all.
    refused: [AtomicU64; UserLimit::ALL.len()],
}

impl UserLimit {
    /// All of them.
    pub const ALL: [UserLimit; 6] = [
        UserLimit::InATime(Quantity::Requests, Window::Minute),
        UserLimit::InATime(Quantity::Requests, Window::Hour),
        UserLimit::InATime(Quantity::Requests, Window::Day),
        UserLimit::InATime(Quantity::Tokens, Window::Minute),
        UserLimit::InATime(Quantity::Tokens, Window::Day),
        UserLimit::AtOnce,
    ];

    /// Its name in the configuration, and everywhere else.
    pub fn name(self) -> &'static str {
        match self {
            UserLimit::InATime(quantity, window) => window.limit_name(quantity),
            UserLimit::AtOnce => "concurrent_requests",
        }
    }
}

impl UserLive {
    /// Counts a request that a limit refused.
    pub(crate) fn count_refused(&self, by: UserLimit) {
        if let Some(count) = self.refused_by(by) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How many requests a limit has refused.
    pub fn refused(&self, by: UserLimit) -> u64 {
        self.refused_by(by).map_or(0, |count| count.load(Relaxed))
    }

    fn refused_by(&self, by: UserLimit) -> Option<&AtomicU64> {
        UserLimit::ALL.iter().zip(&self.refused).find(|(limit, _)| **limit == by).map(|(_, count)| count)
    }
}

#[cfg(test)]
mod tests {
    use berry_vocab::UserId;

    use super::*;
    use crate::live::Live;

    #[test]
    fn there_are_numbers_for_those_alone_who_stand_in_the_configuration() {
        let (live, mut kept) = (Live::default(), None);
        for reload in 0..1000 {
            live.forget_former_users();
            live.user(&UserId::new(&format!("user-of-reload-{reload}")));
            let alice = live.user(&UserId::new("alice"));
            alice.count_refused(UserLimit::AtOnce);
            kept = Some(alice);
        }
        live.forget_former_users();
        assert_eq!(live.users.lock().len(), 1);
        assert_eq!(kept.map(|alice| alice.refused(UserLimit::AtOnce)), Some(1000));
    }

    #[test]
    fn each_limit_counts_its_own_refusals() {
        let live = UserLive::default();
        for (times, limit) in UserLimit::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| live.count_refused(limit));
        }
        assert_eq!(UserLimit::ALL.map(|limit| live.refused(limit)), [0, 1, 2, 3, 4, 5]);
    }
}
