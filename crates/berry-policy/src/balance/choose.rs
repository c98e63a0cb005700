//! The two ways to choose that most strategies come down to, by weight and by the least key, each with the shares of traffic
//! that it leads to. A pick and its shares take the same closures.

use berry_vocab::Dice;

use super::candidate::Candidate;

/// A candidate at random by weight; evenly where no weight is left.
pub(super) fn by_weight(
    candidates: &[Candidate],
    weight: impl Fn(&Candidate) -> f64,
    dice: &mut dyn Dice,
) -> Option<usize> {
    let total: f64 = candidates.iter().map(&weight).sum();
    if total <= 0.0 {
        return evenly(candidates, dice);
    }
    let mut left = dice.unit() * total;
    let mut last = None;
    for (i, candidate) in candidates.iter().enumerate() {
        let weight = weight(candidate);
        if weight > 0.0 {
            if left < weight {
                return Some(i);
            }
            last = Some(i);
            left -= weight;
        }
    }
    // Only rounding leads here.
    last
}

/// A candidate evenly at random.
pub(super) fn evenly(candidates: &[Candidate], dice: &mut dyn Dice) -> Option<usize> {
    let at = dice.below(candidates.len() as u64) as usize;
    (at < candidates.len()).then_some(at)
}

/// The candidate with the least key. Of several, one at random by weight; the dice roll only then.
pub(super) fn least<K: PartialOrd>(
    candidates: &[Candidate],
    key: impl Fn(&Candidate) -> K,
    dice: &mut dyn Dice,
) -> Option<usize> {
    let mut best: Option<(usize, K)> = None;
    let mut tied = 0.0;
    for (i, candidate) in candidates.iter().enumerate() {
        let (key, weight) = (key(candidate), candidate.effective_weight());
        match &best {
            Some((_, least)) if key > *least => {}
            // A tie: the newcomer takes the place with its part of the weight so far.
            Some((_, least)) if key == *least => {
                tied += weight;
                if dice.unit() * tied < weight {
                    best = Some((i, key));
                }
            }
            _ => {
                best = Some((i, key));
                tied = weight;
            }
        }
    }
    best.map(|(i, _)| i)
}

/// The shares that [`by_weight`] leads to.
pub(super) fn shares_by_weight(candidates: &[Candidate], weight: impl Fn(&Candidate) -> f64) -> Vec<f64> {
    let total: f64 = candidates.iter().map(&weight).sum();
    let share = |c| {
        if total > 0.0 { weight(c) / total } else { 1.0 / candidates.len() as f64 }
    };
    candidates.iter().map(share).collect()
}

/// The shares that [`least`] leads to.
pub(super) fn shares_of_least<K: PartialOrd>(candidates: &[Candidate], key: impl Fn(&Candidate) -> K) -> Vec<f64> {
    let is_least = |c: &Candidate| candidates.iter().all(|other| key(c) <= key(other));
    shares_by_weight(candidates, |c| if is_least(c) { c.effective_weight() } else { 0.0 })
}
