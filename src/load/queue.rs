//! A worker's requests on their way to its connections: those dealt ahead of time, and those
//! due and waiting for a connection.
//!
//! Knows neither sockets nor clocks: an engine says what time it is and asks for requests.
//!
//! Must not: block, or know how an engine waits.

use super::arena::{Arena, Item};
use super::schedule::Pacer;
use super::sessions::Sessions;
use super::supply::{AHEAD, Batch, Taken, Taker};
use super::{Overload, Plan};
use crate::model::At;
use std::collections::VecDeque;
use std::sync::Arc;

/// Requests kept at hand beyond the one next due.
const AT_HAND: usize = 128;
/// Requests that may fall due in one go before connections and timers get their turn: a rate
/// beyond what the CPU can do must not keep the run from sending, or from ending.
const IN_ONE_GO: u32 = 64;

/// One request to be sent.
#[derive(Clone)]
pub(crate) struct Ticket {
    arena: Arc<Arena>,
    n: u32,
    /// When it falls due, or fell.
    pub(crate) due: At,
}

impl Ticket {
    /// The first request of an arena.
    pub(crate) fn of(arena: Arc<Arena>, due: At) -> Ticket {
        Ticket { arena, n: 0, due }
    }

    pub(crate) fn item(&self) -> &Item {
        self.arena.item(self.n as usize)
    }

    pub(crate) fn wire(&self) -> &[u8] {
        self.arena.wire(self.item())
    }
}

/// What became of requests that fell due, for the recorder.
#[derive(Default)]
pub(crate) struct Dealt {
    pub(crate) offered: u64,
    pub(crate) dropped: u64,
}

/// See the top of the file.
pub(crate) struct Queue {
    pacer: Pacer,
    /// What the pacer said last of the next request, until that is taken.
    due: Option<At>,
    taken: u64,
    /// No closed loop goes on until the schedule is changed again.
    paused: bool,
    /// No request falls due from here on.
    end: Option<At>,
    limit: usize,
    /// None once there is no more to come, or no more wanted.
    supply: Option<Taker>,
    upcoming: VecDeque<Batch>,
    /// Index of the next request in the first batch of `upcoming`.
    next: usize,
    at_hand: usize,
    waiting: VecDeque<Ticket>,
    /// Where requests of one client wait for each other.
    sessions: Option<Sessions<Ticket>>,
    closed: bool,
    pub(crate) dealt: Dealt,
}

impl Queue {
    pub(crate) fn new(plan: &Plan, worker: u16, supply: Taker, start: At) -> Queue {
        let mut pacer = Pacer::new(plan.schedule.clone(), worker, plan.threads, start, plan.requests);
        Queue {
            due: None,
            taken: 0,
            paused: pacer.is_paused(),
            pacer,
            end: plan.duration.map(|d| start + d),
            limit: match plan.policy.overload {
                Overload::Drop => 0,
                _ => usize::try_from(plan.queue.div_ceil(u64::from(plan.threads))).unwrap_or(usize::MAX),
            },
            sessions: plan.policy.sessions.then(Sessions::default),
            supply: Some(supply),
            upcoming: VecDeque::with_capacity(AHEAD),
            next: 0,
            at_hand: 0,
            waiting: VecDeque::new(),
            closed: false,
            dealt: Dealt::default(),
        }
    }

    /// The next request for a connection. On a schedule: the one that has waited longest. In
    /// a closed loop: the next of all, due `now`. None: there is none at present; a closed
    /// loop's bell rings when there may be.
    pub(crate) fn take(&mut self, now: At) -> Option<Ticket> {
        if self.closed {
            return None;
        }
        if self.pacer.is_open() {
            return self.waiting.pop_front();
        }
        if self.pacer.version_changed() {
            self.paused = self.pacer.is_paused();
        }
        if self.end.is_some_and(|end| now >= end) {
            self.close(now);
            return None;
        }
        if self.paused {
            return None;
        }
        let ticket = self.pop(now)?;
        self.dealt.offered += 1;
        Some(ticket)
    }

    /// Lets fall due what is due `now`. `free` connections could take a request at once; what
    /// finds neither one of them nor room to wait is dropped. True: there is more that is
    /// due, and everything else gets its turn first.
    pub(crate) fn fall_due(&mut self, now: At, free: usize) -> bool {
        for _ in 0..IN_ONE_GO {
            let Some(due) = self.next_due() else { return false };
            if due > now {
                return false;
            }
            let Some(ticket) = self.pop(due) else { return false };
            self.dealt.offered += 1;
            if self.waiting() >= self.limit.saturating_add(free) {
                self.dealt.dropped += 1;
                continue;
            }
            let client = ticket.item().client;
            let may_go = match &mut self.sessions {
                Some(sessions) => sessions.due(client, ticket),
                None => Some(ticket),
            };
            self.waiting.extend(may_go);
        }
        true
    }

    /// When the next request falls due; None when that is not known yet (the bell will ring)
    /// or nothing more falls due.
    pub(crate) fn next_due(&mut self) -> Option<At> {
        if self.closed || !self.pacer.is_open() {
            return None;
        }
        if self.due.is_none() || self.pacer.version_changed() {
            self.fill();
            let batch = self.upcoming.front()?;
            self.due = self.pacer.next_due(batch.base_ns + batch.arena.item(self.next).recorded_ns);
        }
        self.due.filter(|due| self.end.is_none_or(|end| *due < end))
    }

    /// A request has ended, however it did: the next one of its client may go.
    pub(crate) fn ended(&mut self, client: u64) {
        if let Some(next) = self.sessions.as_mut().and_then(|s| s.ended(client)) {
            // It has waited longer than those behind it.
            self.waiting.push_front(next);
        }
    }

    /// How many requests are due and wait, for a connection or for their client's last answer.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len() + self.sessions.as_ref().map_or(0, Sessions::held)
    }

    /// Whether a request waits for nothing but a connection.
    pub(crate) fn wants_connection(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Ends the run for this worker: what waits is dropped, connections get no more.
    pub(crate) fn close(&mut self, now: At) {
        if self.closed {
            return;
        }
        self.closed = true;
        let missed = self.missed(now);
        self.dealt.offered += missed;
        self.dealt.dropped += missed + self.waiting() as u64;
        self.waiting.clear();
        if let Some(sessions) = &mut self.sessions {
            sessions.clear();
        }
        self.upcoming.clear();
        self.supply = None;
    }

    /// Requests that the schedule had fall due and this worker did not get to: a client too
    /// slow for its rate must not look as if less had been asked of it.
    fn missed(&mut self, now: At) -> u64 {
        let until = self.end.map_or(now, |end| end.min(now));
        if !self.pacer.is_open() {
            return 0;
        }
        if self.pacer.is_rate() {
            let missed = self.pacer.due_before(until).saturating_sub(self.taken);
            return if self.supply.is_none() { missed.min(self.at_hand as u64) } else { missed };
        }
        let mut skip = self.next;
        let mut count = 0;
        for batch in &self.upcoming {
            for n in std::mem::take(&mut skip)..batch.arena.len() {
                let recorded_ns = batch.base_ns + batch.arena.item(n).recorded_ns;
                count += u64::from(self.pacer.next_due(recorded_ns).is_some_and(|due| due < until));
            }
        }
        count
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether there will be no more requests.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.closed || (self.supply.is_none() && self.upcoming.is_empty() && self.waiting() == 0)
    }

    /// Takes what lies ready when little is at hand. All of it: a feeder that waits for room is
    /// woken once for many batches then, which costs both less than once for each.
    fn fill(&mut self) {
        if self.at_hand >= AT_HAND {
            return;
        }
        while let Some(supply) = &self.supply {
            match if self.at_hand == 0 { supply.take() } else { supply.glance() } {
                Taken::Batch(batch) => {
                    self.at_hand += batch.arena.len();
                    self.upcoming.push_back(batch);
                    if self.upcoming.len() >= AHEAD {
                        return;
                    }
                }
                Taken::NotYet => return,
                Taken::Ended => self.supply = None,
            }
        }
    }

    fn pop(&mut self, due: At) -> Option<Ticket> {
        if self.upcoming.is_empty() {
            self.fill();
        }
        let batch = self.upcoming.front()?;
        let ticket = Ticket { arena: batch.arena.clone(), n: self.next as u32, due };
        self.next += 1;
        self.taken += 1;
        self.due = None;
        if self.pacer.is_open() {
            self.pacer.taken();
        }
        self.at_hand -= 1;
        if self.next == batch.arena.len() {
            self.upcoming.pop_front();
            self.next = 0;
        }
        Some(ticket)
    }
}
