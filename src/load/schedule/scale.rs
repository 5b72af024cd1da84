//! A recording's own rate over time, counted once and replayed with its peak at a given rate.
//!
//! Must not: read recordings; it is told the times.

use super::course::{Course, Leg};
use std::time::Duration;

/// Bins of a curve at most: a month in bins of about ten minutes.
const MOST_BINS: usize = 4096;

/// Requests per bin of recorded time. Bins are a second wide, and twice as wide whenever there
/// would be too many of them.
#[derive(Clone, Debug, PartialEq)]
pub struct RateCurve {
    first_ns: Option<i64>,
    width_ns: u64,
    bins: Vec<u64>,
}

impl Default for RateCurve {
    fn default() -> RateCurve {
        RateCurve { first_ns: None, width_ns: 1_000_000_000, bins: Vec::new() }
    }
}

impl RateCurve {
    /// Counts a request recorded at this time, ns since the Unix epoch. What is earlier than the
    /// first one counts with it.
    pub fn push(&mut self, recorded_unix_ns: i64) {
        let first = *self.first_ns.get_or_insert(recorded_unix_ns);
        let after = i128::from(recorded_unix_ns) - i128::from(first);
        let after_ns = u64::try_from(after).unwrap_or(0);
        while after_ns / self.width_ns >= MOST_BINS as u64 {
            let halved = self.bins.chunks(2).map(|pair| pair.iter().sum()).collect();
            self.bins = halved;
            self.width_ns *= 2;
        }
        let n = (after_ns / self.width_ns) as usize;
        if n >= self.bins.len() {
            self.bins.resize(n + 1, 0);
        }
        self.bins[n] += 1;
    }

    /// Width of a bin: over how much recorded time the peak is the mean, ns.
    pub fn width_ns(&self) -> u64 {
        self.width_ns
    }

    /// The curve as a course whose highest rate is `peak_per_s`, its time `speed` times as fast;
    /// stretches of the replay without a request longer than `max_gap` are cut to it.
    pub fn course(&self, peak_per_s: f64, speed: f64, max_gap: Option<Duration>) -> Course {
        let peak = self.bins.iter().copied().max().unwrap_or(0).max(1);
        let width = Duration::from_secs_f64((self.width_ns as f64 / 1e9 / speed).clamp(1e-9, 1e9));
        let mut idle = Duration::ZERO;
        Course::of(self.bins.iter().map(|&n| {
            let mut length = width;
            if n > 0 {
                idle = Duration::ZERO;
            } else {
                if let Some(most) = max_gap {
                    length = length.min(most.saturating_sub(idle));
                }
                idle += length;
            }
            Leg::constant(peak_per_s * (n as f64 / peak as f64), Some(length))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    fn curve(counts: &[u64]) -> RateCurve {
        let mut c = RateCurve::default();
        for (s, n) in counts.iter().enumerate() {
            (0..*n).for_each(|i| c.push(1_700_000_000 * SECOND + s as i64 * SECOND + i as i64));
        }
        c
    }

    #[test]
    fn the_peak_is_as_asked_and_the_rest_in_proportion() {
        let c = curve(&[4, 2, 0, 0, 0, 8]);
        let course = c.course(1000.0, 1.0, None);
        let at = |s: f64| course.rate_at((s * 1e9) as u64);
        assert_eq!([0.5, 1.5, 2.5, 5.5, 6.5].map(at), [500.0, 250.0, 0.0, 1000.0, 0.0]);
        assert_eq!(course.work_at(u64::MAX), 1750.0);
        let fast = c.course(1000.0, 2.0, Some(Duration::from_millis(600)));
        assert_eq!(fast.length_ns(), Some(2_100_000_000));
        assert_eq!(fast.rate_at(1_700_000_000), 1000.0);
    }

    #[test]
    fn a_long_recording_gets_wider_bins() {
        let mut c = RateCurve::default();
        for day in 0..20 {
            c.push(day * 86_400 * SECOND);
            c.push(day * 86_400 * SECOND - 5); // out of order, and once before the first
        }
        assert!(c.bins.len() <= MOST_BINS && c.width_ns == 512_000_000_000, "{}", c.width_ns);
        assert_eq!(c.bins.iter().sum::<u64>(), 40);
        assert_eq!(RateCurve::default().course(5.0, 1.0, None).length_ns(), Some(0));
    }

    proptest! {
        #[test]
        fn no_request_is_lost_and_no_time_is_too_far(times in prop::collection::vec(any::<i64>(), 1..50)) {
            let mut c = RateCurve::default();
            times.iter().for_each(|t| c.push(*t));
            prop_assert!(c.bins.len() <= MOST_BINS);
            prop_assert_eq!(c.bins.iter().sum::<u64>(), times.len() as u64);
            prop_assert!(c.course(10.0, 1.0, None).work_at(u64::MAX) > 0.0);
        }
    }
}
