//! What a worker's dispatcher waits for: its bell, one instant, and requests that have ended.
//!
//! The instant is an [`Alarm`]: tokio's own timers go by the millisecond.
//!
//! Must not: know what a request is.

use super::call::Done;
use crate::load::alarm::Alarm;
use crate::load::doorbell::Doorbell;
use crate::model::At;
use rustix::fd::AsFd;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::task::{Context, Poll};
use tokio::net::unix::pipe::Receiver;
use tokio::task::{JoinError, JoinSet};

/// See the top of the file.
pub(super) struct Wait {
    bell: Receiver,
    /// To be set, and its descriptor as tokio reads it.
    alarm: (Alarm, Receiver),
}

impl Wait {
    /// Within a tokio runtime. `origin_monotonic_ns`: CLOCK_MONOTONIC at the session's start.
    ///
    /// # Errors
    /// When descriptors have run out.
    pub(super) fn new(bell: &Doorbell, origin_monotonic_ns: u64) -> std::io::Result<Wait> {
        let alarm = Alarm::new(origin_monotonic_ns)?;
        let heard = counter(&alarm)?;
        Ok(Wait { bell: counter(bell)?, alarm: (alarm, heard) })
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
        self.alarm.0.set(now, until);
        poll_fn(|cx| {
            let mut woken = is_ready(&self.bell, cx) | is_ready(&self.alarm.1, cx);
            while let Poll::Ready(Some(done)) = calls.poll_join_next(cx) {
                ended.push(done);
                woken = true;
            }
            if woken { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// An eventfd or a timerfd as tokio reads it: as it would a pipe, which is the one kind of
/// descriptor it takes without unsafe.
fn counter(fd: impl AsFd) -> std::io::Result<Receiver> {
    Receiver::from_file_unchecked(std::fs::File::from(fd.as_fd().try_clone_to_owned()?))
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
