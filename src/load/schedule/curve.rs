//! A [`Curve`]: a course and what was changed of it while the run was under way.
//!
//! Every change (the rate up or down, a pause, a probe of a search) is a factor on the course
//! from an instant on; what was offered until then stays. So a change costs no error, pausing
//! and going on loses nothing, and phases keep their places in time: during a pause the course
//! goes by with nothing offered. A recording replayed at a speed has its own time for course,
//! which stands still in a pause and goes on after it.
//!
//! Must not: read a clock.

use super::course::{CLOSE, Course};
use std::sync::Arc;

/// Changes that are remembered; of older ones only where they led to. Nobody changes a rate as
/// often, and a worker looks at most a moment back.
const MOST_PIECES: usize = 512;

/// See the top of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    course: Arc<Course>,
    pieces: Vec<Piece>,
}

/// From an instant on, the course times a factor.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    from_ns: u64,
    /// What was offered before.
    before: f64,
    /// What the course alone would have offered before.
    course_before: f64,
    factor: f64,
}

impl Curve {
    /// The course as it is.
    pub fn new(course: Arc<Course>) -> Curve {
        let whole = Piece { from_ns: 0, before: 0.0, course_before: 0.0, factor: 1.0 };
        Curve { course, pieces: vec![whole] }
    }

    /// The course as it was planned.
    pub fn course(&self) -> &Course {
        &self.course
    }

    /// The course times `factor` from `t_ns` on; 0 pauses. A change before the last one counts
    /// from the last one on.
    pub fn change(&mut self, t_ns: u64, factor: f64) {
        let last = self.last();
        let t_ns = t_ns.max(last.from_ns);
        let piece = Piece {
            from_ns: t_ns,
            before: self.work_at(t_ns),
            course_before: self.course.work_at(t_ns),
            factor: if factor > 0.0 { factor.min(1e12) } else { 0.0 },
        };
        if last.from_ns == t_ns {
            self.pieces.pop();
        } else if self.pieces.len() == MOST_PIECES {
            self.pieces.remove(0);
        }
        self.pieces.push(piece);
    }

    /// Work accumulated `t_ns` after the start.
    pub fn work_at(&self, t_ns: u64) -> f64 {
        let after = self.pieces.partition_point(|p| p.from_ns <= t_ns);
        let p = self.pieces[after.saturating_sub(1)];
        let more = if p.factor == 0.0 { 0.0 } else { p.factor * (self.course.work_at(t_ns) - p.course_before) };
        p.before + more.max(0.0)
    }

    /// Work per second `t_ns` after the start.
    pub fn rate_at(&self, t_ns: u64) -> f64 {
        let after = self.pieces.partition_point(|p| p.from_ns <= t_ns);
        self.pieces[after.saturating_sub(1)].factor * self.course.rate_at(t_ns)
    }

    /// When this much work has accumulated and more begins to, ns after the start; `None`:
    /// never, as things stand.
    pub fn when_ns(&self, work: f64) -> Option<u64> {
        let after = self.pieces.partition_point(|p| p.before <= work + CLOSE);
        let Some(n) = after.checked_sub(1) else {
            return Some(self.pieces[0].from_ns); // before all that is remembered
        };
        let p = self.pieces[n];
        if p.factor == 0.0 {
            return None;
        }
        let inside = (work - p.before).max(0.0);
        let ns = self.course.when_ns(p.course_before + inside / p.factor)?.max(p.from_ns);
        Some(self.pieces.get(n + 1).map_or(ns, |next| ns.min(next.from_ns)))
    }

    fn last(&self) -> Piece {
        self.pieces[self.pieces.len() - 1] // there is always one
    }
}

#[cfg(test)]
mod tests {
    use super::super::course::Leg;
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;

    fn constant(per_s: f64) -> Curve {
        Curve::new(Arc::new(Course::constant(per_s)))
    }

    #[test]
    fn a_pause_moves_what_falls_due_after_it() {
        let mut c = constant(10.0);
        c.change(2 * SECOND, 0.0);
        assert_eq!((c.when_ns(19.0), c.when_ns(20.0)), (Some(19 * SECOND / 10), None));
        c.change(5 * SECOND, 1.0);
        assert_eq!((c.when_ns(20.0), c.when_ns(30.0)), (Some(5 * SECOND), Some(6 * SECOND)));
        c.change(6 * SECOND, 2.0);
        assert_eq!(
            (c.when_ns(30.0), c.when_ns(50.0), c.rate_at(7 * SECOND)),
            (Some(6 * SECOND), Some(7 * SECOND), 20.0)
        );
        assert_eq!([1, 3, 5, 6, 7].map(|t| c.work_at(t * SECOND)), [10.0, 20.0, 20.0, 30.0, 50.0]);
    }

    #[test]
    fn phases_keep_their_place_while_the_load_is_paused() {
        let s = |n| Some(Duration::from_secs(n));
        let course = Course::of([Leg::constant(10.0, s(4)), Leg::constant(100.0, s(4))]);
        let mut c = Curve::new(Arc::new(course));
        c.change(SECOND, 0.0);
        c.change(5 * SECOND, 1.0);
        assert_eq!((c.work_at(8 * SECOND), c.when_ns(10.0)), (310.0, Some(5 * SECOND)));
        assert_eq!(c.when_ns(310.0), None);
    }

    #[test]
    fn nobody_can_fill_the_memory_with_changes() {
        let mut c = constant(1000.0);
        for n in 0..5000u32 {
            c.change(u64::from(n) * SECOND, f64::from(n % 3) * 0.5);
            c.change(u64::from(n) * SECOND, f64::from(n % 3));
        }
        assert!(c.pieces.len() <= MOST_PIECES);
        let x = c.work_at(5001 * SECOND);
        assert!((x - c.work_at(4999 * SECOND) - 2.0 * 1000.0 * f64::from(4999 % 3)).abs() < 1e-3);
        assert!(c.when_ns(0.0).is_some(), "what fell due long ago still did");
        c.change(0, f64::NAN);
        assert_eq!(c.when_ns(c.work_at(u64::MAX / 4)), None);
    }

    proptest! {
        #[test]
        fn any_changes_leave_it_invertible_and_in_order(
            changes in prop::collection::vec((0u64..10_000, prop_oneof![Just(0.0), 0.01..100.0f64]), 0..12),
            rate in 0.1..50_000.0f64,
            asked in prop::collection::vec(0u64..20_000_000_000, 1..20),
        ) {
            let mut c = constant(rate);
            let mut changes = changes;
            changes.sort_by_key(|c| c.0);
            for (ms, factor) in changes {
                let before: Vec<f64> = asked.iter().map(|t| c.work_at(*t % (ms * 1_000_000 + 1))).collect();
                c.change(ms * 1_000_000, factor);
                for (t, was) in asked.iter().zip(before) {
                    let is = c.work_at(*t % (ms * 1_000_000 + 1));
                    prop_assert!((is - was).abs() <= was.abs() * 1e-12, "the past has changed: {was} {is}");
                }
            }
            for t in &asked {
                let x = c.work_at(*t);
                if c.rate_at(*t) > 1.0 {
                    prop_assert!(c.when_ns(x).is_some_and(|due| due.abs_diff(*t) < 2_000));
                }
            }
            let mut sorted = asked.clone();
            sorted.sort_unstable();
            let due: Vec<Option<u64>> = sorted.iter().map(|t| c.when_ns(c.work_at(*t).floor())).collect();
            for pair in due.windows(2) {
                prop_assert!(pair[1].is_none() || pair[0] <= pair[1]);
            }
        }
    }
}
