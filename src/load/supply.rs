//! The way of rendered requests from the feeder to one worker: a bounded channel, and the
//! worker's bell for when it has run dry.
//!
//! Must not: look into batches.

use super::arena::Arena;
use super::doorbell::Doorbell;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Weak};

/// Batches that may lie ready for a worker.
pub(super) const AHEAD: usize = 16;

/// Requests for one worker, which follow each other.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    parts: Vec<Part>,
    requests: usize,
}

/// Rendered requests of one pass over the recording.
#[derive(Debug)]
pub(crate) struct Part {
    /// The rendered requests.
    pub(crate) arena: Arc<Arena>,
    /// Added to their recorded times: the length of the passes before this one, ns.
    pub(crate) base_ns: u64,
}

impl Batch {
    /// Adds a part behind the others.
    pub(super) fn push(&mut self, part: Part) {
        self.requests += part.arena.len();
        self.parts.push(part);
    }

    /// How many requests.
    pub(crate) fn requests(&self) -> usize {
        self.requests
    }

    /// The parts, in order.
    pub(crate) fn into_parts(self) -> Vec<Part> {
        self.parts
    }
}

impl From<Part> for Batch {
    fn from(part: Part) -> Batch {
        Batch { requests: part.arena.len(), parts: vec![part] }
    }
}

/// The feeder's end.
#[derive(Debug)]
pub(super) struct Giver {
    channel: Option<SyncSender<Batch>>,
    bell: Arc<Doorbell>,
    taker: Weak<()>,
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Taker {
    /// There as long as the taker is. Dropped first: the end of the channel wakes the giver, which may
    /// run before the rest is dropped and would deal thousands of batches to nobody.
    _alive: Arc<()>,
    channel: Receiver<Batch>,
    bell: Arc<Doorbell>,
}

/// Both ends; `bell` is rung when a worker that found nothing can look again.
pub(super) fn supply(bell: Arc<Doorbell>) -> (Giver, Taker) {
    let (give, take) = sync_channel(AHEAD);
    let alive = Arc::new(());
    let giver = Giver { channel: Some(give), bell: bell.clone(), taker: Arc::downgrade(&alive) };
    (giver, Taker { _alive: alive, channel: take, bell })
}

/// Why a batch was not taken; it is given back.
pub(super) enum Refused {
    /// Enough lie ready.
    Full(Batch),
    /// The worker takes no more.
    Ended(Batch),
}

impl Giver {
    /// Hands a batch over, waiting for room; false when the worker takes no more.
    pub(super) fn give(&self, batch: Batch) -> bool {
        let given = self.channel.as_ref().is_some_and(|c| c.send(batch).is_ok());
        self.bell.ring_if_asked();
        given
    }

    /// Whether the worker takes no more, offered something or not.
    pub(super) fn is_refused(&self) -> bool {
        self.taker.strong_count() == 0
    }

    /// Hands a batch over if there is room.
    pub(super) fn try_give(&self, batch: Batch) -> Result<(), Refused> {
        let Some(channel) = &self.channel else { return Err(Refused::Ended(batch)) };
        channel.try_send(batch).map_err(|e| match e {
            TrySendError::Full(batch) => Refused::Full(batch),
            TrySendError::Disconnected(batch) => Refused::Ended(batch),
        })?;
        self.bell.ring_if_asked();
        Ok(())
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        drop(self.channel.take()); // first, so that who hears the bell finds the end
        self.bell.ring();
    }
}

/// What a worker found.
pub(crate) enum Taken {
    Batch(Batch),
    /// Nothing yet; the bell will ring.
    NotYet,
    /// There will be no more.
    Ended,
}

impl Taker {
    /// The next batch, if there is one.
    pub(crate) fn take(&self) -> Taken {
        for asked in [false, true] {
            match self.channel.try_recv() {
                Ok(batch) => return Taken::Batch(batch),
                Err(TryRecvError::Disconnected) => return Taken::Ended,
                Err(TryRecvError::Empty) if !asked => self.bell.ask(),
                Err(TryRecvError::Empty) => {}
            }
        }
        Taken::NotYet
    }

    /// The next batch if there is one now; without asking to be told of the next.
    pub(crate) fn glance(&self) -> Taken {
        match self.channel.try_recv() {
            Ok(batch) => Taken::Batch(batch),
            Err(TryRecvError::Disconnected) => Taken::Ended,
            Err(TryRecvError::Empty) => Taken::NotYet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    fn rings(bell: &Doorbell) -> bool {
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn the_bell_rings_for_who_found_nothing_and_at_the_end() {
        let batch = Batch::default;
        let bell = Arc::new(Doorbell::new().unwrap());
        let (give, take) = supply(bell.clone());
        assert!(give.give(batch()) && !rings(&bell), "nobody has asked");
        assert!(matches!(take.take(), Taken::Batch(_)));
        assert!(matches!(take.glance(), Taken::NotYet));
        assert!(give.give(batch()) && !rings(&bell), "a glance asks for nothing");
        assert!(matches!(take.take(), Taken::Batch(_)) && matches!(take.take(), Taken::NotYet));
        assert!(give.give(batch()) && rings(&bell));
        assert!(matches!(take.take(), Taken::Batch(_)));
        drop(give);
        assert!(rings(&bell) && matches!(take.take(), Taken::Ended));
    }

    #[test]
    fn a_worker_that_takes_no_more_is_noticed() {
        let batch = Batch::default;
        let (give, take) = supply(Arc::new(Doorbell::new().unwrap()));
        for _ in 0..AHEAD {
            assert!(give.try_give(batch()).is_ok());
        }
        assert!(matches!(give.try_give(batch()), Err(Refused::Full(_))));
        assert!(!give.is_refused());
        drop(take);
        assert!(matches!(give.try_give(batch()), Err(Refused::Ended(_))) && !give.give(batch()) && give.is_refused());
    }
}
