//! From switches to waits: how long each thread was off its CPU, why, and in which stack.
//!
//! Durations are exact where every switch is recorded; stacks are known of a sample of them. The
//! time of the waits without a stack goes to those of the same thread that lasted about as long, so
//! that a short wait never stands for a long one: to those of the same turn, else to the latest
//! before; where there never were any it is said to be not sampled.
//! Waits that go on are cut at the end of every turn, so that every part lies within one.
//!
//! Must not: read anything, or lose a nanosecond of what was counted.

use super::threads::Times;
use crate::model::At;
use crate::profile::sampler::chains::Chain;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Threads followed at the most.
const MOST: usize = 8192;
/// How far apart the lengths of two waits are at the most of which one stands for the other, in
/// powers of two.
const ALIKE: usize = 2;
/// Places remembered by length.
const HABITS: usize = 16;

/// Why a thread is not on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// It waits for something.
    Blocked,
    /// It could run, and others do.
    Runnable,
}

/// Where it waits, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// A call chain.
    Stack(Chain),
    /// The kernel's function; empty when that is not shown either.
    Function(Arc<str>),
    /// In the queue of a CPU, since it was woken.
    Queue,
    /// No sample was taken.
    NotSampled,
}

/// A part of a thread's time, within one turn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wait {
    pub(super) at: At,
    /// How long it may be cut, ns: weights of sampled waits are larger than their own length.
    pub(super) len_ns: u64,
    pub(super) cpu: u32,
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) comm: Arc<str>,
    pub(super) kind: Kind,
    pub(super) place: Place,
    /// The time it stands for, ns.
    pub(super) weight: u64,
}

/// What happened to a thread.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// It is about to leave its CPU, which was sampled and stands for so many.
    Sampled { place: Place, period: u64 },
    /// It left.
    Out { preempted: bool },
    /// It is back.
    In,
    /// It ended: it leaves once more, and for good.
    Ended,
}

/// Of which thread, when and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) at: u64,
    pub(super) cpu: u32,
    pub(super) pid: u32,
    pub(super) tid: u32,
}

#[derive(Clone, Debug)]
struct Out {
    /// When it left.
    left: u64,
    /// From when on it was not counted yet.
    since: u64,
    kind: Kind,
    cpu: u32,
    /// And how many switches it stands for; 0 for itself only.
    place: Option<(Place, u64)>,
}

#[derive(Clone, Debug)]
struct Part {
    at: u64,
    ns: u64,
    cpu: u32,
    kind: Kind,
    place: Place,
    period: u64,
    /// Of its length, in powers of two.
    class: usize,
}

#[derive(Clone, Debug)]
struct Thread {
    pid: u32,
    comm: Arc<str>,
    out: Option<Out>,
    sampled: Option<(Place, u64)>,
    /// Since when it runs, or could: which of both its next step tells.
    ready: Option<u64>,
    ended: bool,
    /// Exact time of this turn by kind and length.
    exact: [[u64; 64]; 2],
    parts: Vec<Part>,
    /// Where the latest waits of a length were that were sampled, and their shares.
    habits: HashMap<(Kind, usize), Vec<(Place, u64)>>,
    /// Time it could have run while others did, as its switches tell, since it is followed; and what
    /// the kernel's own count said when that began.
    preempted: u64,
    queued_at_first: Option<u64>,
    /// Of the kernel's count, what was told as waiting after being woken.
    told: u64,
    before: Option<Times>,
}

/// A stretch whose time is given to places.
struct Turn {
    from: u64,
    to: u64,
    origin: u64,
    /// Of the blocked time, what was spent in a queue.
    woken: u64,
    /// Where time without a sample goes, by kind.
    rest: [Place; 2],
}

/// Where it goes when every switch is recorded.
const REST: [Place; 2] = [Place::NotSampled, Place::NotSampled];

impl Thread {
    fn new(pid: u32, comm: Arc<str>) -> Thread {
        Thread {
            pid,
            comm,
            out: None,
            sampled: None,
            ready: None,
            ended: false,
            exact: [[0; 64]; 2],
            parts: Vec::new(),
            habits: HashMap::new(),
            preempted: 0,
            queued_at_first: None,
            told: 0,
            before: None,
        }
    }

    /// It could run before, and did not.
    fn was_queued(&mut self, cpu: u32) {
        if let (Some(left), None) = (self.ready.take(), &self.out) {
            self.out = Some(Out { left, since: left, kind: Kind::Runnable, cpu, place: None });
        }
    }

    /// Counts the wait up to `to`.
    fn count(&mut self, to: u64, least: u64, short: &mut (u64, u64)) {
        let Some(out) = &mut self.out else { return };
        let (whole, ns) = (to.saturating_sub(out.left), to.saturating_sub(out.since));
        if whole < least {
            *short = (short.0 + 1, short.1 + ns);
        } else if ns > 0 {
            let class = class(whole);
            if out.place.as_ref().is_none_or(|(_, period)| *period != 0) {
                let sum = &mut self.exact[out.kind as usize][class];
                *sum = sum.saturating_add(ns);
            }
            if let Some((place, period)) = out.place.clone() {
                let (at, cpu, kind) = (out.since, out.cpu, out.kind);
                self.parts.push(Part { at, ns, cpu, kind, place, period, class });
            }
        }
        out.since = to;
    }
}

fn class(ns: u64) -> usize {
    ns.max(1).ilog2() as usize
}

/// All threads that are followed.
#[derive(Debug)]
pub(super) struct Waits {
    threads: HashMap<u32, Thread>,
    /// Waits shorter than this are summed up only, ns.
    least: u64,
    /// How many of them, and ns.
    pub(super) short: (u64, u64),
    /// Threads that were not followed because there are too many.
    pub(super) passed_over: bool,
    /// When this turn began.
    began: u64,
    origin: u64,
}

impl Waits {
    /// `origin`: CLOCK_MONOTONIC at the session's start; `now`: the present, by the same clock.
    pub(super) fn new(least: u64, origin: u64, now: u64) -> Waits {
        Waits { threads: HashMap::new(), least, short: (0, 0), passed_over: false, began: now, origin }
    }

    /// The threads that are followed.
    pub(super) fn tids(&self) -> impl Iterator<Item = (u32, u32)> {
        self.threads.iter().filter(|(_, t)| !t.ended).map(|(tid, t)| (t.pid, *tid))
    }

    fn thread(&mut self, pid: u32, tid: u32, comm: impl FnOnce() -> Arc<str>) -> Option<&mut Thread> {
        if !self.threads.contains_key(&tid) && self.threads.len() >= MOST {
            self.passed_over = true;
            return None;
        }
        let thread = self.threads.entry(tid).or_insert_with(|| Thread::new(pid, comm()));
        if thread.pid != pid {
            // The number is another's now.
            *thread = Thread::new(pid, thread.comm.clone());
        }
        Some(thread)
    }

    /// A thread that was there before anything was recorded, and where it waits, if it does.
    pub(super) fn find(&mut self, who: &Who, waits_in: Option<Arc<str>>, comm: impl FnOnce() -> Arc<str>) {
        let Some(thread) = self.thread(who.pid, who.tid, comm) else { return };
        if thread.out.is_some() {
            return;
        }
        thread.ready = Some(who.at);
        if let Some(function) = waits_in {
            let place = Some((Place::Function(function), 0));
            thread.ready = None;
            thread.out = Some(Out { left: who.at, since: who.at, kind: Kind::Blocked, cpu: who.cpu, place });
        }
    }

    /// What the kernel has counted of a thread when it begins to be followed.
    pub(super) fn begin(&mut self, who: &Who, times: Times, comm: impl FnOnce() -> Arc<str>) {
        if let Some(thread) = self.thread(who.pid, who.tid, comm) {
            thread.before = Some(times);
            (thread.queued_at_first, thread.preempted, thread.told) = (Some(times.queued), 0, 0);
        }
    }

    /// A thread is called so now.
    pub(super) fn name(&mut self, tid: u32, comm: &Arc<str>) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.comm = comm.clone();
        }
    }

    /// What happened next. `comm` is asked for the name of a thread that is new.
    pub(super) fn step(&mut self, who: &Who, step: Step, comm: impl FnOnce() -> Arc<str>) {
        let least = self.least;
        let mut short = (0, 0);
        let Some(thread) = self.thread(who.pid, who.tid, comm) else { return };
        match step {
            Step::Sampled { place, period } => thread.sampled = Some((place, period)),
            Step::Out { preempted } => {
                thread.ready = None;
                let place = thread.sampled.take();
                let kind = if preempted { Kind::Runnable } else { Kind::Blocked };
                // What it was before without having come back is not known: records were lost.
                let out = Out { left: who.at, since: who.at, kind, cpu: who.cpu, place };
                thread.out = (!thread.ended).then_some(out);
            }
            Step::In => {
                thread.was_queued(who.cpu);
                thread.count(who.at, least, &mut short);
                if let Some(out) = thread.out.take().filter(|o| o.kind == Kind::Runnable) {
                    thread.preempted += who.at.saturating_sub(out.left);
                }
                (thread.sampled, thread.ended) = (None, false);
            }
            Step::Ended => (thread.ended, thread.sampled) = (true, None),
        }
        self.short = (self.short.0 + short.0, self.short.1 + short.1);
    }

    /// A sample of a switch where no switches are recorded, or a look at a waiting thread.
    pub(super) fn look(&mut self, who: &Who, kind: Kind, place: Place, period: u64, comm: impl FnOnce() -> Arc<str>) {
        let Some(thread) = self.thread(who.pid, who.tid, comm) else { return };
        let (at, cpu) = (who.at, who.cpu);
        thread.parts.push(Part { at, ns: 1, cpu, kind, place, period, class: 0 });
    }

    /// Threads of which there is anything in this turn.
    pub(super) fn seen(&self) -> HashSet<u32> {
        self.threads.iter().filter(|(_, t)| !t.parts.is_empty()).map(|(tid, _)| *tid).collect()
    }

    /// Threads whose wait goes on since `before` and has no place yet.
    pub(super) fn without_place(&self, before: u64) -> Vec<(u32, u32)> {
        let is_without = |o: &Out| o.place.is_none() && o.left < before;
        let without = self.threads.iter().filter(|(_, t)| t.out.as_ref().is_some_and(is_without));
        without.map(|(tid, t)| (t.pid, *tid)).collect()
    }

    /// Where a thread waits whose wait goes on; it stands for itself.
    pub(super) fn place(&mut self, tid: u32, function: Arc<str>) {
        if let Some(out) = self.threads.get_mut(&tid).and_then(|t| t.out.as_mut()) {
            out.place = Some((Place::Function(function), 0));
        }
    }

    /// A thread is not there any more, whatever was recorded of it.
    pub(super) fn gone(&mut self, tid: u32) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            (thread.ended, thread.out, thread.sampled) = (true, None, None);
        }
    }

    /// Follows threads of these processes only; what they had in this turn is told still.
    pub(super) fn keep_only(&mut self, pids: &HashSet<u32>) {
        for thread in self.threads.values_mut().filter(|t| !pids.contains(&t.pid)) {
            (thread.ended, thread.out, thread.sampled, thread.ready) = (true, None, None, None);
        }
    }

    /// Forgets which threads are off their CPUs: from now on switches are not recorded, or were not.
    pub(super) fn forget(&mut self) {
        for thread in self.threads.values_mut() {
            (thread.out, thread.sampled, thread.ready, thread.queued_at_first) = (None, None, None, None);
        }
    }

    /// Ends a turn of which every switch was recorded. `times`: what the kernel counts of a thread.
    pub(super) fn close(&mut self, to: u64, times: &HashMap<u32, Times>) -> Vec<Wait> {
        let (least, mut waits, mut short) = (self.least, Vec::new(), (0, 0));
        for (tid, thread) in &mut self.threads {
            let on_cpu = |t: Option<Times>| t.map(|t| t.on_cpu);
            if on_cpu(thread.before).is_some_and(|before| on_cpu(times.get(tid).copied()) == Some(before)) {
                thread.was_queued(0);
            }
            // What is too short so far may become long enough.
            if thread.out.as_ref().is_some_and(|o| to.saturating_sub(o.left) >= least) {
                thread.count(to, least, &mut short);
            }
            let times = times.get(tid).copied();
            let turn = Turn { from: self.began, to, origin: self.origin, woken: thread.woken(times), rest: REST };
            thread.weigh(&turn, *tid, &mut waits);
            thread.before = times;
        }
        self.short = (self.short.0 + short.0, self.short.1 + short.1);
        self.end_turn(to);
        waits
    }

    /// Ends a turn of which only a sample of switches is known, or looks: a thread's time off CPUs is
    /// what the kernel's count leaves, else so long for every look.
    pub(super) fn close_by_count(&mut self, to: u64, times: &HashMap<u32, Times>, look_ns: Option<u64>) -> Vec<Wait> {
        let mut waits = Vec::new();
        let turn = to.saturating_sub(self.began);
        for (tid, thread) in &mut self.threads {
            let now = times.get(tid).copied();
            if let (Some(now), Some(before)) = (now, thread.before) {
                let queued = now.queued.saturating_sub(before.queued).min(turn);
                let on_cpu = now.on_cpu.saturating_sub(before.on_cpu);
                thread.exact[Kind::Runnable as usize][0] = queued;
                thread.exact[Kind::Blocked as usize][0] = turn.saturating_sub(queued).saturating_sub(on_cpu);
            } else if let Some(each) = look_ns.filter(|_| now.is_none()) {
                for part in &thread.parts {
                    thread.exact[part.kind as usize][0] += each * part.period;
                }
            } else {
                // Its first turn: from when on it is counted is not known.
                thread.parts.clear();
            }
            let rest = [Place::NotSampled, Place::Queue];
            thread.weigh(&Turn { from: self.began, to, origin: self.origin, woken: 0, rest }, *tid, &mut waits);
            thread.before = now;
        }
        self.end_turn(to);
        waits
    }

    fn end_turn(&mut self, to: u64) {
        self.threads.retain(|_, t| !t.ended);
        self.began = to;
    }
}

impl Thread {
    /// How long it waited for a CPU after being woken, of what was not told yet: the kernel counts all
    /// time in queues, its switches only that after being preempted.
    fn woken(&mut self, times: Option<Times>) -> u64 {
        let Some(times) = times else { return 0 };
        let Some(first) = self.queued_at_first else {
            (self.queued_at_first, self.preempted, self.told) = (Some(times.queued), 0, 0);
            return 0;
        };
        let all = times.queued.saturating_sub(first).saturating_sub(self.preempted);
        let own = self.parts.iter().filter(|p| p.period == 0 && p.kind == Kind::Blocked).map(|p| p.ns);
        let blocked: u64 = self.exact[Kind::Blocked as usize].iter().copied().chain(own).sum();
        let more = all.saturating_sub(self.told).min(blocked);
        self.told += more;
        more
    }

    /// Gives all that was counted in this turn to places, and begins the next.
    fn weigh(&mut self, turn: &Turn, tid: u32, waits: &mut Vec<Wait>) {
        let (pid, comm) = (self.pid, self.comm.clone());
        let from = waits.len();
        let at_turn = |kind, place, weight| Wait {
            at: At(turn.from.saturating_sub(turn.origin)),
            len_ns: turn.to.saturating_sub(turn.from).max(1),
            cpu: 0,
            pid,
            tid,
            comm: comm.clone(),
            kind,
            place,
            weight,
        };
        let of_part = |part: &Part, weight| {
            let at = At(part.at.saturating_sub(turn.origin));
            let (len_ns, cpu) = (part.ns, part.cpu);
            Wait { at, len_ns, cpu, ..at_turn(part.kind, part.place.clone(), weight) }
        };
        for kind in [Kind::Blocked, Kind::Runnable] {
            let exact = std::mem::replace(&mut self.exact[kind as usize], [0; 64]);
            let mut of_class: Vec<Vec<&Part>> = vec![Vec::new(); 64];
            for part in self.parts.iter().filter(|p| p.kind == kind) {
                if part.period > 0 {
                    of_class[part.class].push(part);
                } else {
                    waits.push(of_part(part, part.ns));
                }
            }
            let mut not_sampled = 0u64;
            let mut given = vec![0u64; 64];
            for (n, &ns) in exact.iter().enumerate().filter(|(_, ns)| **ns > 0) {
                let near = || (0..=ALIKE).flat_map(|d| [n.checked_sub(d), Some(n + d)]).flatten().filter(|&m| m < 64);
                if let Some(m) = near().find(|&m| !of_class[m].is_empty()) {
                    given[m] += ns;
                } else if let Some(places) = near().find_map(|m| self.habits.get(&(kind, m))) {
                    // As it did the last time that it waited about as long.
                    let weights = shares(places.iter().map(|(_, n)| u128::from(*n)), ns);
                    let some = places.iter().zip(weights).filter(|(_, w)| *w > 0);
                    waits.extend(some.map(|((place, _), weight)| at_turn(kind, place.clone(), weight)));
                } else {
                    not_sampled += ns;
                }
            }
            for ((class, parts), ns) in of_class.iter().enumerate().zip(given).filter(|(_, ns)| *ns > 0) {
                let of = |p: &&Part| u128::from(p.ns) * u128::from(p.period);
                let weights: Vec<u64> = shares(parts.iter().map(of), ns).collect();
                let some = || parts.iter().zip(&weights).filter(|(_, w)| **w > 0);
                waits.extend(some().map(|(part, weight)| of_part(part, *weight)));
                // The longest ones, should there be very many.
                let mut habit: Vec<(Place, u64)> = some().map(|(p, w)| (p.place.clone(), *w)).collect();
                habit.sort_by_key(|(_, w)| std::cmp::Reverse(*w));
                habit.truncate(HABITS);
                self.habits.insert((kind, class), habit);
            }
            if not_sampled > 0 {
                waits.push(at_turn(kind, turn.rest[kind as usize].clone(), not_sampled));
            }
        }
        self.parts.clear();
        if turn.woken > 0 {
            take_off(&mut waits[from..], turn.woken);
            waits.push(at_turn(Kind::Runnable, Place::Queue, turn.woken));
        }
    }
}

/// Splits `ns` in proportion; nothing is lost by rounding.
fn shares(of: impl Iterator<Item = u128> + Clone, ns: u64) -> impl Iterator<Item = u64> {
    let all: u128 = of.clone().sum::<u128>().max(1);
    let (mut passed, mut given) = (0u128, 0u64);
    of.map(move |part| {
        passed += part;
        let until = u64::try_from(passed.saturating_mul(u128::from(ns)) / all).unwrap_or(u64::MAX);
        let share = until - given;
        given = until;
        share
    })
}

/// Takes `ns` off blocked waits: of each as much as of any other, for every wait ended in being woken
/// once, but never more than it lasted. How many waits one stands for: its weight by its own length.
fn take_off(waits: &mut [Wait], mut ns: u64) {
    let count = |w: &Wait| (w.weight / w.len_ns.max(1)).max(1);
    let mut order: Vec<usize> = (0..waits.len()).filter(|&n| waits[n].kind == Kind::Blocked).collect();
    // The shortest first: what they can't give is left to the longer ones.
    order.sort_by_key(|&n| waits[n].weight / count(&waits[n]));
    let mut counts: u128 = order.iter().map(|&n| u128::from(count(&waits[n]))).sum();
    for n in order {
        let of = count(&waits[n]);
        let share = u64::try_from(u128::from(ns) * u128::from(of) / counts.max(1)).unwrap_or(u64::MAX);
        let share = share.min(waits[n].weight);
        counts -= u128::from(of);
        // The last one gives what rounding has left.
        let share = if counts == 0 { ns.min(waits[n].weight) } else { share };
        waits[n].weight -= share;
        ns -= share;
    }
}

#[cfg(test)]
#[path = "waits_tests.rs"]
mod tests;
