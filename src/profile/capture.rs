//! A running capture: its thread, and the handle by which it is ended.
//!
//! Must not: know how stacks are taken; that is a [`Profiler`](super::Profiler)'s.

use super::{Done, Obstacle, PROFILERS, Scope, Surroundings, Want};
use crate::clock::Clock;
use crate::model::{At, CaptureId, CaptureNews, CaptureState, Event, Fault, Span};
use rustix::process::{Pid, Signal, kill_process_group};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Which source of stacks is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The built-in sampler, or perf where that can do more: when the sampler is refused, or for
    /// call graphs by DWARF.
    #[default]
    Auto,
    /// The program `perf`.
    Perf,
    /// The built-in sampler.
    BuiltIn,
}

impl Source {
    /// Its name as shown, and as `--profiler` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Source::Auto => "auto",
            Source::Perf => "perf",
            Source::BuiltIn => "builtin",
        }
    }
}

/// How the callers of a function are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallGraph {
    /// By frame pointers: cheap; code built without them cuts stacks short.
    #[default]
    FramePointers,
    /// By DWARF tables from a copy of the stack: kilobytes per sample, with perf only.
    Dwarf,
}

/// How often a waiting capture looks around.
pub(super) const GLANCE: Duration = Duration::from_millis(10);

/// What is to be captured.
#[derive(Clone, Debug)]
pub struct CaptureRequest {
    /// Its number in the session.
    pub id: CaptureId,
    /// How long to sample.
    pub length: Duration,
    /// Samples per second and CPU; 99 is the custom, out of step with what runs every 10 ms.
    pub hz: u32,
    /// The target's processes on this machine; perhaps none.
    pub pids: Vec<u32>,
    /// How much to sample.
    pub want: Want,
    /// With what.
    pub source: Source,
    /// How callers are found.
    pub call_graph: CallGraph,
    /// How long perf may take to end before it is told again, and then killed.
    pub grace: Duration,
    /// Where perf is looked for.
    pub around: Surroundings,
}

impl CaptureRequest {
    /// The ordinary request: 99 Hz, as much as is permitted.
    pub fn new(id: CaptureId, length: Duration, pids: Vec<u32>) -> CaptureRequest {
        let around = Surroundings::here();
        let (want, source, call_graph) = Default::default();
        CaptureRequest { id, length, hz: 99, pids, want, source, call_graph, grace: Duration::from_secs(10), around }
    }
}

/// A capture under way. Dropping it cancels it and waits for its thread, which takes
/// milliseconds.
#[derive(Debug)]
pub struct Capture {
    id: CaptureId,
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a capture on its own thread. Its life and its stacks come over `out`: `Sampling`,
/// `Reading`, stacks in one or more batches, `Done`; or `Failed` at any point, which is the
/// last then. When `out` is full the capture waits.
pub fn start(request: CaptureRequest, clock: Clock, out: SyncSender<Event>) -> Capture {
    let control = Arc::new(Control::default());
    let id = request.id;
    let stage = Stage { id, clock, out, control: control.clone() };
    let spare = stage.clone();
    let thread = std::thread::Builder::new().name("profile".into()).spawn(move || run(&request, &stage));
    let thread = thread
        .map_err(|e| {
            let news = CaptureState::Failed { what: format!("no thread for the capture: {e}"), mend: None };
            // Nobody else could send it, and this caller must not wait.
            let at = spare.clock.now();
            let _ = spare.out.try_send(Event::Capture(CaptureNews { at, id, state: news }));
        })
        .ok();
    Capture { id, control, thread }
}

impl Capture {
    /// Its number.
    pub fn id(&self) -> CaptureId {
        self.id
    }

    /// Ends sampling now and keeps what there is; without effect once reading has begun.
    pub fn stop(&self) {
        self.control.stop.store(true, Ordering::SeqCst);
        self.control.wake.notify_all();
    }

    /// Ends it at once and throws away what there is: perf is killed, `Failed` is the last
    /// news (unless the channel is full: a cancelled capture does not wait).
    pub fn cancel(&self) {
        self.control.cancel.store(true, Ordering::SeqCst);
        self.control.wake.notify_all();
        self.control.signal(Signal::KILL);
    }

    /// Whether its last event was sent.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for its end. Somebody must take the events meanwhile.
    pub fn wait(mut self) {
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was told there.
            let _ = thread.join();
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.cancel();
            self.join();
        }
    }
}

fn run(request: &CaptureRequest, stage: &Stage) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attempt(request, stage)));
    let outcome = outcome.unwrap_or_else(|_| {
        let what = "the capture broke off by a fault of perfbench itself".to_string();
        stage.emit(Event::Fault(Fault { at: stage.now(), place: "profile".into(), what: what.clone(), mend: None }));
        Err(Obstacle::new(what, None))
    });
    stage.news(match outcome {
        Ok(Done { span, samples, lost, notes }) => CaptureState::Done { span, samples, lost, notes },
        Err(_) if stage.cancelled() => CaptureState::Failed { what: "the capture was cancelled".into(), mend: None },
        Err(Obstacle { what, mend }) => CaptureState::Failed { what, mend },
    });
}

fn attempt(request: &CaptureRequest, stage: &Stage) -> Result<Done, Obstacle> {
    // Why the sources before were not used.
    let mut passed: Vec<(Source, Obstacle)> = Vec::new();
    for profiler in PROFILERS.iter().filter(|p| matches!(request.source, Source::Auto) || p.source() == request.source)
    {
        let outcome = profiler.check(request).and_then(|plan| profiler.run(plan, request, stage));
        match outcome {
            Ok(mut done) => {
                let because = passed.iter().map(|(source, obstacle)| format!("not by {}: {obstacle}", source.name()));
                done.notes.splice(0..0, because);
                return Ok(done);
            }
            // What ended it in the middle would be lost if another began again.
            Err(obstacle) if stage.began() || stage.cancelled() => return Err(obstacle),
            Err(obstacle) => passed.push((profiler.source(), obstacle)),
        }
    }
    // What is in the way of the source that was meant to be used.
    let first = passed.into_iter().next().map(|(_, obstacle)| obstacle);
    Err(first.unwrap_or_else(|| Obstacle::new("there is no profiler", None)))
}

/// Why there is nothing when a capture was thrown away.
pub(super) fn cancelled() -> Obstacle {
    Obstacle::new("the capture was cancelled", None)
}

/// Why there is not one sample. `ended_early`: the target was gone before the time was over.
pub(super) fn nothing_sampled(scope: &Scope, span: Span, lost: u64, ended_early: bool) -> Obstacle {
    let secs = span.secs();
    let target = scope.shown();
    if lost > 0 {
        let what = format!("no samples in {secs:.1} s: all {lost} were lost, the buffers are too small");
        return Obstacle::new(what, Some("sudo sysctl -w kernel.perf_event_mlock_kb=4096".into()));
    }
    let why = match scope {
        Scope::AllCpus => "all CPUs were idle".to_string(),
        Scope::Processes { .. } if ended_early => "it ended before it was sampled".into(),
        Scope::Processes { user_only: true, .. } => {
            "it used no CPU in user space: it waits, or works in the kernel only".into()
        }
        Scope::Processes { .. } => "it used no CPU: it waits for requests, a lock or a disk".into(),
    };
    Obstacle::new(format!("no samples of {target} in {secs:.1} s: {why}"), None)
}

/// What ends a capture from outside, and the process it runs meanwhile.
#[derive(Debug, Default)]
pub(super) struct Control {
    cancel: AtomicBool,
    stop: AtomicBool,
    /// Sampling has begun.
    began: AtomicBool,
    /// The process group of a running tool, as long as its leader was not waited for: until
    /// then the number belongs to nobody else.
    group: Mutex<Option<Pid>>,
    wake: Condvar,
}

impl Control {
    pub(super) fn group(&self) -> MutexGuard<'_, Option<Pid>> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signals the running tool and all it started.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(group) = *self.group() {
            // It may have ended on its own by now.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// What a profiler works with: the clock, the channel, and whether to go on.
#[derive(Clone, Debug)]
pub struct Stage {
    id: CaptureId,
    clock: Clock,
    out: SyncSender<Event>,
    pub(super) control: Arc<Control>,
}

impl Stage {
    /// A stage of its own for what is done besides a capture's own thread.
    pub(super) fn new(id: CaptureId, clock: Clock, out: SyncSender<Event>) -> Stage {
        Stage { id, clock, out, control: Arc::default() }
    }

    /// The capture's number.
    pub(super) fn id(&self) -> CaptureId {
        self.id
    }

    /// The session's clock.
    pub(super) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Ends sampling, and keeps what there is.
    pub(super) fn stop(&self) {
        self.control.stop.store(true, Ordering::SeqCst);
        self.control.wake.notify_all();
    }

    /// Throws away what there is.
    pub(super) fn cancel(&self) {
        self.control.cancel.store(true, Ordering::SeqCst);
        self.control.wake.notify_all();
    }

    /// The present instant.
    pub fn now(&self) -> At {
        self.clock.now()
    }

    /// CLOCK_MONOTONIC at the session's start, ns.
    pub fn origin_ns(&self) -> u64 {
        self.clock.origin_monotonic_ns()
    }

    /// Whether all is to be thrown away.
    pub fn cancelled(&self) -> bool {
        self.control.cancel.load(Ordering::SeqCst)
    }

    /// Whether sampling is to end now.
    pub fn stopped(&self) -> bool {
        self.cancelled() || self.control.stop.load(Ordering::SeqCst)
    }

    /// Waits a moment, less when it is stopped meanwhile.
    pub fn pause(&self, time: Duration) {
        let group = self.control.group();
        let waited = self.control.wake.wait_timeout(group, time);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether sampling has begun, as was told.
    pub fn began(&self) -> bool {
        self.control.began.load(Ordering::SeqCst)
    }

    /// Sends the capture's next state.
    pub fn news(&self, state: CaptureState) {
        if let CaptureState::Sampling { .. } = state {
            self.control.began.store(true, Ordering::SeqCst);
        }
        self.emit(Event::Capture(CaptureNews { at: self.now(), id: self.id, state }));
    }

    /// Sends an event. Waits while the channel is full, unless cancelled; when nobody listens
    /// any more the capture cancels itself.
    pub fn emit(&self, mut event: Event) {
        loop {
            match self.out.try_send(event) {
                Ok(()) => return,
                Err(TrySendError::Full(_)) if self.cancelled() => return,
                Err(TrySendError::Full(back)) => {
                    event = back;
                    self.pause(GLANCE);
                }
                Err(TrySendError::Disconnected(_)) => {
                    self.control.cancel.store(true, Ordering::SeqCst);
                    return;
                }
            }
        }
    }
}
