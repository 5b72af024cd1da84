//! What one worker waits for: its sockets, its bell and one instant.
//!
//! Edge-triggered: a socket is registered once, when it is opened, and reports changes until
//! it is closed; no request costs a call here. The instant is a timerfd, armed only when it
//! moves nearer: waiting itself then needs no timeout, and is exact to the clock's interrupt
//! where a timeout in milliseconds would send a thousand requests in bursts.
//!
//! Must not: know what a socket is used for.

use crate::load::doorbell::Doorbell;
use crate::model::At;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Events taken in one call.
const EVENTS: usize = 512;
/// Token of the timer and of the bell, which say no more than "look".
const LOOK: u64 = u64::MAX;

/// See the top of the file.
pub(super) struct Poll {
    epoll: OwnedFd,
    timer: OwnedFd,
    armed: Option<At>,
    origin_monotonic_ns: u64,
}

/// What happened, room for which is made once.
pub(super) type Events = Vec<Event>;

impl Poll {
    /// `origin_monotonic_ns`: CLOCK_MONOTONIC at the session's start.
    ///
    /// # Errors
    /// When descriptors have run out.
    pub(super) fn new(bell: &Doorbell, origin_monotonic_ns: u64) -> std::io::Result<Poll> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &timer, EventData::new_u64(LOOK), edge)?;
        epoll::add(&epoll, bell, EventData::new_u64(LOOK), edge)?;
        Ok(Poll { epoll, timer, armed: None, origin_monotonic_ns })
    }

    /// Room for events.
    pub(super) fn events() -> Events {
        Vec::with_capacity(EVENTS)
    }

    /// Registers a socket under `token`, for good. `writable`: also tell when there is room
    /// to write again.
    ///
    /// # Errors
    /// ENOSPC above `/proc/sys/fs/epoll/max_user_watches` (epoll(7)), ENOMEM.
    pub(super) fn add(&self, socket: impl AsFd, token: u64, writable: bool) -> Result<(), Errno> {
        epoll::add(&self.epoll, socket, EventData::new_u64(token), interest(writable))
    }

    /// Has a registered socket tell about room to write as well.
    pub(super) fn add_writable(&self, socket: impl AsFd, token: u64) -> Result<(), Errno> {
        epoll::modify(&self.epoll, socket, EventData::new_u64(token), interest(true))
    }

    /// Waits until something has happened or `until` has come, and puts what happened to
    /// sockets into `events`. `now`: the present instant.
    pub(super) fn wait(&mut self, events: &mut Events, now: At, until: Option<At>) {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = match until {
            Some(until) if until <= now => Some(&at_once),
            Some(until) => {
                self.arm(now, until);
                None
            }
            None => None,
        };
        events.clear();
        // EINTR is as good as nothing.
        let _ = epoll::wait(&self.epoll, spare_capacity(events), timeout);
        events.retain(|e| e.data.u64() != LOOK);
    }

    /// Has the timer go off at `until`, unless it goes off before anyway: a wake too many
    /// costs less than a call for every change.
    fn arm(&mut self, now: At, until: At) {
        if self.armed.is_some_and(|armed| now < armed && armed <= until) {
            return;
        }
        let ns = self.origin_monotonic_ns.saturating_add(until.0);
        let seconds = |ns: u64| i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX);
        let when = Timespec { tv_sec: seconds(ns), tv_nsec: (ns % 1_000_000_000) as i64 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: when };
        self.armed = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once).is_ok().then_some(until);
    }
}

fn interest(writable: bool) -> EventFlags {
    let readable = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
    if writable { readable | EventFlags::OUT } else { readable }
}
