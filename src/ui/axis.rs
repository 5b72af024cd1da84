//! The time axis that all charts of a screen share.
//!
//! Columns lie at whole multiples of their length since the session's start, so that a
//! chart that follows moves by whole columns and what is drawn once stays as it is.
//!
//! Must not: know what is drawn over it.

use crate::model::{At, Span};

/// A time axis of some columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// How many columns.
    pub columns: usize,
    /// Length of one, ns.
    pub step_ns: u64,
    /// Number of the first one, counted from the session's start; negative before it.
    pub first: i64,
}

impl Axis {
    /// The axis of `window_ns` over `columns` that ends at `edge`: with the last whole column
    /// before it when `moving`, else with the column that holds it.
    pub fn new(window_ns: u64, columns: usize, edge: At, moving: bool) -> Axis {
        let step_ns = window_ns.div_ceil(columns.max(1) as u64).max(1);
        let past = if moving { edge.0 / step_ns } else { edge.0.div_ceil(step_ns) };
        let first = i64::try_from(past).unwrap_or(i64::MAX).saturating_sub(columns as i64);
        Axis { columns, step_ns, first }
    }

    /// The stretch of a column by its number; empty before the session's start.
    pub fn span_of(&self, number: i64) -> Span {
        let start = |n: i64| At(u64::try_from(n).unwrap_or(0).saturating_mul(self.step_ns));
        Span { from: start(number), to: start(number.saturating_add(1)) }
    }

    /// The stretches of all columns from left to right, with their numbers.
    pub fn spans(&self) -> impl Iterator<Item = (i64, Span)> + '_ {
        (self.first..self.first.saturating_add(self.columns as i64)).map(|n| (n, self.span_of(n)))
    }

    /// All it shows.
    pub fn whole(&self) -> Span {
        let last = self.first.saturating_add(self.columns as i64);
        Span { from: self.span_of(self.first).from, to: self.span_of(last).from }
    }

    /// The column an instant falls in, from the left.
    pub fn column_of(&self, at: At) -> Option<usize> {
        let n = i64::try_from(at.0 / self.step_ns).ok()?.checked_sub(self.first)?;
        usize::try_from(n).ok().filter(|n| *n < self.columns)
    }

    /// The columns a stretch touches, first and one past the last; none when it is outside.
    pub fn columns_of(&self, span: Span) -> Option<(usize, usize)> {
        let n = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX).saturating_sub(self.first);
        let first = n(span.from.0 / self.step_ns).max(0);
        let past = n(span.to.0.div_ceil(self.step_ns)).min(self.columns as i64);
        (first < past).then_some((first as usize, past as usize))
    }

    /// The instant a column starts at.
    pub fn at(&self, column: usize) -> At {
        self.span_of(self.first.saturating_add(column as i64)).from
    }

    /// Instants for labels: round ones, far enough from each other for `apart` columns.
    pub fn ticks(&self, apart: usize) -> Vec<(usize, At)> {
        const ROUND_S: [u64; 12] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
        let least_ns = self.step_ns.saturating_mul(apart as u64);
        let every = ROUND_S.iter().map(|s| s * 1_000_000_000).find(|ns| *ns >= least_ns);
        let every = every.unwrap_or(least_ns.max(1));
        let whole = self.whole();
        let first = whole.from.0.div_ceil(every);
        (first..=whole.to.0 / every)
            .take(self.columns)
            .filter_map(|n| {
                let at = At(n.saturating_mul(every));
                Some((self.column_of(at)?, at))
            })
            .collect()
    }
}

/// The cursor's step, ns: a sixtieth of the window, a tick of load at the least.
pub fn step_ns(window_ns: u64) -> u64 {
    (window_ns / 60).max(crate::model::Interval::TICK_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_moving_axis_moves_by_whole_columns() {
        let a = Axis::new(60 * S, 60, At(90 * S + 400_000_000), true);
        assert_eq!(a.whole(), Span { from: At(30 * S), to: At(90 * S) });
        assert_eq!(a, Axis::new(60 * S, 60, At(90 * S + 900_000_000), true));
        let held = Axis::new(60 * S, 60, At(90 * S + 1), false);
        assert_eq!(held.whole().to, At(91 * S));
    }

    #[test]
    fn an_instant_has_its_column_and_the_time_before_the_start_has_none() {
        let a = Axis::new(60 * S, 30, At(20 * S), true);
        assert_eq!(a.column_of(At(19 * S)), Some(29));
        assert_eq!(a.column_of(At(20 * S)), None);
        assert_eq!(a.columns_of(Span { from: At(0), to: At(5 * S) }), Some((20, 23)));
        assert_eq!(a.columns_of(Span { from: At(50 * S), to: At(51 * S) }), None);
        assert!(a.spans().next().unwrap().1.is_empty());
        assert_eq!(a.ticks(5), [(20, At(0)), (25, At(10 * S))]);
    }

    #[test]
    fn odd_axes_do_not_fail() {
        for (w, c, e) in [(0, 0, 0), (1, 300, u64::MAX), (u64::MAX, 1, u64::MAX), (u64::MAX, 0, 5)] {
            let a = Axis::new(w, c, At(e), w % 2 == 0);
            let _ = (a.whole(), a.ticks(8).len(), a.column_of(At(e)), a.spans().count());
        }
    }
}
