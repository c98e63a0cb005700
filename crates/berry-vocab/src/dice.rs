//! Randomness as an argument: whoever decides by chance takes `&mut dyn Dice`, so that a seed replays the decision.

/// A source of random numbers. Implementations need not be cryptographic.
pub trait Dice {
    /// The next 64 random bits.
    fn roll(&mut self) -> u64;

    /// A number in `[0, 1)`, with 53 random bits.
    fn unit(&mut self) -> f64 {
        (self.roll() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A number in `[0, bound)`; 0 when `bound` is 0.
    fn below(&mut self, bound: u64) -> u64 {
        // Multiply-shift (Lemire 2019). The bias is below bound / 2^64.
        ((u128::from(self.roll()) * u128::from(bound)) >> 64) as u64
    }
}

/// Dice that replay from a seed: SplitMix64 (Steele, Lea, Flood 2014), one addition and three multiplications a roll.
#[derive(Clone, Debug)]
pub struct SeededDice {
    state: u64,
}

impl SeededDice {
    /// Dice whose rolls are determined by `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }
}

impl Dice for SeededDice {
    fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_rolls() {
        let (mut a, mut b) = (SeededDice::new(7), SeededDice::new(7));
        assert!((0..100).all(|_| a.roll() == b.roll()));
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut dice = SeededDice::new(1);
        let mut seen = [0u32; 6];
        for _ in 0..6000 {
            seen[dice.below(6) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (800..1200).contains(&n)), "{seen:?}");
        assert_eq!(dice.below(0), 0);
    }

    #[test]
    fn unit_stays_in_its_half_open_interval() {
        let mut dice = SeededDice::new(3);
        assert!((0..10_000).map(|_| dice.unit()).all(|u| (0.0..1.0).contains(&u)));
    }
}
