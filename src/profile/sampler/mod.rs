//! The built-in sampler: the kernel's samples without the program perf.
//!
//! ```text
//! events     the kernel's rings           record     what lies in them
//! processes  who had what mapped then     maps, files, ranges
//! chains     addresses -> places          symbols    places -> names (elf, kallsyms, perf_map, demangle)
//! Sampling   all of it, drained by time   naming     samples -> Stacks
//! built_in   one capture                  recorder   always on, with the last seconds kept densely (density)
//! off_cpu    what threads wait for
//! ```
//!
//! Every address is resolved to a place (which file, where in it) when it is drained, with the
//! mappings of that time; names come later and only once per place. So an exec, an exit or a
//! deleted file between sample and name does no harm.
//!
//! Must not: show anything, or know who is loaded.

mod built_in;
mod chains;
mod demangle;
mod density;
pub(in crate::profile) mod elf;
pub(in crate::profile) mod events;
pub(in crate::profile) mod files;
mod flight;
pub(in crate::profile) mod kallsyms;
mod maps;
mod naming;
mod off_cpu;
pub(in crate::profile) mod perf_map;
mod processes;
mod quality;
pub(in crate::profile) mod ranges;
pub(in crate::profile) mod record;
mod recorder;
pub(in crate::profile) mod symbols;

pub(super) use built_in::BuiltIn;
pub use density::{dense_hz, interrupt_ns};
pub use off_cpu::{OffCpu, OffCpuRequest, watch_off_cpu};
pub use recorder::{Recorder, RecorderRequest, record};

use super::{Obstacle, Plan, Scope};
use crate::model::At;
use chains::{Chain, Chains};
use events::{Events, Opening, What};
use processes::{Processes, Site};
use record::{Raw, Record};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use symbols::Symbols;

/// What the kernel writes until its own clock reads this much more may still be on its way.
const MARGIN_NS: u64 = 1_000_000;
/// kernel.perf_event_max_stack where it can't be read.
const USUAL_DEPTH: usize = 127;

/// A sample whose places are known, but not yet their names.
#[derive(Clone, Debug)]
struct Taken {
    at: At,
    cpu: u32,
    pid: u32,
    tid: u32,
    comm: Arc<str>,
    chain: Chain,
    weight: u64,
    /// The CPU waited for work.
    idle: bool,
}

/// A record kept until its turn in time.
struct Held {
    time_ns: u64,
    kind: u32,
    misc: u16,
    body: Box<[u8]>,
}

impl Held {
    fn record(&self) -> Option<Record<'_>> {
        Raw { kind: self.kind, misc: self.misc, body: &self.body }.record()
    }
}

/// Events that sample, and what is known of what they hit. Bound to its thread.
#[derive(Debug)]
struct Sampling {
    events: Events,
    scope: Scope,
    processes: Processes,
    chains: Chains,
    symbols: Symbols,
    held: Vec<Held>,
    origin_ns: u64,
    /// Lost in the kernel since last asked.
    lost: u64,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("time_ns", &self.time_ns).field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn open(plan: &Plan, hz: u32, root: &Path) -> Result<Events, Obstacle> {
    Events::open(&Opening {
        root,
        what: What::of(plan.event),
        hz,
        scope: &plan.scope,
        ring_limit_kb: plan.ring_limit_kb,
    })
}

impl Sampling {
    /// Opens the events of a plan. `origin_ns`: CLOCK_MONOTONIC at the session's start.
    ///
    /// # Errors
    /// What the kernel refused.
    fn open(plan: &Plan, hz: u32, root: &Path, origin_ns: u64) -> Result<Sampling, Obstacle> {
        // First the names: reading them takes longer than a ring holds.
        let symbols = Symbols::new(root);
        let depth = std::fs::read_to_string(root.join("proc/sys/kernel/perf_event_max_stack"));
        let depth = depth.ok().and_then(|d| d.trim().parse().ok()).unwrap_or(USUAL_DEPTH);
        Ok(Sampling {
            events: open(plan, hz, root)?,
            scope: plan.scope.clone(),
            processes: Processes::new(root),
            chains: Chains::new(depth),
            symbols,
            held: Vec::new(),
            origin_ns,
            lost: 0,
        })
    }

    /// Opens the events anew, of other processes or CPUs; what is known stays.
    fn reopen(&mut self, plan: &Plan, hz: u32) -> Result<(), Obstacle> {
        let root = self.processes.root().to_path_buf();
        self.events = open(plan, hz, &root)?;
        self.scope = plan.scope.clone();
        Ok(())
    }

    /// What is sampled and with what, as shown.
    fn how(&self) -> String {
        let user = if matches!(self.scope, Scope::Processes { user_only: true, .. }) { ":u" } else { "" };
        format!("built-in sampler, {}, {}{user}", self.scope.shown(), self.events.what.name())
    }

    /// How often to drain.
    fn interval(&self) -> Duration {
        self.events.interval()
    }

    /// Hands over the samples taken before `now`, in order of time over all CPUs.
    fn drain(&mut self, now: At, mut take: impl FnMut(Taken)) {
        let (held, lost) = (&mut self.held, &mut self.lost);
        self.events.drain(|raw| match raw.record() {
            Some(Record::Lost { lost: n }) => *lost = lost.saturating_add(n),
            None | Some(Record::Other | Record::Switch { .. }) => {}
            Some(record) => {
                held.push(Held { time_ns: record.time_ns(), kind: raw.kind, misc: raw.misc, body: raw.body.into() });
            }
        });
        held.sort_by_key(|h| h.time_ns);
        let until = (self.origin_ns + now.0).saturating_sub(MARGIN_NS);
        let due = held.partition_point(|h| h.time_ns < until);
        self.processes.look_ahead(held.iter().filter_map(Held::record));
        self.symbols.next_turn();
        for held in self.held.drain(..due) {
            match held.record() {
                Some(Record::Sample(sample)) => {
                    let chain = self.chains.resolve(&sample, &mut self.processes);
                    let in_kernel = chain.iter().all(|s| matches!(s, Site::Kernel(_)));
                    let comm = match sample.pid {
                        // The kernel gives 0 also to who lives outside our namespace of processes.
                        0 if !in_kernel => "[outside]".into(),
                        _ => self.processes.comm(sample.pid, sample.tid),
                    };
                    let idle = sample.pid == 0
                        && in_kernel
                        && chain.first().is_none_or(|&innermost| self.symbols.is_waiting(innermost));
                    take(Taken {
                        at: At(sample.time_ns.saturating_sub(self.origin_ns)),
                        cpu: sample.cpu,
                        pid: sample.pid,
                        tid: sample.tid,
                        comm,
                        chain,
                        weight: sample.period,
                        idle,
                    });
                }
                Some(record) => self.processes.apply(&record),
                None => {}
            }
        }
    }

    /// How many samples the kernel has lost since this was last asked.
    fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Whether what was to be sampled is gone.
    fn target_is_gone(&self) -> bool {
        let Scope::Processes { pids, .. } = &self.scope else { return false };
        pids.iter().all(|pid| {
            !self.processes.root().join(format!("proc/{pid}/maps")).exists() || is_zombie(&self.processes, *pid)
        })
    }
}

/// Whether a process has ended and nobody has taken note.
fn is_zombie(processes: &Processes, pid: u32) -> bool {
    let stat = std::fs::read_to_string(processes.root().join(format!("proc/{pid}/stat"))).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Joins the idle samples of each CPU into its last one, which then has their weight.
fn join_idle(samples: &mut Vec<Taken>) {
    let mut sums: Vec<(u32, u64)> = Vec::new();
    for taken in samples.iter_mut().rev().filter(|t| t.idle) {
        match sums.iter_mut().find(|(cpu, _)| *cpu == taken.cpu) {
            Some((_, sum)) => {
                *sum = sum.saturating_add(taken.weight);
                taken.weight = 0;
            }
            None => sums.push((taken.cpu, taken.weight)),
        }
    }
    // The last one of a CPU is the only one with weight left.
    samples.retain(|t| !(t.idle && t.weight == 0));
    for (cpu, sum) in sums {
        if let Some(last) = samples.iter_mut().rev().find(|t| t.idle && t.cpu == cpu) {
            last.weight = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample of `cpu` at `at`; of process 0 it idles.
    pub(super) fn taken(at: u64, cpu: u32, pid: u32, weight: u64) -> Taken {
        let chain: Chain = [Site::Kernel(0xffff_ffff_8100_0000 + u64::from(pid))][..].into();
        Taken { at: At(at), cpu, pid, tid: pid, comm: "x".into(), chain, weight, idle: pid == 0 }
    }

    #[test]
    fn idle_samples_become_one_per_cpu_and_no_weight_is_lost() {
        let mut samples =
            vec![taken(1, 0, 0, 5), taken(2, 1, 0, 5), taken(3, 0, 7, 5), taken(4, 0, 0, 6), taken(5, 1, 8, 5)];
        let all: u64 = samples.iter().map(|t| t.weight).sum();
        join_idle(&mut samples);
        let rows: Vec<_> = samples.iter().map(|t| (t.at.0, t.cpu, t.pid, t.weight)).collect();
        assert_eq!(rows, [(2, 1, 0, 5), (3, 0, 7, 5), (4, 0, 0, 11), (5, 1, 8, 5)]);
        assert_eq!(samples.iter().map(|t| t.weight).sum::<u64>(), all);
    }
}
