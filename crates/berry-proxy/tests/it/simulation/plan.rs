//! What a seed stands for: the providers and when they misbehave, the clients and when they come, wait and leave, and the
//! gateway's configuration. Everything is drawn here, before the world begins, except for how a single answer is cut into pieces.
//!
//! A run has three parts. In the *storm*, some providers misbehave all the time, each in one way. In the *chaos*, every provider
//! goes from one fault to the next, and always at least one behaves. Then all is well.

use std::fmt::Write as _;
use std::ops::Range;

use berry_vocab::{Dice, SeededDice};

use super::fault::{Fault, Weight};
use super::speech::{SPEECHES, Speech};

pub(super) const TOKEN: &str = "token-of-the-simulation";

/// The keys of a provider that has two.
pub(super) const KEYS: [&str; 2] = ["sk-one-0123456789", "sk-two-0123456789"];

/// Virtual milliseconds since the world began.
pub(super) type Millis = u64;

/// The storm lasts until then. Attempts are counted once the breakers have had time to open.
pub(super) const STORM_ENDS: Millis = 30_000;
pub(super) const COUNTED_FROM: Millis = 10_000;
/// The last fault has ended then.
pub(super) const CHAOS_ENDS: Millis = 70_000;
/// From then on every request must succeed at its first attempt, where one provider was sound all the time.
pub(super) const RECOVERED: Millis = CHAOS_ENDS + 10_000;
/// Every breaker has let its backend come back by then: the open times of one outage add up to no more than the time of faults,
/// so the next one, which doubles the last, ends before that time has passed again, but for the first open time.
pub(super) const ALL_BACK: Millis = 2 * CHAOS_ENDS + 15_000;

/// How many providers misbehave in the storm. The more there are, the more gentle trials they get after their open times, and
/// the traffic is light: of four, 12 trials beside 52 requests have been seen, as the breakers' own times have it.
const MOST_AT_FAULT: usize = 3;

/// Strategies that give every eligible backend a share; the others may leave one alone for good reasons.
const SPREADING: [&str; 6] =
    ["weighted_random", "round_robin", "random", "weighted_failover", "smart_weighted_failover", "smart_ai"];
const OTHERS: [&str; 6] = ["least_latency", "failover", "least_busy", "p2c", "least_cost", "affinity"];

/// A provider, by its place.
pub(super) type Provider = usize;

/// All that is drawn from a seed.
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) speech: &'static Speech,
    pub(super) strategy: &'static str,
    /// One that behaves all the time.
    pub(super) steady: Option<Provider>,
    /// What is wrong with the first key of the one that behaves, until the chaos ends; it has another.
    sour_key: Option<Fault>,
    /// After what time a second attempt goes beside the first.
    pub(super) hedge_ms: Option<u64>,
    /// From which provider on the backends are another model's, which stands in for the first.
    pub(super) fallback: Option<Provider>,
    pub(super) clients: Vec<Client>,
    schedules: Vec<Vec<Period>>,
    /// Who behaves in the chaos, whatever else is drawn.
    guards: Vec<(Millis, Provider)>,
    settings: String,
    keys: Vec<String>,
}

/// When and how a provider misbehaves.
struct Period {
    from: Millis,
    until: Millis,
    fault: Fault,
}

/// A client that asks one question or more, one after the other on one connection.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) questions: Vec<Question>,
    /// When it comes.
    pub(super) at: Millis,
    /// After what time of its last question it leaves, unless it has the answer by then.
    pub(super) leaves: Option<(Millis, Leave)>,
    /// Bytes that its pipe holds.
    pub(super) room: usize,
    /// Pauses before its first reads.
    pub(super) naps: Vec<Millis>,
    /// Bytes that it reads at once.
    pub(super) bite: usize,
}

/// What a client asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) id: usize,
    pub(super) stream: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It closes its connection.
    Close,
    /// It ends its side, and reads on.
    HalfClose,
}

/// A number in `[0, bound)`.
pub(super) fn below(dice: &mut dyn Dice, bound: u64) -> u64 {
    dice.below(bound)
}

/// One of them.
pub(super) fn one_of<'a, T>(all: &'a [T], dice: &mut dyn Dice) -> &'a T {
    &all[below(dice, all.len() as u64) as usize]
}

/// True in `percent` of 100 cases.
pub(super) fn chance(dice: &mut dyn Dice, percent: u64) -> bool {
    below(dice, 100) < percent
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let dice = &mut SeededDice::new(seed);
        let count = 2 + below(dice, 4) as usize;
        let steady = chance(dice, 80).then(|| below(dice, count as u64) as usize);
        let strategy = match chance(dice, 60) {
            true => *one_of(&SPREADING, dice),
            false => *one_of(&OTHERS, dice),
        };
        let hedge_ms = chance(dice, 15).then(|| 50 + below(dice, 400));
        let fallback = chance(dice, 15).then(|| 1 + below(dice, count as u64 - 1) as usize);
        let guards = guards(count, dice);
        let mut schedules: Vec<_> = (0..count).map(|_| chaos(dice)).collect();
        storm(&mut schedules, steady, dice);
        let sour_key = (steady.is_some() && chance(dice, 30)).then(|| Fault::of_a_key(dice));
        let has_two_keys = |provider| sour_key.is_some() && steady == Some(provider);
        Self {
            seed,
            speech: &SPEECHES[[0, 0, 1, 2][below(dice, 4) as usize]],
            strategy,
            steady,
            sour_key,
            hedge_ms,
            fallback,
            clients: clients(dice),
            schedules,
            guards,
            settings: settings(dice),
            keys: (0..count).map(|i| keys(has_two_keys(i), dice)).collect(),
        }
    }

    pub(super) fn providers(&self) -> usize {
        self.schedules.len()
    }

    /// Whether every eligible backend gets a share of the traffic.
    pub(super) fn spreads(&self) -> bool {
        SPREADING.contains(&self.strategy) && self.fallback.is_none()
    }

    /// Whether breakers bound the number of attempts. A second attempt beside the first is none of their business; and of a model
    /// with one backend they take out nothing that fails softly.
    pub(super) fn is_bounded(&self) -> bool {
        self.hedge_ms.is_none() && self.fallback.is_none()
    }

    /// How a provider misbehaves towards what it is asked at that time with that key. One that behaves then does so to the
    /// answer's end.
    pub(super) fn fault(&self, provider: Provider, at: Millis, key: Option<usize>) -> Option<Fault> {
        if self.steady == Some(provider) && key == Some(0) && at < CHAOS_ENDS {
            return self.sour_key;
        }
        let guard = self.guards.iter().rev().find(|(from, _)| *from <= at).map(|(_, guard)| *guard);
        if self.steady == Some(provider) || guard == Some(provider) {
            return None;
        }
        let period = self.schedules[provider].iter().find(|period| (period.from..period.until).contains(&at))?;
        Some(period.fault)
    }

    /// The gateway's configuration file.
    pub(super) fn toml(&self) -> String {
        let mut text = self.settings.clone();
        let backend_type = self.speech.backend_type;
        for (i, keys) in self.keys.iter().enumerate() {
            let port = 1000 + i;
            let _ = write!(
                text,
                "[providers.p{i}]\nbase_url = \"http://127.0.0.1:{port}\"\nbackend_type = \"{backend_type}\"\n{keys}\n\
                 timeout_seconds = 1\npool_idle_timeout_seconds = 5\n"
            );
        }
        let first = self.fallback.unwrap_or(self.providers());
        self.write_model("m", 0..first, &mut text);
        if self.fallback.is_some() {
            self.write_model("n", first..self.providers(), &mut text);
        }
        let _ = write!(text, "[users.u]\ntoken = \"{TOKEN}\"\n");
        text
    }
}

impl Plan {
    fn write_model(&self, id: &str, backends: Range<Provider>, text: &mut String) {
        let _ = write!(text, "[models.{id}]\nname = \"{id}\"\nstrategy = \"{}\"\n", self.strategy);
        if let Some(after) = self.hedge_ms {
            let _ = writeln!(text, "hedge = {{ after_ms = {after}, max_share = 0.3 }}");
        }
        if self.fallback.is_some() && id == "m" {
            text.push_str("fallbacks = [\"n\"]\n");
        }
        for i in backends {
            let _ = write!(text, "[[models.{id}.backends]]\nprovider = \"p{i}\"\nmodel = \"m{i}\"\npriority = {i}\n");
        }
    }
}

fn settings(dice: &mut dyn Dice) -> String {
    let (open, threshold, retries) = (1 + below(dice, 3), 2 + below(dice, 3), below(dice, 4));
    format!(
        "[settings]\ncircuit_breaker_failure_threshold = {threshold}\ncircuit_breaker_timeout_seconds = {open}\n\
         max_retries = {retries}\nrequest_timeout_seconds = 2\nstream_idle_timeout_seconds = 3\n\
         request_deadline_seconds = 60\n"
    )
}

fn keys(has_two: bool, dice: &mut dyn Dice) -> String {
    let [first, second] = KEYS;
    match chance(dice, 20) || has_two {
        true => format!("api_keys = [\"{first}\", \"{second}\"]"),
        false => format!("api_key = \"{first}\""),
    }
}

/// Who behaves when, in the chaos.
fn guards(count: usize, dice: &mut dyn Dice) -> Vec<(Millis, Provider)> {
    let mut guards = Vec::new();
    let mut at = STORM_ENDS;
    while at < CHAOS_ENDS {
        guards.push((at, below(dice, count as u64) as usize));
        at += 1_000 + below(dice, 8_000);
    }
    guards
}

/// A provider's faults in the chaos.
fn chaos(dice: &mut dyn Dice) -> Vec<Period> {
    let mut periods = Vec::new();
    let mut from = STORM_ENDS + below(dice, 5_000);
    while from < CHAOS_ENDS {
        let until = (from + 1_000 + below(dice, 12_000)).min(CHAOS_ENDS);
        periods.push(Period { from, until, fault: Fault::any(dice) });
        from = until + below(dice, 6_000);
    }
    periods
}

/// The storm: of those that breakers may take out at once, some misbehave throughout, each in one way. One behaves.
fn storm(schedules: &mut [Vec<Period>], steady: Option<Provider>, dice: &mut dyn Dice) {
    let all = schedules.len();
    let sound = steady.unwrap_or_else(|| below(dice, all as u64) as usize);
    let (weights, most): (&[Weight], usize) = match chance(dice, 50) {
        true => (&[Weight::Hard, Weight::Waits], (all - 1).min(MOST_AT_FAULT)),
        false => (&[Weight::Soft], all / 2),
    };
    let bad = 1 + below(dice, most as u64) as usize;
    for periods in schedules.iter_mut().enumerate().filter(|(i, _)| *i != sound).map(|(_, periods)| periods).take(bad) {
        periods.push(Period { from: 0, until: STORM_ENDS, fault: Fault::of(weights, dice) });
    }
}

fn clients(dice: &mut dyn Dice) -> Vec<Client> {
    let (mut clients, mut questions) = (Vec::new(), 0..);
    for (count, from, until) in [(75, 0, STORM_ENDS), (30, STORM_ENDS, CHAOS_ENDS)] {
        for _ in 0..count {
            let at = from + below(dice, until - from);
            clients.push(Client::new(&mut questions, at, dice));
        }
    }
    clients
}

impl Client {
    fn new(ids: &mut impl Iterator<Item = usize>, at: Millis, dice: &mut dyn Dice) -> Self {
        let is_slow = chance(dice, 15);
        let how = if chance(dice, 50) { Leave::Close } else { Leave::HalfClose };
        let count = if chance(dice, 20) { 3 } else { 1 };
        Self {
            questions: ids.take(count).map(|id| Question { id, stream: chance(dice, 60) }).collect(),
            at,
            leaves: chance(dice, 15).then(|| (below(dice, 4_000), how)),
            room: if is_slow { 64 + below(dice, 512) as usize } else { 64 * 1024 },
            naps: (0..if is_slow { 4 } else { 0 }).map(|_| below(dice, 4_000)).collect(),
            bite: if is_slow { 16 + below(dice, 200) as usize } else { 16 * 1024 },
        }
    }

    /// One that stays, for the time when all is well.
    pub(super) fn calm(id: usize, at: Millis) -> Self {
        let questions = vec![Question { id, stream: id.is_multiple_of(2) }];
        Self { questions, at, leaves: None, room: 64 * 1024, naps: Vec::new(), bite: 16 * 1024 }
    }
}
