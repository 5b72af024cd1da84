//! The only reader of clocks: monotonic, wall, and a manual one for tests.
//!
//! Must not: sleep, or know what time is read for.

use crate::model::At;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The clock of one session. Cloned freely; all clones share one origin.
#[derive(Clone, Debug)]
pub struct Clock {
    origin_monotonic_ns: u64,
    origin_unix_ns: i64,
    manual: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// A clock whose [`At::START`] is now.
    pub fn start() -> Clock {
        Clock { origin_monotonic_ns: monotonic_ns(), origin_unix_ns: unix_ns(), manual: None }
    }

    /// A clock for tests that stands still until [`Clock::advance`] moves it.
    pub fn manual() -> Clock {
        Clock { origin_monotonic_ns: 0, origin_unix_ns: 0, manual: Some(Arc::default()) }
    }

    /// The present instant of the session.
    pub fn now(&self) -> At {
        match &self.manual {
            None => At(monotonic_ns().saturating_sub(self.origin_monotonic_ns)),
            Some(ns) => At(ns.load(Ordering::Relaxed)),
        }
    }

    /// Moves a manual clock by `ns`; a real clock takes no orders.
    pub fn advance(&self, ns: u64) {
        if let Some(now) = &self.manual {
            now.fetch_add(ns, Ordering::Relaxed);
        }
    }

    /// CLOCK_MONOTONIC at [`At::START`], ns: what perf's time stamps are compared with.
    pub fn origin_monotonic_ns(&self) -> u64 {
        self.origin_monotonic_ns
    }

    /// Wall time at [`At::START`], ns since the Unix epoch.
    pub fn origin_unix_ns(&self) -> i64 {
        self.origin_unix_ns
    }
}

/// CPU time the calling thread has used, ns (CLOCK_THREAD_CPUTIME_ID): what a piece of work
/// costs, not an instant of the session.
pub fn thread_cpu_ns() -> u64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

fn monotonic_ns() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

fn unix_ns() -> i64 {
    let t = clock_gettime(ClockId::Realtime);
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let c = Clock::manual();
        assert_eq!(c.now(), At::START);
        c.clone().advance(5);
        assert_eq!(c.now(), At(5));
    }

    #[test]
    fn a_real_clock_starts_near_zero_and_goes_on() {
        let c = Clock::start();
        let a = c.now();
        assert!(a.0 < 1_000_000_000 && c.now() >= a);
    }
}
