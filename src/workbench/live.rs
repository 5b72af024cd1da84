//! The feed of a run under way: load, host and captures of this process, on one clock.
//!
//! Must not: know where requests come from or how events are shown.

use super::{Command, Control, Feed, FeedState, Order, Workbench};
use crate::clock::Clock;
use crate::host::Watch;
use crate::load::{Change, Run};
use crate::model::{At, CaptureId, Closing, Event, Fault, Mark, MarkKind};
use crate::profile::served::{Fetch, Server};
use crate::profile::{
    self, CallGraph, Capture, CaptureRequest, OffCpu, OffCpuRequest, Recorder, RecorderRequest, Source,
};
use crate::timeline::steer::{GOING_ON, PAUSED, Target};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Events that may wait for the workbench before producers merge or drop.
const WAITING: usize = 1024;
/// How often the end of the flight recorder is looked for.
const ENDING: Duration = Duration::from_millis(5);
/// Events ingested before keys are looked at again.
const BATCH: usize = 256;

/// What a live feed is made of.
#[derive(Debug)]
pub struct LiveParts {
    /// The session's clock.
    pub clock: Clock,
    /// The load.
    pub run: Run,
    /// The watch over the host.
    pub watch: Watch,
    /// What is profiled.
    pub profiling: Profiling,
    /// What steers the load.
    pub control: Control,
}

/// What is profiled.
#[derive(Clone, Debug)]
pub struct Profiling {
    /// Captures to take by themselves: when, and how long.
    pub captures: Vec<(At, Duration)>,
    /// Samples per second and CPU of captures. `None`: as many as are cheap where the flight recorder serves
    /// them, else [`CaptureRequest`]'s.
    pub capture_hz: Option<u32>,
    /// How long a capture by a condition is, before it and after it.
    pub length: Duration,
    /// Samples per second and CPU of the flight recorder; `None` for none.
    pub recorder_hz: Option<u32>,
    /// Which source captures are taken from.
    pub source: Source,
    /// How callers are found.
    pub call_graph: CallGraph,
    /// Who serves profiles of its own, to be fetched with every capture.
    pub served: Option<Server>,
    /// Whether the target's waits are captured too, and the shortest of them that has a stack.
    pub off_cpu: Option<Duration>,
}

impl Default for Profiling {
    fn default() -> Profiling {
        Profiling {
            captures: Vec::new(),
            capture_hz: None,
            length: Duration::from_secs(5),
            recorder_hz: None,
            source: Source::Auto,
            call_graph: CallGraph::FramePointers,
            served: None,
            off_cpu: None,
        }
    }
}

/// How often the target's processes are looked up again for who samples all the time, ns.
const PIDS_NS: u64 = 1_000_000_000;

/// See the top of the file.
#[derive(Debug)]
pub struct Live {
    clock: Clock,
    events: Receiver<Event>,
    sender: SyncSender<Event>,
    run: Option<Run>,
    watch: Option<Watch>,
    captures: Vec<Capture>,
    recorder: Option<Recorder>,
    off_cpu: Option<OffCpu>,
    /// The target's processes as those who sample all the time know them, and when they were looked up.
    recorded_pids: (Vec<u32>, At),
    fetches: Vec<Fetch>,
    scheduled: Vec<(At, Duration)>,
    profiling: Profiling,
    captures_started: u32,
    control: Control,
    stopped: bool,
    /// Why the control has ended the run.
    ended_by: Option<String>,
    ended: bool,
}

impl Live {
    /// The channel that the parts of a run send their events to.
    pub fn channel() -> (SyncSender<Event>, Receiver<Event>) {
        sync_channel(WAITING)
    }

    /// A feed over running parts, whose events come through `channel`.
    pub fn new(parts: LiveParts, channel: (SyncSender<Event>, Receiver<Event>)) -> Live {
        let mut scheduled = parts.profiling.captures.clone();
        scheduled.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let pids = parts.watch.target_pids();
        let recorder = parts.profiling.recorder_hz.map(|hz| {
            let ordinary = RecorderRequest::new(pids.clone());
            let keep = ordinary.keep.max(parts.profiling.length);
            let request = RecorderRequest { hz, dense_hz: parts.profiling.capture_hz, keep, ..ordinary };
            profile::record(request, parts.clock.clone(), channel.0.clone())
        });
        let off_cpu = parts.profiling.off_cpu.map(|least| {
            let ordinary = OffCpuRequest::new(pids.clone());
            let keep = ordinary.keep.max(parts.profiling.length);
            let request = OffCpuRequest { least, keep, throughout: recorder.is_some(), ..ordinary };
            profile::watch_off_cpu(request, parts.clock.clone(), channel.0.clone())
        });
        Live {
            recorder,
            off_cpu,
            recorded_pids: (pids, parts.clock.now()),
            clock: parts.clock,
            sender: channel.0,
            events: channel.1,
            run: Some(parts.run),
            watch: Some(parts.watch),
            captures: Vec::new(),
            fetches: Vec::new(),
            scheduled,
            profiling: parts.profiling,
            captures_started: 0,
            control: parts.control,
            stopped: false,
            ended_by: None,
            ended: false,
        }
    }

    /// Takes a capture of the time `before` now, as far as the flight recorder has kept it, and of
    /// `length` from now on.
    fn capture(&mut self, before: Duration, length: Duration) -> Result<(), String> {
        // Two at once would count the same time twice.
        if self.is_capturing() {
            return Err("a capture is under way; wait for it to end".into());
        }
        self.captures_started += 1;
        let id = CaptureId(self.captures_started);
        let fetch = self.profiling.served.as_ref();
        let fetch = fetch.map(|server| server.fetch(id, length, self.clock.clone(), self.sender.clone()));
        self.fetches.extend(fetch);
        let Profiling { capture_hz, source, call_graph, .. } = self.profiling;
        let can_serve = source != Source::Perf && call_graph == CallGraph::FramePointers;
        if let Some(recorder) = self.recorder.as_ref().filter(|r| can_serve && r.is_sampling()) {
            recorder.capture(id, before, length);
            self.off_cpu.iter().for_each(|o| o.capture(id, before, length));
            return Ok(());
        }
        self.off_cpu.iter().for_each(|o| o.capture(id, Duration::ZERO, length));
        let pids = self.watch.as_ref().map(Watch::target_pids).unwrap_or_default();
        let ordinary = CaptureRequest::new(id, length, pids);
        let request = CaptureRequest { hz: capture_hz.unwrap_or(ordinary.hz), source, call_graph, ..ordinary };
        self.captures.push(profile::start(request, self.clock.clone(), self.sender.clone()));
        Ok(())
    }

    fn is_capturing(&mut self) -> bool {
        self.captures.retain(|c| !c.is_finished());
        self.fetches.retain(|f| !f.is_finished());
        !self.captures.is_empty()
            || !self.fetches.is_empty()
            || self.recorder.as_ref().is_some_and(Recorder::has_capture_under_way)
            || self.off_cpu.as_ref().is_some_and(OffCpu::has_capture_under_way)
    }

    /// Tells who samples all the time which processes are the target's now.
    fn follow_pids(&mut self) {
        let Some(watch) = self.watch.as_ref().filter(|_| self.recorder.is_some() || self.off_cpu.is_some()) else {
            return;
        };
        let now = self.clock.now();
        if now.since_ns(self.recorded_pids.1) < PIDS_NS {
            return;
        }
        let pids = watch.target_pids();
        if pids != self.recorded_pids.0 {
            self.recorder.iter().for_each(|r| r.set_pids(pids.clone()));
            self.off_cpu.iter().for_each(|o| o.set_pids(pids.clone()));
        }
        self.recorded_pids = (pids, now);
    }

    fn start_scheduled(&mut self) {
        while self.scheduled.last().is_some_and(|(at, _)| *at <= self.clock.now()) {
            let Some((at, length)) = self.scheduled.pop() else { return };
            if let Err(what) = self.capture(Duration::ZERO, length) {
                let fault = Fault { at, place: "profile".into(), what, mend: None };
                let _ = self.sender.try_send(Event::Fault(fault));
            }
        }
    }

    /// Lets the control look at what has come, and does what it says.
    fn steer(&mut self, into: &mut Workbench) {
        let Some(run) = self.run.as_ref().filter(|_| !self.stopped && self.ended_by.is_none()) else { return };
        let mut asked = Vec::new();
        for order in self.control.step(self.clock.now(), run.schedule().start(), into.timeline()) {
            match order {
                Order::Mark(mark) => into.ingest(Event::Mark(mark)),
                Order::Change(change) => run.change(change),
                Order::Capture(mark) => asked.push(mark),
                Order::Stop(why) => {
                    self.ended_by = Some(why);
                    run.stop();
                }
            }
        }
        for mark in asked {
            // One that is under way serves as well.
            if self.capture(self.profiling.length, self.profiling.length).is_ok() {
                self.control.captures_left = self.control.captures_left.saturating_sub(1);
                into.ingest(Event::Mark(mark));
            }
        }
    }

    /// A mark at the present instant.
    fn mark(&self, kind: MarkKind, label: String) -> Result<(), String> {
        let mark = Event::Mark(Mark { at: self.clock.now(), kind, label });
        self.sender.try_send(mark).map_err(|_| "too busy to set a mark; try again".to_owned())
    }

    /// Changes the rate or speed.
    fn change_rate(&self, factor: f64) -> Result<(), String> {
        let Some(run) = &self.run else { return Err("the run has ended".into()) };
        let schedule = run.schedule();
        if self.control.is_searching() {
            return Err("the search for the highest rate sets the rate".into());
        }
        if !schedule.is_open() {
            return Err("a closed loop has no rate: give --rate, --speed or --load".into());
        }
        run.change(Change::Times(factor));
        let label = match schedule.steady() {
            Some(rate) if schedule.is_rate() => Target::Rate(rate),
            Some(speed) => Target::Speed(speed),
            None => Target::Scaled(schedule.factor()),
        };
        self.mark(MarkKind::Rate, label.label())
    }

    /// Pauses the load, or lets it go on.
    fn pause_or_go_on(&self) -> Result<(), String> {
        let Some(run) = &self.run else { return Err("the run has ended".into()) };
        if self.control.is_searching() {
            return Err("the search for the highest rate can't be paused".into());
        }
        let (change, label) = match run.schedule().is_paused() {
            true => (Change::Resume, GOING_ON),
            false => (Change::Pause, PAUSED),
        };
        run.change(change);
        self.mark(MarkKind::Pause, label.into())
    }

    /// Whether everything that could send has ended.
    fn is_over(&mut self) -> bool {
        !self.is_capturing() && self.run.as_ref().is_none_or(Run::is_finished)
    }

    /// Ends the watch, ingests what is left and closes the session.
    fn close(&mut self, into: &mut Workbench) {
        // What it has gathered comes before the end; somebody must take it meanwhile.
        let sampling = (self.recorder.take(), self.off_cpu.take());
        if sampling.0.is_some() || sampling.1.is_some() {
            std::thread::scope(|scope| {
                let ending = scope.spawn(|| drop(sampling));
                while !ending.is_finished() {
                    if let Ok(event) = self.events.recv_timeout(ENDING) {
                        into.ingest(event);
                    }
                }
            });
        }
        if let Some(watch) = self.watch.take() {
            watch.stop();
        }
        self.events.try_iter().for_each(|e| into.ingest(e));
        let at = self.clock.now();
        let mut why = "interrupted".to_owned();
        if let Some(run) = self.run.take() {
            if let Some(ended_by) = self.ended_by.take() {
                why = ended_by;
            } else if !self.stopped {
                why = run.why_ended().to_owned();
            }
            if let Some(error) = run.source_error() {
                let what = format!("the recording could not be read on: {error}");
                into.ingest(Event::Fault(Fault { at, place: "traffic".into(), what, mend: None }));
                why = "the recording could not be read on".into();
            }
            run.join();
        }
        for (due, _) in std::mem::take(&mut self.scheduled) {
            let what = format!("the capture at {} s was not taken: the run ended before", due.secs());
            into.ingest(Event::Fault(Fault { at, place: "profile".into(), what, mend: None }));
        }
        into.ingest(Event::Closing(Closing { at, why }));
        self.ended = true;
    }
}

impl Feed for Live {
    fn feed(&mut self, into: &mut Workbench, wait: Duration) -> FeedState {
        if self.ended {
            std::thread::sleep(wait);
            return FeedState::Ended;
        }
        self.start_scheduled();
        self.follow_pids();
        if let Ok(event) = self.events.recv_timeout(wait) {
            into.ingest(event);
            self.events.try_iter().take(BATCH).for_each(|e| into.ingest(e));
        }
        self.steer(into);
        // Asked every time: a busy watch leaves no pause to notice the end in.
        if self.is_over() {
            self.close(into);
            return FeedState::Ended;
        }
        FeedState::Live
    }

    fn command(&mut self, command: Command) -> Result<(), String> {
        if self.ended {
            return Err("the run has ended".into());
        }
        match command {
            Command::Capture { length } => self.capture(length, length),
            Command::Mark(label) => self.mark(MarkKind::User, label),
            Command::Rate { factor } => self.change_rate(factor),
            Command::Pause => self.pause_or_go_on(),
            Command::Stop => {
                self.stopped = true;
                self.scheduled.clear();
                self.captures.iter().for_each(Capture::stop);
                self.recorder.iter().for_each(Recorder::stop_capture);
                self.fetches.iter().for_each(Fetch::stop);
                self.off_cpu.iter().for_each(OffCpu::stop_capture);
                if let Some(run) = &self.run {
                    run.stop();
                }
                Ok(())
            }
        }
    }

    fn now(&self) -> At {
        self.clock.now()
    }

    fn is_playback(&self) -> bool {
        false
    }
}
