//! Whether samples account for what the CPUs did: the time that samples at work stand for beside
//! the working time that the kernel counted (/proc/stat), CPU by CPU. A sampling timer that comes
//! late on one of two CPUs makes shares over both wrong, and the samples alone can't tell: a virtual
//! machine's timer may wait for the CPU to idle, and then one that sleeps thousands of times a second
//! is sampled asleep more often than it is.
//!
//! Idle time is no part of it: there are virtual machines whose CPUs give no samples while they idle.
//!
//! Must not: change a weight by it.

use super::StackFilter;
use crate::model::{CaptureId, CaptureState};
use crate::timeline::Timeline;
use serde::Serialize;
use std::collections::BTreeMap;

/// Told below this share of the working time.
const ACCOUNTED: f64 = 0.8;
/// And when so much more is missing than chance explains, s: readings of the host are up to this far
/// from the ends of what was sampled.
const LEAST_S: f64 = 0.5;
/// Standard deviations of the number of samples that are taken for chance.
const SIGMAS: f64 = 4.0;

/// A CPU whose samples stand for clearly less time than it worked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Shortfall {
    /// The CPU.
    pub cpu: u32,
    /// For how long it worked while samples were taken, s: everything in /proc/stat (proc_stat(5)) but
    /// idle, wait for a disk, and what the hypervisor took.
    pub worked_s: f64,
    /// For how much of it samples stand, s.
    pub sampled_s: f64,
}

impl Shortfall {
    /// The share that samples stand for, per cent.
    pub fn percent(&self) -> f64 {
        100.0 * self.sampled_s / self.worked_s
    }
}

impl std::fmt::Display for Shortfall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shortfall { cpu, worked_s, sampled_s } = self;
        write!(f, "samples stand for {sampled_s:.1} s of the {worked_s:.1} s that CPU {cpu} worked (/proc/stat)")?;
        write!(f, ": what ran there is shown too small")
    }
}

/// Sums of one CPU.
#[derive(Clone, Copy, Debug, Default)]
struct OfCpu {
    worked_s: f64,
    sampled_s: f64,
    samples: u64,
}

impl OfCpu {
    /// `one_s`: what a sample stands for.
    fn is_short(&self, one_s: f64) -> bool {
        let missing = self.worked_s - self.sampled_s;
        let chance = SIGMAS * (self.worked_s * one_s).sqrt();
        self.sampled_s < ACCOUNTED * self.worked_s && missing > LEAST_S + chance
    }
}

impl Timeline {
    /// The CPUs whose samples don't account for the time they worked, over all the time that a filter means
    /// (of its span, event and capture; whose samples of that time it means makes no difference). Of time
    /// on CPUs by the clock and sampled on all CPUs alone: of anything else it is not known.
    pub fn shortfalls(&self, filter: &StackFilter) -> Vec<Shortfall> {
        let StackFilter { event, span, capture, .. } = filter.clone();
        let filter = StackFilter { event, span, capture, ..StackFilter::default() };
        let profile = self.profile();
        let meant = profile.types_meant(filter.event.as_deref());
        let is_time: Vec<bool> =
            profile.types.values.iter().zip(meant).map(|(t, m)| m && t.is_of_machine() && &*t.unit == "ns").collect();
        let mut by_cpu: BTreeMap<u32, OfCpu> = BTreeMap::new();
        for stretch in self.observed(&filter) {
            let mut sums = profile.captures.iter().filter(|((id, _), sum)| *id == stretch.capture && sum.samples > 0);
            let by_clock = sums.any(|((_, number), _)| is_time[*number as usize]);
            if !by_clock || !stretch.is_timed || !self.is_of_all_cpus(stretch.capture) {
                continue;
            }
            for (cpu, split) in self.cpus(stretch.span) {
                by_cpu.entry(cpu).or_default().worked_s += stretch.span.secs() * (split.busy() - split.st) / 100.0;
            }
            let is_source =
                |s: &super::Source| s.capture == stretch.capture && !s.idle && is_time[s.sample_type as usize];
            for row in profile.rows.select(Some(stretch.span), (|_: &super::Thread| true, is_source)) {
                let of = by_cpu.entry(row.cpu).or_default();
                of.sampled_s += row.weight as f64 / 1e9;
                of.samples += 1;
            }
        }
        let samples: u64 = by_cpu.values().map(|of| of.samples).sum();
        if samples == 0 {
            return Vec::new();
        }
        let one_s = by_cpu.values().map(|of| of.sampled_s).sum::<f64>() / samples as f64;
        let short = by_cpu.into_iter().filter(|(_, of)| of.is_short(one_s));
        short.map(|(cpu, OfCpu { worked_s, sampled_s, .. })| Shortfall { cpu, worked_s, sampled_s }).collect()
    }

    fn is_of_all_cpus(&self, id: CaptureId) -> bool {
        let news = self.captures.get(&id).into_iter().flatten();
        news.map(|n| &n.state).any(CaptureState::is_of_all_cpus)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::batch;
    use super::*;
    use crate::model::{At, CaptureNews, Event, Metric, Reading, Readings, Span};

    const S: u64 = 1_000_000_000;

    /// Ten seconds in which CPU 0 worked by `percent.0` and CPU 1 by `percent.1`.
    fn host(percent: (i64, i64)) -> Timeline {
        let mut t = Timeline::new();
        for second in 0..=10 {
            let values = [percent.0, percent.1].into_iter().enumerate().flat_map(|(cpu, busy)| {
                let of = move |metric, per_s: i64| Reading {
                    metric,
                    instance: cpu.to_string().as_str().into(),
                    value: second * per_s,
                };
                [of(Metric::CpuUser, busy), of(Metric::CpuIdle, 100 - busy)]
            });
            let readings =
                Readings { sampler: "stat".into(), at: At(second as u64 * S), took_ns: 1, values: values.collect() };
            t.apply(&Event::Readings(readings));
        }
        t
    }

    /// Samples a second of each CPU, each for a hundredth; those of CPU 1 come from process 1.
    fn sampled(t: &mut Timeline, per_s: (u64, u64), how: &str) {
        let state = CaptureState::Sampling { for_ns: 0, hz: 100, how: how.into() };
        t.apply(&Event::Capture(CaptureNews { at: At(0), id: CaptureId::RECORDER, state }));
        let mut all: Vec<(u64, u32, &str, &str, u64)> = Vec::new();
        for second in 0..10 {
            let at = |n: u64| second * S + n * S / 100;
            all.extend((0..per_s.0).map(|n| (at(n), 2, "x", "a", S / 100)));
            all.extend((0..per_s.1).map(|n| (at(n), 1, "x", "b", S / 100)));
        }
        all.sort_unstable();
        t.apply(&Event::Stacks(batch(0, "ns", &all)));
    }

    const ALL: &str = "built-in sampler, all CPUs, cpu-clock";

    #[test]
    fn what_samples_do_not_account_for_is_told_by_cpu() {
        let short = |worked, per_s, how, filter: &StackFilter| {
            let mut t = host(worked);
            sampled(&mut t, per_s, how);
            t.shortfalls(filter)
        };
        let all = StackFilter::default();
        let told = short((80, 80), (80, 20), ALL, &all);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].cpu == 1 && (told[0].percent() - 25.0).abs() < 1.0, "{told:?}");
        assert_eq!(
            told[0].to_string(),
            "samples stand for 2.0 s of the 7.8 s that CPU 1 worked (/proc/stat): what ran there is shown too small"
        );
        // Whoever's samples are looked at, the CPUs are the same.
        assert_eq!(short((80, 80), (80, 20), ALL, &StackFilter { pid: Some(2), cpu: Some(0), ..all.clone() }), told);
        // A CPU that was not sampled at all.
        assert_eq!(short((80, 80), (80, 0), ALL, &all)[0].sampled_s, 0.0);
        // What idles without samples, works little, or is short by chance.
        for (worked, per_s) in [((80, 2), (80, 2)), ((80, 5), (80, 1)), ((80, 80), (80, 70)), ((100, 100), (100, 100))]
        {
            assert_eq!(short(worked, per_s, ALL, &all), [], "{worked:?} {per_s:?}");
        }
        // At one sample a second a CPU that worked for 0.6 s has none more often than not.
        let mut seldom = host((80, 6));
        sampled(&mut seldom, (1, 0), ALL);
        assert!(seldom.shortfalls(&all).iter().all(|short| short.cpu == 0));
        // Half a second is too short to tell.
        let brief = StackFilter { span: Some(Span::new(At(S), At(3 * S / 2))), ..all.clone() };
        assert_eq!(short((80, 80), (80, 20), ALL, &brief), []);
        // Of some processes' samples nobody expects the whole.
        assert_eq!(short((80, 80), (80, 20), "built-in sampler, process 7, cpu-clock", &all), []);
        assert_eq!(short((80, 80), (80, 20), ALL, &StackFilter { event: Some("cycles".into()), ..all }), []);
    }

    /// A recorder by the clock, and a capture by cycles in its place: of that time nothing is known.
    #[test]
    fn what_was_sampled_otherwise_is_not_missed() {
        let mut t = host((80, 80));
        sampled(&mut t, (80, 80), ALL);
        let state = |state| Event::Capture(CaptureNews { at: At(6 * S), id: CaptureId(1), state });
        t.apply(&state(CaptureState::Sampling { for_ns: 4 * S, hz: 99, how: "perf, all CPUs, cycles".into() }));
        t.apply(&Event::Stacks(batch(1, "cycles", &[(6 * S, 1, "x", "a", 7), (9 * S, 2, "x", "a", 7)])));
        let span = Span::new(At(6 * S), At(10 * S));
        t.apply(&state(CaptureState::Done { span, samples: 2, lost: 0, notes: vec![] }));
        assert_eq!(t.shortfalls(&StackFilter::default()), []);
    }

    #[test]
    fn without_readings_of_the_host_nothing_is_told() {
        let mut t = Timeline::new();
        sampled(&mut t, (80, 1), ALL);
        assert_eq!(t.shortfalls(&StackFilter::default()), []);
    }
}
