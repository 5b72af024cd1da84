//! Requests per second over the length of a recording, whatever that length is: bins that become
//! twice as wide when there would be too many.
//!
//! Must not: grow with the recording.

const NS: i64 = 1_000_000_000;

/// Most bins; after widening there are half as many.
const MAX_BINS: usize = 4096;

/// Width of a bin at first, ns.
const FIRST_WIDTH_NS: i64 = 1_000_000;

/// How many requests there were when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    start_ns: i64,
    last_ns: i64,
    /// How often the width was doubled.
    doubled: u32,
    bins: Vec<u64>,
    second: i64,
    in_second: u64,
    peak_second: i64,
    peak: u64,
}

impl Default for Rates {
    /// No request yet.
    fn default() -> Rates {
        Rates {
            start_ns: 0,
            last_ns: 0,
            doubled: 0,
            bins: Vec::new(),
            second: i64::MIN,
            in_second: 0,
            peak_second: 0,
            peak: 0,
        }
    }
}

impl Rates {
    /// Notes a request; not earlier than the one before it.
    pub fn note(&mut self, unix_ns: i64) {
        if self.bins.is_empty() {
            self.start_ns = unix_ns;
        }
        self.last_ns = unix_ns;
        let n = loop {
            let n = (unix_ns.saturating_sub(self.start_ns).max(0) / FIRST_WIDTH_NS) >> self.doubled;
            match usize::try_from(n) {
                Ok(n) if n < MAX_BINS => break n,
                _ => self.widen(),
            }
        };
        if n >= self.bins.len() {
            self.bins.resize(n + 1, 0);
        }
        self.bins[n] += 1;
        let second = unix_ns.div_euclid(NS);
        self.in_second = if second == self.second { self.in_second + 1 } else { 1 };
        self.second = second;
        if self.in_second > self.peak {
            (self.peak, self.peak_second) = (self.in_second, second);
        }
    }

    fn widen(&mut self) {
        // 2^43 ms are nearly all that 64 bits of nanoseconds hold.
        self.doubled = (self.doubled + 1).min(43);
        let half = self.bins.len().div_ceil(2);
        for n in 0..half {
            self.bins[n] = self.bins[2 * n] + self.bins.get(2 * n + 1).copied().unwrap_or(0);
        }
        self.bins.truncate(half);
    }

    /// Whether there was no request.
    pub fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    /// Time of the first request, ns since the Unix epoch.
    pub fn first_unix_ns(&self) -> i64 {
        self.start_ns
    }

    /// Time of the last request, ns since the Unix epoch.
    pub fn last_unix_ns(&self) -> i64 {
        self.last_ns
    }

    /// From the first request to the last, ns; 0 with fewer than two.
    pub fn span_ns(&self) -> u64 {
        u64::try_from(self.last_ns.saturating_sub(self.start_ns)).unwrap_or(0)
    }

    /// Requests in all.
    pub fn requests(&self) -> u64 {
        self.bins.iter().sum()
    }

    /// Mean over the span, requests per second; `None` when there is no span.
    pub fn mean_per_s(&self) -> Option<f64> {
        let span_s = self.span_ns() as f64 / 1e9;
        (span_s > 0.0).then(|| self.requests() as f64 / span_s)
    }

    /// Most requests in one calendar second, and which (s since the Unix epoch; the first of several).
    pub fn peak(&self) -> (u64, i64) {
        (self.peak, self.peak_second)
    }

    /// Width of a bin, ns: 1 ms doubled as often as the span demanded.
    pub fn width_ns(&self) -> i64 {
        FIRST_WIDTH_NS.saturating_mul(1 << self.doubled)
    }

    /// Requests by bin, the first starting at the first request.
    pub fn bins(&self) -> &[u64] {
        &self.bins
    }

    /// The same in bins so much wider (doubled) that there are at most `most` of them.
    pub fn at_most(&self, most: usize) -> Rates {
        let mut coarse = self.clone();
        while coarse.bins.len() > most.max(1) {
            coarse.widen();
        }
        coarse
    }

    /// Mean rates over `columns` equal parts of the span, requests per second.
    pub fn columns(&self, columns: usize) -> Vec<f64> {
        let length_ns = (self.span_ns() as f64).max(self.width_ns() as f64);
        let column_ns = length_ns / columns.max(1) as f64;
        let width_ns = self.width_ns() as f64;
        let mut out = vec![0.0; columns];
        for (n, count) in self.bins.iter().enumerate().filter(|(_, count)| **count > 0) {
            // The last bin ends where the recording does, or its rate would seem to fall there.
            let from = (n as f64 * width_ns).min(length_ns);
            let to = ((n as f64 + 1.0) * width_ns).min(length_ns);
            let (from, to) = if to - from < column_ns * 1e-6 { ((to - column_ns).max(0.0), to) } else { (from, to) };
            let per_ns = *count as f64 / (to - from);
            let first = ((from / column_ns) as usize).min(columns.saturating_sub(1));
            for (c, value) in out.iter_mut().enumerate().skip(first) {
                let (left, right) = (c as f64 * column_ns, (c as f64 + 1.0) * column_ns);
                if left >= to {
                    break;
                }
                *value += per_ns * (right.min(to) - left.max(from)).max(0.0) / column_ns * 1e9;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(times: &[i64]) -> Rates {
        let mut r = Rates::default();
        times.iter().for_each(|t| r.note(*t));
        r
    }

    #[test]
    fn mean_and_peak_are_those_of_the_requests() {
        let r = of(&[0, NS / 2, NS, NS + 1, NS + 2, 3 * NS, 4 * NS]);
        assert_eq!((r.requests(), r.peak(), r.span_ns()), (7, (3, 1), 4_000_000_000));
        assert_eq!(r.mean_per_s(), Some(1.75));
        assert_eq!((of(&[5]).mean_per_s(), of(&[5]).peak()), (None, (1, 0)));
        assert!(Rates::default().is_empty());
    }

    #[test]
    fn columns_show_where_the_requests_are() {
        // 10 s at 100/s, 10 s of nothing, 20 s at 50/s.
        let steady = |from: i64, to: i64, step: i64| (from * 1000..to * 1000).step_by(step as usize);
        let times: Vec<i64> = steady(0, 10, 10).chain(steady(20, 40, 20)).map(|ms| ms * 1_000_000).collect();
        let columns = of(&times).columns(8);
        for (found, expected) in columns.iter().zip([100.0, 100.0, 0.0, 0.0, 50.0, 50.0, 50.0, 50.0]) {
            assert!((found - expected).abs() < 1.0, "{columns:?}");
        }
    }

    proptest! {
        #[test]
        fn any_span_fits_and_nothing_is_lost(steps in prop::collection::vec(0u64..1 << 56, 1..300), start in -9_000_000_000i64..0, columns in 1usize..200) {
            let mut t = start * NS;
            let times: Vec<i64> = steps.iter().map(|s| { t = t.saturating_add(*s as i64); t }).collect();
            let r = of(&times);
            prop_assert!(r.bins().len() <= MAX_BINS);
            prop_assert_eq!(r.requests(), times.len() as u64);
            prop_assert!(r.at_most(100).bins().len() <= 100);
            prop_assert_eq!(r.at_most(100).requests(), r.requests());
            let found = r.columns(columns);
            prop_assert!(found.iter().all(|v| v.is_finite() && *v >= 0.0));
            let length_s = (r.span_ns() as f64).max(r.width_ns() as f64) / 1e9;
            let sum: f64 = found.iter().sum::<f64>() * length_s / columns as f64;
            prop_assert!((sum / times.len() as f64 - 1.0).abs() < 1e-3, "{} of {}", sum, times.len());
        }
    }
}
