//! The `h1` engine: raw HTTP/1.1, one thread and one epoll per worker.
//!
//! A turn of the loop: what happened to sockets, requests that fall due, free connections,
//! time limits, then the wait for whichever comes first. A request on an open connection
//! costs one send(), one recv() and its share of an epoll_wait(), and allocates nothing.
//!
//! Must not: keep response bodies, or read the clock more often than the numbers need.

mod connection;
mod poll;
mod resolver;
mod scripted;
mod tls_stream;
mod transport;

use super::{Engine, Worker};
use crate::load::queue::{Queue, Ticket};
use crate::load::record::Recorder;
use crate::load::stage::Stage;
use crate::load::{Control, Overload, Think, share};
use crate::model::{At, Event, Fault, Interval};
use connection::{Connection, NEVER, Progress, Shared};
use poll::Poll;
use resolver::Resolver;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use transport::Dialer;

/// See the top of the file.
pub(super) struct H1;

/// How long requests under way are waited for after a run was ended.
const GRACE: Duration = Duration::from_secs(2);
/// Longest pause between attempts of a connection that can't be established in a closed
/// loop, where failing at once would burn the recording and the CPU.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Requests begun on free connections before events get their turn.
const BEGUN_IN_ONE_GO: u32 = 64;
/// How long before a request falls due a worker stops sleeping and watches the clock, ns: about
/// what waking takes. Measured (docs/measurements.md): it takes the send lag from 30 µs to under
/// 1 µs, and what it costs in CPU is what going to sleep would have cost.
const WATCH_NS: i64 = 30_000;

impl Engine for H1 {
    fn name(&self) -> &'static str {
        "h1"
    }

    fn about(&self) -> &'static str {
        "HTTP/1.1, keep-alive or a connection per request, one thread per worker"
    }

    fn work(&self, worker: Worker) {
        let poll = Poll::new(&worker.bell, worker.clock.origin_monotonic_ns());
        // Timers go off when they are due, not up to 50 µs later (PR_SET_TIMERSLACK).
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let Some(start) = worker.gate.arrive() else { return };
        let dialer = Dialer::new(worker.plan.way.clone(), usize::from(worker.index));
        let resolver =
            dialer.name().map(|(host, port)| Resolver::new(host, port, &worker.clock, &worker.bell)).transpose();
        match poll.and_then(|poll| Ok((poll, resolver?))) {
            Ok((poll, resolver)) => {
                let mut work = Loop::new(worker, poll, dialer, start);
                work.shared.resolver = resolver;
                work.run();
            }
            Err(e) => {
                // Out of descriptors before the first request: the run has one worker less.
                let _ = worker.out.send(Event::Fault(Fault {
                    at: start,
                    place: format!("load/worker {}", worker.index),
                    what: format!("the worker could not start: {e}"),
                    mend: Some("ulimit -n 65536".into()),
                }));
            }
        }
    }
}

/// One worker.
struct Loop {
    shared: Shared,
    control: Arc<Control>,
    queue: Queue,
    connections: Vec<Connection>,
    /// How many there may be.
    most: usize,
    /// Failures in a row of each connection, in a closed loop.
    failures: Vec<u8>,
    /// Free connections that were open when they became free, the warmest last.
    idle: Vec<u32>,
    /// Free connections that are not open.
    closed: Vec<u32>,
    /// Connections that pause, by the instant they are free again.
    resting: BinaryHeap<Reverse<(At, u32)>>,
    /// Connections that have more to read.
    unread: Vec<u32>,
    /// Connections that carry a request.
    busy: usize,
    /// How long before a request falls due the clock is watched instead of slept by, ns.
    watch_ns: i64,
    /// For the length of pauses.
    rng: fastrand::Rng,
    end: Option<At>,
    next_tick: At,
    next_sweep: At,
    closed_at: Option<At>,
}

impl Loop {
    fn new(worker: Worker, poll: Poll, dialer: Dialer, start: At) -> Loop {
        let Worker { index, plan, supply, clock, out, control, .. } = worker;
        let queue = Queue::new(&plan, index, supply, start);
        let end = plan.duration.map(|d| start + d);
        let mine = share(plan.connections, plan.threads, u32::from(index));
        let most = match plan.policy.overload {
            Overload::Grow { most } => share(most, plan.threads, u32::from(index)).max(mine),
            _ => mine,
        };
        let room = mine as usize;
        let mut resting = BinaryHeap::with_capacity(room);
        let mut closed = Vec::with_capacity(room);
        for n in (0..mine).rev() {
            // All workers' connections in turn, evenly over the ramp.
            let before = u64::from(n) * u64::from(plan.threads) + u64::from(index);
            let after = plan.policy.ramp.mul_f64(before as f64 / f64::from(plan.connections));
            if after.is_zero() { closed.push(n) } else { resting.push(Reverse((start + after, n))) }
        }
        // Only where a CPU is left for the target: it may run on this very machine.
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let watch_ns = if cpus > plan.threads as usize { WATCH_NS } else { 0 };
        let stage = Stage::new(&plan, index, room);
        let seed = plan.schedule.seed().wrapping_add(u64::from(index) << 32);
        Loop {
            shared: Shared::new(plan, clock, poll, Recorder::new(index, start, out), dialer, stage, mine),
            control,
            queue,
            connections: (0..mine).map(Connection::new).collect(),
            most: most as usize,
            failures: vec![0; room],
            idle: Vec::with_capacity(room),
            closed,
            resting,
            unread: Vec::new(),
            busy: 0,
            watch_ns,
            rng: fastrand::Rng::with_seed(seed),
            end,
            next_tick: next_tick(start),
            next_sweep: start,
            closed_at: None,
        }
    }

    fn run(mut self) {
        let mut events = Poll::events();
        self.seat_users();
        loop {
            for e in &events {
                let token = e.data.u64();
                let number = Connection::number_of(token);
                let progress = self.connections[number].on_event(token, e.flags, &mut self.shared);
                self.follow(number as u32, progress);
            }
            while let Some(answer) = self.shared.resolver.as_ref().and_then(Resolver::answer) {
                let number = Connection::number_of(answer.token);
                let progress = self.connections[number].resolved(&answer, &mut self.shared);
                self.follow(number as u32, progress);
            }
            for number in std::mem::take(&mut self.unread) {
                let progress = self.connections[number as usize].read_on(&mut self.shared);
                self.follow(number, progress);
            }
            let now = self.shared.tell_time();
            if self.closed_at.is_none() && self.control.stopped() {
                self.queue.close(now);
            }
            let more_due = self.queue.fall_due(now, self.free_or_new());
            self.wake_rested(now);
            let more_begun = self.begin_on_free();
            self.sweep();
            let now = self.shared.now;
            self.queue.close_at_end(now);
            if now >= self.next_tick {
                self.hand_over(false);
                self.next_tick = next_tick(now);
            }
            if self.is_over(now) {
                break;
            }
            let until = if more_due || more_begun || !self.unread.is_empty() { now } else { self.next_instant() };
            self.shared.poll.wait(&mut events, now, Some(until));
        }
        if self.end.is_some_and(|end| self.shared.now >= end) {
            self.control.out_of_time.store(true, Ordering::Relaxed);
        }
        self.hand_over(true);
    }

    /// What comes of a connection's step.
    fn follow(&mut self, number: u32, progress: Progress) {
        match progress {
            Progress::Waits => {}
            Progress::More => self.unread.push(number),
            Progress::Ended { answered, client } => self.ended(number, answered, client),
        }
    }

    /// A request has ended: the connection takes the next one at once, rests or is free.
    fn ended(&mut self, number: u32, answered: bool, client: u64) {
        let n = number as usize;
        self.busy -= 1;
        self.queue.ended(client);
        self.failures[n] = if answered { 0 } else { self.failures[n].saturating_add(1) };
        let pause = match (self.shared.is_open, answered) {
            // Not at once after a failure: a flow would be gone through in one go, failing.
            (true, false) if self.is_scripted() => Duration::from_millis(1),
            (true, _) => Duration::ZERO,
            (false, true) => self.think(),
            (false, false) => Duration::from_millis(1 << self.failures[n].min(10)).min(BACK_OFF).max(self.think()),
        };
        if !pause.is_zero() && !self.queue.is_closed() {
            return self.rest(number, self.shared.now + pause);
        }
        if self.is_scripted() {
            self.go_on(number);
            return;
        }
        // Not after a failure: a queue would be gone through in one go, failing.
        if answered && let Some(ticket) = self.queue.take(self.shared.now) {
            if self.shared.is_open {
                self.shared.tell_time();
            }
            self.begin(number, ticket);
            return;
        }
        self.set_free(number);
    }

    fn think(&mut self) -> Duration {
        match self.shared.plan.policy.think {
            Think::None => Duration::ZERO,
            think => think.draw(&mut self.rng),
        }
    }

    fn begin(&mut self, number: u32, ticket: Ticket) {
        self.busy += 1;
        let progress = self.connections[number as usize].begin(ticket, &mut self.shared);
        self.follow(number, progress);
    }

    /// Begins requests on free connections; true: there are more of both.
    fn begin_on_free(&mut self) -> bool {
        if self.is_scripted() {
            return self.begin_scripted();
        }
        for _ in 0..BEGUN_IN_ONE_GO {
            if self.free_or_new() == 0 {
                return false;
            }
            let Some(ticket) = self.queue.take(self.shared.now) else { return false };
            let Some(number) = self.free() else { return false };
            self.shared.tell_time();
            self.begin(number, ticket);
        }
        self.queue.wants_connection() || !self.shared.is_open
    }

    /// How many connections could take a request.
    fn free_or_new(&self) -> usize {
        self.idle.len() + self.closed.len() + (self.most - self.connections.len())
    }

    /// A free connection: one that is open if possible, of these the one used last; one beyond
    /// the plan if there is no other and the plan lets them grow.
    fn free(&mut self) -> Option<u32> {
        while let Some(number) = self.idle.pop() {
            if self.connections[number as usize].is_open() {
                return Some(number);
            }
            self.closed.push(number); // closed while it was idle
        }
        if let Some(number) = self.closed.pop() {
            return Some(number);
        }
        let number = u32::try_from(self.connections.len()).ok().filter(|n| (*n as usize) < self.most)?;
        self.connections.push(Connection::new(number));
        self.shared.deadlines.push(NEVER);
        self.failures.push(0);
        Some(number)
    }

    fn wake_rested(&mut self, now: At) {
        while self.resting.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, number))) = self.resting.pop() else { return };
            if self.is_scripted() {
                self.go_on(number);
            } else {
                self.set_free(number);
            }
        }
    }

    /// Ends requests whose time is up.
    fn sweep(&mut self) {
        let now = self.shared.now;
        if now < self.next_sweep {
            return;
        }
        let mut earliest = NEVER;
        for n in 0..self.connections.len() {
            let deadline = self.shared.deadlines[n];
            if deadline <= now {
                let progress = self.connections[n].time_out(&mut self.shared);
                if progress == Progress::Waits {
                    self.shared.deadlines[n] = NEVER;
                }
                self.follow(n as u32, progress);
            } else {
                earliest = earliest.min(deadline);
            }
        }
        // Whoever gets a time limit from now on has at least the shortest there is.
        let shortest = self.shared.plan.timeout.min(self.shared.plan.connect_timeout);
        let pause = (shortest / 20).clamp(Duration::from_millis(1), Duration::from_millis(50));
        self.next_sweep = earliest.min(now + shortest).max(now + pause);
    }

    /// When something is to be done although nothing happens.
    fn next_instant(&mut self) -> At {
        let mut next = self.next_tick;
        if self.busy > 0 {
            next = next.min(self.next_sweep);
        }
        if let Some(due) = self.queue.next_due() {
            next = next.min(due.moved(-self.watch_ns));
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
            // In a closed loop users may leave before the requests are used up, and who has
            // arrived on a schedule goes through its requests although nobody else arrives.
            true if self.shared.is_open => {
                self.queue.is_closed() || (self.queue.is_exhausted() && self.users_are_done())
            }
            true => self.queue.is_exhausted() || self.users_are_done(),
        };
        (self.busy == 0 && no_more) || self.closed_at.is_some_and(|at| now >= at + GRACE)
    }

    fn hand_over(&mut self, last: bool) {
        let dealt = std::mem::take(&mut self.queue.dealt);
        let queued = self.queue.waiting() as u64;
        let r = &mut self.shared.recorder;
        r.offered += dealt.offered;
        r.dropped += dealt.dropped;
        r.hand_over(self.shared.now, queued, last);
    }
}

/// The tick of the session's clock after `now`, the same for all workers.
fn next_tick(now: At) -> At {
    At((now.0 / Interval::TICK_NS + 1) * Interval::TICK_NS)
}
