//! What is known about names: a cache that outlives a failing name server, and does not believe one that suddenly points
//! inside (failure model, NW1 and NW2). It decides; asking is [`super::connector`]'s. Time is an argument.

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use berry_vocab::Moment;
use foldhash::HashMap;

/// How long an answer is taken for true. The system's resolver tells no time to live, so this is the least that one is clamped
/// to, which obeys every longer one.
const FRESH: Duration = Duration::from_secs(5);

/// How long the last good answer serves while there is no better one.
const LAST_GOOD: Duration = Duration::from_secs(3600);

/// How old an answer may get while connections to its addresses lie idle.
const WATCHED: Duration = Duration::from_secs(15);

/// An address is gone when no answer has named it for so long. Names with many addresses are answered with a few of them in
/// turn, so that one answer says little. Together with `WATCHED` and the pool's sweep, idle connections to an address that is
/// gone end within 60 s.
const GONE: Duration = Duration::from_secs(30);

/// The addresses of a name, in the resolver's order.
pub(super) type Addresses = Rc<[IpAddr]>;

/// Why a lookup brought nothing that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LookupFault {
    /// The resolver says that there is no such name, or failed.
    Failed,
    /// The name has no address.
    Empty,
    /// No answer in time.
    TimedOut,
    /// A name with public addresses now has private ones alone, as in an attack by DNS rebinding.
    Rebound,
}

impl fmt::Display for LookupFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LookupFault::Failed => "the resolver has no answer",
            LookupFault::Empty => "the name has no address",
            LookupFault::TimedOut => "no answer in time",
            LookupFault::Rebound => "a public name points to private addresses; if that is meant, restart",
        })
    }
}

/// What is to be done to connect to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Use these.
    Fresh(Addresses),
    /// Use these, and ask again meanwhile: the last lookup failed.
    LastGood(Addresses),
    /// Ask, and wait for the answer.
    Nothing,
}

/// What an answer changed, for the log: told once, not with each answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Lookups fail from now on. `serves`: whether there is a last good answer.
    Failing { fault: LookupFault, serves: bool },
    /// They succeed again.
    Recovered,
    /// The addresses are others than before.
    Changed,
}

/// All names asked for so far: those of the configuration, so that there are few.
#[derive(Debug, Default)]
pub(super) struct Names {
    entries: HashMap<Box<str>, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    /// The last good answer; empty: there was none.
    addresses: Addresses,
    answered: Moment,
    /// When an answer was last had, good or bad.
    asked: Moment,
    failing: Option<LookupFault>,
    /// Whether a good answer has ever held a public address.
    was_public: bool,
    /// When each address was last in an answer.
    seen: Vec<(IpAddr, Moment)>,
}

// === impl Names ===

impl Names {
    /// What is known of a name.
    pub(super) fn known(&self, name: &str, now: Moment) -> Known {
        match self.entries.get(name) {
            Some(entry) if entry.failing.is_none() && now.since(entry.answered) < FRESH => {
                Known::Fresh(entry.addresses.clone())
            }
            Some(entry) if entry.failing.is_some() => match entry.last_good(now) {
                Some(addresses) if now.since(entry.asked) < FRESH => Known::Fresh(addresses),
                Some(addresses) => Known::LastGood(addresses),
                None => Known::Nothing,
            },
            _ => Known::Nothing,
        }
    }

    /// Takes a lookup's outcome.
    pub(super) fn learn(&mut self, name: &str, found: Result<Vec<IpAddr>, LookupFault>, now: Moment) -> Option<News> {
        let entry = self.entries.entry(name.into()).or_default();
        entry.asked = now;
        match found.and_then(|addresses| entry.check(addresses)) {
            Ok(addresses) => entry.accept(&addresses, now),
            Err(fault) => {
                let news = News::Failing { fault, serves: entry.last_good(now).is_some() };
                (entry.failing.replace(fault) != Some(fault)).then_some(news)
            }
        }
    }

    /// The last good addresses, where they are young enough to serve.
    pub(super) fn last_good(&self, name: &str, now: Moment) -> Option<Addresses> {
        self.entries.get(name)?.last_good(now)
    }

    /// Whether a name that idle connections hang on should be asked again.
    pub(super) fn is_due(&self, name: &str, now: Moment) -> bool {
        self.entries.get(name).is_none_or(|entry| now.since(entry.asked) >= WATCHED)
    }

    /// Whether an address is no longer one of its name's. An answer must have said so: a failing resolver makes none gone.
    pub(super) fn is_gone(&self, name: &str, address: IpAddr) -> bool {
        self.entries.get(name).is_some_and(|entry| {
            let seen = entry.seen.iter().find(|(seen, _)| *seen == address);
            seen.is_none_or(|(_, at)| entry.answered.since(*at) >= GONE)
        })
    }
}

// === impl Entry ===

impl Entry {
    fn last_good(&self, now: Moment) -> Option<Addresses> {
        (!self.addresses.is_empty() && now.since(self.answered) < LAST_GOOD).then(|| self.addresses.clone())
    }

    fn check(&self, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, LookupFault> {
        match addresses.iter().any(|address| is_public(*address)) {
            _ if addresses.is_empty() => Err(LookupFault::Empty),
            // For as long as the process lives: an attacker has the patience to wait for any limit.
            false if self.was_public => Err(LookupFault::Rebound),
            _ => Ok(addresses),
        }
    }

    fn accept(&mut self, addresses: &[IpAddr], now: Moment) -> Option<News> {
        self.was_public |= addresses.iter().any(|address| is_public(*address));
        self.seen.retain(|(address, at)| !addresses.contains(address) && now.since(*at) < GONE);
        self.seen.extend(addresses.iter().map(|address| (*address, now)));
        self.answered = now;
        let is_first = self.addresses.is_empty();
        let is_same = addresses.len() == self.addresses.len() && addresses.iter().all(|a| self.addresses.contains(a));
        self.addresses = addresses.into();
        match self.failing.take() {
            Some(_) => Some(News::Recovered),
            None => (!is_first && !is_same).then_some(News::Changed),
        }
    }
}

/// Whether an address is reached over the open network: not loopback, private, link-local or unspecified.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified()),
        IpAddr::V6(v6) => {
            !(v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "api.example";

    fn at(seconds: u64) -> Moment {
        Moment::ZERO.after(Duration::from_secs(seconds))
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn addresses(texts: &[&str]) -> Addresses {
        ips(texts).into()
    }

    #[test]
    fn an_answer_is_true_for_five_seconds() {
        let mut names = Names::default();
        assert_eq!(names.known(NAME, at(0)), Known::Nothing);
        assert_eq!(names.learn(NAME, Ok(ips(&["8.8.8.8"])), at(10)), None);
        assert_eq!(names.known(NAME, at(14)), Known::Fresh(addresses(&["8.8.8.8"])));
        assert_eq!(names.known(NAME, at(15)), Known::Nothing);
        assert_eq!(names.learn(NAME, Ok(ips(&["8.8.4.4"])), at(15)), Some(News::Changed));
        assert_eq!(names.known(NAME, at(16)), Known::Fresh(addresses(&["8.8.4.4"])));
    }

    #[test]
    fn the_last_good_answer_serves_for_an_hour_while_lookups_fail_and_the_log_is_told_once() {
        for fault in [LookupFault::Failed, LookupFault::Empty, LookupFault::TimedOut] {
            let mut names = Names::default();
            names.learn(NAME, Ok(ips(&["8.8.8.8"])), at(0));
            let bad = if fault == LookupFault::Empty { Ok(Vec::new()) } else { Err(fault) };
            assert_eq!(names.learn(NAME, bad.clone(), at(6)), Some(News::Failing { fault, serves: true }));
            assert_eq!(names.known(NAME, at(7)), Known::Fresh(addresses(&["8.8.8.8"])), "a lookup has just failed");
            assert_eq!(names.known(NAME, at(11)), Known::LastGood(addresses(&["8.8.8.8"])));
            assert_eq!(names.learn(NAME, bad.clone(), at(12)), None);
            assert_eq!(names.known(NAME, at(3599)), Known::LastGood(addresses(&["8.8.8.8"])));
            assert_eq!(names.known(NAME, at(3600)), Known::Nothing);
            assert_eq!((names.learn(NAME, bad, at(3600)), names.last_good(NAME, at(3600))), (None, None));
            assert_eq!(names.learn(NAME, Ok(ips(&["8.8.8.8"])), at(3700)), Some(News::Recovered));
        }
    }

    #[test]
    fn a_name_that_never_resolved_has_no_addresses() {
        let mut names = Names::default();
        let news = News::Failing { fault: LookupFault::Failed, serves: false };
        assert_eq!(names.learn(NAME, Err(LookupFault::Failed), at(0)), Some(news));
        assert_eq!((names.known(NAME, at(1)), names.last_good(NAME, at(1))), (Known::Nothing, None));
    }

    #[test]
    fn a_public_name_that_turns_inside_is_not_believed() {
        for inside in ["127.0.0.1", "10.1.1.1", "169.254.169.254", "::1", "fd00::1", "fe80::1", "::ffff:192.168.0.1"] {
            let mut names = Names::default();
            names.learn(NAME, Ok(ips(&["8.8.8.8"])), at(0));
            let news = News::Failing { fault: LookupFault::Rebound, serves: true };
            assert_eq!(names.learn(NAME, Ok(ips(&[inside])), at(6)), Some(news), "{inside}");
            assert_eq!(names.last_good(NAME, at(6)), Some(addresses(&["8.8.8.8"])));
            names.learn(NAME, Ok(ips(&[inside])), at(5000));
            assert_eq!(names.last_good(NAME, at(5000)), None, "nor after the hour");
            assert_eq!(names.learn(NAME, Ok(ips(&[inside, "8.8.4.4"])), at(5001)), Some(News::Recovered));
        }
    }

    #[test]
    fn a_private_name_stays_an_ordinary_one() {
        let mut names = Names::default();
        assert_eq!(names.learn(NAME, Ok(ips(&["10.0.0.1"])), at(0)), None);
        assert_eq!(names.learn(NAME, Ok(ips(&["10.0.0.2"])), at(6)), Some(News::Changed));
    }

    #[test]
    fn an_address_is_gone_once_answers_have_not_named_it_for_a_while() {
        let (old, new) = (ips(&["8.8.8.8"]), ips(&["8.8.4.4"]));
        let mut names = Names::default();
        names.learn(NAME, Ok(old.clone()), at(0));
        assert!(!names.is_due(NAME, at(14)) && names.is_due(NAME, at(15)));
        names.learn(NAME, Ok(new.clone()), at(15));
        assert!(!names.is_gone(NAME, old[0]), "one answer of a name that takes turns says little");
        names.learn(NAME, Err(LookupFault::Failed), at(1000));
        assert!(!names.is_gone(NAME, old[0]), "a failing resolver says nothing");
        names.learn(NAME, Ok(new.clone()), at(1001));
        assert!(names.is_gone(NAME, old[0]) && !names.is_gone(NAME, new[0]));
    }

    #[test]
    fn addresses_that_take_turns_are_all_kept() {
        let mut names = Names::default();
        for turn in 0..20 {
            names.learn(NAME, Ok(ips(&[["8.8.8.8", "8.8.4.4"][turn % 2]])), at(15 * turn as u64));
            assert!(turn == 0 || ips(&["8.8.8.8", "8.8.4.4"]).iter().all(|address| !names.is_gone(NAME, *address)));
        }
    }
}
