//! Records in the order of their times: each CPU's ring was written to the recording by itself, in
//! rounds. What came before a round's end is not older than what the round before it brought
//! (tools/perf/util/ordered-events.c).
//!
//! Must not: know what a record says.

use super::Stop;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Bytes of records that wait for their turn at the most.
const MOST_BYTES: usize = 512 << 20;
/// What a record costs besides its body, about.
const EACH: usize = 64;

/// A record that waits. Compared by time, then by its place in the recording.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    pub(super) time_ns: u64,
    number: u64,
    pub(super) kind: u32,
    pub(super) misc: u16,
    pub(super) body: Box<[u8]>,
}

/// See the top of the file.
#[derive(Debug, Default)]
pub(super) struct Order {
    waiting: BinaryHeap<Reverse<Held>>,
    bytes: usize,
    number: u64,
    /// The latest time seen.
    latest_ns: u64,
    /// The latest time seen by the end of the last round.
    round_ns: u64,
    /// Nothing older than this comes any more.
    until_ns: u64,
}

impl Order {
    /// A record comes; one without a time stands where the last round ended.
    pub(super) fn put(&mut self, time_ns: Option<u64>, kind: u32, misc: u16, body: &[u8]) -> Result<(), Stop> {
        self.bytes += body.len() + EACH;
        if self.bytes > MOST_BYTES {
            return Err(Stop::perf(format!("more than {} MB of it are out of order", MOST_BYTES >> 20)));
        }
        self.latest_ns = self.latest_ns.max(time_ns.unwrap_or(0));
        self.number += 1;
        let time_ns = time_ns.unwrap_or(self.until_ns);
        self.waiting.push(Reverse(Held { time_ns, number: self.number, kind, misc, body: body.into() }));
        Ok(())
    }

    /// A round ends: what the one before it brought is due.
    pub(super) fn round(&mut self) {
        self.until_ns = self.round_ns;
        self.round_ns = self.latest_ns;
    }

    /// All rounds are over.
    pub(super) fn end(&mut self) {
        self.until_ns = u64::MAX;
    }

    /// The next record that is due.
    pub(super) fn due(&mut self) -> Option<Held> {
        if self.waiting.peek()?.0.time_ns > self.until_ns {
            return None;
        }
        let held = self.waiting.pop()?.0;
        self.bytes -= held.body.len() + EACH;
        Some(held)
    }
}
