//! The search for the highest rate that keeps an objective: doubling until one does not, then
//! halving the gap between the highest that did and the lowest that did not. When the first one
//! does not, the way down is in ever longer steps: 2, 4, 16, 256 times less.
//!
//! A rate that did not keep the objective is tried once more before it counts: a pause of the
//! machine during one probe must not cost half the answer.
//!
//! Must not: send, measure or read a clock; it says which rate to try and is told how it went.

/// Probes of one search at most: each doubles or halves, so that a billion times is in reach.
const MOST: u32 = 80;
/// Lowest and highest rate tried, requests per second.
const LOWEST: f64 = 1.0;
const HIGHEST: f64 = 1e9;

/// See the top of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// How far above the answer a rate that does not keep the objective may be found, as a share.
    precision: f64,
    kept: Option<f64>,
    broken: Option<f64>,
    next: Option<f64>,
    /// How many times less is tried next while no rate kept the objective.
    less: f64,
    /// The next one has failed once.
    again: bool,
    probes: u32,
}

impl Search {
    /// A search that begins at a rate and ends when the lowest rate found not to keep the
    /// objective is at most `precision` (0.001 to 1, as a share) above the highest that does.
    pub fn new(start: f64, precision: f64) -> Search {
        let precision = if precision.is_finite() { precision.clamp(0.001, 1.0) } else { 0.05 };
        let start = if start.is_finite() { start.clamp(LOWEST, HIGHEST) } else { LOWEST };
        let next = Some(nice(start, precision));
        Search { precision, kept: None, broken: None, next, less: 2.0, again: false, probes: 0 }
    }

    /// The rate to try; `None` when the search is over.
    pub fn next(&self) -> Option<f64> {
        self.next
    }

    /// How the rate that was to be tried went.
    pub fn judged(&mut self, kept: bool) {
        let Some(rate) = self.next else { return };
        self.probes += 1;
        if !kept && !self.again && self.probes < MOST {
            self.again = true;
            return;
        }
        self.again = false;
        if kept {
            self.kept = Some(self.kept.map_or(rate, |k| k.max(rate)));
        } else {
            self.broken = Some(self.broken.map_or(rate, |b| b.min(rate)));
        }
        self.next = self.choose().filter(|_| self.probes < MOST);
    }

    fn choose(&mut self) -> Option<f64> {
        match (self.kept, self.broken) {
            (Some(kept), None) => (kept < HIGHEST).then(|| nice((kept * 2.0).min(HIGHEST), self.precision)),
            (None, Some(broken)) => {
                let less = self.less;
                self.less *= less;
                (broken > LOWEST).then(|| nice((broken / less).max(LOWEST), self.precision))
            }
            (Some(kept), Some(broken)) => {
                if broken <= kept * (1.0 + self.precision) {
                    return None;
                }
                // In the middle by ratio: a precision is one.
                let middle = nice((kept * broken).sqrt(), self.precision);
                (kept < middle && middle < broken).then_some(middle)
            }
            (None, None) => None,
        }
    }
}

/// The nearest rate with no more digits than the precision asks for.
fn nice(x: f64, precision: f64) -> f64 {
    let step = 10f64.powi((x * precision / 4.0).log10().floor() as i32);
    // By division where it can be: 0.1 times a number is not what its digits say.
    if step < 1.0 {
        let per = (1.0 / step).round();
        (x * per).round() / per
    } else {
        (x / step).round() * step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Searches against something that keeps the objective below `limit`.
    fn search(start: f64, precision: f64, mut keeps: impl FnMut(u32, f64) -> bool) -> (Search, u32) {
        let mut s = Search::new(start, precision);
        let mut n = 0;
        while let Some(rate) = s.next() {
            s.judged(keeps(n, rate));
            n += 1;
            assert!(n <= MOST);
        }
        (s, n)
    }

    #[test]
    fn rates_have_the_digits_that_count() {
        let nice = |x: f64| super::nice(x, 0.05);
        assert_eq!([1234.5, 98_765.0, 31.4159, 1.2345].map(nice), [1230.0, 99_000.0, 31.4, 1.23]);
        assert_eq!(super::nice(12_345.6, 0.001), 12_346.0);
    }

    #[test]
    fn the_ends_are_said_and_not_searched_for_ever() {
        let (s, _) = search(100.0, 0.05, |_, _| true);
        assert_eq!((s.kept, s.broken), (Some(HIGHEST), None));
        let mut tried = Vec::new();
        let (s, _) = search(200.0, 0.05, |_, rate| {
            tried.push(rate);
            false
        });
        assert_eq!((s.kept, s.broken), (None, Some(LOWEST)));
        tried.dedup(); // each is tried twice
        assert_eq!(tried, [200.0, 100.0, 25.0, 1.56, 1.0]);
        let mut coin = false;
        let (_, n) = search(f64::NAN, f64::NAN, |_, _| {
            coin = !coin;
            coin
        });
        assert!(n <= MOST);
    }

    proptest! {
        #[test]
        fn the_limit_is_found_within_the_precision(
            limit in 1.5..1e7f64, start in 1.0..1e6f64, precision in 0.001..0.5f64, hiccups in any::<u64>(),
        ) {
            // A hiccup: a rate that would keep the objective does not, though never twice running.
            let mut before = false;
            let (s, _) = search(start, precision, |n, rate| {
                before = !before && hiccups >> (n % 64) & 1 == 1;
                rate <= limit && !before
            });
            let (kept, broken) = (s.kept.unwrap(), s.broken.unwrap());
            prop_assert!(kept <= limit && limit < broken, "{kept} {limit} {broken}");
            prop_assert!(broken <= kept * (1.0 + precision) * 1.000_001, "{kept} {broken}");
        }

        #[test]
        fn noise_moves_the_answer_by_no_more_than_itself(
            limit in 10.0..1e6f64, start in 1.0..1e5f64, noise in prop::collection::vec(-0.04..0.04f64, 1..40),
        ) {
            let (s, n) = search(start, 0.05, |n, rate| rate * (1.0 + noise[n as usize % noise.len()]) <= limit);
            let kept = s.kept.unwrap();
            prop_assert!((limit * 0.90..limit * 1.06).contains(&kept), "{kept} {limit} after {n}");
        }
    }
}
