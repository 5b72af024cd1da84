//! A [`Pacer`]: when one worker's next request falls due. Each worker has its own and reads the
//! shared schedule again only when it was changed: no lock and no allocation per request.
//!
//! Of the requests of a run planned by rate, worker w of W has the numbers w, w + W, w + 2 W, …,
//! so that workers need not speak to each other and the run is the same every time. Poisson
//! arrivals: each worker draws its own at its share of the rate; together they are Poisson at
//! the whole rate.
//!
//! Must not: read a clock, or know connections.

use super::curve::Curve;
use super::{Arrivals, Kind, Schedule};
use crate::model::At;
use std::sync::Arc;

/// Draws that are made to count what fell due; beyond, the mean is taken.
const MOST_DRAWS: f64 = 1e6;

/// See the top of the file.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    schedule: Arc<Schedule>,
    version: u64,
    curve: Arc<Curve>,
    start: At,
    worker: u64,
    workers: u64,
    taken: u64,
    /// This worker's requests of the whole run.
    most: u64,
    /// Work at which the next Poisson arrival comes, in means between two of this worker's.
    next: f64,
    rng: fastrand::Rng,
}

impl Pacer {
    /// The pacer of worker `worker` of `workers` of a run whose schedule began at `start` and
    /// that offers at most `requests`.
    pub(crate) fn new(schedule: Arc<Schedule>, worker: u16, workers: u32, start: At, requests: Option<u64>) -> Pacer {
        let (worker, workers) = (u64::from(worker), u64::from(workers.max(1)));
        let (version, curve) = schedule.read();
        // Odd multiples of a constant without pattern: neighbours draw nothing alike.
        let seed = schedule.seed().wrapping_add((2 * worker + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut pacer = Pacer {
            version,
            curve,
            start,
            worker,
            workers,
            taken: 0,
            most: requests.map_or(u64::MAX, |all| share(all, worker, workers)),
            next: 0.0,
            rng: fastrand::Rng::with_seed(seed),
            schedule,
        };
        pacer.draw();
        pacer
    }

    /// When this worker's next request falls due; `recorded_ns`: its recorded time after that of
    /// the first request, which counts where recorded times are replayed. `None`: never, as
    /// things stand: paused, or the course is at its end. In a closed loop, whenever a
    /// connection is free: the start.
    pub(crate) fn next_due(&mut self, recorded_ns: u64) -> Option<At> {
        self.refresh();
        let work = match self.schedule.kind() {
            Kind::Closed => return (!self.is_paused()).then_some(self.start),
            _ if self.taken >= self.most => return None,
            Kind::Recorded => recorded_ns as f64,
            Kind::Rate => self.work(),
        };
        self.at(self.curve.when_ns(work)?)
    }

    /// The next request was taken, whether it was sent or not.
    pub(crate) fn taken(&mut self) {
        self.taken += 1;
        self.draw();
    }

    /// How many of this worker's requests fall due before an instant, those taken among them.
    /// Where recorded times are replayed only their owner can tell how many there are: then it is
    /// those taken, and [`Pacer::next_due`] tells of each of the others.
    pub(crate) fn due_before(&mut self, t: At) -> u64 {
        self.refresh();
        if self.schedule.kind() != Kind::Rate || t <= self.start {
            return self.taken;
        }
        let t_ns = t.since_ns(self.start);
        let work = self.curve.work_at(t_ns);
        let due = match self.schedule.arrivals() {
            Arrivals::Uniform => {
                // The work tells to within one, and then the due times themselves decide.
                let all = work.max(0.0) as u64;
                let mut n = share(all.saturating_sub(1), self.worker, self.workers);
                while self.curve.when_ns((n * self.workers + self.worker) as f64).is_some_and(|due| due < t_ns) {
                    n += 1;
                }
                n
            }
            Arrivals::Poisson => {
                let mut copy = self.clone();
                let until = work / self.workers as f64;
                if until - copy.next > MOST_DRAWS {
                    self.taken.saturating_add((until - copy.next) as u64)
                } else {
                    while copy.next < until {
                        copy.taken();
                    }
                    copy.taken
                }
            }
        };
        due.min(self.most).max(self.taken)
    }

    /// Whether the schedule was changed since this pacer last looked: due times told before may
    /// be others now.
    pub(crate) fn version_changed(&self) -> bool {
        self.schedule.version() != self.version
    }

    /// Whether nothing is to be sent until the schedule is changed again.
    pub(crate) fn is_paused(&mut self) -> bool {
        self.refresh();
        self.schedule.is_paused()
    }

    /// Whether requests fall due whether or not a connection is free.
    pub(crate) fn is_open(&self) -> bool {
        self.schedule.is_open()
    }

    /// Whether requests fall due by their number, not by their recorded times.
    pub(crate) fn is_rate(&self) -> bool {
        self.schedule.is_rate()
    }

    fn refresh(&mut self) {
        if self.version_changed() {
            (self.version, self.curve) = self.schedule.read();
        }
    }

    /// The work at which the next request falls due.
    fn work(&self) -> f64 {
        match self.schedule.arrivals() {
            Arrivals::Uniform => (self.taken * self.workers + self.worker) as f64,
            Arrivals::Poisson => self.next * self.workers as f64,
        }
    }

    fn draw(&mut self) {
        if self.schedule.arrivals() == Arrivals::Poisson {
            // From (0, 1]: the logarithm of 0 is not a time.
            self.next -= (1.0 - self.rng.f64()).ln();
        }
    }

    fn at(&self, ns: u64) -> Option<At> {
        self.start.0.checked_add(ns).map(At)
    }
}

/// How many of the first `all` numbers worker `worker` of `workers` has.
fn share(all: u64, worker: u64, workers: u64) -> u64 {
    all / workers + u64::from(all % workers > worker)
}

#[cfg(test)]
mod tests {
    use super::super::{Change, Course, Leg};
    use super::*;
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;

    fn due(p: &mut Pacer, n: usize) -> Vec<u64> {
        (0..n)
            .map_while(|_| {
                let at = p.next_due(0)?;
                p.taken();
                Some(at.0)
            })
            .collect()
    }

    #[test]
    fn workers_share_the_requests_of_the_run_in_turn() {
        let s = Arc::new(Schedule::rate(10.0));
        let mut all: Vec<u64> = (0..3).flat_map(|w| due(&mut Pacer::new(s.clone(), w, 3, At(5), Some(8)), 9)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..8).map(|n| 5 + n * SECOND / 10).collect::<Vec<_>>());
    }

    #[test]
    fn what_fell_due_and_was_not_taken_is_known() {
        for workers in [1u32, 3] {
            let s = Arc::new(Schedule::rate(7.0));
            let mut all: Vec<Pacer> =
                (0..workers).map(|w| Pacer::new(s.clone(), w as u16, workers, At(9), None)).collect();
            let before = |all: &mut [Pacer], t| all.iter_mut().map(|p| p.due_before(At(9 + t))).sum::<u64>();
            assert_eq!([0, 1, SECOND, SECOND + 1, 2 * SECOND].map(|t| before(&mut all, t)), [0, 1, 7, 8, 14]);
            all[0].taken();
            assert_eq!(before(&mut all, 0), 1);
        }
        let mut p = Pacer::new(Arc::new(Schedule::rate(1e9)), 0, 1, At(0), Some(12));
        assert_eq!(p.due_before(At(SECOND)), 12);
    }

    #[test]
    fn recorded_times_are_played_at_a_speed_and_stand_still_in_a_pause() {
        let s = Arc::new(Schedule::recorded(2.0));
        s.begin(At(100));
        let mut p = Pacer::new(s.clone(), 1, 2, At(100), None);
        assert_eq!(p.next_due(3_000), Some(At(1_600)));
        s.change(At(100 + SECOND), Change::Pause);
        assert!(p.version_changed());
        assert_eq!((p.next_due(3 * SECOND), p.next_due(SECOND)), (None, Some(At(100 + SECOND / 2))));
        assert!(!p.version_changed() && p.is_paused());
        s.change(At(100 + 5 * SECOND), Change::Resume);
        assert_eq!(p.next_due(3 * SECOND), Some(At(100 + 5 * SECOND + SECOND / 2)));
        assert_eq!(p.due_before(At(u64::MAX)), 0);
    }

    #[test]
    fn a_slow_recording_falls_due_beyond_all_time() {
        let mut p = Pacer::new(Arc::new(Schedule::recorded(1e-9)), 0, 1, At(0), None);
        assert_eq!((p.next_due(0), p.next_due(3_000 * SECOND)), (Some(At(0)), None));
    }

    #[test]
    fn a_closed_loop_has_no_schedule_but_can_be_paused() {
        let s = Arc::new(Schedule::closed());
        let mut p = Pacer::new(s.clone(), 0, 1, At(3), None);
        assert!(!p.is_open() && p.next_due(77) == Some(At(3)));
        s.change(At(9), Change::Pause);
        assert!(p.is_paused() && p.next_due(0).is_none());
        s.change(At(12), Change::Resume);
        assert!(!p.is_paused());
    }

    #[test]
    fn a_change_of_rate_counts_from_its_instant() {
        let s = Arc::new(Schedule::rate(10.0));
        s.begin(At(0));
        let mut p = Pacer::new(s.clone(), 0, 1, At(0), None);
        assert_eq!(due(&mut p, 20).last(), Some(&(19 * SECOND / 10)));
        s.change(At(2 * SECOND), Change::Times(2.0));
        assert_eq!(due(&mut p, 3), [2 * SECOND, 2 * SECOND + SECOND / 20, 2 * SECOND + SECOND / 10]);
        assert_eq!(s.target_at(At(3 * SECOND)), Some(20.0));
    }

    #[test]
    fn poisson_arrivals_are_poisson_whoever_draws_them() {
        for workers in [1u32, 4] {
            let s = Schedule::planned(Course::constant(1000.0), Arrivals::Poisson).seeded(42);
            let s = Arc::new(s);
            let mut all: Vec<u64> = (0..workers)
                .flat_map(|w| {
                    let mut p = Pacer::new(s.clone(), w as u16, workers, At(0), None);
                    assert_eq!(p.due_before(At(20 * SECOND)), {
                        let mut copy = p.clone();
                        due(&mut copy, 100_000).iter().filter(|t| **t < 20 * SECOND).count() as u64
                    });
                    due(&mut p, 200_000).into_iter().filter(|t| *t < 100 * SECOND)
                })
                .collect();
            all.sort_unstable();
            // 100 000 expected, standard deviation 316.
            assert!(all.len().abs_diff(100_000) < 1_300, "{}", all.len());
            // Counts of a second have a variance like their mean (a uniform stream has almost none).
            let counts: Vec<f64> = (0..100).map(|s| all.iter().filter(|t| **t / SECOND == s).count() as f64).collect();
            let mean = counts.iter().sum::<f64>() / 100.0;
            let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 99.0;
            assert!((0.6..1.6).contains(&(variance / mean)), "{variance} {mean}");
            // Kolmogorov-Smirnov against the exponential distribution; 1.63/sqrt(n) is 1 %.
            let mut gaps: Vec<f64> = all.windows(2).map(|w| (w[1] - w[0]) as f64 / 1e6).collect();
            gaps.sort_by(f64::total_cmp);
            let n = gaps.len() as f64;
            let d = gaps.iter().enumerate().fold(0.0f64, |d, (i, g)| {
                let expected = 1.0 - (-g).exp();
                d.max((expected - i as f64 / n).abs()).max((expected - (i + 1) as f64 / n).abs())
            });
            assert!(d < 1.63 / n.sqrt(), "{d}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals() {
        let arrivals = |seed| {
            let s = Schedule::planned(Course::constant(50.0), Arrivals::Poisson).seeded(seed);
            due(&mut Pacer::new(Arc::new(s), 1, 2, At(0), None), 50)
        };
        assert_eq!(arrivals(7), arrivals(7));
        assert_ne!(arrivals(7), arrivals(8));
    }

    #[test]
    fn counting_what_a_client_never_got_to_takes_no_time() {
        let s = Schedule::planned(Course::constant(1e9), Arrivals::Poisson);
        let mut p = Pacer::new(Arc::new(s), 0, 1, At(0), None);
        let n = p.due_before(At(3600 * SECOND));
        assert!(n.abs_diff(3_600_000_000_000) < 10_000_000, "{n}");
    }

    #[test]
    fn a_course_at_its_end_gives_no_more() {
        let course = Course::of([Leg::constant(100.0, Some(Duration::from_secs(1)))]);
        let mut p = Pacer::new(Arc::new(Schedule::planned(course, Arrivals::Uniform)), 0, 1, At(0), None);
        assert_eq!(due(&mut p, 1000).len(), 100);
        assert_eq!(p.due_before(At(u64::MAX)), 100);
    }
}
