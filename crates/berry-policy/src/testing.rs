//! What the tests of this crate share: moments that can be written down, and how proptest runs.

use std::time::Duration;

use berry_vocab::Moment;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

pub(crate) fn at(seconds: u64) -> Moment {
    Moment::ZERO.after(Duration::from_secs(seconds))
}

/// The same cases in every run. One that fails becomes a test with a name, and not a file of proptest's own.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() }
}

/// Waits of every size: none, a moment's, minutes, a day, years. Hundreds of them end before time does.
pub(crate) fn wait() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => Just(Duration::ZERO),
        4 => (0u64..2_000_000_000).prop_map(Duration::from_nanos),
        4 => (0u64..600).prop_map(Duration::from_secs),
        1 => (0u64..90_000).prop_map(Duration::from_secs),
        1 => (0u64..30_000_000).prop_map(Duration::from_secs),
    ]
}
