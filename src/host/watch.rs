//! The thread that runs the samplers, each at its own pace, and hands over what they read.
//!
//! Pace: a sampler is due every period, except that after a reading that cost `c` of CPU
//! time it rests until `c / share` has passed, rounded up to whole periods so that samplers
//! wake up together. So no sampler ever takes more than its share of a core, however long
//! the host's tables grow, and readings only become rarer, never wrong: each carries its own
//! instant. What one round of samplers has read is handed over together, so that whoever takes it
//! can do so in one go: being woken costs more than taking it.
//!
//! Must not: block on a full channel, or end because a sampler fails.

use super::sampler::{Batch, HostError, Row, SAMPLERS, Sampler, Setup};
use super::targets::Targets;
use super::{Config, sampler};
use crate::clock::{Clock, thread_cpu_ns};
use crate::model::{At, Event, Fault, Readings};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The second reading of each sampler comes this soon, so that rates are there at once.
const SECOND: Duration = Duration::from_millis(250);
/// A sampler that failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// Distinct faults that are told in one session; more would drown the rest.
const MOST_FAULTS: usize = 100;
/// A reading that costs less is taken once more when the watch ends.
const CHEAP: Duration = Duration::from_micros(500);
/// Loss of readings is told at most this often.
const LOSS_EVERY: Duration = Duration::from_secs(5);

/// The running watch over the host. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    targets: Targets,
    stop_flag: Arc<std::sync::atomic::AtomicBool>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts the thread `host`, which sends [`Event::Readings`] and [`Event::Fault`] to
    /// `out`: the first ones at once, the second ones 250 ms later, then every
    /// [`Config::period`]. It never waits for `out`: readings that find it full are dropped
    /// and counted, and a fault says so when there is room again. It ends when `out` is gone.
    pub fn start(config: Config, clock: Clock, out: SyncSender<Event>) -> Watch {
        let setup = Setup::of_host(config.target, config.pid, clock.clone());
        Watch::start_on(SAMPLERS, setup, config.period, clock, out)
    }

    fn start_on(rows: &'static [Row], setup: Setup, period: Duration, clock: Clock, out: SyncSender<Event>) -> Watch {
        let (stop, stopped) = channel();
        let targets = setup.targets.clone();
        let stop_flag = setup.stop.clone();
        let (at, faults) = (clock.now(), out.clone());
        let run = move || Loop::new(rows, setup, period, clock, out).run(&stopped);
        let thread = match std::thread::Builder::new().name("host".into()).spawn(run) {
            Ok(thread) => Some(thread),
            Err(e) => {
                let what = format!("no thread to watch the host with: {e}");
                let mend = Some("raise the limit of processes: ulimit -u".to_owned());
                // A channel that is full before the run began has no room for anything.
                let _ = faults.try_send(Event::Fault(Fault { at, place: "host".into(), what, mend }));
                None
            }
        };
        Watch { targets, stop_flag, stop: Some(stop), thread }
    }

    /// The target's processes as last found, see [`Targets::pids`].
    pub fn target_pids(&self) -> Vec<u32> {
        self.targets.pids()
    }

    /// A handle on the target's processes that outlives this borrow.
    pub fn targets(&self) -> Targets {
        self.targets.clone()
    }

    /// Ends the watch and waits for its thread, which takes a few milliseconds.
    pub fn stop(self) {}
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop_flag.store(true, Ordering::Relaxed);
        self.stop = None; // wakes the thread
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; there is nothing to add to it.
            let _ = thread.join();
        }
    }
}

struct Loop {
    slots: Vec<Slot>,
    setup: Setup,
    period: Duration,
    clock: Clock,
    out: Outlet,
}

struct Slot {
    row: &'static Row,
    name: Arc<str>,
    sampler: Box<dyn Sampler>,
    pace: Pace,
    /// How many values the last reading had, to make room for the next.
    size: usize,
    /// What it cost.
    cost: Duration,
}

impl Loop {
    fn new(rows: &'static [Row], setup: Setup, period: Duration, clock: Clock, out: SyncSender<Event>) -> Loop {
        let period = period.max(Duration::from_millis(10));
        let start = clock.now();
        let slot = |row: &'static Row| Slot {
            row,
            name: row.name.into(),
            sampler: (row.open)(&setup),
            pace: Pace::new(start, period.max(row.at_least), row.permille),
            size: 0,
            cost: Duration::ZERO,
        };
        Loop { slots: rows.iter().map(slot).collect(), out: Outlet::new(out), setup, period, clock }
    }

    fn run(mut self, stopped: &Receiver<()>) {
        loop {
            for slot in &mut self.slots {
                if slot.pace.due > self.clock.now() {
                    continue;
                }
                if self.setup.is_stopping() || self.out.is_gone {
                    return self.read_once_more();
                }
                slot.run(&self.clock, &mut self.out);
            }
            let now = self.clock.now();
            self.out.flush(now);
            let next = self.slots.iter().map(|s| s.pace.due).min().unwrap_or(now + self.period);
            // A clock that is moved by hand must still be looked at.
            let wait = Duration::from_nanos(next.since_ns(now)).clamp(Duration::from_millis(1), Duration::from_secs(1));
            match stopped.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return self.read_once_more(),
            }
        }
    }

    /// A last reading by what is cheap, so that counters (the client's CPU time above all)
    /// reach to the end of the run.
    fn read_once_more(mut self) {
        for slot in self.slots.iter_mut().filter(|s| s.cost < CHEAP) {
            slot.run(&self.clock, &mut self.out);
        }
        self.out.flush(self.clock.now());
    }
}

impl Slot {
    fn run(&mut self, clock: &Clock, out: &mut Outlet) {
        let cpu = thread_cpu_ns();
        let begin = clock.now();
        let mut batch = sampler::Batch::default();
        batch.values.reserve(self.size);
        let result = self.sampler.sample(&mut batch);
        let took_ns = clock.now().since_ns(begin);
        let at = begin + Duration::from_nanos(took_ns / 2);
        let Batch { values, faults, .. } = batch;
        for (what, mend) in faults {
            out.fault(at, self.row.name, what, mend);
        }
        match &result {
            Ok(()) | Err(HostError::Stopped) => {}
            Err(e) => out.fault(at, self.row.name, e.to_string(), e.mend().map(str::to_owned)),
        }
        // The first reading that finds nothing more says that what was there is gone.
        let all_gone = result.is_ok() && self.size > 0;
        self.size = values.len();
        if !values.is_empty() || all_gone {
            out.readings(Readings { at, sampler: self.name.clone(), took_ns, values });
        }
        self.cost = Duration::from_nanos(thread_cpu_ns().saturating_sub(cpu));
        self.pace.ran(begin, clock.now(), self.cost, result.is_ok());
    }
}

/// When a sampler is due.
#[derive(Debug)]
struct Pace {
    period: Duration,
    permille: u32,
    due: At,
    runs: u64,
}

impl Pace {
    fn new(start: At, period: Duration, permille: u32) -> Pace {
        Pace { period, permille: permille.max(1), due: start, runs: 0 }
    }

    /// Sets the next due instant after a reading from `begin` to `now` that cost `cost`.
    fn ran(&mut self, begin: At, now: At, cost: Duration, well: bool) {
        self.runs += 1;
        if self.runs == 1 && well {
            self.due = self.due + SECOND.min(self.period);
            return;
        }
        let rest = cost.saturating_mul(1000) / self.permille;
        let earliest = if well { (begin + rest).max(now) } else { now + RETRY.max(rest) };
        // On the grid of whole periods, at least one further.
        let period_ns = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX).max(1);
        let periods = earliest.since_ns(self.due).div_ceil(period_ns).max(1);
        self.due = At(self.due.0.saturating_add(periods.saturating_mul(period_ns)));
    }
}

/// The way out, which never blocks.
struct Outlet {
    out: SyncSender<Event>,
    is_gone: bool,
    /// What this round has read so far.
    round: Vec<Readings>,
    told: HashSet<(&'static str, String)>,
    waiting: VecDeque<Fault>,
    dropped: u64,
    loss_told: Option<At>,
}

impl Outlet {
    fn new(out: SyncSender<Event>) -> Outlet {
        let (told, waiting) = (HashSet::new(), VecDeque::new());
        Outlet { out, is_gone: false, round: Vec::new(), told, waiting, dropped: 0, loss_told: None }
    }

    fn readings(&mut self, readings: Readings) {
        self.round.push(readings);
    }

    /// Tells a fault once; the same words of the same sampler are not told again.
    fn fault(&mut self, at: At, sampler: &'static str, what: String, mend: Option<String>) {
        if self.told.len() < MOST_FAULTS && self.told.insert((sampler, what.clone())) {
            self.waiting.push_back(Fault { at, place: format!("host/{sampler}"), what, mend });
        }
    }

    /// Ends a round: sends what it has read and what waits, as far as there is room.
    fn flush(&mut self, now: At) {
        for readings in self.round.drain(..) {
            match self.out.try_send(Event::Readings(readings)) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => self.dropped += 1,
                Err(TrySendError::Disconnected(_)) => self.is_gone = true,
            }
        }
        let loss_is_due = self.loss_told.is_none_or(|at| now >= at + LOSS_EVERY);
        if self.dropped > 0 && loss_is_due {
            let n = self.dropped;
            let what = format!("{n} batches of readings were dropped: who takes them was too slow");
            self.waiting.push_back(Fault { at: now, place: "host".into(), what, mend: None });
            self.loss_told = Some(now);
            self.dropped = 0;
        }
        while let Some(fault) = self.waiting.pop_front() {
            match self.out.try_send(Event::Fault(fault)) {
                Ok(()) => {}
                Err(TrySendError::Full(Event::Fault(fault))) => {
                    self.waiting.push_front(fault);
                    return;
                }
                Err(TrySendError::Full(_)) => return,
                Err(TrySendError::Disconnected(_)) => {
                    self.is_gone = true;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metric;
    use std::sync::mpsc::sync_channel;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_cheap_sampler_keeps_the_grid_and_a_dear_one_stays_under_its_share() {
        let period = Duration::from_millis(500);
        let mut cheap = Pace::new(At(0), period, 2);
        cheap.ran(At(0), At(MS), Duration::from_micros(50), true);
        assert_eq!(cheap.due, At(250 * MS), "the second one comes soon");
        for n in 1..5 {
            cheap.ran(cheap.due, cheap.due.moved(60_000), Duration::from_micros(50), true);
            assert_eq!(cheap.due, At((250 + 500 * n) * MS));
        }
        let mut dear = Pace::new(At(0), period, 7);
        dear.ran(At(0), At(26 * MS), Duration::from_millis(26), true);
        let (mut cost, begin) = (0, dear.due);
        for _ in 0..10 {
            dear.ran(dear.due, dear.due.moved(26 * MS as i64), Duration::from_millis(26), true);
            assert_eq!(dear.due.since_ns(At(250 * MS)) % (500 * MS), 0, "on the grid");
            cost += 26 * MS;
        }
        assert!(cost * 1000 <= dear.due.since_ns(begin) * 7, "{cost} of {}", dear.due.since_ns(begin));
    }

    #[test]
    fn a_failing_sampler_is_tried_again_later() {
        let mut p = Pace::new(At(0), Duration::from_millis(500), 2);
        p.ran(At(0), At(MS), Duration::ZERO, false);
        assert_eq!(p.due, At(5500 * MS));
    }

    struct Once(bool);
    impl Sampler for Once {
        fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
            out.fault("half of it is missing", Some("mend it"));
            if std::mem::replace(&mut self.0, true) {
                return Err(HostError::Shape { path: "x".into(), what: "y".into() });
            }
            Ok(())
        }
    }
    struct One;
    impl Sampler for One {
        fn sample(&mut self, out: &mut Batch) -> Result<(), HostError> {
            out.put_host(Metric::ContextSwitches, 1);
            Ok(())
        }
    }
    static ROWS: &[Row] = &[
        Row { name: "once", open: |_| Box::new(Once(false)), at_least: Duration::ZERO, permille: 1000 },
        Row { name: "one", open: |_| Box::new(One), at_least: Duration::ZERO, permille: 1000 },
    ];

    fn start(capacity: usize) -> (Watch, Receiver<Event>) {
        let (out, events) = sync_channel(capacity);
        let clock = Clock::start();
        let setup = Setup::of_host(None, None, clock.clone());
        (Watch::start_on(ROWS, setup, Duration::from_millis(20), clock, out), events)
    }

    #[test]
    fn one_sampler_failing_is_told_once_and_the_others_go_on() {
        let (watch, events) = start(100);
        std::thread::sleep(Duration::from_millis(200));
        watch.stop();
        let events: Vec<Event> = events.iter().collect();
        let faults: Vec<&Fault> =
            events.iter().filter_map(|e| if let Event::Fault(f) = e { Some(f) } else { None }).collect();
        let whats: Vec<&str> = faults.iter().map(|f| f.what.as_str()).collect();
        assert_eq!(whats, ["half of it is missing", "x is not of a known shape: y"]);
        assert_eq!((faults[0].place.as_str(), faults[0].mend.as_deref()), ("host/once", Some("mend it")));
        assert!(events.len() - faults.len() >= 4, "{}", events.len());
    }

    #[test]
    fn a_full_channel_drops_and_counts_and_never_blocks() {
        let (watch, events) = start(1);
        std::thread::sleep(Duration::from_millis(150));
        let mut lost = 0;
        let clock = Clock::start();
        while lost == 0 && clock.now() < At(8_000_000_000) {
            if let Ok(Event::Fault(f)) = events.recv_timeout(Duration::from_millis(500))
                && f.place == "host"
            {
                lost = f.what.split(' ').next().unwrap().parse().unwrap();
            }
        }
        assert!(lost >= 1);
        let clock = Clock::start();
        watch.stop();
        assert!(clock.now() < At(100_000_000));
    }

    #[test]
    fn it_ends_by_itself_when_nobody_listens() {
        let (mut watch, events) = start(10);
        drop(events);
        let thread = watch.thread.take().unwrap();
        let clock = Clock::start();
        while !thread.is_finished() && clock.now() < At(2_000_000_000) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(thread.is_finished());
    }
}
