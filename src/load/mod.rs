//! Load: when requests are sent (schedule), how (engines), and what came of them (one
//! [`Interval`](crate::model::Interval) per worker per tick).
//!
//! A feeder thread turns requests into wire bytes ahead of time; workers, one thread and
//! one current-thread runtime each, only write those bytes, read responses and count.
//!
//! Must not: know a log format, or who reads its events.

mod arena;
pub mod engine;
mod feeder;
mod queue;
mod record;
mod schedule;
mod source;

pub use arena::Rendering;
pub use schedule::Pace;
pub use source::{RequestSource, SourceError};

use crate::clock::Clock;
use crate::model::{At, Event};
use engine::{Engine, Worker};
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
    /// Where connections go.
    pub address: SocketAddr,
    /// How requests become bytes.
    pub rendering: Rendering,
    /// When requests fall due.
    pub pace: Pace,
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
}

/// A run under way.
#[derive(Debug)]
pub struct Run {
    control: Arc<Control>,
    threads: Vec<JoinHandle<()>>,
}

/// What the owner of a run, its feeder and its workers share.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// No more requests are to be offered.
    stop: AtomicBool,
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
    /// When a thread or a worker's runtime could not be made, or the plan names no engine.
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
        let control = Arc::new(Control::default());
        let start = Arc::new(std::sync::OnceLock::new());
        let ready = Arc::new(std::sync::Barrier::new(plan.threads as usize + 1));
        let mut threads = Vec::new();
        let mut supplies = Vec::new();
        for index in 0..plan.threads {
            let (give, take) = tokio::sync::mpsc::channel(feeder::BATCHES_AHEAD);
            supplies.push(give);
            let worker = Worker {
                index: index as u16,
                plan: plan.clone(),
                supply: take,
                clock: clock.clone(),
                out: out.clone(),
                control: control.clone(),
                start: start.clone(),
            };
            let ready = ready.clone();
            threads.push(
                std::thread::Builder::new().name(format!("load-{index}")).spawn(move || engine.work(worker, &ready))?,
            );
        }
        let feeding = feeder::Feeder::new(plan.clone(), source, supplies, control.clone(), clock.clone(), out.clone());
        threads.push(std::thread::Builder::new().name("feeder".into()).spawn({
            let clock = clock.clone();
            move || {
                feeding.work(|| {
                    // All workers stand ready and the first requests are rendered: time starts.
                    ready.wait();
                    start.get_or_init(|| clock.now())
                })
            }
        })?);
        Ok(Run { control, threads })
    }

    /// Ends the run: no new requests; what is under way is waited for, for a while.
    pub fn stop(&self) {
        self.control.stop.store(true, Ordering::Relaxed);
    }

    /// Whether all threads have ended: every interval has been handed over.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Why the recording could not be read to its end, if so.
    pub fn source_error(&self) -> Option<&str> {
        self.control.source_error.get().map(String::as_str)
    }

    /// Waits until all threads have ended.
    pub fn join(mut self) {
        for t in self.threads.drain(..) {
            // A worker that panicked has printed why; the others' numbers stand.
            let _ = t.join();
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stop();
    }
}

/// When a worker's run began: the zero of the schedule.
pub(crate) type StartCell = Arc<std::sync::OnceLock<At>>;
