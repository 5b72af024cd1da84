//! A worker's requests on their way to its connections: those dealt ahead of time, and those
//! due and waiting for a connection.
//!
//! Knows neither sockets nor clocks: an engine says what time it is and asks for requests.
//!
//! Must not: block, or know how an engine waits.

use super::arena::{Arena, Item};
use super::schedule::Pacer;
use super::sessions::Sessions;
use super::supply::{AHEAD, Part, Taken, Taker};
use super::{Overload, Plan};
use crate::model::At;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Requests kept at hand beyond the one next due.
const AT_HAND: usize = 128;
/// Requests that may fall due in one go before connections and timers get their turn: a rate
/// beyond what the CPU can do must not keep the run from sending, or from ending.
const IN_ONE_GO: u32 = 64;
/// How long after the end of a run what fell due before it is still sent: the worker may get the
/// CPU late, or its connections may be busy. Bounded, because at a rate beyond the target or the
/// CPU there is always more that fell due.
const LAST_MOMENT: Duration = Duration::from_millis(100);

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
    /// Until when what fell due before the end may still be sent, once the end has come.
    last_moment: Option<At>,
    limit: usize,
    /// None once there is no more to come, or no more wanted.
    supply: Option<Taker>,
    upcoming: VecDeque<Part>,
    /// Index of the next request in the first of `upcoming`.
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
            last_moment: None,
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
            let part = self.upcoming.front()?;
            self.due = self.pacer.next_due(part.base_ns + part.arena.item(self.next).recorded_ns);
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

    /// Ends the run for this worker once its time is up: in a closed loop at once; on a schedule
    /// when what fell due before the end has gone to connections, or was given its last moment.
    pub(crate) fn close_at_end(&mut self, now: At) {
        if self.closed || self.end.is_none_or(|end| now < end) {
            return;
        }
        let until = *self.last_moment.get_or_insert(now + LAST_MOMENT);
        let all_gone = self.waiting() == 0 && self.next_due().is_none();
        if !self.pacer.is_open() || all_gone || now >= until {
            self.close(now);
        }
    }

    /// When the run is to be ended next, or looked at whether it can be: see [`Queue::close_at_end`].
    pub(crate) fn closes_at(&self) -> Option<At> {
        self.last_moment.or(self.end)
    }

    /// Whether nothing may be offered any more that had not fallen due yet.
    pub(crate) fn is_past_end(&self, now: At) -> bool {
        self.closed || self.end.is_some_and(|end| now >= end)
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
        for part in &self.upcoming {
            for n in std::mem::take(&mut skip)..part.arena.len() {
                let recorded_ns = part.base_ns + part.arena.item(n).recorded_ns;
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
        for _ in 0..AHEAD {
            let Some(supply) = &self.supply else { return };
            match if self.at_hand == 0 { supply.take() } else { supply.glance() } {
                Taken::Batch(batch) => {
                    self.at_hand += batch.requests();
                    self.upcoming.extend(batch.into_parts());
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
        let part = self.upcoming.front()?;
        let ticket = Ticket { arena: part.arena.clone(), n: self.next as u32, due };
        self.next += 1;
        self.taken += 1;
        self.due = None;
        if self.pacer.is_open() {
            self.pacer.taken();
        }
        self.at_hand -= 1;
        if self.next == part.arena.len() {
            self.upcoming.pop_front();
            self.next = 0;
        }
        Some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::super::doorbell::Doorbell;
    use super::super::supply::{Giver, supply};
    use super::super::{Change, Schedule};
    use super::*;
    use crate::model::{Body, Method, Request, Route};

    const END: At = At(1_000_000_000);

    fn ms(ms: u64) -> At {
        At(ms * 1_000_000)
    }

    /// The queue of the one worker of a run of a second, at whose end nobody has to wait for
    /// requests; the feeder's end stays open.
    fn queue(schedule: Schedule, change: impl Fn(&mut Plan)) -> (Queue, Giver) {
        let mut plan = Plan::to(([127, 0, 0, 1], 9).into());
        plan.schedule = Arc::new(schedule);
        plan.schedule.begin(At::START);
        plan.duration = Some(Duration::from_nanos(END.0));
        change(&mut plan);
        let (give, take) = supply(Arc::new(Doorbell::new().unwrap()));
        let mut arena = Arena::default();
        for n in 0..2000 {
            let request = Request {
                recorded_unix_ns: 0,
                method: Method::Get,
                path: "/".into(),
                host: None,
                headers: Vec::new(),
                body: Body::default(),
                route: Route { id: 0, name: "/".into() },
                client: 0,
                recorded_status: None,
            };
            arena.push(&request, n * 1_000_000, &plan.rendering);
        }
        assert!(give.give(Part { arena: Arc::new(arena), base_ns: 0 }.into()));
        (Queue::new(&plan, 0, take, At::START), give)
    }

    /// All that is due `now`, whatever a worker does between two goes.
    fn fall_due(queue: &mut Queue, now: At, free: usize) {
        while queue.fall_due(now, free) {}
    }

    #[test]
    fn what_fell_due_before_the_end_is_sent_by_a_worker_that_wakes_after_it() {
        for schedule in [Schedule::rate(1000.0), Schedule::recorded(1.0)] {
            let (mut queue, _give) = queue(schedule, |_| {});
            fall_due(&mut queue, ms(800), 20);
            while queue.take(ms(800)).is_some() {}
            queue.close_at_end(ms(800));
            assert_eq!((queue.dealt.offered, queue.dealt.dropped), (801, 0));
            // Asleep until 50 ms after the end: one go is not enough, and nobody closes before.
            assert!(queue.fall_due(ms(1050), 20));
            queue.close_at_end(ms(1050));
            assert!(!queue.is_closed() && queue.is_past_end(ms(1050)) && queue.closes_at() == Some(ms(1150)));
            fall_due(&mut queue, ms(1051), 20);
            let mut sent = 0;
            while let Some(ticket) = queue.take(ms(1051)) {
                assert!(ticket.due < END);
                sent += 1;
            }
            queue.close_at_end(ms(1052));
            assert!(queue.is_closed());
            assert_eq!((queue.dealt.offered, queue.dealt.dropped, sent), (1000, 0, 199));
        }
    }

    #[test]
    fn the_last_moment_is_over_at_some_time() {
        let (mut queue, _give) = queue(Schedule::rate(1000.0), |plan| plan.queue = 10);
        fall_due(&mut queue, ms(1001), 0);
        queue.close_at_end(ms(1001));
        queue.close_at_end(ms(1100));
        assert!(!queue.is_closed() && queue.waiting() == 10);
        queue.close_at_end(ms(1101));
        assert!(queue.is_closed());
        assert_eq!((queue.dealt.offered, queue.dealt.dropped), (1000, 1000));
        // Nor does it begin for what never came to be due.
        let (mut queue, _give) = super::tests::queue(Schedule::rate(1e9), |_| {});
        queue.close_at_end(ms(1001));
        assert!(!queue.is_closed());
        queue.close_at_end(ms(1101));
        assert_eq!((queue.dealt.offered, queue.dealt.dropped), (1_000_000_000, 1_000_000_000));
    }

    #[test]
    fn a_stop_sends_nothing_more_and_counts_only_what_was_due() {
        let (mut queue, _give) = queue(Schedule::rate(1000.0), |_| {});
        fall_due(&mut queue, ms(499), 20);
        while queue.take(ms(499)).is_some() {}
        queue.close(ms(600));
        assert!(queue.take(ms(600)).is_none() && !queue.fall_due(ms(600), 20) && queue.is_exhausted());
        assert_eq!((queue.dealt.offered, queue.dealt.dropped), (600, 100));
    }

    #[test]
    fn nothing_is_left_to_send_at_the_end_of_a_pause_or_of_a_closed_loop() {
        let (mut queue, _give) = queue(Schedule::rate(1000.0), |plan| plan.schedule.change(ms(300), Change::Pause));
        fall_due(&mut queue, ms(1001), 20);
        while queue.take(ms(1001)).is_some() {}
        queue.close_at_end(ms(1001));
        assert!(queue.is_closed());
        assert_eq!((queue.dealt.offered, queue.dealt.dropped), (300, 0));
        let (mut queue, _give) = super::tests::queue(Schedule::closed(), |_| {});
        assert!(queue.take(ms(999)).is_some());
        queue.close_at_end(ms(1001));
        assert!(queue.is_closed() && queue.take(ms(1001)).is_none());
        assert_eq!((queue.dealt.offered, queue.dealt.dropped), (1, 0));
    }
}
