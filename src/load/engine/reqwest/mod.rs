//! The `reqwest` engine: HTTP/2, proxies, redirects and cookies. One thread and one tokio
//! runtime per worker; a dispatcher on it takes what falls due and begins a task for each request.
//!
//! A slot is the place of one request under way, or of one user: the plan's connections are
//! slots here. Over HTTP/1.1 each slot has a client, and so a connection, of its own; over HTTP/2
//! several slots share one.
//!
//! Must not: keep response bodies, or decide when a request falls due.

mod call;
mod client;
mod link;
mod message;
mod users;
mod verdict;
mod wait;

use super::{Engine, Worker};
use crate::clock::Clock;
use crate::load::queue::{Queue, Ticket};
use crate::load::record::{Ended, Recorder};
use crate::load::stage::{Kept, Stage};
use crate::load::{Control, Overload, Plan, Think, share};
use crate::model::{At, Event, Fault, Interval, Outcome};
use call::{Call, Done};
use client::{Client, Maker};
use message::Origin;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::{Id, JoinError, JoinSet};
use wait::Wait;

/// See the top of the file.
pub(super) struct Reqwest;

/// How long requests under way are waited for after a run was ended.
const GRACE: Duration = Duration::from_secs(2);
/// Longest pause between attempts of a slot that can't get an answer in a closed loop.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Requests begun before those under way get their turn.
const BEGUN_IN_ONE_GO: u32 = 64;
/// EIO: what a request is counted under whose task has panicked.
const PANICKED: i32 = 5;

impl Engine for Reqwest {
    fn name(&self) -> &'static str {
        "reqwest"
    }

    fn about(&self) -> &'static str {
        "HTTP/2, proxies, redirects and cookies, one thread per worker"
    }

    fn work(&self, worker: Worker) {
        let (index, out, gate) = (worker.index, worker.out.clone(), worker.gate.clone());
        // Timers go off when they are due, not up to 50 µs later (PR_SET_TIMERSLACK).
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let ready = || -> Result<_, String> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
            let runtime = runtime.map_err(|e| e.to_string())?;
            let inside = runtime.enter();
            let origin_ns = worker.clock.origin_monotonic_ns();
            let wait = Wait::new(&worker.bell, origin_ns).map_err(|e| e.to_string())?;
            let maker = Maker::new(worker.plan.clone(), worker.clock.clone(), usize::from(index));
            let mine = share(worker.plan.connections, worker.plan.threads, u32::from(index));
            let clients: Result<Vec<_>, String> =
                (0..mine.div_ceil(maker.sharing())).map(|n| maker.client(n as usize, false).map(Arc::new)).collect();
            let clients = clients?;
            drop(inside);
            Ok((runtime, wait, maker, clients))
        };
        let ready = ready();
        let Some(start) = gate.arrive() else { return };
        match ready {
            Ok((runtime, wait, maker, clients)) => {
                runtime.block_on(Loop::new(worker, wait, maker, clients, start).run());
                // A name that is still being looked up is not waited for.
                runtime.shutdown_background();
            }
            Err(why) => {
                let place = format!("load/worker {index}");
                let what = crate::model::clean(&format!("the worker could not start: {why}"), 300);
                let _ = out.send(Event::Fault(Fault { at: start, place, what, mend: None }));
            }
        }
    }
}

/// The place of one request under way.
#[derive(Default)]
struct Slot {
    /// What is under way: its task, its request, when it was begun.
    call: Option<(Id, Ticket, At)>,
    /// Failures in a row, in a closed loop.
    failures: u8,
    kept: Option<Box<Kept>>,
}

/// One worker.
struct Loop {
    plan: Arc<Plan>,
    /// Requests fall due whether or not a slot is free.
    is_open: bool,
    clock: Clock,
    control: Arc<Control>,
    wait: Wait,
    queue: Queue,
    recorder: Recorder,
    maker: Maker,
    origin: Arc<Origin>,
    clients: Vec<Arc<Client>>,
    slots: Vec<Slot>,
    /// How many there may be.
    most: usize,
    /// How many the plan has.
    planned: usize,
    /// Free slots, the one used last at the end.
    free: Vec<u32>,
    /// Slots that pause, by the instant they are free again.
    resting: BinaryHeap<Reverse<(At, u32)>>,
    calls: JoinSet<Done>,
    /// Slots with a request under way.
    busy: usize,
    stage: Option<Stage>,
    rng: fastrand::Rng,
    /// Outcomes whose reason was told, and clients that could not be made.
    told: Vec<Outcome>,
    now: At,
    end: Option<At>,
    next_tick: At,
    closed_at: Option<At>,
}

impl Loop {
    fn new(worker: Worker, wait: Wait, maker: Maker, clients: Vec<Arc<Client>>, start: At) -> Loop {
        let Worker { index, plan, supply, clock, out, control, .. } = worker;
        let mine = share(plan.connections, plan.threads, u32::from(index));
        let most = match plan.policy.overload {
            Overload::Grow { most } => share(most, plan.threads, u32::from(index)).max(mine),
            _ => mine,
        };
        let mut resting = BinaryHeap::new();
        let mut free = Vec::with_capacity(mine as usize);
        for n in (0..mine).rev() {
            // All workers' slots in turn, evenly over the ramp.
            let before = u64::from(n) * u64::from(plan.threads) + u64::from(index);
            let after = plan.policy.ramp.mul_f64(before as f64 / f64::from(plan.connections));
            if after.is_zero() { free.push(n) } else { resting.push(Reverse((start + after, n))) }
        }
        Loop {
            is_open: plan.schedule.is_open(),
            wait,
            queue: Queue::new(&plan, index, supply, start),
            recorder: Recorder::new(index, start, out),
            origin: Arc::new(maker.origin.clone()),
            maker,
            clients,
            slots: (0..mine).map(|_| Slot::default()).collect(),
            most: most as usize,
            planned: mine as usize,
            free,
            resting,
            calls: JoinSet::new(),
            busy: 0,
            stage: Stage::new(&plan, index, mine as usize),
            rng: fastrand::Rng::with_seed(plan.schedule.seed().wrapping_add(u64::from(index) << 32)),
            told: Vec::new(),
            now: clock.now(),
            end: plan.duration.map(|d| start + d),
            next_tick: next_tick(start),
            closed_at: None,
            plan,
            clock,
            control,
        }
    }

    async fn run(mut self) {
        let mut ended: Vec<Result<Done, JoinError>> = Vec::new();
        self.seat_users();
        loop {
            for done in ended.drain(..) {
                self.take_end(done);
            }
            let now = self.tell_time();
            if self.closed_at.is_none() && self.control.stopped() {
                self.queue.close(now);
            }
            let more_due = self.queue.fall_due(now, self.free_or_new());
            self.wake_rested(now);
            let more_begun = self.begin_on_free();
            let now = self.now;
            self.queue.close_at_end(now);
            if now >= self.next_tick {
                self.hand_over(false);
                self.next_tick = next_tick(now);
            }
            if self.is_over(now) {
                break;
            }
            let until = if more_due || more_begun { now } else { self.next_instant() };
            self.wait.wait(&mut self.calls, &mut ended, now, until).await;
        }
        if self.end.is_some_and(|end| self.now >= end) {
            self.control.out_of_time.store(true, Ordering::Relaxed);
        }
        self.abandon();
        self.hand_over(true);
    }

    fn tell_time(&mut self) -> At {
        self.now = self.clock.now();
        self.now
    }

    /// Requests that are given up in mid-air were sent if their connections were there.
    fn abandon(&mut self) {
        for (n, slot) in self.slots.iter().enumerate().filter(|(_, s)| s.call.is_some()) {
            let link = &self.clients[n / self.maker.sharing() as usize].link;
            if slot.call.is_some() && link.established().is_some() && !link.is_under_way() {
                self.recorder.sent += 1;
            }
        }
        self.calls.abort_all();
    }

    /// Begins a request in a free slot.
    fn begin(&mut self, slot: u32, ticket: Ticket) {
        let n = slot as usize;
        let lag_ns = self.is_open.then(|| self.now.since_ns(ticket.due));
        self.recorder.begun(lag_ns);
        let place = &mut self.slots[n];
        if let Some(stage) = &self.stage {
            stage.keep(slot, &mut place.kept);
        }
        let call = Call {
            slot,
            ticket: ticket.clone(),
            client: self.clients[n / self.maker.sharing() as usize].clone(),
            origin: self.origin.clone(),
            plan: self.plan.clone(),
            clock: self.clock.clone(),
            begun: self.now,
            kept: place.kept.take(),
        };
        let id = self.calls.spawn(call.make()).id();
        place.call = Some((id, ticket, self.now));
        self.busy += 1;
    }

    /// A task has ended.
    fn take_end(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(done) => self.ended(done),
            Err(e) => {
                let is_it = |s: &Slot| s.call.as_ref().is_some_and(|(id, ..)| *id == e.id());
                let Some(slot) = self.slots.iter().position(is_it) else { return };
                let (outcome, end) = (Outcome::Errno(PANICKED), self.tell_time());
                let why = Some(format!("a request ended in a mistake of ours: {e}"));
                let (sent, answered, kept) = (None, None, None);
                let slot = slot as u32;
                self.ended(Done { slot, outcome, sent, answered, end, retried: false, received_bytes: 0, why, kept });
            }
        }
    }

    /// Counts the end of a request; its slot takes the next one at once, rests or is free.
    fn ended(&mut self, done: Done) {
        let n = done.slot as usize;
        let Some((_, ticket, _)) = self.slots[n].call.take() else { return };
        self.busy -= 1;
        let Done { slot, outcome, sent, answered, end, retried, received_bytes, why, kept } = done;
        let item = ticket.item();
        if sent.is_some() {
            self.recorder.sent += 1;
            self.recorder.sent_bytes += ticket.wire().len() as u64 * (1 + u64::from(retried));
        }
        self.recorder.retried += u64::from(retried && sent.is_some());
        self.recorder.received_bytes += received_bytes;
        let outcome = match (outcome, &mut self.stage) {
            (Outcome::Status(status), Some(stage)) => {
                stage.answered(slot, status, item.recorded_status, kept.as_deref())
            }
            (failed, Some(stage)) => {
                stage.unanswered(slot);
                failed
            }
            (outcome, None) => outcome,
        };
        self.slots[n].kept = kept;
        let (due, route, recorded_status) = (ticket.due, &item.route, item.recorded_status);
        self.recorder.ended(&Ended { outcome, due, sent, answered, end, route, recorded_status });
        if let Some(why) = why.filter(|_| !self.told.contains(&outcome)) {
            self.told.push(outcome);
            let what = match outcome {
                Outcome::Tls => format!("the TLS handshake failed: {why}"),
                Outcome::Proxy => format!("the proxy gives no connection: {why}"),
                Outcome::Errno(verdict::UNSENDABLE) => format!("a request that can't be sent by this engine: {why}"),
                outcome => format!("the first {outcome}: {why}"),
            };
            self.recorder.tell_fault(end, what);
        }
        self.queue.ended(item.client);
        let answered = matches!(outcome, Outcome::Status(_) | Outcome::Check(_));
        self.go_on_after(slot, answered);
    }

    fn go_on_after(&mut self, slot: u32, answered: bool) {
        let place = &mut self.slots[slot as usize];
        place.failures = if answered { 0 } else { place.failures.saturating_add(1) };
        let failures = place.failures.min(10);
        let now = self.tell_time();
        let pause = match (self.is_open, answered) {
            // Not at once after a failure: a flow would be gone through in one go, failing.
            (true, false) if self.is_scripted() => Duration::from_millis(1),
            (true, _) => Duration::ZERO,
            (false, true) => self.think(),
            (false, false) => Duration::from_millis(1 << failures).min(BACK_OFF).max(self.think()),
        };
        if !pause.is_zero() && !self.queue.is_closed() {
            self.resting.push(Reverse((now + pause, slot)));
        } else if self.is_scripted() {
            self.go_on(slot);
        } else {
            self.free.push(slot);
        }
    }

    fn think(&mut self) -> Duration {
        match self.plan.policy.think {
            Think::None => Duration::ZERO,
            think => think.draw(&mut self.rng),
        }
    }

    /// Begins requests in free slots; true: there are more of both.
    fn begin_on_free(&mut self) -> bool {
        if self.is_scripted() {
            return self.begin_scripted();
        }
        for _ in 0..BEGUN_IN_ONE_GO {
            if self.free_or_new() == 0 {
                return false;
            }
            let now = self.tell_time();
            let Some(ticket) = self.queue.take(now) else { return false };
            let Some(slot) = self.free_slot() else { return false };
            self.begin(slot, ticket);
        }
        self.queue.wants_connection() || !self.is_open
    }

    /// How many slots could take a request.
    fn free_or_new(&self) -> usize {
        self.free.len() + (self.most - self.slots.len())
    }

    /// A free slot, the one used last if possible; one beyond the plan if there is no other and
    /// the plan lets them grow.
    fn free_slot(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        let n = self.slots.len();
        if n >= self.most {
            return None;
        }
        let of_client = n / self.maker.sharing() as usize;
        if of_client >= self.clients.len() {
            match self.maker.client(of_client, n >= self.planned) {
                Ok(client) => self.clients.push(Arc::new(client)),
                Err(why) => {
                    self.recorder.tell_fault(self.now, format!("no more connections can be made: {why}"));
                    self.most = n;
                    return None;
                }
            }
        }
        self.slots.push(Slot::default());
        u32::try_from(n).ok()
    }

    fn wake_rested(&mut self, now: At) {
        while self.resting.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, slot))) = self.resting.pop() else { return };
            if self.is_scripted() {
                self.go_on(slot);
            } else {
                self.free.push(slot);
            }
        }
    }

    /// When something is to be done although nothing happens.
    fn next_instant(&mut self) -> At {
        let mut next = self.next_tick;
        if let Some(due) = self.queue.next_due() {
            next = next.min(due);
        }
        if let Some(Reverse((at, _))) = self.resting.peek() {
            next = next.min(*at);
        }
        let over = self.closed_at.map_or(self.queue.closes_at(), |at| Some(at + GRACE));
        over.map_or(next, |over| next.min(over))
    }

    /// Whether the recording is at its end, or the run was ended, and nothing is under way
    /// or was waited for long enough.
    fn is_over(&mut self, now: At) -> bool {
        if self.queue.is_closed() && self.closed_at.is_none() {
            self.closed_at = Some(now);
        }
        let no_more = match self.is_scripted() {
            false => self.queue.is_exhausted(),
            true if self.is_open => self.queue.is_closed() || (self.queue.is_exhausted() && self.users_are_done()),
            true => self.queue.is_exhausted() || self.users_are_done(),
        };
        (self.busy == 0 && no_more) || self.closed_at.is_some_and(|at| now >= at + GRACE)
    }

    fn hand_over(&mut self, last: bool) {
        let made = link::take(&self.maker.ledger);
        self.recorder.connections_opened += made.opened;
        self.recorder.grown += made.grown;
        for (phase, ns) in made.phases {
            self.recorder.phase(phase, ns);
        }
        let dealt = std::mem::take(&mut self.queue.dealt);
        let queued = self.queue.waiting() as u64;
        self.recorder.offered += dealt.offered;
        self.recorder.dropped += dealt.dropped;
        self.recorder.hand_over(self.now, queued, last);
    }
}

/// The tick of the session's clock after `now`, the same for all workers.
fn next_tick(now: At) -> At {
    At((now.0 / Interval::TICK_NS + 1) * Interval::TICK_NS)
}
