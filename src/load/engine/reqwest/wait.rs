//! What a worker's dispatcher waits for: its bell, one instant, and requests that have ended.
//!
//! The instant is a timerfd, exact to the clock's interrupt: tokio's own timers go by the
//! millisecond, in which a fast schedule would send a burst.
//!
//! Must not: know what a request is.

use super::call::Done;
use crate::load::doorbell::Doorbell;
use crate::model::At;
use rustix::fd::{AsFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::future::poll_fn;
use std::io::ErrorKind;
use std::task::{Context, Poll};
use tokio::net::unix::pipe::Receiver;
use tokio::task::{JoinError, JoinSet};

/// See the top of the file.
pub(super) struct Wait {
    bell: Receiver,
    /// Its own descriptor, to set it, and the one that tokio reads.
    timer: (OwnedFd, Receiver),
    armed: Option<At>,
    origin_monotonic_ns: u64,
}

impl Wait {
    /// Within a tokio runtime. `origin_monotonic_ns`: CLOCK_MONOTONIC at the session's start.
    ///
    /// # Errors
    /// When descriptors have run out.
    pub(super) fn new(bell: &Doorbell, origin_monotonic_ns: u64) -> std::io::Result<Wait> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Wait {
            bell: counter(bell.as_fd().try_clone_to_owned()?)?,
            timer: (timer.try_clone()?, counter(timer)?),
            armed: None,
            origin_monotonic_ns,
        })
    }

    /// Waits until the bell rings, `until` has come or requests have ended; those are put into
    /// `ended`. `now`: the present instant.
    pub(super) async fn wait(
        &mut self,
        calls: &mut JoinSet<Done>,
        ended: &mut Vec<Result<Done, JoinError>>,
        now: At,
        until: At,
    ) {
        if until <= now {
            // What is ready gets its turn all the same.
            tokio::task::yield_now().await;
            while let Some(done) = calls.try_join_next() {
                ended.push(done);
            }
            return;
        }
        self.arm(now, until);
        poll_fn(|cx| {
            let mut woken = is_ready(&self.bell, cx) | is_ready(&self.timer.1, cx);
            while let Poll::Ready(Some(done)) = calls.poll_join_next(cx) {
                ended.push(done);
                woken = true;
            }
            if woken { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Has the timer go off at `until`, unless it goes off before anyway.
    fn arm(&mut self, now: At, until: At) {
        if self.armed.is_some_and(|armed| now < armed && armed <= until) {
            return;
        }
        let ns = self.origin_monotonic_ns.saturating_add(until.0);
        let seconds = |ns: u64| i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX);
        let when = Timespec { tv_sec: seconds(ns), tv_nsec: (ns % 1_000_000_000) as i64 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: when };
        let armed = timerfd_settime(&self.timer.0, TimerfdTimerFlags::ABSTIME, &once);
        self.armed = armed.is_ok().then_some(until);
    }
}

/// An eventfd or a timerfd as tokio reads it: as it would a pipe, which is the one kind of
/// descriptor it takes without unsafe.
fn counter(fd: OwnedFd) -> std::io::Result<Receiver> {
    Receiver::from_file_unchecked(std::fs::File::from(fd))
}

/// Whether there is news from a counter; then it is heard.
fn is_ready(counter: &Receiver, cx: &mut Context<'_>) -> bool {
    let mut news = false;
    while counter.poll_read_ready(cx).is_ready() {
        news = true;
        // Until there is nothing left, which is what makes tokio wait for more.
        match counter.try_read(&mut [0; 8]) {
            Ok(n) if n > 0 => {}
            Ok(_) => break,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    news
}
