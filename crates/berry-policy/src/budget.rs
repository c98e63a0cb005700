//! The retry budget of a model: how many repeated visits all its requests together may make, so that a provider in trouble meets
//! a fifth more traffic and not four times as much.
//!
//! First visits to other backends are free and do not pass here; how often *one* request may repeat is [`Visits`]' affair.
//!
//! [`Visits`]: crate::Visits

use berry_vocab::Moment;

use crate::bucket::Bucket;

/// So many seconds' earnings can be saved: long enough to absorb a hiccup, too short to feed a storm.
const SECONDS_SAVED: f64 = 10.0;

/// So many requests' earnings can be saved: ten seconds' at 100 a second. It is a count, because a rate would have to be
/// measured; a busier model saves for less time, which is right, since its storm would be the bigger one.
const REQUESTS_SAVED: f64 = 1000.0;

/// What earns retries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetRules {
    /// Retries that each request earns.
    pub share: f64,
    /// Retries that each second earns, so that a quiet model can retry at all.
    pub per_second: f64,
}

/// The retries that one model has saved.
#[derive(Clone, Copy, Debug)]
pub struct RetryBudget {
    saved: Bucket,
    /// Up to when seconds have been credited.
    at: Moment,
}

// === impl BudgetRules ===

impl Default for BudgetRules {
    fn default() -> Self {
        Self { share: 0.2, per_second: 10.0 }
    }
}

impl BudgetRules {
    /// The most that can be saved: at least one retry wherever anything is earned, or a slow earner would never get one.
    fn cap(&self) -> f64 {
        let cap = SECONDS_SAVED * self.per_second.max(0.0) + REQUESTS_SAVED * self.share.max(0.0);
        if cap > 0.0 { cap.max(1.0) } else { 0.0 }
    }
}

// === impl RetryBudget ===

impl RetryBudget {
    /// A full one: a program that has just begun may retry like one that has run quietly.
    pub fn new(now: Moment) -> Self {
        Self { saved: Bucket::FULL, at: now }
    }

    /// A request has come: once for each, whatever becomes of it.
    pub fn deposit(&mut self, now: Moment, rules: &BudgetRules) {
        self.earn(rules.share, now, rules);
    }

    /// Takes one retry, if it is there.
    pub fn take(&mut self, now: Moment, rules: &BudgetRules) -> bool {
        self.earn(0.0, now, rules);
        let granted = self.saved.holds(1.0);
        if granted {
            self.saved.take(1.0);
        }
        granted
    }

    /// A clock read before another thread's earns nothing, and is not credited twice.
    fn earn(&mut self, by_request: f64, now: Moment, rules: &BudgetRules) {
        let by_time = now.since(self.at).as_secs_f64() * rules.per_second.max(0.0);
        self.saved.add(by_request.max(0.0) + by_time, rules.cap());
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{at, cases, wait};

    /// How many retries are granted at once.
    fn grants(budget: &mut RetryBudget, now: Moment, rules: &BudgetRules) -> usize {
        (0..100_000).take_while(|_| budget.take(now, rules)).count()
    }

    /// A budget of these rules that has been used up.
    fn spent(share: f64, per_second: f64) -> (RetryBudget, BudgetRules) {
        let (mut budget, rules) = (RetryBudget::new(at(0)), BudgetRules { share, per_second });
        grants(&mut budget, at(0), &rules);
        (budget, rules)
    }

    #[test]
    fn a_new_budget_holds_ten_seconds_and_a_thousand_requests_worth() {
        assert_eq!(grants(&mut RetryBudget::new(at(0)), at(0), &BudgetRules::default()), 300);
    }

    #[test]
    fn each_request_earns_its_share() {
        let (mut budget, rules) = spent(0.2, 0.0);
        (0..50).for_each(|_| budget.deposit(at(0), &rules));
        assert_eq!(grants(&mut budget, at(0), &rules), 10);
    }

    #[test]
    fn each_second_earns_its_own() {
        let (mut budget, rules) = spent(0.0, 10.0);
        assert_eq!(grants(&mut budget, at(0).after(Duration::from_millis(500)), &rules), 5);
        assert_eq!(grants(&mut budget, at(3600), &rules), 100, "no more than ten seconds' are saved");
    }

    #[test]
    fn no_wait_is_too_long_to_be_credited() {
        let (mut budget, rules) = spent(0.0, 10.0);
        let end = at(0).after(Duration::MAX);
        assert_eq!(grants(&mut budget, end, &rules), 100);
        assert_eq!(grants(&mut budget, end, &rules), 0);
    }

    #[test]
    fn who_earns_nothing_is_never_granted_a_retry() {
        let (mut budget, none) = (RetryBudget::new(at(0)), BudgetRules { share: 0.0, per_second: 0.0 });
        (0..1000).for_each(|second| budget.deposit(at(second), &none));
        assert!(!budget.take(at(9999), &none));
    }

    #[test]
    fn a_slow_earner_gets_its_retry_in_the_end() {
        let (mut budget, rules) = spent(0.0, 0.01);
        assert!(!budget.take(at(99), &rules));
        assert!(budget.take(at(100), &rules) && !budget.take(at(100), &rules));
    }

    #[test]
    fn a_second_that_two_threads_read_is_credited_once() {
        let (mut budget, rules) = spent(0.0, 1.0);
        assert_eq!(grants(&mut budget, at(5), &rules), 5);
        assert_eq!(grants(&mut budget, at(4), &rules) + grants(&mut budget, at(5), &rules), 0);
    }

    #[test]
    fn many_small_earnings_add_up_like_one_big_one() {
        let (mut budget, rules) = spent(0.1, 10.0);
        (1..=1_000_000).for_each(|i| budget.earn(0.0, Moment::from_nanos(i * 100), &rules));
        assert_eq!(grants(&mut budget, Moment::from_nanos(100_000_000), &rules), 1);
    }

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn no_history_is_granted_more_than_it_earned(
            share in 0.0..2.0f64,
            per_second in 0.0..50.0f64,
            steps in prop::collection::vec((wait(), any::<bool>(), 0usize..200), 1..40),
        ) {
            let rules = BudgetRules { share, per_second };
            let (mut budget, mut now) = (RetryBudget::new(at(0)), at(0));
            let (mut requests, mut granted) = (0.0, 0.0);
            for (wait, asks, times) in steps {
                now = now.after(wait);
                for _ in 0..times {
                    if asks {
                        granted += f64::from(u8::from(budget.take(now, &rules)));
                    } else {
                        requests += 1.0;
                        budget.deposit(now, &rules);
                    }
                }
                let earned = share * requests + per_second * now.since(at(0)).as_secs_f64() + rules.cap();
                prop_assert!(granted <= earned + 1e-6, "{granted} of {earned}");
            }
            prop_assert!(grants(&mut budget, now, &rules) as f64 <= rules.cap() + 1e-6);
        }
    }
}
