//! Opens the kernel's sampling events and drains their rings: perf_event_open(2), by way of the
//! crate perf-event2.
//!
//! One event and one ring per CPU; for single processes one per thread and CPU, which what they
//! start inherits. Nobody is woken by a ring that fills: whoever owns the events drains them often
//! enough ([`Events::interval`]).
//!
//! Must not: know what addresses mean, or decide what is permitted (`preflight`).

use super::record::Raw;
use crate::profile::{Obstacle, Scope};
use perf_event::events::{Event, Hardware, Software};
use perf_event::{Builder, Clock, SampleFlag, Sampler};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Events for single processes at the most: each takes a descriptor and a ring.
pub(in crate::profile) const MOST_EVENTS: usize = 256;
/// Bytes of a ring at the most and at the least.
const LARGEST_RING: usize = 512 << 10;
const SMALLEST_RING: usize = 8 << 10;
/// Bytes of a ring that takes a record of every switch, on all CPUs.
const SWITCH_RING: usize = 2 << 20;
/// So many events may have half of such a ring each.
const FEW: usize = 32;
/// Bytes of a usual sample, chain included.
const USUAL_SAMPLE: usize = 600;
/// Bytes of the two records that a switch leaves: of who leaves, and of who comes.
const SWITCH_RECORDS: usize = 2 * 80;
/// Switches per second and CPU that are recorded one by one at the most. Above it only samples of
/// them are taken: two records cost the kernel about 0.4 us, so this is 2 % of a CPU.
pub(in crate::profile) const MOST_SWITCHES: u64 = 50_000;

/// What makes a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::profile) enum What {
    /// A timer, in ns: works everywhere.
    CpuClock,
    /// The hardware's counter of cycles.
    Cycles,
    /// Threads that leave a CPU; with a record of each switch besides, or without.
    Switches {
        /// Whether each is recorded.
        records: bool,
    },
}

impl What {
    /// The event's name as `perf` writes it.
    pub(in crate::profile) fn name(self) -> &'static str {
        match self {
            What::CpuClock => "cpu-clock",
            What::Cycles => "cycles",
            What::Switches { .. } => "context-switches",
        }
    }

    /// The unit of a sample's period.
    pub(in crate::profile) fn unit(self) -> &'static str {
        match self {
            What::CpuClock => "ns",
            What::Cycles => "cycles",
            What::Switches { .. } => "switches",
        }
    }

    /// What a plan's event is: `cycles` or `cpu-clock`.
    pub(in crate::profile) fn of(name: &str) -> What {
        if name == "cycles" { What::Cycles } else { What::CpuClock }
    }
}

/// How events are opened.
#[derive(Clone, Debug)]
pub(in crate::profile) struct Opening<'a> {
    /// Below it is proc; `/` but in tests.
    pub(in crate::profile) root: &'a Path,
    /// What makes a sample; where there is no counter of cycles after all, it becomes the clock.
    pub(in crate::profile) what: What,
    /// Samples per second and CPU.
    pub(in crate::profile) hz: u32,
    /// Of whom.
    pub(in crate::profile) scope: &'a Scope,
    /// kernel.perf_event_mlock_kb when it limits this process.
    pub(in crate::profile) ring_limit_kb: Option<i64>,
}

/// Events that sample, or whose samples were already taken from the rings.
pub(in crate::profile) struct Events {
    rings: Vec<Sampler>,
    /// What makes a sample.
    pub(in crate::profile) what: What,
    /// The CPUs sampled.
    pub(in crate::profile) cpus: Vec<u32>,
    /// Bytes of each ring.
    pub(in crate::profile) ring_bytes: usize,
    /// Samples per second and CPU.
    pub(in crate::profile) hz: u32,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Events");
        shown.field("rings", &self.rings.len()).field("what", &self.what).field("ring_bytes", &self.ring_bytes);
        shown.finish_non_exhaustive()
    }
}

impl Events {
    /// Opens and enables them.
    ///
    /// # Errors
    /// What the kernel refused, with what mends it.
    pub(in crate::profile) fn open(opening: &Opening<'_>) -> Result<Events, Obstacle> {
        // More is refused (perf_event_max_sample_rate), and the kernel lowers it by itself.
        let rate = std::fs::read_to_string(opening.root.join("proc/sys/kernel/perf_event_max_sample_rate"));
        let most = rate.ok().and_then(|r| r.trim().parse().ok()).unwrap_or(u32::MAX);
        let opening = &Opening { hz: opening.hz.clamp(1, most.max(1)), ..opening.clone() };
        let cpus = online(opening.root);
        let whom = whom(opening, cpus.len())?;
        let mut what = opening.what;
        let mut ring_bytes = first_ring(opening, whom.len() * cpus.len());
        loop {
            match Events::attempt(opening, what, &cpus, &whom, ring_bytes) {
                Ok(rings) if rings.is_empty() => return Err(gone(opening)),
                Ok(mut rings) => {
                    let apart = apart(what, opening, rings.len());
                    for (n, ring) in rings.iter_mut().enumerate() {
                        if n > 0 && !apart.is_zero() {
                            std::thread::sleep(apart);
                        }
                        ring.enable().map_err(|e| refused(&e, opening))?;
                    }
                    return Ok(Events { rings, what, cpus, ring_bytes, hz: opening.hz });
                }
                // No such counter: a virtual machine's usual state.
                Err(Refusal::Open(e)) if what == What::Cycles && is_absent(&e) => what = What::CpuClock,
                // The user's allowance of locked memory is used up.
                Err(Refusal::Ring(e)) if is_too_much(&e) && ring_bytes > SMALLEST_RING => ring_bytes /= 2,
                Err(Refusal::Ring(e)) if is_too_much(&e) => {
                    let what = "no memory for the sampler's rings: it is limited per user (perf_event_mlock_kb)";
                    return Err(Obstacle::new(what, Some("sudo sysctl -w kernel.perf_event_mlock_kb=4096".into())));
                }
                Err(Refusal::Open(e) | Refusal::Ring(e)) => return Err(refused(&e, opening)),
            }
        }
    }

    fn attempt(
        opening: &Opening<'_>,
        what: What,
        cpus: &[u32],
        whom: &[Option<i32>],
        ring_bytes: usize,
    ) -> Result<Vec<Sampler>, Refusal> {
        let mut rings = Vec::new();
        for who in whom {
            for &cpu in cpus {
                match open_one(opening, what, cpu, *who, ring_bytes) {
                    Ok(ring) => rings.push(ring),
                    // ESRCH: the thread ended meanwhile; ENODEV: the CPU went off.
                    Err(Refusal::Open(e)) if who.is_some() && e.raw_os_error() == Some(3) => break,
                    Err(Refusal::Open(e)) if e.raw_os_error() == Some(19) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(rings)
    }

    /// Hands over every record that waits, ring by ring; those of one ring are in order of time.
    pub(in crate::profile) fn drain(&mut self, mut take: impl FnMut(Raw<'_>)) {
        for ring in &mut self.rings {
            while let Some(raw) = ring.next_record() {
                take(Raw { kind: raw.ty(), misc: raw.misc(), body: &raw.to_contiguous() });
            }
        }
    }

    /// How often to drain so that no ring fills, at most four times a second.
    pub(in crate::profile) fn interval(&self) -> Duration {
        let records = if let What::Switches { records: true } = self.what { MOST_SWITCHES } else { 0 };
        let per_s = USUAL_SAMPLE as u64 * u64::from(self.hz.max(1)) + SWITCH_RECORDS as u64 * records;
        let ms = (self.ring_bytes as u64 / 3).saturating_mul(1000) / per_s;
        Duration::from_millis(ms.clamp(20, 250))
    }
}

/// By how much later each CPU's timer is started than the one before. An interrupt takes tens of microseconds
/// from what runs; whoever works for it on another CPU has nothing to do meanwhile, and would be
/// sampled idle every time if the timers of both went off together, as they do for good when they are started
/// together (docs/measurements.md). Timers of single threads run only while those do.
fn apart(what: What, opening: &Opening<'_>, events: usize) -> Duration {
    /// Over which the timers' beginnings are spread: nobody waits longer for a slow one.
    const MOST: Duration = Duration::from_millis(20);
    if what != What::CpuClock || *opening.scope != Scope::AllCpus || events < 2 {
        return Duration::ZERO;
    }
    let period = Duration::from_secs(1) / opening.hz.max(1);
    period.min(MOST) / u32::try_from(events).unwrap_or(u32::MAX)
}

enum Refusal {
    Open(io::Error),
    Ring(io::Error),
}

fn open_one(
    opening: &Opening<'_>,
    what: What,
    cpu: u32,
    who: Option<i32>,
    ring_bytes: usize,
) -> Result<Sampler, Refusal> {
    let kernel = !matches!(opening.scope, Scope::Processes { user_only: true, .. });
    let mut b = match what {
        What::CpuClock => builder(Software::CPU_CLOCK),
        What::Cycles => builder(Hardware::CPU_CYCLES),
        What::Switches { .. } => builder(Software::CONTEXT_SWITCHES),
    };
    if let What::Switches { records: true } = what {
        b.context_switch(true);
    }
    b.sample_frequency(u64::from(opening.hz))
        .exclude_kernel(!kernel)
        .exclude_callchain_kernel(!kernel)
        .one_cpu(cpu as usize);
    match who {
        None => b.any_pid(),
        Some(tid) => b.observe_pid(tid).inherit(true),
    };
    let counter = b.build().map_err(Refusal::Open)?;
    counter.sampled(ring_bytes).map_err(Refusal::Ring)
}

/// An event with what all of ours have: the sample type that `record` decodes, and the life of
/// tasks and of executable mappings.
pub(in crate::profile) fn builder(event: impl Event) -> Builder<'static> {
    let mut b: Builder<'static> = Builder::new(Software::DUMMY);
    b.event(event)
        .sample(
            SampleFlag::IP
                | SampleFlag::TID
                | SampleFlag::TIME
                | SampleFlag::CPU
                | SampleFlag::PERIOD
                | SampleFlag::CALLCHAIN,
        )
        .clockid(Clock::MONOTONIC)
        .sample_id_all(true)
        .exclude_hv(true)
        // Woken by nobody: rings are drained by the clock.
        .wakeup_watermark(LARGEST_RING * 2)
        .comm(true)
        .comm_exec(true)
        .task(true)
        // The kernel looks at `mmap` alone for whether anybody listens to mappings.
        .mmap(true)
        .mmap2(true);
    b
}

/// The threads to attach to; one `None` for all there are.
fn whom(opening: &Opening<'_>, cpus: usize) -> Result<Vec<Option<i32>>, Obstacle> {
    let Scope::Processes { pids, .. } = opening.scope else { return Ok(vec![None]) };
    let mut threads = Vec::new();
    for pid in pids {
        let tasks = std::fs::read_dir(opening.root.join(format!("proc/{pid}/task")));
        threads
            .extend(tasks.into_iter().flatten().flatten().filter_map(|t| t.file_name().to_str()?.parse::<i32>().ok()));
        if threads.len() * cpus > MOST_EVENTS {
            let what = format!(
                "the target has more than {} threads, too many to sample one by one on {cpus} CPUs",
                MOST_EVENTS / cpus.max(1)
            );
            return Err(Obstacle::new(what, Some("sudo sysctl -w kernel.perf_event_paranoid=0".into())));
        }
    }
    Ok(threads.into_iter().map(Some).collect())
}

/// The ring to begin with: as large as is useful, or what a user's allowance holds for all.
fn first_ring(opening: &Opening<'_>, events: usize) -> usize {
    let single = matches!(opening.scope, Scope::Processes { .. });
    let useful = match opening.what {
        What::Switches { records: true } if !single => SWITCH_RING,
        What::Switches { records: true } if events <= FEW => SWITCH_RING / 2,
        _ if single => LARGEST_RING / 4,
        _ => LARGEST_RING,
    };
    let Some(kb) = opening.ring_limit_kb.and_then(|kb| usize::try_from(kb).ok()) else { return useful };
    // The allowance is per CPU (mmap_user_counter in kernel/events/core.c); half of it is left to others.
    let each = (kb << 10) * online(opening.root).len() / 2 / events.max(1);
    let power = if each == 0 { 0 } else { 1 << each.ilog2() };
    power.clamp(SMALLEST_RING, useful)
}

/// ENOENT, ENODEV, EOPNOTSUPP: no such event on this machine.
fn is_absent(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(2 | 19 | 95))
}

/// EPERM, ENOMEM of mmap(2) on an event.
fn is_too_much(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(1 | 12))
}

fn gone(opening: &Opening<'_>) -> Obstacle {
    match opening.scope {
        Scope::AllCpus => Obstacle::new("no CPU could be sampled", None),
        Scope::Processes { .. } => Obstacle::new("the target's process ended before it could be sampled", None),
    }
}

fn refused(e: &io::Error, opening: &Opening<'_>) -> Obstacle {
    match e.raw_os_error() {
        Some(1 | 13) => {
            let what = "the kernel refused to sample (perf_event_paranoid, a container's seccomp profile, or a security module)";
            Obstacle::new(what, Some("sudo sysctl -w kernel.perf_event_paranoid=0".into()))
        }
        Some(24 | 23) => {
            let what = "the sampler ran out of file descriptors: it opens one per CPU, or per thread and CPU";
            Obstacle::new(what, Some("ulimit -n $(ulimit -Hn)".into()))
        }
        Some(38) => Obstacle::new("this kernel has no performance events (perf_event_open: not implemented)", None),
        _ => Obstacle::new(format!("perf_event_open at {} Hz failed: {e}", opening.hz), None),
    }
}

/// The CPUs that are online; there may be holes.
pub(super) fn online(root: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(root.join("sys/devices/system/cpu/online")).unwrap_or_default();
    let mut cpus = cpu_list(&text);
    if cpus.is_empty() {
        cpus.push(0);
    }
    cpus
}

/// `0-3,8` as the kernel writes lists of CPUs.
fn cpu_list(text: &str) -> Vec<u32> {
    /// More than NR_CPUS of any kernel.
    const MOST: u32 = 8192;
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
            cpus.extend(first..=last.min(first.saturating_add(MOST)));
        }
    }
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_spread_over_a_period() {
        let apart = |what, hz, scope: &Scope, events| {
            apart(what, &Opening { root: Path::new("/"), what, hz, scope, ring_limit_kb: None }, events).as_micros()
        };
        let all = |hz, events| apart(What::CpuClock, hz, &Scope::AllCpus, events);
        assert_eq!([all(100, 1), all(100, 2), all(100, 4), all(1, 2), all(0, 0)], [0, 5_000, 2_500, 10_000, 0]);
        assert_eq!(apart(What::Cycles, 100, &Scope::AllCpus, 2), 0);
        assert_eq!(apart(What::Switches { records: true }, 100, &Scope::AllCpus, 2), 0);
        assert_eq!(apart(What::CpuClock, 100, &Scope::Processes { pids: vec![1], user_only: false }, 2), 0);
    }

    #[test]
    fn a_list_of_cpus_may_have_holes() {
        assert_eq!(cpu_list("0-2,5,7-8\n"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(cpu_list("x,3-1,\n"), Vec::<u32>::new());
        assert_eq!(online(Path::new("/nonexistent")), [0]);
    }

    #[test]
    fn rings_share_what_a_user_may_lock() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("sys/devices/system/cpu")).unwrap();
        std::fs::write(place.path().join("sys/devices/system/cpu/online"), "0-1\n").unwrap();
        let scope = Scope::Processes { pids: vec![1], user_only: true };
        let opening =
            Opening { root: place.path(), what: What::CpuClock, hz: 99, scope: &scope, ring_limit_kb: Some(516) };
        assert_eq!(first_ring(&opening, 2), 128 << 10);
        assert_eq!(first_ring(&opening, 40), 8 << 10);
        assert_eq!(first_ring(&Opening { ring_limit_kb: None, ..opening.clone() }, 2), 128 << 10);
        let all = Opening { ring_limit_kb: None, scope: &Scope::AllCpus, ..opening };
        assert_eq!(first_ring(&all, 2), 512 << 10);
        assert_eq!(first_ring(&Opening { what: What::Switches { records: true }, ..all }, 2), 2 << 20);
    }

    #[test]
    fn too_many_threads_are_refused_and_a_missing_process_is_none() {
        let place = tempfile::tempdir().unwrap();
        for tid in 0..200 {
            std::fs::create_dir_all(place.path().join(format!("proc/7/task/{tid}"))).unwrap();
        }
        let scope = Scope::Processes { pids: vec![7], user_only: true };
        let opening = Opening { root: place.path(), what: What::Cycles, hz: 99, scope: &scope, ring_limit_kb: None };
        assert!(whom(&opening, 2).unwrap_err().what.contains("more than 128 threads"));
        assert_eq!(whom(&opening, 1).unwrap().len(), 200);
        let none = Scope::Processes { pids: vec![8], user_only: true };
        assert_eq!(whom(&Opening { scope: &none, ..opening.clone() }, 1).unwrap(), []);
        assert_eq!(whom(&Opening { scope: &Scope::AllCpus, ..opening }, 4).unwrap(), [None]);
    }
}
