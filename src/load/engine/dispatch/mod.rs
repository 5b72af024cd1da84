//! The dispatcher of one worker, whatever its engine: gives what falls due to free lanes, rests
//! lanes that pause, and ends the run.
//!
//! A lane carries one request at a time, and is the place of one user where users decide what is
//! sent: a connection of `h1`, a slot of `reqwest`. An engine waits for what happens to its
//! requests and says so, then lets the dispatcher have its [turn](Dispatcher::turn). It is made
//! for each engine's lanes anew by the compiler, so that a request costs no indirect call.
//!
//! Must not: know sockets, wait, or allocate per request.

mod users;

use super::Worker;
use crate::load::queue::{Queue, Ticket};
use crate::load::record::Recorder;
use crate::load::stage::Stage;
use crate::load::{Control, Overload, Think, share};
use crate::model::{At, Interval};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long requests under way are waited for after a run was ended.
const GRACE: Duration = Duration::from_secs(2);
/// Longest pause between attempts of a lane that can't get an answer in a closed loop, where
/// failing at once would burn the recording and the CPU.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Requests begun on free lanes before those under way get their turn.
const BEGUN_IN_ONE_GO: u32 = 64;

/// What an engine has its requests carried by; numbered from 0.
pub(super) trait Lanes {
    /// How many there are.
    fn count(&self) -> usize;

    /// Makes one more; false when there can be no more.
    fn add(&mut self) -> bool;

    /// Whether a free lane's next request goes out without connecting first, as far as is known.
    fn is_connected(&self, lane: u32) -> bool;

    /// Begins a request on a free lane, at the instant told last. How it has ended, if it has.
    fn begin(&mut self, lane: u32, ticket: Ticket) -> Option<End>;

    /// A lane has nothing to do until its next request.
    fn has_nothing_to_do(&mut self, lane: u32);

    /// The user of a lane has left for good.
    fn hang_up(&mut self, lane: u32);

    /// The instant that was told last.
    fn now(&self) -> At;

    /// Reads the clock.
    fn tell_time(&mut self) -> At;

    /// Those who decide what is sent and judge what comes back.
    fn stage(&mut self) -> Option<&mut Stage>;

    /// What was counted so far, all of it.
    fn recorder(&mut self) -> &mut Recorder;
}

/// How a request has ended, as far as what its lane does next goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// With a whole response, whatever a check made of it.
    pub(super) answered: bool,
    /// Whose request it was.
    pub(super) client: u64,
}

/// See the top of the file.
pub(super) struct Dispatcher<L> {
    pub(super) lanes: L,
    /// Requests fall due whether or not a lane is free.
    is_open: bool,
    is_scripted: bool,
    think: Think,
    control: Arc<Control>,
    queue: Queue,
    /// How many lanes there may be.
    most: usize,
    /// Failures in a row of each lane, in a closed loop.
    failures: Vec<u8>,
    /// Free lanes that were connected when they became free, the warmest last.
    idle: Vec<u32>,
    /// Free lanes that were not.
    closed: Vec<u32>,
    /// Lanes that pause, by the instant they are free again.
    resting: BinaryHeap<Reverse<(At, u32)>>,
    /// Lanes that carry a request.
    busy: usize,
    /// How long before a request falls due the clock is watched instead of slept by, ns.
    watch_ns: i64,
    /// For the length of pauses.
    rng: fastrand::Rng,
    end: Option<At>,
    next_tick: At,
    closed_at: Option<At>,
}

impl<L: Lanes> Dispatcher<L> {
    /// The dispatcher of a worker whose run began at `start`; the lanes are
    /// [those of its plan](Worker::lanes).
    pub(super) fn new(worker: Worker, start: At, lanes: L, watch_ns: i64) -> Dispatcher<L> {
        let mine = worker.lanes();
        let Worker { index, plan, supply, control, .. } = worker;
        let most = match plan.policy.overload {
            Overload::Grow { most } => share(most, plan.threads, u32::from(index)).max(mine),
            _ => mine,
        };
        let room = mine as usize;
        let mut resting = BinaryHeap::with_capacity(room);
        let mut closed = Vec::with_capacity(room);
        for n in (0..mine).rev() {
            // All workers' lanes in turn, evenly over the ramp.
            let before = u64::from(n) * u64::from(plan.threads) + u64::from(index);
            let after = plan.policy.ramp.mul_f64(before as f64 / f64::from(plan.connections));
            if after.is_zero() { closed.push(n) } else { resting.push(Reverse((start + after, n))) }
        }
        let mut dispatcher = Dispatcher {
            lanes,
            is_open: plan.schedule.is_open(),
            is_scripted: plan.scripts.is_some(),
            think: plan.policy.think,
            control,
            queue: Queue::new(&plan, index, supply, start),
            most: most as usize,
            failures: vec![0; room],
            idle: Vec::with_capacity(room),
            closed,
            resting,
            busy: 0,
            watch_ns,
            rng: fastrand::Rng::with_seed(plan.schedule.seed().wrapping_add(u64::from(index) << 32)),
            end: plan.duration.map(|d| start + d),
            next_tick: next_tick(start),
            closed_at: None,
        };
        dispatcher.seat_users();
        dispatcher
    }

    /// All there is to do at the instant the lanes were told last, but for what happens to requests
    /// under way. Until when the engine may then wait, if nothing happens; `None`: the run is over.
    pub(super) fn turn(&mut self) -> Option<At> {
        let now = self.lanes.now();
        if self.closed_at.is_none() && self.control.stopped() {
            self.queue.close(now);
        }
        let more_due = self.queue.fall_due(now, self.free_or_new());
        self.wake_rested(now);
        let more_begun = self.begin_on_free();
        let now = self.lanes.now();
        self.queue.close_at_end(now);
        if now >= self.next_tick {
            self.hand_over(false);
            self.next_tick = next_tick(now);
        }
        if self.is_over(now) {
            return None;
        }
        Some(if more_due || more_begun { now } else { self.next_instant() })
    }

    /// After the last turn: says how the run ended and hands over what was counted.
    pub(super) fn finish(mut self) {
        if self.end.is_some_and(|end| self.lanes.now() >= end) {
            self.control.out_of_time.store(true, Ordering::Relaxed);
        }
        self.hand_over(true);
    }

    /// Whether requests are under way.
    pub(super) fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// A request has ended: its lane takes the next one at once, rests or is free.
    pub(super) fn ended(&mut self, lane: u32, End { answered, client }: End) {
        let n = lane as usize;
        self.busy -= 1;
        self.queue.ended(client);
        self.failures[n] = if answered { 0 } else { self.failures[n].saturating_add(1) };
        let pause = match (self.is_open, answered) {
            // Not at once after a failure: a flow would be gone through in one go, failing.
            (true, false) if self.is_scripted => Duration::from_millis(1),
            (true, _) => Duration::ZERO,
            (false, true) => self.think(),
            (false, false) => Duration::from_millis(1 << self.failures[n].min(10)).min(BACK_OFF).max(self.think()),
        };
        if !pause.is_zero() && !self.queue.is_closed() {
            return self.rest(lane, self.lanes.now() + pause);
        }
        if self.is_scripted {
            self.go_on(lane);
            return;
        }
        // Not after a failure: a queue would be gone through in one go, failing.
        if answered && let Some(ticket) = self.queue.take(self.lanes.now()) {
            if self.is_open {
                self.lanes.tell_time();
            }
            self.begin(lane, ticket);
            return;
        }
        self.set_free(lane);
    }

    fn think(&mut self) -> Duration {
        match self.think {
            Think::None => Duration::ZERO,
            think => think.draw(&mut self.rng),
        }
    }

    fn begin(&mut self, lane: u32, ticket: Ticket) {
        self.busy += 1;
        if let Some(end) = self.lanes.begin(lane, ticket) {
            self.ended(lane, end);
        }
    }

    /// Begins requests on free lanes; true: there are more of both.
    fn begin_on_free(&mut self) -> bool {
        if self.is_scripted {
            return self.begin_scripted();
        }
        for _ in 0..BEGUN_IN_ONE_GO {
            if self.free_or_new() == 0 {
                return false;
            }
            let Some(ticket) = self.queue.take(self.lanes.now()) else { return false };
            let Some(lane) = self.free() else {
                self.queue.dealt.dropped += 1;
                self.queue.ended(ticket.item().client);
                return false;
            };
            self.lanes.tell_time();
            self.begin(lane, ticket);
        }
        self.queue.wants_connection() || !self.is_open
    }

    /// How many lanes could take a request.
    fn free_or_new(&self) -> usize {
        self.idle.len() + self.closed.len() + (self.most - self.lanes.count())
    }

    /// A free lane: one that is connected if possible, of these the one used last; one beyond the
    /// plan if there is no other and the plan lets them grow.
    fn free(&mut self) -> Option<u32> {
        while let Some(lane) = self.idle.pop() {
            if self.lanes.is_connected(lane) {
                return Some(lane);
            }
            self.closed.push(lane); // closed while it was idle
        }
        if let Some(lane) = self.closed.pop() {
            return Some(lane);
        }
        let n = self.lanes.count();
        let lane = u32::try_from(n).ok().filter(|_| n < self.most)?;
        if !self.lanes.add() {
            self.most = n;
            return None;
        }
        self.failures.push(0);
        Some(lane)
    }

    fn wake_rested(&mut self, now: At) {
        while self.resting.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, lane))) = self.resting.pop() else { return };
            if self.is_scripted {
                self.go_on(lane);
            } else {
                self.set_free(lane);
            }
        }
    }

    /// The lane does nothing before `at`.
    fn rest(&mut self, lane: u32, at: At) {
        self.lanes.has_nothing_to_do(lane);
        self.resting.push(Reverse((at, lane)));
    }

    /// The lane can take whatever comes next.
    fn set_free(&mut self, lane: u32) {
        self.lanes.has_nothing_to_do(lane);
        let is_connected = self.lanes.is_connected(lane);
        if is_connected { &mut self.idle } else { &mut self.closed }.push(lane);
    }

    /// When something is to be done although nothing happens.
    fn next_instant(&mut self) -> At {
        let mut next = self.next_tick;
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
        let no_more = match self.is_scripted {
            false => self.queue.is_exhausted(),
            // In a closed loop users may leave before the requests are used up, and who has
            // arrived on a schedule goes through its requests although nobody else arrives.
            true if self.is_open => self.queue.is_closed() || (self.queue.is_exhausted() && self.users_are_done()),
            true => self.queue.is_exhausted() || self.users_are_done(),
        };
        (self.busy == 0 && no_more) || self.closed_at.is_some_and(|at| now >= at + GRACE)
    }

    fn hand_over(&mut self, last: bool) {
        let now = self.lanes.now();
        let dealt = std::mem::take(&mut self.queue.dealt);
        let queued = self.queue.waiting() as u64;
        let r = self.lanes.recorder();
        r.offered += dealt.offered;
        r.dropped += dealt.dropped;
        r.hand_over(now, queued, last);
    }
}

/// The tick of the session's clock after `now`, the same for all workers.
fn next_tick(now: At) -> At {
    At((now.0 / Interval::TICK_NS + 1) * Interval::TICK_NS)
}
