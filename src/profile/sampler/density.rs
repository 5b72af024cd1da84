//! How densely the flight recorder samples: as densely as this machine's timer interrupts are cheap.
//!
//! Each sample is an interrupt. It takes 2 µs from what runs on a machine of its own and twenty in some virtual
//! ones, and more where threads wait for each other (docs/measurements.md). So what one takes is
//! measured once, before the recorder begins.
//!
//! Must not: sample anybody but the thread that asks.

use super::events::What;
use crate::clock::{Clock, thread_cpu_ns};
use perf_event::Builder;
use perf_event::events::{Hardware, Software};
use std::sync::OnceLock;

/// What the interrupts may take of a CPU by themselves, ns of a second: a thousandth.
const SHARE_NS: u64 = 1_000_000;
/// How many samples are taken for so many that are sent, the dearest first.
const FACTORS: [(u64, u64); 2] = [(4, 1), (2, 1)];
/// The same where even the last of them is too dear: the seconds before the key are kept more densely at any price.
const LEAST: (u64, u64) = (11, 10);

/// How often the measuring thread is interrupted: each half of a millisecond, by cycles at 3 GHz.
const PERIOD_NS: u64 = 500_000;
const PERIOD_CYCLES: u64 = 1_500_000;
/// For how long it is watched: CPU time, and wall time at the most, ns.
const WATCHED_NS: u64 = 6_000_000;
const PATIENCE_NS: u64 = 250_000_000;
/// Of the dozen interrupts the one that is taken for all, the dearest first. Before it may be what else took
/// the CPU meanwhile: the scheduler's tick, another thread.
const TYPICAL: usize = 5;
/// No interrupt is so cheap, ns: there were not enough of them (perf_event_max_sample_rate), and what was seen is the loop.
const LOOP_NS: u64 = 500;

/// Samples per second and CPU that are taken and kept here for so many of the thin stream, which are fewer.
/// `event` is a plan's: `cycles` or `cpu-clock`.
pub fn dense_hz(thin_hz: u32, event: &str) -> u32 {
    affordable_hz(thin_hz, interrupt_ns(event))
}

/// The same where an interrupt costs so much; None where that is not known.
fn affordable_hz(thin_hz: u32, interrupt_ns: Option<u64>) -> u32 {
    let times = |(n, of): (u64, u64)| u64::from(thin_hz) * n / of;
    let is_cheap = |factor: &(u64, u64)| interrupt_ns.is_some_and(|ns| times(*factor).saturating_mul(ns) <= SHARE_NS);
    let hz = times(FACTORS.into_iter().find(is_cheap).unwrap_or(LEAST));
    u32::try_from(hz).unwrap_or(u32::MAX).max(thin_hz.saturating_add(1))
}

/// What an event's interrupt takes from a thread that runs, ns: measured when first asked for, which takes 6 ms of
/// CPU time. None where the kernel does not permit it, has no such event, or something else had the CPU.
pub fn interrupt_ns(event: &str) -> Option<u64> {
    static CLOCK: OnceLock<Option<u64>> = OnceLock::new();
    static CYCLES: OnceLock<Option<u64>> = OnceLock::new();
    match What::of(event) {
        What::Cycles => {
            *CYCLES.get_or_init(|| measure(Builder::new(Hardware::CPU_CYCLES).sample_period(PERIOD_CYCLES)))
        }
        _ => *CLOCK.get_or_init(|| measure(Builder::new(Software::CPU_CLOCK).sample_period(PERIOD_NS))),
    }
}

fn measure(event: &mut Builder<'_>) -> Option<u64> {
    // Without a ring: nobody wants the samples. Only the user's, which needs the least rights
    // (perf_event_paranoid 2); it interrupts all the same.
    let event = event.observe_self().any_cpu().exclude_kernel(true).exclude_hv(true);
    let mut counter = event.build().ok()?;
    counter.enable().ok()?;
    let (clock, began_cpu) = (Clock::start(), thread_cpu_ns());
    let mut gaps = [0; TYPICAL + 1];
    loop {
        let mut last = clock.now();
        for _ in 0..1024 {
            let now = clock.now();
            keep_largest(&mut gaps, now.since_ns(last));
            last = now;
        }
        if thread_cpu_ns().saturating_sub(began_cpu) >= WATCHED_NS {
            return Some(gaps[TYPICAL]).filter(|ns| *ns > LOOP_NS);
        }
        if clock.now().0 >= PATIENCE_NS {
            return None;
        }
    }
}

/// Keeps the largest, the first of them the largest of all.
fn keep_largest(gaps: &mut [u64; TYPICAL + 1], gap: u64) {
    let at = gaps.partition_point(|g| *g >= gap);
    if at < gaps.len() {
        gaps[at..].rotate_right(1);
        gaps[at] = gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_denser_than_what_is_sent_at_any_price() {
        let at = |interrupt_ns| [0, 1, 2, 49, 99, 1000, u32::MAX].map(|hz| affordable_hz(hz, interrupt_ns));
        assert_eq!(at(None), [1, 2, 3, 53, 108, 1100, u32::MAX]);
        assert_eq!(at(Some(u64::MAX)), at(None));
        assert_eq!(at(Some(0)), [1, 4, 8, 196, 396, 4000, u32::MAX]);
        // 196 × 5.1 µs and 98 × 10.2 µs are a thousandth of a second.
        assert_eq!(
            [2_000, 5_102, 5_103, 10_204, 10_205, 18_000].map(|ns| affordable_hz(49, Some(ns))),
            [196, 196, 98, 98, 53, 53]
        );
        assert_eq!([400, 1_000, 2_000].map(|ns| affordable_hz(499, Some(ns))), [1996, 998, 548]);
    }

    #[test]
    fn the_largest_are_kept_in_order() {
        let mut gaps = [0; TYPICAL + 1];
        [3, 9, 1, 7, 7, 2, 100, 5, 4, 8].into_iter().for_each(|ns| keep_largest(&mut gaps, ns));
        assert_eq!(gaps, [100, 9, 8, 7, 7, 5]);
    }

    #[test]
    fn an_event_that_never_interrupts_tells_no_cost() {
        // Once in an hour: only the loop is seen, and what else took the CPU less than six times.
        let mut seldom = Builder::new(Software::CPU_CLOCK);
        assert!(measure(seldom.sample_period(3_600_000_000_000)).is_none_or(|ns| ns > LOOP_NS));
        assert!(measure(seldom.sample_period(PERIOD_NS)).is_none_or(|ns| ns > LOOP_NS));
    }
}
