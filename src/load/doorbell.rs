//! How a worker that sleeps is woken by another thread: an eventfd, which any loop can wait for.
//!
//! Must not: carry anything but the wish to be looked at.

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// See the top of the file. A ring is an edge: nobody has to read the counter (eventfd(2)).
#[derive(Debug)]
pub(crate) struct Doorbell {
    fd: OwnedFd,
    asked: AtomicBool,
}

impl Doorbell {
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn new() -> std::io::Result<Doorbell> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Doorbell { fd, asked: AtomicBool::new(false) })
    }

    /// Wakes whoever waits.
    pub(crate) fn ring(&self) {
        // It can only fail with a counter of 2^64, and then a ring is waiting to be heard.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    /// Asks for a ring when there is news; whoever asks looks once more before it sleeps.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }

    /// Rings if somebody has asked for it since the last ring.
    pub(crate) fn ring_if_asked(&self) {
        if self.asked.swap(false, Ordering::SeqCst) {
            self.ring();
        }
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
