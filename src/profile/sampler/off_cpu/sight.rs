//! What is seen of the threads of the target's processes: their switches by the kernel's events, or
//! /proc by looks where those are not permitted.
//!
//! Must not: keep waits, or send them.

use super::threads::{self, Times};
use super::waits::{Kind, Place, Step, Wait, Waits, Who};
use super::{classes, waits};
use crate::clock::Clock;
use crate::model::At;
use crate::profile::sampler::chains::Chains;
use crate::profile::sampler::events::{Events, MOST_SWITCHES, Opening, What};
use crate::profile::sampler::processes::{Processes, Site};
use crate::profile::sampler::record::Record;
use crate::profile::sampler::symbols::Symbols;
use crate::profile::sampler::{Held, MARGIN_NS, USUAL_DEPTH};
use crate::profile::{Obstacle, Plan, Scope, Surroundings, Want, inspect_built_in};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Samples of switches per second and CPU.
pub(super) const HZ: u32 = 1000;
/// Between two looks at /proc.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// Over how long the number of switches is taken for its rate.
const RATE_NS: u64 = 200_000_000;
/// A wait that has lasted so long goes on most likely while /proc is asked where it is.
const LASTING_NS: u64 = 10_000_000;
/// Turns below half the bound until switches are recorded again.
const CALM: u32 = 3;

/// How it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Way {
    /// Every switch is recorded, and a sample of them has stacks.
    Recorded,
    /// A sample of switches has stacks; there are too many to record each.
    Sampled,
    /// /proc is looked at.
    Looked,
}

#[derive(Clone, Copy, Debug)]
struct Switch {
    at: u64,
    cpu: u32,
    pid: u32,
    tid: u32,
    out: bool,
    preempt: bool,
}

/// See the top of the file. Bound to its thread.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) way: Way,
    /// Why /proc must do.
    pub(super) why: Option<Obstacle>,
    around: Surroundings,
    plan: Option<Plan>,
    /// Whose switches the events are of.
    scope: Option<Scope>,
    events: Option<Events>,
    pub(super) processes: Processes,
    chains: Chains,
    pub(super) symbols: Symbols,
    held: Vec<Held>,
    switches: Vec<Switch>,
    pub(super) waits: Waits,
    pids: HashSet<u32>,
    /// The threads as of this turn.
    threads: Vec<(u32, u32)>,
    origin: u64,
    pub(super) lost: u64,
    /// Switches since then: of all that are recorded, else of the target's threads.
    counted: (u64, u64),
    calm: u32,
    looked_ns: u64,
}

impl Sight {
    /// Begins to look at these processes, with what is permitted.
    pub(super) fn open(around: &Surroundings, pids: &[u32], least: u64, clock: &Clock) -> Sight {
        // First the names: reading them takes long.
        let symbols = Symbols::new(&around.root);
        let (origin, now) = (clock.origin_monotonic_ns(), clock.now());
        let depth = std::fs::read_to_string(around.root.join("proc/sys/kernel/perf_event_max_stack"));
        let depth = depth.ok().and_then(|d| d.trim().parse().ok()).unwrap_or(USUAL_DEPTH);
        let mut sight = Sight {
            way: Way::Looked,
            why: None,
            around: around.clone(),
            plan: None,
            scope: None,
            events: None,
            processes: Processes::new(&around.root),
            chains: Chains::new(depth),
            symbols,
            held: Vec::new(),
            switches: Vec::new(),
            waits: Waits::new(least, origin, origin + now.0),
            pids: pids.iter().copied().collect(),
            threads: Vec::new(),
            origin,
            lost: 0,
            counted: (0, origin + now.0),
            calm: 0,
            looked_ns: origin + now.0,
        };
        sight.choose();
        sight.record(sight.way, now);
        sight
    }

    /// What is permitted.
    fn choose(&mut self) {
        let pids: Vec<u32> = self.pids.iter().copied().collect();
        let plan = inspect_built_in(&self.around).plan(&self.around, &pids, Want::Widest);
        match plan {
            Ok(plan) if matches!(plan.scope, Scope::Processes { user_only: true, .. }) => {
                let what = "the stacks of waiting threads are the kernel's, which may not be sampled (kernel.perf_event_paranoid, CAP_PERFMON)";
                self.why = Some(Obstacle::new(what, Some("sudo sysctl -w kernel.perf_event_paranoid=1".into())));
                self.way = Way::Looked;
            }
            Ok(plan) => (self.plan, self.why, self.way) = (Some(plan), None, Way::Recorded),
            Err(obstacle) => (self.why, self.way) = (Some(obstacle), Way::Looked),
        }
    }

    /// Opens what this way needs, or goes over to the next that needs less.
    fn record(&mut self, way: Way, now: At) {
        self.waits.forget();
        (self.events, self.scope, self.way) = (None, None, way);
        if let (Some(plan), true) = (&self.plan, way != Way::Looked) {
            let what = What::Switches { records: way == Way::Recorded };
            let (root, ring_limit_kb) = (&self.around.root, plan.ring_limit_kb);
            let open = |scope: &Scope| Events::open(&Opening { root, what, hz: HZ, scope, ring_limit_kb });
            // Thread by thread while they are few: each has its own rate of samples then, and who switches
            // seldom is sampled every time, whatever else a CPU does.
            let single = Scope::Processes { pids: self.pids.iter().copied().collect(), user_only: false };
            // Where they switch all the time anyhow, taking turns with events of their own is what costs.
            let scopes = match (&plan.scope, way) {
                (Scope::AllCpus, Way::Sampled) => vec![Scope::AllCpus],
                (Scope::AllCpus, _) => vec![single, Scope::AllCpus],
                _ => vec![single],
            };
            let mut opened = Err(Obstacle::new("nothing to watch", None));
            for scope in scopes {
                opened = open(&scope).map(|events| (events, scope.clone()));
                if opened.is_ok() {
                    break;
                }
            }
            match opened {
                Ok((events, scope)) => (self.events, self.scope) = (Some(events), Some(scope)),
                Err(obstacle) => (self.why, self.way) = (Some(obstacle), Way::Looked),
            }
        }
        self.counted = (0, self.origin + now.0);
        self.calm = 0;
        self.find(now, true);
    }

    /// The processes are others now.
    pub(super) fn set_pids(&mut self, pids: &[u32], now: At) {
        self.pids = pids.iter().copied().collect();
        self.waits.keep_only(&self.pids);
        if self.scope == Some(Scope::AllCpus) && self.way != Way::Looked {
            return self.find(now, false);
        }
        self.choose();
        self.record(self.way, now);
    }

    /// Whose waits these are, as shown.
    pub(super) fn shown(&self) -> String {
        let mut pids: Vec<u32> = self.pids.iter().copied().collect();
        pids.sort_unstable();
        if pids == [std::process::id()] {
            return "perfbench itself (the target is not on this machine)".into();
        }
        Scope::Processes { pids, user_only: false }.shown()
    }

    /// Looks up the threads; of new ones (`fresh`: of all) what they had so far, and where they wait.
    fn find(&mut self, now: At, fresh: bool) {
        let root = self.around.root.clone();
        self.threads = threads::of(&root, self.pids.iter().copied());
        let known: HashSet<u32> = self.waits.tids().map(|(_, tid)| tid).collect();
        for &(pid, tid) in self.threads.iter().filter(|(_, tid)| fresh || !known.contains(tid)) {
            let who = Who { at: self.origin + now.0, cpu: 0, pid, tid };
            if let Some(times) = threads::times(&root, (pid, tid)) {
                self.waits.begin(&who, times, || self.processes.comm(pid, tid));
            }
            if self.is_recorded() {
                let place = threads::waits_in(&root, (pid, tid));
                self.waits.find(&who, place, || self.processes.comm(pid, tid));
            }
        }
    }

    /// Whether the events record every switch.
    fn is_recorded(&self) -> bool {
        matches!(self.events.as_ref().map(|e| e.what), Some(What::Switches { records: true }))
    }

    /// How often to drain.
    pub(super) fn interval(&self) -> Duration {
        self.events.as_ref().map_or(LOOK, Events::interval)
    }

    /// Takes what the kernel has recorded before `now`, or looks.
    pub(super) fn step(&mut self, now: At) {
        if self.way == Way::Looked {
            if self.origin + now.0 >= self.looked_ns + LOOK.as_nanos() as u64 * 9 / 10 {
                self.look(now);
            }
            return;
        }
        self.take();
        let until = (self.origin + now.0).saturating_sub(MARGIN_NS);
        self.apply(until);
        self.place_lasting(until);
        let (counted, since) = self.counted;
        let (passed, cpus) = ((self.origin + now.0).saturating_sub(since), self.cpus());
        if self.way == Way::Recorded && passed >= RATE_NS {
            self.counted = (0, self.origin + now.0);
            if counted as f64 * 1e9 / passed as f64 > (MOST_SWITCHES * cpus) as f64 {
                self.way = Way::Sampled;
            }
        }
    }

    /// Waits that last and were not sampled are where /proc says.
    fn place_lasting(&mut self, until: u64) {
        if self.is_recorded() {
            for thread in self.waits.without_place(until.saturating_sub(LASTING_NS)) {
                if let Some(function) = threads::waits_in(&self.around.root, thread) {
                    self.waits.place(thread.1, function);
                }
            }
        }
    }

    fn cpus(&self) -> u64 {
        self.events.as_ref().map_or(1, |e| e.cpus.len().max(1) as u64)
    }

    fn take(&mut self) {
        let Some(events) = &mut self.events else { return };
        let (held, switches, pids) = (&mut self.held, &mut self.switches, &mut self.pids);
        let (lost, counted) = (&mut self.lost, &mut self.counted.0);
        let recorded = matches!(events.what, What::Switches { records: true });
        // Samples and records of one switch are the same switch.
        events.drain(|raw| match raw.record() {
            Some(Record::Switch { out, preempt, pid, tid, time_ns: at, cpu }) => {
                *counted += u64::from(out);
                if pids.contains(&pid) {
                    switches.push(Switch { at, cpu, pid, tid, out, preempt });
                }
            }
            Some(Record::Lost { lost: n }) => *lost = lost.saturating_add(n),
            None | Some(Record::Other) => {}
            Some(record) => {
                match &record {
                    Record::Sample(sample) => {
                        if !pids.contains(&sample.pid) {
                            return;
                        }
                        *counted += if recorded { 0 } else { sample.period };
                    }
                    Record::Fork { pid, ppid, .. } if pids.contains(ppid) => drop(pids.insert(*pid)),
                    _ => {}
                }
                held.push(Held { time_ns: record.time_ns(), kind: raw.kind, misc: raw.misc, body: raw.body.into() });
            }
        });
    }

    /// Applies what was recorded before `until`, in order of time.
    fn apply(&mut self, until: u64) {
        self.held.sort_by_key(|h| h.time_ns);
        self.switches.sort_by_key(|s| s.at);
        let due = self.held.partition_point(|h| h.time_ns < until);
        let due_switches = self.switches.partition_point(|s| s.at < until);
        self.processes.look_ahead(self.held.iter().filter_map(Held::record));
        self.symbols.next_turn();
        let held: Vec<Held> = self.held.drain(..due).collect();
        let switches: Vec<Switch> = self.switches.drain(..due_switches).collect();
        let mut next = switches.iter().peekable();
        for held in &held {
            // A sample stands before the record of its switch.
            while let Some(switch) = next.next_if(|s| s.at < held.time_ns) {
                self.switch(switch);
            }
            self.apply_one(held);
        }
        next.for_each(|switch| self.switch(switch));
    }

    fn switch(&mut self, &Switch { at, cpu, pid, tid, out, preempt }: &Switch) {
        let step = if out { Step::Out { preempted: preempt } } else { Step::In };
        self.waits.step(&Who { at, cpu, pid, tid }, step, || self.processes.comm(pid, tid));
    }

    fn apply_one(&mut self, held: &Held) {
        let Some(record) = held.record() else { return };
        self.processes.apply(&record);
        match record {
            Record::Sample(s) => {
                let chain = self.chains.resolve(&s, &mut self.processes);
                let who = Who { at: s.time_ns, cpu: s.cpu, pid: s.pid, tid: s.tid };
                let comm = self.processes.comm(s.pid, s.tid);
                let (place, period) = (Place::Stack(chain.clone()), s.period);
                if self.is_recorded() {
                    self.waits.step(&who, Step::Sampled { place, period }, || comm);
                } else {
                    let kind = if self.yields(&chain) { Kind::Runnable } else { Kind::Blocked };
                    self.waits.look(&who, kind, place, period, || comm);
                }
            }
            Record::Comm { pid, tid, .. } => self.waits.name(tid, &self.processes.comm(pid, tid)),
            Record::Exit { pid, tid, time_ns: at } if self.pids.contains(&pid) => {
                self.waits.step(&Who { at, cpu: 0, pid, tid }, Step::Ended, || "[exited]".into());
            }
            _ => {}
        }
    }

    /// Whether a thread at this place goes on as soon as it may.
    fn yields(&mut self, chain: &[Site]) -> bool {
        let mut kernel = chain.iter().take_while(|s| matches!(s, Site::Kernel(_)));
        kernel.any(|&site| classes::yields(&self.symbols.frame(site, &self.processes).symbol))
    }

    /// One look at every thread.
    fn look(&mut self, now: At) {
        self.looked_ns = self.origin + now.0;
        for &(pid, tid) in &self.threads {
            if let Some(function) = threads::waits_in(&self.around.root, (pid, tid)) {
                let who = Who { at: self.looked_ns, cpu: 0, pid, tid };
                self.waits.look(&who, Kind::Blocked, Place::Function(function), 1, || self.processes.comm(pid, tid));
            }
        }
    }

    /// Ends a turn: all time up to now, but for what is on its way still.
    pub(super) fn close(&mut self, now: At) -> Vec<Wait> {
        let to = (self.origin + now.0).saturating_sub(MARGIN_NS);
        let root = self.around.root.clone();
        self.find(now, false);
        let mut times: HashMap<u32, Times> = HashMap::new();
        let mut all: Vec<(u32, u32)> = self.waits.tids().chain(self.threads.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        for &thread in all.iter().take(threads::MOST) {
            match threads::times(&root, thread) {
                Some(t) => drop(times.insert(thread.1, t)),
                None if !root.join(format!("proc/{}/task/{}", thread.0, thread.1)).exists() => {
                    self.waits.gone(thread.1)
                }
                None => {}
            }
        }
        let recorded = self.is_recorded();
        let waits = if recorded {
            self.waits.close(to, &times)
        } else {
            // Who was not seen waits for long: there was no switch to sample.
            let seen = self.waits.seen();
            for &(pid, tid) in self.threads.iter().filter(|(_, tid)| !seen.contains(tid)) {
                if let Some(function) = threads::waits_in(&root, (pid, tid)) {
                    let who = Who { at: to.saturating_sub(1), cpu: 0, pid, tid };
                    let place = Place::Function(function);
                    self.waits.look(&who, Kind::Blocked, place, 1, || self.processes.comm(pid, tid));
                }
            }
            let each = (self.way == Way::Looked).then_some(LOOK.as_nanos() as u64);
            self.waits.close_by_count(to, &times, each)
        };
        self.change_way(now, recorded);
        waits
    }

    /// Goes over to what the number of switches allows.
    fn change_way(&mut self, now: At, recorded: bool) {
        if recorded && self.way == Way::Sampled {
            self.record(Way::Sampled, now);
        } else if self.way == Way::Sampled {
            let (counted, since) = self.counted;
            let passed = (self.origin + now.0).saturating_sub(since).max(1);
            let calm = (counted as f64 * 1e9 / passed as f64) < (MOST_SWITCHES * self.cpus() / 2) as f64;
            self.calm = if calm { self.calm + 1 } else { 0 };
            self.counted = (0, self.origin + now.0);
            if self.calm >= CALM {
                self.record(Way::Recorded, now);
            }
        }
    }

    /// Whether records are to be given up at once.
    pub(super) fn is_flooded(&self) -> bool {
        self.way == Way::Sampled && self.is_recorded()
    }
}

/// The name of an event of such waits.
pub(super) fn event(kind: waits::Kind, way: Way) -> Arc<str> {
    match (kind, way) {
        (Kind::Runnable, _) => "off-cpu:runnable",
        (Kind::Blocked, Way::Looked) => "off-cpu:wchan",
        (Kind::Blocked, _) => "off-cpu:blocked",
    }
    .into()
}
