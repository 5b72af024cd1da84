//! A descriptor that becomes readable at an instant: what an engine is woken by when a request
//! falls due. A timerfd (timerfd_create(2)), exact to the clock's interrupt, where timeouts in
//! milliseconds would send a fast schedule in bursts.
//!
//! Must not: wait, or read the clock.

use crate::model::At;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// See the top of the file.
pub(crate) struct Alarm {
    timer: OwnedFd,
    set: Option<At>,
    origin_monotonic_ns: u64,
}

impl Alarm {
    /// One that is not set. `origin_monotonic_ns`: CLOCK_MONOTONIC at the session's start.
    ///
    /// # Errors
    /// When descriptors have run out.
    pub(crate) fn new(origin_monotonic_ns: u64) -> std::io::Result<Alarm> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Alarm { timer, set: None, origin_monotonic_ns })
    }

    /// Has it go off at `at`, unless it goes off before anyway: a wake too many costs less than a
    /// call for every change. `now`: the present instant.
    pub(crate) fn set(&mut self, now: At, at: At) {
        if self.set.is_some_and(|set| now < set && set <= at) {
            return;
        }
        let ns = self.origin_monotonic_ns.saturating_add(at.0);
        let tv_sec = i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX);
        let when = Timespec { tv_sec, tv_nsec: (ns % 1_000_000_000) as i64 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: when };
        self.set = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once).is_ok().then_some(at);
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
