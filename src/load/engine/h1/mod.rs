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
mod tls_stream;
mod transport;

use super::dispatch::{Dispatcher, End, Lanes};
use super::{Engine, Worker};
use crate::load::queue::Ticket;
use crate::load::record::Recorder;
use crate::load::stage::Stage;
use crate::model::{At, Event, Fault};
use connection::{Connection, NEVER, Progress, Shared};
use poll::Poll;
use resolver::Resolver;
use std::num::NonZeroU64;
use std::time::Duration;
use transport::Dialer;

/// See the top of the file.
pub(super) struct H1;

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
                // Only where a CPU is left for the target: it may run on this very machine.
                let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
                let watch_ns = if cpus > worker.plan.threads as usize { WATCH_NS } else { 0 };
                let connections = Connections::new(&worker, poll, dialer, resolver, start);
                Dispatcher::new(worker, start, connections, watch_ns).run();
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

/// The connections of one worker.
struct Connections {
    shared: Shared,
    all: Vec<Connection>,
    /// Those that have more to read.
    unread: Vec<u32>,
    /// When time limits are looked at next.
    next_sweep: At,
}

impl Connections {
    fn new(worker: &Worker, poll: Poll, dialer: Dialer, resolver: Option<Resolver>, start: At) -> Connections {
        let (plan, mine) = (&worker.plan, worker.lanes());
        let recorder = Recorder::new(worker.index, start, worker.out.clone());
        let stage = Stage::new(plan, worker.index, mine as usize);
        let mut shared = Shared::new(plan.clone(), worker.clock.clone(), poll, recorder, dialer, stage, mine);
        shared.resolver = resolver;
        Connections { shared, all: (0..mine).map(Connection::new).collect(), unread: Vec::new(), next_sweep: start }
    }

    /// What comes of a connection's step.
    fn follow(&mut self, number: u32, progress: Progress) -> Option<End> {
        match progress {
            Progress::Waits => None,
            Progress::More => {
                self.unread.push(number);
                None
            }
            Progress::Ended(end) => Some(end),
        }
    }
}

impl Lanes for Connections {
    fn count(&self) -> usize {
        self.all.len()
    }

    fn add(&mut self) -> bool {
        let Ok(number) = u32::try_from(self.all.len()) else { return false };
        self.all.push(Connection::new(number));
        self.shared.deadlines.push(NEVER);
        true
    }

    fn is_connected(&self, lane: u32) -> bool {
        self.all[lane as usize].is_open()
    }

    fn begin(&mut self, lane: u32, ticket: Ticket) -> Option<End> {
        let progress = self.all[lane as usize].begin(ticket, &mut self.shared);
        self.follow(lane, progress)
    }

    fn has_nothing_to_do(&mut self, lane: u32) {
        self.shared.deadlines[lane as usize] = NEVER;
    }

    fn hang_up(&mut self, lane: u32) {
        self.all[lane as usize].hang_up();
    }

    fn now(&self) -> At {
        self.shared.now
    }

    fn tell_time(&mut self) -> At {
        self.shared.tell_time()
    }

    fn stage(&mut self) -> Option<&mut Stage> {
        self.shared.stage.as_mut()
    }

    fn recorder(&mut self) -> &mut Recorder {
        &mut self.shared.recorder
    }
}

impl Dispatcher<Connections> {
    fn run(mut self) {
        let mut events = Poll::events();
        loop {
            let told = self.lanes.now();
            for e in &events {
                let token = e.data.u64();
                let number = Connection::number_of(token);
                let progress = self.lanes.all[number].on_event(token, e.flags, &mut self.lanes.shared);
                self.follow(number as u32, progress);
            }
            while let Some(answer) = self.lanes.shared.resolver.as_ref().and_then(Resolver::answer) {
                let number = Connection::number_of(answer.token);
                let progress = self.lanes.all[number].resolved(&answer, &mut self.lanes.shared);
                self.follow(number as u32, progress);
            }
            for number in std::mem::take(&mut self.lanes.unread) {
                let progress = self.lanes.all[number as usize].read_on(&mut self.lanes.shared);
                self.follow(number, progress);
            }
            // In a closed loop the instant of an answer just read is the present one, as far as anything
            // below goes by it.
            if self.lanes.shared.is_open || self.lanes.now() == told {
                self.lanes.tell_time();
            }
            self.sweep();
            let Some(until) = self.turn() else { break };
            let now = self.lanes.now();
            let until = match () {
                _ if !self.lanes.unread.is_empty() => now,
                _ if self.is_busy() => until.min(self.lanes.next_sweep),
                _ => until,
            };
            self.lanes.shared.poll.wait(&mut events, now, Some(until));
        }
        self.finish();
    }

    fn follow(&mut self, number: u32, progress: Progress) {
        if let Some(end) = self.lanes.follow(number, progress) {
            self.ended(number, end);
        }
    }

    /// Ends requests whose time is up.
    fn sweep(&mut self) {
        let now = self.lanes.now();
        if now < self.lanes.next_sweep {
            return;
        }
        let mut earliest = NEVER;
        for n in 0..self.lanes.all.len() {
            let deadline = self.lanes.shared.deadlines[n];
            if deadline <= now {
                let progress = self.lanes.all[n].time_out(&mut self.lanes.shared);
                if progress == Progress::Waits {
                    self.lanes.shared.deadlines[n] = NEVER;
                }
                self.follow(n as u32, progress);
            } else {
                earliest = earliest.min(deadline);
            }
        }
        // Whoever gets a time limit from now on has at least the shortest there is.
        let shortest = self.lanes.shared.plan.timeout.min(self.lanes.shared.plan.connect_timeout);
        let pause = (shortest / 20).clamp(Duration::from_millis(1), Duration::from_millis(50));
        self.lanes.next_sweep = earliest.min(now + shortest).max(now + pause);
    }
}
