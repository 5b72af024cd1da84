//! How densely the flight recorder samples: as densely as this machine's timer interrupts are cheap.
//!
//! Each sample is an interrupt. It takes 2 µs from what runs on a machine of its own and twenty in some virtual
//! ones, and more where threads wait for each other (docs/measurements.md). So what one takes is
//! measured once, before the recorder begins.
//!
//! Must not: sample anybody but the thread that asks.

use perf_event::Builder;
use perf_event::events::Software;
use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What the interrupts may take of a CPU by themselves, ns of a second: a thousandth.
const SHARE_NS: u64 = 1_000_000;
/// How many samples are taken for so many that are sent, the dearest first.
const FACTORS: [(u64, u64); 2] = [(4, 1), (2, 1)];
/// The same where even the last of them is too dear: the seconds before the key are kept more densely at any price.
const LEAST: (u64, u64) = (5, 4);

/// How often the measuring thread is interrupted, ns, and for how long it is watched: CPU time, and wall time
/// at the most.
const PERIOD_NS: u64 = 500_000;
const WATCHED: Duration = Duration::from_millis(6);
const PATIENCE: Duration = Duration::from_millis(60);
/// Of the dozen interrupts the one that is taken for all, the dearest first. Before it may be what else took
/// the CPU meanwhile: the scheduler's tick, another thread.
const TYPICAL: usize = 5;

/// Samples per second and CPU that are taken and kept here for so many of the thin stream, which are fewer.
pub fn dense_hz(thin_hz: u32) -> u32 {
    affordable_hz(thin_hz, interrupt_ns())
}

/// The same where an interrupt costs so much; None where that is not known.
fn affordable_hz(thin_hz: u32, interrupt_ns: Option<u64>) -> u32 {
    let times = |(n, of): (u64, u64)| u64::from(thin_hz) * n / of;
    let is_cheap = |factor: &(u64, u64)| interrupt_ns.is_some_and(|ns| times(*factor).saturating_mul(ns) <= SHARE_NS);
    let hz = times(FACTORS.into_iter().find(is_cheap).unwrap_or(LEAST));
    u32::try_from(hz).unwrap_or(u32::MAX).max(thin_hz.saturating_add(1))
}

/// What a timer's interrupt takes from a thread that runs, ns: measured when first asked for, which takes 6 ms of
/// CPU time. None where the kernel does not permit it, or something else had the CPU.
pub fn interrupt_ns() -> Option<u64> {
    static MEASURED: OnceLock<Option<u64>> = OnceLock::new();
    *MEASURED.get_or_init(measure)
}

fn measure() -> Option<u64> {
    // Without a ring: nobody wants the samples. Only the user's, which needs the least rights
    // (perf_event_paranoid 2); the timer interrupts all the same.
    let mut timer = Builder::new(Software::CPU_CLOCK)
        .observe_self()
        .any_cpu()
        .exclude_kernel(true)
        .exclude_hv(true)
        .sample_period(PERIOD_NS)
        .build()
        .ok()?;
    timer.enable().ok()?;
    let (began, began_cpu) = (Instant::now(), cpu_time());
    let mut gaps = [Duration::ZERO; TYPICAL + 1];
    let mut turn = 0u32;
    let mut last = began;
    loop {
        let now = Instant::now();
        keep_largest(&mut gaps, now - last);
        last = now;
        turn = turn.wrapping_add(1);
        if turn.is_multiple_of(1024) {
            if cpu_time().saturating_sub(began_cpu) >= WATCHED {
                break;
            }
            if began.elapsed() >= PATIENCE {
                return None;
            }
            last = Instant::now(); // asking is no interrupt
        }
    }
    u64::try_from(gaps[TYPICAL].as_nanos()).ok()
}

/// Keeps the largest, the first of them the largest of all.
fn keep_largest(gaps: &mut [Duration; TYPICAL + 1], gap: Duration) {
    let at = gaps.partition_point(|g| *g >= gap);
    if let Some(behind) = gaps.get_mut(at..)
        && !behind.is_empty()
    {
        behind.rotate_right(1);
        behind[0] = gap;
    }
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_denser_than_what_is_sent_at_any_price() {
        let at = |interrupt_ns| [0, 1, 2, 49, 99, 1000, u32::MAX].map(|hz| affordable_hz(hz, interrupt_ns));
        assert_eq!(at(None), [1, 2, 3, 61, 123, 1250, u32::MAX]);
        assert_eq!(at(Some(u64::MAX)), at(None));
        assert_eq!(at(Some(0)), [1, 4, 8, 196, 396, 4000, u32::MAX]);
        // 196 × 5.1 µs and 98 × 10.2 µs are a thousandth of a second.
        assert_eq!(
            [2_000, 5_102, 5_103, 10_204, 10_205, 18_000].map(|ns| affordable_hz(49, Some(ns))),
            [196, 196, 98, 98, 61, 61]
        );
        assert_eq!([400, 1_000, 2_000].map(|ns| affordable_hz(499, Some(ns))), [1996, 998, 623]);
    }

    #[test]
    fn the_largest_are_kept_in_order() {
        let mut gaps = [Duration::ZERO; TYPICAL + 1];
        for ns in [3, 9, 1, 7, 7, 2, 100, 5, 4, 8] {
            keep_largest(&mut gaps, Duration::from_nanos(ns));
        }
        assert_eq!(gaps.map(|g| g.as_nanos()), [100, 9, 8, 7, 7, 5]);
    }

    #[test]
    fn an_interrupt_takes_some_time_and_is_measured_once() {
        if let Some(ns) = measure() {
            assert!((100..5_000_000).contains(&ns), "{ns} ns");
        }
        assert_eq!(interrupt_ns(), interrupt_ns());
    }
}
