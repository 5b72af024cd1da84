//! The one time axis: nanoseconds since the session's start.
//!
//! Must not: read a clock. Only the `clock` room makes an [`At`] out of one.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// An instant of a session: nanoseconds on CLOCK_MONOTONIC since the session's start.
///
/// It is the clock that `perf record -k CLOCK_MONOTONIC` stamps samples with, so load,
/// host and profile lie on one axis. Range: 0 to about 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct At(
    /// Nanoseconds since the session's start.
    pub u64,
);

impl At {
    /// The session's start.
    pub const START: At = At(0);

    /// The instant `seconds` after the session's start; negative and NaN become the start.
    pub fn from_secs_f64(seconds: f64) -> At {
        At((seconds.max(0.0) * 1e9) as u64)
    }

    /// Seconds since the session's start.
    pub fn secs(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Nanoseconds from `earlier` to this instant, 0 when `earlier` is the later one.
    pub fn since_ns(self, earlier: At) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This instant moved by `ns` nanoseconds, never before the start.
    pub fn moved(self, ns: i64) -> At {
        At(self.0.saturating_add_signed(ns))
    }
}

impl std::ops::Add<Duration> for At {
    type Output = At;
    fn add(self, d: Duration) -> At {
        At(self.0.saturating_add(d.as_nanos() as u64))
    }
}

impl fmt::Display for At {
    /// `m:ss.t`, with hours in front from one hour on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0 / 100_000_000;
        let (s, t) = (tenths / 10, tenths % 10);
        let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
        if h > 0 { write!(f, "{h}:{m:02}:{s:02}.{t}") } else { write!(f, "{m}:{s:02}.{t}") }
    }
}

/// A stretch of a session: from `from` (included) to `to` (not included).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First instant of the stretch.
    pub from: At,
    /// First instant after it; never before `from`.
    pub to: At,
}

impl Span {
    /// The stretch between two instants, given in either order.
    pub fn new(a: At, b: At) -> Span {
        Span { from: a.min(b), to: a.max(b) }
    }

    /// The stretch of length `ns` that ends at `to`, cut at the session's start.
    pub fn ending(to: At, ns: u64) -> Span {
        Span { from: At(to.0.saturating_sub(ns)), to }
    }

    /// Whether `at` lies in the stretch.
    pub fn contains(self, at: At) -> bool {
        self.from <= at && at < self.to
    }

    /// Length in nanoseconds.
    pub fn len_ns(self) -> u64 {
        self.to.since_ns(self.from)
    }

    /// Length in seconds.
    pub fn secs(self) -> f64 {
        self.len_ns() as f64 / 1e9
    }

    /// What lies in both; `None` when nothing does.
    pub fn common(self, other: Span) -> Option<Span> {
        let both = Span { from: self.from.max(other.from), to: self.to.min(other.to) };
        (both.from < both.to).then_some(both)
    }

    /// Stretches in order and apart that cover what these cover; those without length are left out.
    pub fn joined(mut spans: Vec<Span>) -> Vec<Span> {
        spans.retain(|s| !s.is_empty());
        spans.sort_by_key(|s| s.from);
        let mut apart: Vec<Span> = Vec::with_capacity(spans.len());
        for span in spans {
            match apart.last_mut() {
                Some(last) if span.from <= last.to => last.to = last.to.max(span.to),
                _ => apart.push(span),
            }
        }
        apart
    }

    /// Whether the stretch has no length.
    pub fn is_empty(self) -> bool {
        self.len_ns() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_reads_like_a_stop_watch() {
        assert_eq!(At::from_secs_f64(62.34).to_string(), "1:02.3");
        assert_eq!(At::from_secs_f64(3723.0).to_string(), "1:02:03.0");
        assert_eq!(At::from_secs_f64(-1.0), At::START);
    }

    #[test]
    fn a_span_is_half_open_and_ordered() {
        let s = Span::new(At(9), At(3));
        assert!(s.contains(At(3)) && !s.contains(At(9)));
        assert_eq!(Span::ending(At(5), 9), Span::new(At(0), At(5)));
        let common = |a, b, c, d| Span::new(At(a), At(b)).common(Span::new(At(c), At(d)));
        assert_eq!(common(1, 5, 3, 9), Some(Span::new(At(3), At(5))));
        assert_eq!((common(1, 3, 3, 9), common(3, 9, 1, 2), common(4, 4, 1, 9)), (None, None, None));
        let spans = [(7, 9), (1, 3), (3, 4), (2, 3), (5, 5)].map(|(a, b)| Span::new(At(a), At(b)));
        assert_eq!(Span::joined(spans.to_vec()), [(1, 4), (7, 9)].map(|(a, b)| Span::new(At(a), At(b))));
    }
}
