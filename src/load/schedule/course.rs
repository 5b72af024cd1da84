//! A [`Course`]: how much work a run is to offer by when, as a piecewise linear rate over time.
//!
//! Work is counted in requests where a rate is planned, and in nanoseconds of recorded time
//! where a recording is replayed at a speed: either way it grows with time, and a request falls
//! due when the work before it has accumulated. Both directions are closed forms (a quadratic
//! for a rate that changes linearly), each counted from the start of its leg, so that no error
//! adds up over hours or a billion requests.
//!
//! Must not: read a clock, or know what a user changed while the run was under way.

use std::time::Duration;

/// Work closer than this to the end of a leg belongs to the next one: the ends of legs are sums
/// of floating-point numbers, and a request that falls due at the last instant before a pause
/// must not depend on how they were rounded.
pub(super) const CLOSE: f64 = 1e-6;

/// A stretch of time with a rate that is constant or changes linearly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leg {
    /// Its length; `None`: without end, which only the last leg may be.
    pub length: Option<Duration>,
    /// Work per second at its start, 0 to 1e18.
    pub from_per_s: f64,
    /// Work per second at its end; the same as at its start when it is without end.
    pub to_per_s: f64,
}

impl Leg {
    /// A leg at one rate.
    pub fn constant(per_s: f64, length: Option<Duration>) -> Leg {
        Leg { length, from_per_s: per_s, to_per_s: per_s }
    }
}

/// See the top of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    legs: Vec<Placed>,
    /// Its end, ns; `u64::MAX` for never.
    end_ns: u64,
    /// Work of all legs; infinite when the last has no end.
    work: f64,
    repeats: bool,
}

/// A leg at its place in time and work.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Placed {
    from_ns: u64,
    to_ns: u64,
    /// Work before it.
    before: f64,
    /// Work in it.
    work: f64,
    from_per_s: f64,
    to_per_s: f64,
}

impl Course {
    /// One rate without end.
    pub fn constant(per_s: f64) -> Course {
        Course::of([Leg::constant(per_s, None)])
    }

    /// These legs one after another; nothing after the last one. Rates below 0 and those that
    /// are no number count as 0.
    pub fn of(legs: impl IntoIterator<Item = Leg>) -> Course {
        let mut course = Course { legs: Vec::new(), end_ns: 0, work: 0.0, repeats: false };
        for leg in legs {
            if course.end_ns == u64::MAX {
                break; // nothing comes after a leg without end
            }
            let rate = |x: f64| if x > 0.0 { x.min(1e18) } else { 0.0 };
            let (from_per_s, to_per_s) = (rate(leg.from_per_s), rate(leg.to_per_s));
            let length_ns = leg.length.map_or(u64::MAX, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
            if length_ns == 0 {
                continue;
            }
            let to_ns = course.end_ns.saturating_add(length_ns);
            let work = match to_ns {
                u64::MAX if from_per_s > 0.0 => f64::INFINITY,
                u64::MAX => 0.0,
                _ => (from_per_s + to_per_s) / 2.0 * (length_ns as f64 / 1e9),
            };
            let to_per_s = if to_ns == u64::MAX { from_per_s } else { to_per_s };
            course.legs.push(Placed { from_ns: course.end_ns, to_ns, before: course.work, work, from_per_s, to_per_s });
            course.work += work;
            course.end_ns = to_ns;
        }
        course
    }

    /// The same again and again.
    pub fn repeated(self) -> Course {
        Course { repeats: true, ..self }
    }

    /// Its rate, where it is one without end.
    pub fn steady(&self) -> Option<f64> {
        match self.legs[..] {
            [leg] if leg.to_ns == u64::MAX => Some(leg.from_per_s),
            _ => None,
        }
    }

    /// Its length, ns; `None` when it is without end.
    pub fn length_ns(&self) -> Option<u64> {
        (self.end_ns != u64::MAX && !self.repeats).then_some(self.end_ns)
    }

    /// Work accumulated `t_ns` after its start.
    pub fn work_at(&self, t_ns: u64) -> f64 {
        if self.repeats && self.end_ns > 0 && self.end_ns != u64::MAX {
            return (t_ns / self.end_ns) as f64 * self.work + self.once_at(t_ns % self.end_ns);
        }
        self.once_at(t_ns)
    }

    /// Work per second `t_ns` after its start.
    pub fn rate_at(&self, t_ns: u64) -> f64 {
        let t_ns = if self.repeats && self.end_ns > 0 { t_ns % self.end_ns } else { t_ns };
        match self.leg_at(t_ns) {
            Some(leg) if t_ns < leg.to_ns => {
                let part = (t_ns - leg.from_ns) as f64 / (leg.to_ns - leg.from_ns) as f64;
                leg.from_per_s + (leg.to_per_s - leg.from_per_s) * part
            }
            _ => 0.0,
        }
    }

    /// When this much work has accumulated and more begins to, ns after the start: after a pause
    /// rather than before it. `None`: never.
    pub fn when_ns(&self, work: f64) -> Option<u64> {
        if !self.repeats || self.end_ns == u64::MAX {
            return self.once_when_ns(work);
        }
        if self.work <= CLOSE {
            return None;
        }
        let passes = ((work + CLOSE) / self.work).floor().max(0.0);
        if passes >= u64::MAX as f64 {
            return None;
        }
        let before = (passes as u64).checked_mul(self.end_ns)?;
        // A leg without work at the end of a pass puts what is left into the next pass.
        match self.once_when_ns((work - passes * self.work).max(0.0)) {
            Some(ns) => before.checked_add(ns),
            None => before.checked_add(self.end_ns)?.checked_add(self.once_when_ns(0.0)?),
        }
    }

    fn leg_at(&self, t_ns: u64) -> Option<&Placed> {
        let after = self.legs.partition_point(|l| l.from_ns <= t_ns);
        self.legs.get(after.checked_sub(1)?)
    }

    fn once_at(&self, t_ns: u64) -> f64 {
        match self.leg_at(t_ns) {
            Some(leg) if t_ns < leg.to_ns => leg.before + leg.work_after(t_ns - leg.from_ns),
            Some(leg) => leg.before + leg.work,
            None => 0.0,
        }
    }

    fn once_when_ns(&self, work: f64) -> Option<u64> {
        let after = self.legs.partition_point(|l| l.before <= work + CLOSE);
        let leg = self.legs.get(after.checked_sub(1)?)?;
        let inside = (work - leg.before).max(0.0);
        if inside + CLOSE > leg.work {
            return None; // it is the last one, or the next would have been found
        }
        let ns = leg.from_ns as f64 + leg.after_ns(inside).max(0.0);
        // 2^63 ns are 292 years.
        (ns < i64::MAX as f64).then(|| ((leg.after_ns(inside).max(0.0).round()) as u64 + leg.from_ns).min(leg.to_ns))
    }
}

impl Placed {
    /// Work in the leg's first `ns`.
    fn work_after(&self, ns: u64) -> f64 {
        let s = ns as f64 / 1e9;
        if self.from_per_s == self.to_per_s {
            return self.from_per_s * s;
        }
        let length_s = (self.to_ns - self.from_ns) as f64 / 1e9;
        s * (self.from_per_s + (self.to_per_s - self.from_per_s) * (s / length_s) / 2.0)
    }

    /// After how many ns this much of the leg's work has accumulated.
    fn after_ns(&self, work: f64) -> f64 {
        if self.from_per_s == self.to_per_s {
            return work * 1e9 / self.from_per_s;
        }
        let length_ns = (self.to_ns - self.from_ns) as f64;
        let growth = (self.to_per_s - self.from_per_s).abs() * 1e9 / length_ns;
        // work = slow·s + growth/2·s², solved for s in the form that loses no digits, counted
        // from the end at which the rate is the lower one: there the other form would.
        let after_s = |work: f64, slow: f64| match work {
            w if w <= 0.0 => 0.0,
            w => 2.0 * w / (slow + (slow * slow + 2.0 * growth * w).sqrt()),
        };
        if self.to_per_s > self.from_per_s {
            after_s(work, self.from_per_s) * 1e9
        } else {
            length_ns - after_s(self.work - work, self.to_per_s) * 1e9
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn s(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    fn line(from: f64, to: f64, n: u64) -> Leg {
        Leg { length: s(n), from_per_s: from, to_per_s: to }
    }

    #[test]
    fn a_constant_rate_does_not_drift() {
        let c = Course::constant(3.0);
        assert_eq!(c.when_ns(3_000_000.0), Some(1_000_000 * SECOND));
        let fast = Course::constant(20_000.0);
        assert_eq!(fast.when_ns(1e9), Some(50_000 * SECOND));
        assert_eq!(fast.when_ns(1e9 + 1.0), Some(50_000 * SECOND + 50_000));
        assert_eq!((c.when_ns(0.0), c.length_ns()), (Some(0), None));
        assert_eq!(Course::constant(1e-12).when_ns(1.0), None, "beyond all time");
        assert_eq!(Course::constant(0.0).when_ns(0.0), None);
    }

    #[test]
    fn a_phase_holds_exactly_its_requests_and_a_pause_none() {
        let c = Course::of([Leg::constant(1000.0, s(30)), Leg::constant(0.0, s(5)), Leg::constant(10.0, s(1))]);
        assert_eq!(c.when_ns(29_999.0), Some(30 * SECOND - 1_000_000));
        assert_eq!(c.when_ns(30_000.0), Some(35 * SECOND), "after the pause, not at its first instant");
        assert_eq!(c.when_ns(30_009.0), Some(36 * SECOND - 100_000_000));
        assert_eq!(c.when_ns(30_010.0), None);
        assert_eq!(c.length_ns(), Some(36 * SECOND));
        assert_eq!([0, 31, 35, 40].map(|t| c.rate_at(t * SECOND)), [1000.0, 0.0, 10.0, 0.0]);
        assert_eq!(Course::of([Leg::constant(0.0, s(5)), Leg::constant(1.0, None)]).when_ns(0.0), Some(5 * SECOND));
    }

    #[test]
    fn a_line_offers_the_area_under_it() {
        let up = Course::of([line(0.0, 100.0, 10)]);
        assert_eq!(up.work_at(10 * SECOND), 500.0);
        assert_eq!(up.when_ns(125.0), Some(5 * SECOND));
        assert_eq!((up.when_ns(0.0), up.when_ns(500.0)), (Some(0), None));
        let down = Course::of([line(100.0, 0.0, 10)]);
        assert_eq!(down.when_ns(375.0), Some(5 * SECOND));
        assert_eq!(down.rate_at(5 * SECOND), 50.0);
    }

    #[test]
    fn a_repeated_course_goes_on_where_it_ended() {
        let c = Course::of([Leg::constant(10.0, s(1)), Leg::constant(0.0, s(1))]).repeated();
        let due: Vec<u64> = [0.0, 9.0, 10.0, 19.0, 20.0].map(|x| c.when_ns(x).unwrap() / 100_000_000).to_vec();
        assert_eq!(due, [0, 9, 20, 29, 40]);
        assert_eq!(c.work_at(5 * SECOND), 30.0);
        assert_eq!(c.work_at(4 * SECOND + SECOND / 2), 25.0);
        let late = Course::of([Leg::constant(0.0, s(1)), Leg::constant(10.0, s(1))]).repeated();
        assert_eq!(late.when_ns(10.0), Some(3 * SECOND));
        assert_eq!(Course::of([Leg::constant(0.0, s(1))]).repeated().when_ns(0.0), None);
        assert_eq!(Course::of([]).repeated().when_ns(0.0), None);
        assert_eq!(Course::of([]).repeated().work_at(7), 0.0);
    }

    pub(in super::super) fn legs() -> impl Strategy<Value = Vec<Leg>> {
        let rate = prop_oneof![Just(0.0), 0.01..100.0f64, 100.0..100_000.0f64];
        let leg = (rate.clone(), rate, any::<bool>(), 1u64..7_200_000).prop_map(|(a, b, level, ms)| Leg {
            length: Some(Duration::from_millis(ms)),
            from_per_s: a,
            to_per_s: if level { a } else { b },
        });
        prop::collection::vec(leg, 1..8)
    }

    proptest! {
        #[test]
        fn when_is_the_inverse_of_work(legs in legs(), repeats: bool, t in 0.0..3.0f64) {
            let c = Course::of(legs);
            let c = if repeats { c.repeated() } else { c };
            let t_ns = (c.end_ns as f64 * t) as u64;
            let x = c.work_at(t_ns);
            if let Some(due) = c.when_ns(x) {
                // At this instant so much work has accumulated, to what a microsecond brings.
                let off = (c.work_at(due) - x).abs();
                prop_assert!(off <= 2.0 * CLOSE + c.rate_at(due).max(c.rate_at(t_ns)) * 1e-6, "{x}: {off}");
                // Where work accumulates it is the very instant.
                if c.rate_at(t_ns) > 1.0 && t_ns < c.end_ns {
                    prop_assert!(due.abs_diff(t_ns) < 2_000, "{t_ns} {due}");
                }
            } else {
                prop_assert!(!repeats || c.work <= CLOSE);
                prop_assert!(repeats || c.work - x <= CLOSE);
            }
        }

        #[test]
        fn due_times_never_go_back(legs in legs(), repeats: bool, from in 0.0..2.0f64, step in 0.1..3.0f64) {
            let c = Course::of(legs);
            let c = if repeats { c.repeated() } else { c };
            let mut last = 0;
            for n in 0..200 {
                let Some(due) = c.when_ns(c.work * from + f64::from(n) * step) else { break };
                prop_assert!(due >= last);
                last = due;
            }
        }
    }
}
