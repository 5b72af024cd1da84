//! The raw values of one metric of one instance over time, and rates between them.
//!
//! Must not: know what the values mean.

use crate::model::{At, Span};
use std::sync::Arc;

/// Raw values in time order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    at: Vec<At>,
    value: Vec<i64>,
    /// Who read the values, when it is known.
    sampler: Option<Arc<str>>,
}

/// How a counter moved over a stretch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// By how much.
    pub delta: i64,
    /// Between which readings: never exactly the stretch asked for.
    pub span: Span,
}

impl Rate {
    /// Per second.
    pub fn per_s(self) -> f64 {
        self.delta as f64 / self.span.secs()
    }
}

impl Series {
    /// Appends a value; one that comes late is sorted in.
    pub fn push(&mut self, at: At, value: i64) {
        let i = self.upto(at);
        self.at.insert(i, at);
        self.value.insert(i, value);
    }

    /// Says by which sampler the values are read.
    pub(super) fn set_sampler(&mut self, name: &Arc<str>) {
        if self.sampler.as_ref() != Some(name) {
            self.sampler = Some(name.clone());
        }
    }

    /// The sampler that read the latest value.
    pub(super) fn sampler(&self) -> Option<&Arc<str>> {
        self.sampler.as_ref()
    }

    /// How many values.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// The last reading at or before `at`.
    pub fn last_at(&self, at: At) -> Option<(At, i64)> {
        let i = self.upto(at).checked_sub(1)?;
        Some((self.at[i], self.value[i]))
    }

    /// The first reading of all.
    pub fn first(&self) -> Option<(At, i64)> {
        Some((*self.at.first()?, *self.value.first()?))
    }

    /// A gauge's value at `at`, if a reading not older than `max_age_ns` is there.
    pub fn gauge(&self, at: At, max_age_ns: u64) -> Option<i64> {
        self.last_at(at).filter(|(read, _)| at.since_ns(*read) <= max_age_ns).map(|(_, v)| v)
    }

    /// The readings of a stretch, both ends included.
    pub fn window(&self, span: Span) -> impl DoubleEndedIterator<Item = (At, i64)> + '_ {
        let from = self.at.partition_point(|a| *a < span.from);
        let to = self.upto(span.to).max(from);
        (from..to).map(|i| (self.at[i], self.value[i]))
    }

    /// The highest value of a stretch.
    pub fn peak(&self, span: Span) -> Option<i64> {
        self.window(span).map(|(_, v)| v).max()
    }

    /// How a counter moved over a stretch: between the last readings at or before its two
    /// ends, at least between two neighbours. `None` when there are none, when the counter
    /// fell (reset, or a CPU that came back), or when no reading of the stretch is left
    /// because the series ended before it.
    pub fn rate(&self, span: Span) -> Option<Rate> {
        let last = self.upto(span.to).checked_sub(1)?;
        let before = self.upto(span.from).saturating_sub(1);
        let first = if before < last { before } else { last.checked_sub(1)? };
        if self.at[last] < span.from && span.from.since_ns(self.at[last]) > STALE_NS {
            return None;
        }
        let delta = self.value[last].checked_sub(self.value[first]).filter(|d| *d >= 0)?;
        let span = Span { from: self.at[first], to: self.at[last] };
        (!span.is_empty()).then_some(Rate { delta, span })
    }

    /// The rate between each two neighbours whose later one lies in the stretch.
    pub fn rates(&self, span: Span) -> impl Iterator<Item = (At, f64)> + '_ {
        let from = self.at.partition_point(|a| *a < span.from).max(1);
        let to = self.upto(span.to).max(from);
        (from..to.min(self.len())).filter_map(|i| {
            let seconds = self.at[i].since_ns(self.at[i - 1]) as f64 / 1e9;
            let delta = self.value[i].checked_sub(self.value[i - 1]).filter(|d| *d >= 0)?;
            (seconds > 0.0).then(|| (self.at[i], delta as f64 / seconds))
        })
    }

    fn upto(&self, at: At) -> usize {
        // The usual push and the usual read are at the end.
        if self.at.last().is_none_or(|last| *last <= at) { self.len() } else { self.at.partition_point(|a| *a <= at) }
    }
}

/// A reading older than this says nothing about now, ns, even when its sampler has not read
/// again: where the host's tables are long, periods stretch to tens of seconds.
pub(super) const STALE_NS: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(u64, i64)]) -> Series {
        let mut s = Series::default();
        points.iter().for_each(|(at, v)| s.push(At(*at), *v));
        s
    }

    #[test]
    fn a_rate_lies_between_the_readings_around_the_stretch() {
        let s = series(&[(0, 0), (1_000_000_000, 100), (2_000_000_000, 300)]);
        let r = s.rate(Span { from: At(900_000_000), to: At(2_000_000_000) }).unwrap();
        assert_eq!((r.delta, r.per_s()), (300, 150.0));
        // A stretch between two readings falls back to the last two neighbours.
        let r = s.rate(Span { from: At(2_100_000_000), to: At(2_200_000_000) }).unwrap();
        assert_eq!(r.delta, 200);
    }

    #[test]
    fn a_counter_that_fell_has_no_rate_there() {
        let s = series(&[(0, 500), (1_000_000_000, 3), (2_000_000_000, 5)]);
        assert_eq!(s.rate(Span { from: At(0), to: At(1_000_000_000) }), None);
        let all: Vec<_> = s.rates(Span { from: At(0), to: At(9_000_000_000) }).collect();
        assert_eq!(all, [(At(2_000_000_000), 2.0)]);
    }

    #[test]
    fn late_values_are_sorted_in_and_old_gauges_expire() {
        let s = series(&[(10, 1), (30, 3), (20, 2)]);
        assert_eq!(s.window(Span { from: At(0), to: At(99) }).map(|(_, v)| v).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(s.gauge(At(25), 10), Some(2));
        assert_eq!(s.gauge(At(50), 10), None);
        assert_eq!(s.gauge(At(5), 10), None);
    }

    #[test]
    fn an_empty_series_answers_nothing() {
        let s = Series::default();
        let all = Span { from: At(0), to: At(9) };
        assert_eq!((s.rate(all), s.peak(all), s.last_at(At(9))), (None, None, None));
        assert_eq!(s.rates(all).count(), 0);
    }
}
