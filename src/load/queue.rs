//! A worker's requests on their way to its connections: those dealt ahead of time, those
//! due and waiting for a connection, and the connections waiting for a request.
//!
//! Lives on one thread; nothing here is shared or locked.
//!
//! Must not: touch sockets.

use super::arena::{Arena, Item};
use super::feeder::Batch;
use super::{Pace, Plan};
use crate::clock::Clock;
use crate::model::At;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

/// Requests kept at hand beyond the one next due.
const AT_HAND: usize = 128;
/// Requests that may fall due in one go before connections and timers get their turn: a rate
/// beyond what the CPU can do must not keep the run from sending, or from ending.
const IN_ONE_GO: u32 = 64;

/// One request to be sent.
pub(crate) struct Ticket {
    arena: Arc<Arena>,
    n: u32,
    /// When it falls due, or fell.
    pub(crate) due: At,
}

impl Ticket {
    pub(crate) fn item(&self) -> &Item {
        self.arena.item(self.n as usize)
    }

    pub(crate) fn wire(&self) -> &[u8] {
        self.arena.wire(self.item())
    }
}

/// Where a connection waits for a request, and where its time limit is watched.
#[derive(Default)]
pub(crate) struct Seat {
    ticket: RefCell<Option<Ticket>>,
    waker: RefCell<Option<Waker>>,
    parked: Cell<bool>,
    deadline: Cell<Option<At>>,
    expired: Cell<bool>,
}

impl Seat {
    /// Gives the connection until `deadline` for what it does next.
    pub(crate) fn limit(&self, deadline: At) {
        self.deadline.set(Some(deadline));
        self.expired.set(false);
    }

    /// Lifts the limit.
    pub(crate) fn unlimit(&self) {
        self.deadline.set(None);
        self.expired.set(false);
    }

    /// To be asked first in every poll of the connection: whether its time has run out.
    /// Otherwise it will be woken when it has.
    pub(crate) fn poll_expired(&self, cx: &Context<'_>) -> bool {
        if self.expired.get() {
            return true;
        }
        self.remember(cx);
        false
    }

    /// Ends the connection's wait when its deadline has passed.
    pub(crate) fn sweep(&self, now: At) {
        if self.deadline.get().is_some_and(|d| d <= now) && !self.expired.replace(true) {
            self.wake();
        }
    }

    fn remember(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    fn wake(&self) {
        if let Some(w) = &*self.waker.borrow() {
            w.wake_by_ref();
        }
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
    pace: Pace,
    worker: u64,
    workers: u64,
    start: At,
    /// No request falls due from here on.
    end: Option<At>,
    limit: usize,
    /// Requests of the whole run, when they were numbered.
    requests: Option<u64>,
    clock: Clock,
    inner: RefCell<Inner>,
    starved: Notify,
    pub(crate) dealt: RefCell<Dealt>,
}

struct Inner {
    supply: Receiver<Batch>,
    supply_ended: bool,
    upcoming: VecDeque<Batch>,
    /// Index of the next request in the first batch of `upcoming`.
    next: usize,
    at_hand: usize,
    taken: u64,
    waiting: VecDeque<Ticket>,
    idle: VecDeque<Rc<Seat>>,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(plan: &Plan, worker: u16, supply: Receiver<Batch>, start: At, clock: Clock) -> Queue {
        let workers = u64::from(plan.threads);
        Queue {
            pace: plan.pace,
            worker: u64::from(worker),
            workers,
            start,
            end: plan.duration.map(|d| start + d),
            requests: plan.requests,
            limit: usize::try_from(plan.queue.div_ceil(workers)).unwrap_or(usize::MAX),
            clock,
            inner: RefCell::new(Inner {
                supply,
                supply_ended: false,
                upcoming: VecDeque::new(),
                next: 0,
                at_hand: 0,
                taken: 0,
                waiting: VecDeque::new(),
                idle: VecDeque::new(),
                closed: false,
            }),
            starved: Notify::new(),
            dealt: RefCell::default(),
        }
    }

    /// The next request for a connection: at once when one is due, else when one falls due;
    /// `None` when there will be no more. `now`: an instant just read, if there is one.
    pub(crate) async fn take(&self, seat: &Rc<Seat>, now: Option<At>) -> Option<Ticket> {
        let mut now = now;
        poll_fn(|cx| {
            if let Some(ticket) = seat.ticket.borrow_mut().take() {
                return Poll::Ready(Some(ticket));
            }
            let inner = &mut *self.inner.borrow_mut();
            if inner.closed {
                return Poll::Ready(None);
            }
            if self.pace.is_open() {
                if let Some(ticket) = inner.waiting.pop_front() {
                    return Poll::Ready(Some(ticket));
                }
            } else {
                let now = now.take().unwrap_or_else(|| self.clock.now());
                if self.end.is_some_and(|end| now >= end) {
                    self.close_inner(inner);
                    return Poll::Ready(None);
                }
                if let Some(ticket) = inner.pop(now) {
                    self.dealt.borrow_mut().offered += 1;
                    if inner.at_hand > 0 {
                        inner.wake_idle(); // a batch that came past the supplier: it will not wake them
                    }
                    return Poll::Ready(Some(ticket));
                }
            }
            if inner.is_exhausted() {
                return Poll::Ready(None);
            }
            seat.remember(cx);
            if !seat.parked.replace(true) {
                inner.idle.push_back(seat.clone());
            }
            if !self.pace.is_open() {
                self.starved.notify_one();
            }
            Poll::Pending
        })
        .await
    }

    /// How many requests are due and wait for a connection.
    pub(crate) fn waiting(&self) -> u64 {
        self.inner.borrow().waiting.len() as u64
    }

    /// Ends the run for this worker: what waits is dropped, connections get no more.
    pub(crate) fn close(&self) {
        self.close_inner(&mut self.inner.borrow_mut());
    }

    fn close_inner(&self, inner: &mut Inner) {
        if !inner.closed {
            inner.closed = true;
            inner.supply.close();
            let missed = self.missed(inner);
            let mut dealt = self.dealt.borrow_mut();
            dealt.offered += missed;
            dealt.dropped += missed + inner.waiting.len() as u64;
            inner.waiting.clear();
        }
        inner.wake_idle();
    }

    /// Requests that the schedule had fall due and this worker did not get to: a client too
    /// slow for its rate must not look as if less had been asked of it.
    fn missed(&self, inner: &Inner) -> u64 {
        let now = self.clock.now();
        let until_ns = self.end.map_or(now, |end| end.min(now)).since_ns(self.start);
        match self.pace {
            Pace::Closed => 0,
            Pace::Rate { .. } if inner.supply_ended => 0,
            Pace::Rate { per_s } => {
                let fell_due = (until_ns as f64 * per_s / 1e9) as u64;
                let fell_due = self.requests.map_or(fell_due, |all| all.min(fell_due));
                let mine = fell_due / self.workers + u64::from(fell_due % self.workers > self.worker);
                mine.saturating_sub(inner.taken)
            }
            Pace::Recorded { .. } => inner.overdue(|ns| self.pace.due_ns(0, ns) < until_ns),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.borrow().closed
    }

    /// Keeps a closed loop supplied: waits for a batch whenever a connection found none.
    pub(crate) async fn supply_closed_loop(&self) {
        loop {
            self.starved.notified().await;
            if !self.receive().await {
                return;
            }
        }
    }

    /// Lets requests fall due on schedule, until there are no more. `sleep_until` waits for
    /// an instant.
    pub(crate) async fn pace(&self, mut sleep_until: impl AsyncFnMut(At)) {
        let mut in_one_go = 0;
        loop {
            let due = {
                let inner = &mut *self.inner.borrow_mut();
                if inner.closed {
                    return;
                }
                inner.fill();
                inner.peek().map(|(recorded_ns, taken)| {
                    let after_ns = self.pace.due_of(taken, self.worker, self.workers, recorded_ns);
                    At(self.start.0.saturating_add(after_ns))
                })
            };
            let Some(due) = due else {
                if !self.receive().await {
                    break;
                }
                continue;
            };
            if self.end.is_some_and(|end| due >= end) {
                break;
            }
            if due > self.clock.now() {
                in_one_go = 0;
                sleep_until(due).await;
                continue;
            }
            self.let_fall_due(due);
            in_one_go += 1;
            if in_one_go == IN_ONE_GO {
                in_one_go = 0;
                tokio::task::yield_now().await;
            }
        }
        // Nothing more falls due; what waits is still sent, then connections end.
        let inner = &mut *self.inner.borrow_mut();
        inner.supply_ended = true;
        inner.supply.close();
        inner.upcoming.clear();
        inner.at_hand = 0;
        inner.wake_idle();
    }

    fn let_fall_due(&self, due: At) {
        let inner = &mut *self.inner.borrow_mut();
        let Some(ticket) = inner.pop(due) else { return };
        let mut dealt = self.dealt.borrow_mut();
        dealt.offered += 1;
        if let Some(seat) = inner.idle.pop_front() {
            seat.parked.set(false);
            *seat.ticket.borrow_mut() = Some(ticket);
            seat.wake();
        } else if inner.waiting.len() < self.limit {
            inner.waiting.push_back(ticket);
        } else {
            dealt.dropped += 1;
        }
    }

    /// Waits for a batch from the feeder; false when there are no more.
    async fn receive(&self) -> bool {
        let batch = poll_fn(|cx| self.inner.borrow_mut().supply.poll_recv(cx)).await;
        let inner = &mut *self.inner.borrow_mut();
        match batch {
            Some(batch) => inner.push(batch),
            None => inner.supply_ended = true,
        }
        if !self.pace.is_open() {
            inner.wake_idle();
        }
        !inner.supply_ended
    }
}

impl Inner {
    fn push(&mut self, batch: Batch) {
        self.at_hand += batch.arena.len();
        self.upcoming.push_back(batch);
    }

    fn fill(&mut self) {
        while self.at_hand < AT_HAND && !self.supply_ended {
            match self.supply.try_recv() {
                Ok(batch) => self.push(batch),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.supply_ended = true,
            }
        }
    }

    /// The recorded time of the next request, and how many were taken before it.
    fn peek(&self) -> Option<(u64, u64)> {
        let batch = self.upcoming.front()?;
        Some((batch.base_ns + batch.arena.item(self.next).recorded_ns, self.taken))
    }

    fn pop(&mut self, due: At) -> Option<Ticket> {
        if self.upcoming.is_empty() {
            self.fill();
        }
        let batch = self.upcoming.front()?;
        let ticket = Ticket { arena: batch.arena.clone(), n: self.next as u32, due };
        self.next += 1;
        self.taken += 1;
        self.at_hand -= 1;
        if self.next == batch.arena.len() {
            self.upcoming.pop_front();
            self.next = 0;
        }
        Some(ticket)
    }

    /// How many of the requests at hand have a recorded time that `is_due`.
    fn overdue(&self, is_due: impl Fn(u64) -> bool) -> u64 {
        let mut skip = self.next;
        let mut count = 0;
        for batch in &self.upcoming {
            let items = std::mem::take(&mut skip)..batch.arena.len();
            count += items.filter(|n| is_due(batch.base_ns + batch.arena.item(*n).recorded_ns)).count() as u64;
        }
        count
    }

    fn is_exhausted(&self) -> bool {
        self.supply_ended && self.upcoming.is_empty() && self.waiting.is_empty()
    }

    #[inline]
    fn wake_idle(&mut self) {
        for seat in self.idle.drain(..) {
            seat.parked.set(false);
            seat.wake();
        }
    }
}
