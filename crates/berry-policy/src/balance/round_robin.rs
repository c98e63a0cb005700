//! `round_robin`: in turn, honouring weights smoothly, from the turn counter alone.
//!
//! Time runs so that one pick is due per unit. A candidate with share s is due at (k + phase) / s for k = 0, 1, 2, …; turn t
//! gets the candidate of event t in the order of time. The phases are spread over the candidates, (i + ½) / n, so that equals
//! come in the order of the file, and light ones come between the picks of a heavy one. (With ½ as everybody's phase, 99
//! candidates of weight 1 beside one of weight 100 would all be due at the same time.)
//!
//! Over a period of integer weights each candidate gets exactly its weight. In between, its count strays from its share by
//! about 1 (by less than 1 + share × n / 2, whatever the weights).

use super::candidate::{Candidate, Turn};
use super::{Strategy, StrategyRow, weighted_random};

/// The turn is taken modulo this, which keeps times exact to a millionth; the order slips once in 4 billion turns.
const TURNS: u64 = 1 << 32;

/// The strategy's row.
pub(super) const ROW: StrategyRow = StrategyRow {
    strategy: Strategy::RoundRobin,
    name: "round_robin",
    doc: "in turn, honouring weights smoothly",
    pick,
    shares: weighted_random::shares,
};

/// All candidates' events.
struct Schedule<'a> {
    candidates: &'a [Candidate],
    total_weight: f64,
}

/// The next moment at which a candidate is due, or several are.
struct Due {
    at: f64,
    first: usize,
    count: f64,
}

fn pick(candidates: &[Candidate], turn: &mut Turn<'_>) -> Option<usize> {
    let total_weight: f64 = candidates.iter().map(Candidate::effective_weight).sum();
    if total_weight <= 0.0 {
        return usize::try_from(turn.turn.checked_rem(candidates.len() as u64)?).ok();
    }
    Schedule { candidates, total_weight }.event((turn.turn % TURNS) as f64)
}

// === impl Schedule ===

impl Schedule<'_> {
    /// The candidate of the event with this number, counted from 0 in the order of time and then of the file.
    fn event(&self, number: f64) -> Option<usize> {
        // By `number`, about so many events are past. Back to a time by which it is no more, then on, event by event.
        let mut time = number;
        let mut past = self.past(time);
        while past > number {
            time -= past - number;
            past = self.past(time);
        }
        loop {
            let due = self.next(time)?;
            let ahead = number - past;
            if ahead == 0.0 {
                return Some(due.first);
            }
            if ahead < due.count {
                return self.due_at(due.at, ahead as usize);
            }
            past += due.count;
            time = due.at;
        }
    }

    /// How many events lie at or before `time`.
    fn past(&self, time: f64) -> f64 {
        self.lines().map(|line| line.past(time)).sum()
    }

    /// What is due first after `time`.
    fn next(&self, time: f64) -> Option<Due> {
        let mut next: Option<Due> = None;
        for (i, line) in self.lines().enumerate() {
            let at = line.event(line.past(time));
            match &mut next {
                Some(due) if at > due.at => {}
                Some(due) if at == due.at => due.count += 1.0,
                _ => next = Some(Due { at, first: i, count: 1.0 }),
            }
        }
        next
    }

    /// Of the candidates that are due at the very moment `time`, the one with this number.
    fn due_at(&self, time: f64, number: usize) -> Option<usize> {
        let due = |line: &Line| line.event(line.past(time) - 1.0) == time;
        self.lines().enumerate().filter(|(_, line)| due(line)).map(|(i, _)| i).nth(number)
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        let n = self.candidates.len() as f64;
        self.candidates
            .iter()
            .enumerate()
            .map(move |(i, c)| Line { share: c.effective_weight() / self.total_weight, phase: (i as f64 + 0.5) / n })
    }
}

/// One candidate's events.
struct Line {
    share: f64,
    phase: f64,
}

impl Line {
    /// When event `k` is due; never, where the share is 0.
    fn event(&self, k: f64) -> f64 {
        (k + self.phase) / self.share
    }

    /// How many events lie at or before `time`, by the very times that [`Line::event`] gives.
    fn past(&self, time: f64) -> f64 {
        // Casts to unsigned stop at 0, where the first event is still to come.
        let guess = (time * self.share + 1.0 - self.phase) as u64 as f64;
        if self.event(guess) <= time {
            guess + 1.0
        } else if guess > 0.0 && self.event(guess - 1.0) > time {
            guess - 1.0
        } else {
            guess
        }
    }
}
