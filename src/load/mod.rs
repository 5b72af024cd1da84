//! Load: when requests are sent (schedule), how (engines), and what came of them (one
//! [`Interval`](crate::model::Interval) per worker per tick).
//!
//! A feeder thread turns requests into wire bytes ahead of time; workers, one thread
//! each, only write those bytes, read responses and count.
//!
//! Must not: know a log format, or who reads its events.

mod alarm;
mod arena;
mod doorbell;
pub mod engine;
mod feeder;
mod gate;
mod policy;
mod queue;
mod record;
mod schedule;
mod script;
mod sessions;
mod source;
mod stage;
mod supply;
mod tls;
mod way;

pub use arena::Rendering;
pub use policy::{Overload, Policy, Think};
pub use schedule::{Arrivals, Change, Course, Curve, Leg, PhaseError, Phases, Planned, RateCurve, Schedule};
pub use script::{Judge, Next, Script, Scripts, Wants};
pub use source::{RequestSource, SourceError};
pub use tls::{Tls, TlsError, TlsOptions};
pub use way::{Http, Place, Proxy, ProxyHeader, Way};

use crate::clock::Clock;
use crate::model::{At, Event};
use doorbell::Doorbell;
use engine::{Engine, Worker};
use gate::Gate;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

/// A resolved plan of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The engine's name, a row of [`engine::ENGINES`].
    pub engine: &'static str,
    /// How connections get to the target.
    pub way: Way,
    /// How requests become bytes.
    pub rendering: Rendering,
    /// When requests fall due, and may be changed to while the run is under way.
    pub schedule: Arc<Schedule>,
    /// Longest stretch of recorded time without a request that is kept; longer ones become this.
    pub max_recorded_gap: Option<Duration>,
    /// Start the recording again after its end.
    pub repeat: bool,
    /// Offer requests for this long.
    pub duration: Option<Duration>,
    /// Offer this many requests.
    pub requests: Option<u64>,
    /// Connections, all workers together; at least one per worker.
    pub connections: u32,
    /// Worker threads, at least one.
    pub threads: u32,
    /// Open a connection for each request.
    pub close: bool,
    /// From the first byte sent to the last byte read.
    pub timeout: Duration,
    /// To establish a connection.
    pub connect_timeout: Duration,
    /// Requests that may wait for a connection, all workers together, before more that
    /// fall due are dropped. Only paced runs queue.
    pub queue: u64,
    /// How connections are used.
    pub policy: Policy,
    /// Who decides, answer by answer, what is sent: then what the source gives is no request
    /// but the leave to send one, or on a schedule the arrival of a user.
    pub scripts: Option<Arc<dyn Scripts>>,
    /// Who judges answers.
    pub judge: Option<Arc<dyn Judge>>,
    /// What only the `reqwest` engine does.
    pub http: Http,
    /// How much of a response's body is kept for those who want to see it, bytes.
    pub body_bound: usize,
}

impl Plan {
    /// One pass of the recording at a target, in a closed loop of ten connections and one worker.
    pub fn to(address: SocketAddr) -> Plan {
        Plan {
            engine: engine::ENGINES[0].name(),
            way: address.into(),
            rendering: Rendering { authority: address.to_string(), ..Rendering::default() },
            schedule: Arc::new(Schedule::closed()),
            max_recorded_gap: None,
            repeat: false,
            duration: None,
            requests: None,
            connections: 10,
            threads: 1,
            close: false,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            queue: 1000,
            policy: Policy::default(),
            scripts: None,
            judge: None,
            http: Http::default(),
            body_bound: 0,
        }
    }
}

/// How long the feeder may take to end after the workers have, ns. It may be waiting for a
/// recording that comes through a pipe which nobody writes to.
const FEEDER_GRACE_NS: u64 = 500_000_000;

/// A run under way.
#[derive(Debug)]
pub struct Run {
    control: Arc<Control>,
    gate: Arc<Gate>,
    bells: Vec<Arc<Doorbell>>,
    schedule: Arc<Schedule>,
    clock: Clock,
    workers: Vec<JoinHandle<()>>,
    feeder: Option<JoinHandle<()>>,
    workers_ended: std::sync::OnceLock<At>,
    /// Whether the plan had a duration, and a number of requests.
    bounds: (bool, bool),
    is_scripted: bool,
}

/// What the owner of a run, its feeder and its workers share.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// No more requests are to be offered.
    stop: AtomicBool,
    /// The run's duration was up before its requests were.
    pub(crate) out_of_time: AtomicBool,
    /// Why the recording could not be read on.
    pub(crate) source_error: std::sync::OnceLock<String>,
}

impl Control {
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Run {
    /// Starts feeder and workers. Events go to `out` without ever blocking a worker: one
    /// whose channel is full merges into its next interval.
    ///
    /// # Errors
    /// When a thread or a worker's doorbell could not be made, or the plan names no engine.
    pub fn start(
        plan: Plan,
        source: Box<dyn RequestSource>,
        clock: &Clock,
        out: &SyncSender<Event>,
    ) -> std::io::Result<Run> {
        let engine: &'static dyn Engine =
            *engine::ENGINES.iter().find(|e| e.name() == plan.engine).ok_or_else(|| {
                std::io::Error::new(std::io::ErrorKind::InvalidInput, format!("there is no engine `{}`", plan.engine))
            })?;
        let plan = Arc::new(Plan {
            threads: plan.threads.max(1).min(plan.connections.max(1)),
            connections: plan.connections.max(1),
            ..plan
        });
        // Dropped by a failure below, it lets the workers made so far go.
        let mut run = Run {
            control: Arc::default(),
            gate: Arc::default(),
            bells: Vec::new(),
            schedule: plan.schedule.clone(),
            clock: clock.clone(),
            workers: Vec::new(),
            feeder: None,
            workers_ended: std::sync::OnceLock::new(),
            bounds: (plan.duration.is_some(), plan.requests.is_some()),
            is_scripted: plan.scripts.is_some(),
        };
        let mut supplies = Vec::new();
        for index in 0..plan.threads {
            let bell = Arc::new(Doorbell::new()?);
            run.bells.push(bell.clone());
            let (give, take) = supply::supply(bell.clone());
            supplies.push(give);
            let worker = Worker {
                index: index as u16,
                plan: plan.clone(),
                supply: take,
                bell,
                clock: clock.clone(),
                out: out.clone(),
                control: run.control.clone(),
                gate: run.gate.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("load-{index}"));
            run.workers.push(thread.spawn(move || engine.work(worker))?);
        }
        let workers = plan.threads;
        let feeding = feeder::Feeder::new(plan, source, supplies, run.control.clone(), clock.clone(), out.clone());
        let (gate, clock, schedule) = (run.gate.clone(), clock.clone(), run.schedule.clone());
        run.feeder = Some(std::thread::Builder::new().name("feeder".into()).spawn(move || {
            let _ended = GiveUp(&gate); // should it panic, the workers don't wait for it
            // All workers stand ready and the first requests are rendered: time starts.
            feeding.work(|| {
                if let Some(start) = gate.open(workers, &clock) {
                    schedule.begin(start);
                }
            });
        })?);
        Ok(run)
    }

    /// When requests fall due.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Changes what is offered from now on.
    pub fn change(&self, change: Change) {
        self.schedule.change(self.clock.now(), change);
        self.bells.iter().for_each(|b| b.ring());
    }

    /// Ends the run: no new requests; what is under way is waited for, for a while.
    pub fn stop(&self) {
        self.control.stop.store(true, Ordering::Relaxed);
        self.gate.give_up();
        self.bells.iter().for_each(|b| b.ring());
    }

    /// Whether the run is over: all workers have ended, so every interval was handed over,
    /// and so has the feeder, unless it still waits for a recording that nobody needs.
    pub fn is_finished(&self) -> bool {
        if !self.workers.iter().all(JoinHandle::is_finished) {
            return false;
        }
        let since = *self.workers_ended.get_or_init(|| self.clock.now());
        self.feeder.as_ref().is_none_or(JoinHandle::is_finished) || self.clock.now().since_ns(since) > FEEDER_GRACE_NS
    }

    /// Why a run that was not stopped ended.
    pub fn why_ended(&self) -> &'static str {
        match (self.bounds, self.control.out_of_time.load(Ordering::Relaxed)) {
            ((true, _), true) => "duration reached",
            ((_, true), _) => "all requests offered",
            _ if self.is_scripted => "all users have ended",
            _ => "recording ended",
        }
    }

    /// Why the recording could not be read to its end, if so.
    pub fn source_error(&self) -> Option<&str> {
        self.control.source_error.get().map(String::as_str)
    }

    /// Waits until the run is over, see [`Run::is_finished`].
    pub fn join(mut self) {
        for t in self.workers.drain(..) {
            // A worker that panicked has printed why; the others' numbers stand.
            let _ = t.join();
        }
        while !self.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Gives the start of a run up when dropped.
struct GiveUp<'a>(&'a Gate);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The `index`-th worker's share of `all`.
pub(crate) fn share(all: u32, workers: u32, index: u32) -> u32 {
    all / workers + u32::from(index < all % workers)
}

#[cfg(test)]
mod tests {
    #[test]
    fn connections_are_shared_out_evenly() {
        for (all, workers) in [(50, 4), (3, 3), (7, 2)] {
            let shares: Vec<u32> = (0..workers).map(|i| super::share(all, workers, i)).collect();
            assert_eq!(shares.iter().sum::<u32>(), all);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
