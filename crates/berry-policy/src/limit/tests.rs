//! What limits of requests promise.

use std::sync::Barrier;

use proptest::prelude::*;

use super::*;
use crate::testing::{at, cases, wait};

fn limits(per_minute: u32, per_hour: u32, per_day: u32) -> WindowLimits {
    let [per_minute, per_hour, per_day] = [per_minute, per_hour, per_day].map(NonZeroU32::new);
    WindowLimits { per_minute, per_hour, per_day }
}

/// How many requests are allowed at once.
fn allowed(rate: &Rate, limits: &WindowLimits, now: Moment) -> usize {
    (0..100_000).take_while(|_| rate.take(limits, 1, now).is_ok()).count()
}

#[test]
fn the_whole_amount_may_be_taken_at_once_and_comes_back_evenly() {
    let (rate, sixty) = (Rate::default(), limits(60, 0, 0));
    assert_eq!(allowed(&rate, &sixty, at(100)), 60);
    assert_eq!(allowed(&rate, &sixty, at(101)), 1);
    assert_eq!(allowed(&rate, &sixty, at(111)), 10);
    assert_eq!(allowed(&rate, &sixty, at(10_000)), 60, "no more than the whole amount is saved");
}

#[test]
fn where_nothing_is_limited_nothing_is_told() {
    let (rate, none) = (Rate::default(), WindowLimits::default());
    assert!((0..1000).all(|_| rate.take(&none, 1, at(0)) == Ok(None)));
    assert!(rate.tightest(&none, at(0)).is_none() && none.is_empty());
}

#[test]
fn each_request_is_told_its_own_number() {
    let (rate, three) = (Rate::default(), limits(3, 0, 0));
    let told = |standing: WindowStanding| (standing.limit, standing.remaining, standing.reset.as_secs());
    let taken: Vec<_> = (0..3).map(|_| told(rate.take(&three, 1, at(7)).unwrap().unwrap())).collect();
    assert_eq!(taken, [(3, 2, 20), (3, 1, 40), (3, 0, 60)]);
    let refused = rate.take(&three, 1, at(12)).unwrap_err();
    assert_eq!((told(refused), refused.wait.as_secs()), ((3, 0, 55), 15));
}

#[test]
fn the_tightest_window_is_shown_and_the_one_that_makes_wait_for_longest_refuses() {
    let (rate, both) = (Rate::default(), limits(3, 4, 0));
    assert_eq!(rate.take(&both, 1, at(0)).unwrap().unwrap().window, Window::Minute);
    assert_eq!(allowed(&rate, &both, at(0)), 2);
    let refused = rate.take(&both, 1, at(0)).unwrap_err();
    assert_eq!((refused.window, refused.wait.as_secs()), (Window::Minute, 20));
    let last = rate.take(&both, 1, at(20)).unwrap().unwrap();
    assert_eq!((last.window, last.remaining), (Window::Hour, 0));
    let refused = rate.take(&both, 1, at(20)).unwrap_err();
    assert_eq!((refused.window, refused.wait.as_secs()), (Window::Hour, 880));
}

#[test]
fn no_window_is_charged_when_another_refuses() {
    let (rate, both) = (Rate::default(), limits(1, 100, 0));
    assert_eq!(allowed(&rate, &both, at(0)), 1);
    (0..1000).for_each(|_| assert!(rate.take(&both, 1, at(1)).is_err()));
    assert_eq!(rate.standings(&both, at(1))[1].remaining, 99);
    let (rate, both) = (Rate::default(), limits(100, 1, 0));
    assert_eq!(allowed(&rate, &both, at(0)), 1);
    (0..1000).for_each(|_| assert!(rate.take(&both, 1, at(1)).is_err()));
    assert_eq!(rate.standings(&both, at(61))[0].remaining, 100);
}

#[test]
fn a_changed_limit_applies_to_the_share_that_is_used_up() {
    let rate = Rate::default();
    (0..50).for_each(|_| assert!(rate.take(&limits(100, 0, 0), 1, at(0)).is_ok()));
    assert_eq!(rate.tightest(&limits(10, 0, 0), at(0)).unwrap().remaining, 5);
    assert_eq!(rate.tightest(&limits(200, 0, 0), at(0)).unwrap().remaining, 100);
    assert_eq!(allowed(&rate, &limits(10, 0, 0), at(0)), 5);
}

#[test]
fn an_amount_is_taken_whole_or_not_at_all() {
    let (rate, sixty) = (Rate::default(), limits(60, 0, 0));
    assert_eq!(rate.take(&sixty, 50, at(0)).unwrap().unwrap().remaining, 10);
    assert_eq!(rate.take(&sixty, 11, at(0)).unwrap_err().wait, Duration::from_secs(1));
    assert_eq!(rate.take(&sixty, 10, at(0)).unwrap().unwrap().remaining, 0);
    assert_eq!(rate.take(&sixty, 1000, at(1)).unwrap_err().wait, Duration::from_secs(59), "of the whole, no more");
    assert_eq!(rate.take(&sixty, 1000, at(60)).unwrap().unwrap().remaining, 0);
}

#[test]
fn what_was_taken_too_much_comes_back_and_what_was_too_little_is_owed() {
    let remaining = |rate: &Rate, limits, second| rate.tightest(limits, at(second)).unwrap().remaining;
    let (rate, hundred) = (Rate::default(), limits(100, 0, 0));
    rate.take(&hundred, 80, at(0)).unwrap();
    rate.settle(&hundred, (80, 30), (at(0), at(0)));
    assert_eq!(remaining(&rate, &hundred, 0), 70);
    rate.settle(&hundred, (30, 0), (at(0), at(0)));
    assert_eq!(remaining(&rate, &hundred, 0), 100);
    rate.take(&hundred, 10, at(0)).unwrap();
    rate.settle(&hundred, (10, 250), (at(0), at(0)));
    assert_eq!(rate.take(&hundred, 1, at(0)).unwrap_err().wait.as_millis(), 90_600, "until 151 of the 250 are back");
    assert_eq!([89, 91, 150].map(|second| remaining(&rate, &hundred, second)), [0, 1, 100]);
    (0..3).for_each(|_| rate.settle(&hundred, (0, u32::MAX), (at(150), at(150))));
    assert_eq!(
        rate.tightest(&hundred, at(150)).unwrap().reset,
        Duration::from_secs(600),
        "ten minutes' amount at most"
    );
}

/// Else whoever lets estimates lie, and settles them all at once, would have many times the amount at that moment.
#[test]
fn what_time_has_given_back_does_not_come_back_again() {
    let (rate, minute) = (Rate::default(), limits(10_000, 0, 0));
    for second in (0..600).step_by(60) {
        rate.take(&minute, 10_000, at(second)).unwrap();
    }
    for second in (0..600).step_by(60) {
        rate.settle(&minute, (10_000, 100), (at(second), at(600)));
    }
    let mut allowed = 0;
    while rate.take(&minute, 100, at(600)).is_ok() {
        allowed += 100;
    }
    assert!(allowed <= 10_000, "{allowed}");
}

#[test]
fn what_was_taken_of_a_window_that_was_smaller_comes_back_as_it_was_taken() {
    let (rate, ten) = (Rate::default(), limits(10, 0, 0));
    rate.take(&ten, 1000, at(0)).unwrap();
    rate.settle(&ten, (1000, 4), (at(0), at(0)));
    assert_eq!(rate.tightest(&ten, at(0)).unwrap().remaining, 6);
}

#[test]
fn a_thousand_threads_take_amounts_of_exactly_the_limit() {
    let (rate, limits) = (Rate::default(), limits(7000, 6100, 0));
    let start = Barrier::new(1000);
    let ask = || {
        start.wait();
        rate.take(&limits, 10, at(5)).is_ok()
    };
    let allowed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..1000).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|allowed| *allowed).count()
    });
    assert_eq!(allowed, 610);
    assert_eq!(rate.standings(&limits, at(5)).iter().map(|it| it.remaining).collect::<Vec<_>>(), [900, 0]);
}

/// What a thousand threads are told that ask at the same time.
fn ask_at_once(rate: &Rate, limits: &WindowLimits) -> Vec<Result<Option<WindowStanding>, WindowStanding>> {
    let start = Barrier::new(1000);
    let ask = || {
        start.wait();
        rate.take(limits, 1, at(5))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..1000).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_thousand_threads_are_allowed_exactly_the_limit_and_each_has_its_own_number() {
    let (rate, limits) = (Rate::default(), limits(700, 0, 0));
    let told = ask_at_once(&rate, &limits);
    let mut remaining: Vec<u32> = told.iter().flatten().flatten().map(|standing| standing.remaining).collect();
    remaining.sort_unstable();
    assert_eq!(remaining, (0..700).collect::<Vec<u32>>());
}

#[test]
fn a_thousand_threads_before_several_windows_are_allowed_exactly_the_least_of_them() {
    for (limits, exact) in [(limits(900, 650, 600), 600), (limits(500, 650, 600), 500), (limits(0, 650, 900), 650)] {
        let rate = Rate::default();
        assert_eq!(ask_at_once(&rate, &limits).iter().flatten().count(), exact as usize);
        for standing in rate.standings(&limits, at(5)) {
            assert_eq!(standing.remaining, standing.limit - exact, "{:?} lost what was given back", standing.window);
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn no_span_of_time_sees_more_than_the_whole_amount_and_what_came_back(
        limit in 1u32..40,
        steps in prop::collection::vec((0u64..20_000, 1usize..30), 1..60),
    ) {
        let (rate, limits) = (Rate::default(), limits(limit, 0, 0));
        let (mut now, mut at_times) = (at(0), Vec::new());
        for (millis, times) in steps {
            now = now.after(Duration::from_millis(millis));
            at_times.extend((0..times).filter(|_| rate.take(&limits, 1, now).is_ok()).map(|_| now));
        }
        for (i, &from) in at_times.iter().enumerate() {
            for (count, &to) in at_times[i..].iter().enumerate() {
                let most = f64::from(limit) * (1.0 + to.since(from).as_secs_f64() / 60.0);
                prop_assert!((count + 1) as f64 <= most + 1e-6, "{} in {:?}", count + 1, to.since(from));
            }
        }
    }

    #[test]
    fn of_every_limit_exactly_the_whole_amount_is_there_at_first(
        per_minute in 1u32..3000, more in 0u32..3000, begin in wait(),
    ) {
        let (rate, limits) = (Rate::default(), limits(per_minute, per_minute + more, 0));
        prop_assert_eq!(allowed(&rate, &limits, at(0).after(begin)), per_minute as usize);
    }

    #[test]
    fn who_waits_as_told_is_allowed_and_who_comes_a_nanosecond_early_is_not(
        per_minute in 1u32.., per_hour in 1u32..1000, steps in prop::collection::vec((wait(), 1usize..1500), 1..5),
    ) {
        let (rate, limits) = (Rate::default(), limits(per_minute, per_hour, 0));
        let mut now = at(0);
        for (wait, times) in steps {
            now = now.after(wait);
            for _ in 0..times {
                if let Err(refused) = rate.take(&limits, 1, now) {
                    let early = now.after(refused.wait - Duration::from_nanos(1));
                    prop_assert!(rate.take(&limits, 1, early).is_err());
                    now = now.after(refused.wait);
                    prop_assert!(rate.take(&limits, 1, now).is_ok());
                }
            }
        }
    }

    #[test]
    fn what_is_said_to_remain_is_what_can_be_taken(
        limit in 1u32..500, steps in prop::collection::vec((wait(), 0usize..300), 1..20),
    ) {
        let (rate, limits) = (Rate::default(), limits(limit, 0, 0));
        let mut now = at(0);
        for (wait, times) in steps {
            now = now.after(wait);
            for _ in 0..times {
                let _ = rate.take(&limits, 1, now);
            }
            let standing = rate.tightest(&limits, now).unwrap();
            prop_assert_eq!(rate.tightest(&limits, now.after(standing.reset)).unwrap().remaining, limit);
            prop_assert_eq!(allowed(&rate, &limits, now), standing.remaining as usize);
        }
    }
}
