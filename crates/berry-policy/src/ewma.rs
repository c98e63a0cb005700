//! Smoothed latency: a moving average that forgets by time and not by count, so that a busy and a quiet backend are smoothed
//! over the same 10 seconds.
//!
//! It is sensitive to peaks: a rise is believed at least half at once, a fall only as time passes. A backend that stalls
//! loses traffic within a request or two, while one lucky answer does not draw the crowd.

use std::time::Duration;

/// The time after which an old value has faded to 1/e.
const TAU: Duration = Duration::from_secs(10);

/// How much of a rise is believed at once.
const RISE: f64 = 0.5;

/// The average after `sample`, measured `dt` after the sample before it. The first sample is the average.
pub fn ewma(old: Option<f64>, sample: f64, dt: Duration) -> f64 {
    let Some(old) = old else { return sample };
    let fresh = 1.0 - (-dt.as_secs_f64() / TAU.as_secs_f64()).exp();
    let part = if sample > old { fresh.max(RISE) } else { fresh };
    old + (sample - old) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_is_the_average() {
        assert_eq!(ewma(None, 250.0, Duration::ZERO), 250.0);
    }

    #[test]
    fn a_fall_is_believed_as_time_passes() {
        assert_eq!(ewma(Some(1000.0), 0.0, Duration::ZERO), 1000.0);
        assert!((ewma(Some(1000.0), 0.0, TAU) - 1000.0 / std::f64::consts::E).abs() < 1e-6);
        assert!(ewma(Some(1000.0), 10.0, Duration::from_secs(3600)) < 10.001);
    }

    #[test]
    fn a_rise_is_believed_at_least_half_at_once() {
        assert_eq!(ewma(Some(100.0), 300.0, Duration::ZERO), 200.0);
        assert!(ewma(Some(100.0), 300.0, 2 * TAU) > 270.0);
    }
}
