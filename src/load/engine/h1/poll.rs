//! What one worker waits for: its sockets, its bell and one instant.
//!
//! Edge-triggered: a socket is registered once, when it is opened, and reports changes until
//! it is closed; no request costs a call here. The instant is an [`Alarm`]: waiting itself needs
//! no timeout then.
//!
//! Must not: know what a socket is used for.

use crate::load::alarm::Alarm;
use crate::load::doorbell::Doorbell;
use crate::model::At;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::Timespec;

/// Events taken in one call.
const EVENTS: usize = 512;
/// Token of the alarm and of the bell, which say no more than "look".
const LOOK: u64 = u64::MAX;

/// See the top of the file.
pub(super) struct Poll {
    epoll: OwnedFd,
    alarm: Alarm,
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
        let alarm = Alarm::new(origin_monotonic_ns)?;
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &alarm, EventData::new_u64(LOOK), edge)?;
        epoll::add(&epoll, bell, EventData::new_u64(LOOK), edge)?;
        Ok(Poll { epoll, alarm })
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
                self.alarm.set(now, until);
                None
            }
            None => None,
        };
        events.clear();
        // EINTR is as good as nothing.
        let _ = epoll::wait(&self.epoll, spare_capacity(events), timeout);
        events.retain(|e| e.data.u64() != LOOK);
    }
}

fn interest(writable: bool) -> EventFlags {
    let readable = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
    if writable { readable | EventFlags::OUT } else { readable }
}
