//! Percentiles of times, exact: every time is kept, which the bound on requests allows.

use std::time::Duration;

use serde::Serialize;

/// Percentiles, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Percentiles {
    /// Of these times; none if there are none. They are sorted on the way.
    pub(crate) fn of(times: &mut [Duration]) -> Option<Self> {
        times.sort_unstable();
        Some(Percentiles {
            p50: at(times, 500)?,
            p90: at(times, 900)?,
            p99: at(times, 990)?,
            p999: at(times, 999)?,
            max: at(times, 1000)?,
        })
    }
}

/// The smallest of the sorted times that this share of them, in thousandths, does not exceed (nearest rank).
fn at(sorted: &[Duration], thousandths: usize) -> Option<f64> {
    let rank = (sorted.len() * thousandths).div_ceil(1000);
    sorted.get(rank.saturating_sub(1)).map(|time| time.as_nanos() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: impl IntoIterator<Item = u64>) -> Option<Percentiles> {
        Percentiles::of(&mut micros.into_iter().map(Duration::from_micros).collect::<Vec<_>>())
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let expected = Percentiles { p50: 500.0, p90: 900.0, p99: 990.0, p999: 999.0, max: 1000.0 };
        assert_eq!(of((1..=1000).rev()), Some(expected));
        let expected = Percentiles { p50: 2.0, p90: 3.0, p99: 3.0, p999: 3.0, max: 3.0 };
        assert_eq!(of([3, 1, 2]), Some(expected));
    }

    #[test]
    fn one_time_is_all_percentiles_and_none_is_none() {
        assert_eq!(of([7]), Some(Percentiles { p50: 7.0, p90: 7.0, p99: 7.0, p999: 7.0, max: 7.0 }));
        assert_eq!(of([]), None);
    }

    #[test]
    fn fractions_of_a_microsecond_are_kept() {
        assert_eq!(Percentiles::of(&mut [Duration::from_nanos(1500)]).unwrap().p50, 1.5);
    }
}
