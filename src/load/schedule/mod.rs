//! When requests fall due, on an absolute schedule from the start of the run that can be
//! changed while it runs.
//!
//! Must not: read a clock or wait.

mod course;
mod curve;
mod pacer;
mod phases;
mod scale;

pub use course::{Course, Leg};
pub use curve::Curve;
pub(crate) use pacer::Pacer;
pub use phases::{PhaseError, Phases, Planned};
pub use scale::RateCurve;

use crate::model::At;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// How the requests of a rate are spread over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Uniform,
    /// As independent users come: the gaps are exponentially distributed.
    Poisson,
}

/// What a course is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: a request is sent when a connection is free.
    Closed,
    /// Requests by number.
    Rate,
    /// Recorded time, ns.
    Recorded,
}

/// A change of a schedule while the run is under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// The present rate or speed times this, more than 0; 1.1 is ten per cent more.
    Times(f64),
    /// The planned rate or speed times this, whatever it is now.
    Factor(f64),
    /// Nothing falls due.
    Pause,
    /// Go on with what was before the pause.
    Resume,
}

/// Lowest and highest factor that changes may lead to.
const FACTORS: std::ops::RangeInclusive<f64> = 1e-6..=1e9;

/// The schedule of a run, shared by its owner and its workers. Workers read it through a
/// pacer each, which looks at a version number and takes the lock only when it has moved.
#[derive(Debug)]
pub struct Schedule {
    kind: Kind,
    arrivals: Arrivals,
    seed: u64,
    /// The zero of the schedule, once the run has begun.
    start: OnceLock<At>,
    version: AtomicU64,
    state: Mutex<State>,
}

#[derive(Clone, Debug)]
struct State {
    curve: Arc<Curve>,
    factor: f64,
    paused: bool,
}

impl Schedule {
    /// A closed loop: a request is sent as soon as a connection is free.
    pub fn closed() -> Schedule {
        Schedule::new(Kind::Closed, Course::constant(1.0), Arrivals::Uniform)
    }

    /// A constant rate, requests per second, more than 0: request n falls due at n / rate.
    pub fn rate(per_s: f64) -> Schedule {
        Schedule::planned(Course::constant(per_s), Arrivals::Uniform)
    }

    /// A course of requests per second.
    pub fn planned(course: Course, arrivals: Arrivals) -> Schedule {
        Schedule::new(Kind::Rate, course, arrivals)
    }

    /// Requests at their recorded times, counted from the first; 2 plays twice as fast.
    pub fn recorded(speed: f64) -> Schedule {
        Schedule::new(Kind::Recorded, Course::constant(speed * 1e9), Arrivals::Uniform)
    }

    /// The same with another seed of random arrivals.
    pub fn seeded(self, seed: u64) -> Schedule {
        Schedule { seed, ..self }
    }

    fn new(kind: Kind, course: Course, arrivals: Arrivals) -> Schedule {
        let curve = Arc::new(Curve::new(Arc::new(course)));
        Schedule {
            kind,
            arrivals,
            seed: 0,
            start: OnceLock::new(),
            version: AtomicU64::new(0),
            state: Mutex::new(State { curve, factor: 1.0, paused: false }),
        }
    }

    /// Whether requests fall due whether or not a connection is free.
    pub fn is_open(&self) -> bool {
        self.kind != Kind::Closed
    }

    /// Whether requests fall due by their number, not by their recorded times.
    pub fn is_rate(&self) -> bool {
        self.kind == Kind::Rate
    }

    /// Whether the load is paused.
    pub fn is_paused(&self) -> bool {
        self.lock().paused
    }

    /// The zero of the schedule; `None` before the run has begun.
    pub fn start(&self) -> Option<At> {
        self.start.get().copied()
    }

    /// The run begins; said once, by whoever opens it.
    pub(crate) fn begin(&self, at: At) {
        let _ = self.start.set(at);
    }

    /// Changes what falls due from an instant on; before the run has begun, from its start on.
    /// Workers notice on their own when they next look; whoever wants it at once wakes them.
    pub fn change(&self, at: At, change: Change) {
        let t_ns = self.start().map_or(0, |start| at.since_ns(start));
        let mut state = self.lock();
        let factor = |x: f64| if x > 0.0 { x.clamp(*FACTORS.start(), *FACTORS.end()) } else { *FACTORS.start() };
        match change {
            Change::Times(by) => state.factor = factor(state.factor * by),
            Change::Factor(to) => state.factor = factor(to),
            Change::Pause => state.paused = true,
            Change::Resume => state.paused = false,
        }
        let mut curve = Curve::clone(&state.curve);
        curve.change(t_ns, if state.paused { 0.0 } else { state.factor });
        state.curve = Arc::new(curve);
        // Under the lock: a version that was read never belongs to an older curve.
        self.version.fetch_add(1, Ordering::Release);
    }

    /// What is offered at an instant: requests per second, or the speed where recorded times are
    /// replayed. 0 in a pause; `None` in a closed loop.
    pub fn target_at(&self, at: At) -> Option<f64> {
        let t_ns = self.start().map_or(0, |start| at.since_ns(start));
        let per_s = self.lock().curve.rate_at(t_ns);
        match self.kind {
            Kind::Closed => None,
            Kind::Rate => Some(per_s),
            Kind::Recorded => Some(per_s / 1e9),
        }
    }

    /// The rate or speed now, pauses aside, where the plan is one for the whole run; `None` where
    /// it changes over time, and in a closed loop.
    pub fn steady(&self) -> Option<f64> {
        let state = self.lock();
        let per_s = state.curve.course().steady()? * state.factor;
        match self.kind {
            Kind::Closed => None,
            Kind::Rate => Some(per_s),
            Kind::Recorded => Some(per_s / 1e9),
        }
    }

    /// What the plan is multiplied with now, pauses aside.
    pub fn factor(&self) -> f64 {
        self.lock().factor
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn arrivals(&self) -> Arrivals {
        self.arrivals
    }

    /// The seed of everything random in the run.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn read(&self) -> (u64, Arc<Curve>) {
        let state = self.lock();
        (self.version(), state.curve.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_before_the_start_counts_from_it() {
        let s = Schedule::rate(100.0);
        s.change(At(7), Change::Times(0.5));
        s.begin(At(1_000));
        assert_eq!((s.target_at(At(1_000)), s.start()), (Some(50.0), Some(At(1_000))));
        s.change(At(2_000), Change::Pause);
        s.change(At(2_500), Change::Times(4.0));
        assert_eq!((s.target_at(At(3_000)), s.is_paused()), (Some(0.0), true));
        s.change(At(3_000), Change::Resume);
        assert_eq!(s.target_at(At(3_000)), Some(200.0));
        s.change(At(3_000), Change::Factor(3.0));
        assert_eq!(s.target_at(At(3_000)), Some(300.0));
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            s.change(At(4_000), Change::Times(wrong));
            assert!(s.target_at(At(4_000)).is_some_and(|r| r.is_finite() && r > 0.0));
        }
        assert_eq!(Schedule::recorded(0.5).target_at(At(0)), Some(0.5));
        assert_eq!(Schedule::closed().target_at(At(0)), None);
    }
}
