//! The keys of one provider: which one an attempt uses, and which are put aside because the provider refused them (401, 402,
//! 403). A key put aside is put aside for every model, since it is the account that was refused.
//!
//! When the last key is refused there is nothing left to choose from: that is the backend's hard failure, and the key stays in
//! use, so that the backend's open time decides when it is tried again.

use std::time::Duration;

use berry_vocab::Moment;

/// How long a key is put aside the first time; it doubles with each further refusal.
const FIRST: Duration = Duration::from_secs(300);

/// It doubles no further than to this.
const LONGEST: Duration = Duration::from_secs(3600);

/// Until when one key is put aside; at first, not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    until: Moment,
    /// Refusals since the last success.
    refusals: u32,
}

/// What choosing a key knows of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyStanding {
    /// Until when it cools down for the model that is asked for.
    pub cooling_until: Option<Moment>,
    /// Until when it is put aside.
    pub quarantined_until: Option<Moment>,
    /// How often this request has used it.
    pub visits: u32,
}

// === impl Quarantine ===

impl Quarantine {
    /// The provider refused the key. Whether that is news: while it is put aside, only requests from before come back, and they
    /// change nothing.
    pub fn refuse(&mut self, now: Moment) -> bool {
        let is_news = self.until(now).is_none();
        if is_news {
            self.until = now.after(FIRST.saturating_mul(2u32.saturating_pow(self.refusals)).min(LONGEST));
            self.refusals = self.refusals.saturating_add(1);
        }
        is_news
    }

    /// The moment until which it is put aside, if it still is.
    pub fn until(&self, now: Moment) -> Option<Moment> {
        (self.until > now).then_some(self.until)
    }

    /// The provider took the key: everything against it is forgotten.
    pub fn lift(&mut self) {
        *self = Self::default();
    }
}

// === impl KeyStanding ===

impl KeyStanding {
    /// When it may be used; `None`: now.
    fn usable_from(&self) -> Option<Moment> {
        self.cooling_until.max(self.quarantined_until)
    }
}

/// The key for the next attempt: of those that may be used, one that this request has used least; among these in turn, so that
/// accounts share the load. `None` if none may be used.
pub fn pick_key(standings: &[KeyStanding], turn: usize) -> Option<usize> {
    let n = standings.len();
    // The keys in the order of this turn.
    let in_turn = (0..n).map(|step| (turn % n + step) % n).filter_map(|key| Some((key, standings.get(key)?)));
    in_turn.filter(|(_, key)| key.usable_from().is_none()).min_by_key(|(_, key)| key.visits).map(|(key, _)| key)
}

/// When the first key may be used. `None` if one may be used now, or there is no key at all.
pub fn key_soonest(standings: &[KeyStanding]) -> Option<Moment> {
    standings.iter().map(KeyStanding::usable_from).min().flatten()
}

/// Whether every other key is put aside, so that `key` must not be. One that cools down counts as there: it comes back by
/// itself. The caller's lock covers this and the refusal, or two keys could be put aside as each other's last.
pub fn is_last_usable(standings: &[KeyStanding], key: usize) -> bool {
    standings.iter().enumerate().all(|(other, standing)| other == key || standing.quarantined_until.is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{at, cases};

    const FREE: KeyStanding = KeyStanding { cooling_until: None, quarantined_until: None, visits: 0 };

    fn cooling(second: u64) -> KeyStanding {
        KeyStanding { cooling_until: Some(at(second)), ..FREE }
    }

    fn quarantined(second: u64) -> KeyStanding {
        KeyStanding { quarantined_until: Some(at(second)), ..FREE }
    }

    fn visited(visits: u32) -> KeyStanding {
        KeyStanding { visits, ..FREE }
    }

    #[test]
    fn a_refused_key_is_put_aside_for_five_minutes_doubling_to_an_hour() {
        let (mut quarantine, mut now) = (Quarantine::default(), 7);
        assert_eq!(quarantine.until(at(now)), None);
        for minutes in [5, 10, 20, 40, 60, 60] {
            assert!(quarantine.refuse(at(now)));
            assert_eq!(quarantine.until(at(now)), Some(at(now + minutes * 60)));
            now += minutes * 60;
            assert_eq!(quarantine.until(at(now)), None);
        }
    }

    #[test]
    fn refusals_that_were_under_way_are_no_news() {
        let mut quarantine = Quarantine::default();
        quarantine.refuse(at(0));
        assert!((0..99).all(|second| !quarantine.refuse(at(second))));
        assert_eq!(quarantine.until(at(0)), Some(at(300)));
    }

    #[test]
    fn a_success_forgets_the_refusals() {
        let mut quarantine = Quarantine::default();
        quarantine.refuse(at(0));
        quarantine.refuse(at(300));
        quarantine.lift();
        assert_eq!(quarantine.until(at(301)), None);
        quarantine.refuse(at(301));
        assert_eq!(quarantine.until(at(301)), Some(at(601)));
    }

    #[test]
    fn keys_take_turns() {
        let picks: Vec<_> = (0..6).map(|turn| pick_key(&[FREE; 3], turn)).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2].map(Some));
    }

    #[test]
    fn a_key_that_cools_down_or_is_put_aside_is_passed_over() {
        assert_eq!(pick_key(&[cooling(9), FREE, quarantined(9)], 2), Some(1));
        assert_eq!(pick_key(&[cooling(9), quarantined(9)], 0), None);
        assert_eq!(pick_key(&[], 5), None);
    }

    #[test]
    fn within_a_request_the_least_used_key_comes_first() {
        assert_eq!(pick_key(&[visited(1), visited(1), FREE], 0), Some(2));
        assert_eq!(pick_key(&[visited(2), visited(1), visited(1)], 2), Some(2));
    }

    #[test]
    fn the_soonest_key_is_free_of_both_its_waits() {
        let both = KeyStanding { cooling_until: Some(at(5)), ..quarantined(300) };
        assert_eq!(key_soonest(&[both, cooling(60), quarantined(90)]), Some(at(60)));
        assert_eq!(key_soonest(&[both]), Some(at(300)));
        assert_eq!(key_soonest(&[both, FREE]), None);
        assert_eq!(key_soonest(&[]), None);
    }

    #[test]
    fn the_last_key_is_the_one_beside_which_all_are_put_aside() {
        assert!(is_last_usable(&[FREE], 0));
        assert!(is_last_usable(&[quarantined(9), FREE, quarantined(9)], 1));
        assert!(!is_last_usable(&[FREE, FREE], 0));
        assert!(!is_last_usable(&[FREE, cooling(9)], 0), "one that cools down comes back");
    }

    fn arbitrary() -> impl Strategy<Value = KeyStanding> {
        let until = || prop::option::weighted(0.3, (0u64..100).prop_map(at));
        (until(), until(), 0u32..4).prop_map(|(cooling_until, quarantined_until, visits)| KeyStanding {
            cooling_until,
            quarantined_until,
            visits,
        })
    }

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn a_pick_is_usable_and_there_is_one_whenever_a_key_is(
            standings in prop::collection::vec(arbitrary(), 0..12),
            turn in any::<usize>(),
        ) {
            let usable: Vec<usize> =
                (0..standings.len()).filter(|key| standings[*key].usable_from().is_none()).collect();
            match pick_key(&standings, turn) {
                None => prop_assert!(usable.is_empty()),
                Some(key) => {
                    prop_assert!(usable.contains(&key));
                    prop_assert!(usable.iter().all(|other| standings[*other].visits >= standings[key].visits));
                }
            }
            prop_assert_eq!(key_soonest(&standings).is_some(), usable.is_empty() && !standings.is_empty());
        }

        #[test]
        fn over_as_many_turns_as_keys_each_usable_one_gets_its_part(
            n in 1usize..12,
            first in 0usize..1000,
        ) {
            let mut picks: Vec<_> = (first..first + n).filter_map(|turn| pick_key(&vec![FREE; n], turn)).collect();
            picks.sort_unstable();
            prop_assert_eq!(picks, (0..n).collect::<Vec<_>>());
        }
    }
}
