//! The `reqwest` engine: HTTP/2, proxies, redirects and cookies. One thread and one tokio
//! runtime per worker; each request is a task on it.
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
mod verdict;
mod wait;

use super::dispatch::{Dispatcher, End, Lanes};
use super::{Engine, Worker};
use crate::clock::Clock;
use crate::load::Plan;
use crate::load::queue::Ticket;
use crate::load::record::{Ended, Recorder};
use crate::load::stage::{Kept, Stage};
use crate::model::{At, Event, Fault, Outcome};
use call::{Call, Done};
use client::{Client, Maker};
use message::Origin;
use std::num::NonZeroU64;
use std::sync::Arc;
use tokio::task::{Id, JoinError, JoinSet};
use wait::Wait;

/// See the top of the file.
pub(super) struct Reqwest;

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
            let clients: Result<Vec<_>, String> = (0..worker.lanes().div_ceil(maker.sharing()))
                .map(|n| maker.client(n as usize, false).map(Arc::new))
                .collect();
            let clients = clients?;
            drop(inside);
            Ok((runtime, wait, maker, clients))
        };
        let ready = ready();
        let Some(start) = gate.arrive() else { return };
        match ready {
            Ok((runtime, wait, maker, clients)) => {
                let slots = Slots::new(&worker, maker, clients, start);
                runtime.block_on(Dispatcher::new(worker, start, slots, 0).run(wait));
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
    /// What is under way: its task and its request.
    call: Option<(Id, Ticket)>,
    kept: Option<Box<Kept>>,
}

/// The slots of one worker.
struct Slots {
    plan: Arc<Plan>,
    /// Requests fall due whether or not a slot is free.
    is_open: bool,
    clock: Clock,
    recorder: Recorder,
    maker: Maker,
    origin: Arc<Origin>,
    clients: Vec<Arc<Client>>,
    all: Vec<Slot>,
    /// How many the plan has.
    planned: usize,
    calls: JoinSet<Done>,
    stage: Option<Stage>,
    /// Outcomes whose reason was told.
    told: Vec<Outcome>,
    now: At,
}

impl Slots {
    fn new(worker: &Worker, maker: Maker, clients: Vec<Arc<Client>>, start: At) -> Slots {
        let (plan, clock, planned) = (worker.plan.clone(), worker.clock.clone(), worker.lanes() as usize);
        Slots {
            is_open: plan.schedule.is_open(),
            recorder: Recorder::new(worker.index, start, worker.out.clone()),
            origin: Arc::new(maker.origin.clone()),
            maker,
            clients,
            all: (0..planned).map(|_| Slot::default()).collect(),
            planned,
            calls: JoinSet::new(),
            stage: Stage::new(&plan, worker.index, planned),
            told: Vec::new(),
            now: clock.now(),
            plan,
            clock,
        }
    }

    /// Which client sends the requests of a slot.
    fn client_of(&self, slot: usize) -> usize {
        slot / self.maker.sharing() as usize
    }

    /// Requests that are given up in mid-air were sent if their connections were there.
    fn abandon(&mut self) {
        for n in (0..self.all.len()).filter(|n| self.all[*n].call.is_some()) {
            let link = &self.clients[self.client_of(n)].link;
            if link.established().is_some() && !link.is_under_way() {
                self.recorder.sent += 1;
            }
        }
        self.calls.abort_all();
    }

    /// A task has ended: its slot, and how.
    fn take_end(&mut self, done: Result<Done, JoinError>) -> Option<(u32, End)> {
        match done {
            Ok(done) => self.ended(done),
            Err(e) => {
                let is_it = |s: &Slot| s.call.as_ref().is_some_and(|(id, _)| *id == e.id());
                let slot = self.all.iter().position(is_it)? as u32;
                let (outcome, end) = (Outcome::Errno(PANICKED), self.tell_time());
                let why = Some(format!("a request ended in a mistake of ours: {e}"));
                let (sent, answered, kept) = (None, None, None);
                self.ended(Done { slot, outcome, sent, answered, end, retried: false, received_bytes: 0, why, kept })
            }
        }
    }

    /// Counts the end of a request.
    fn ended(&mut self, done: Done) -> Option<(u32, End)> {
        let n = done.slot as usize;
        let (_, ticket) = self.all[n].call.take()?;
        let Done { slot, outcome, sent, answered, end, retried, received_bytes, why, kept } = done;
        let item = ticket.item();
        if sent.is_some() {
            self.recorder.sent += 1;
            self.recorder.sent_bytes += ticket.wire().len() as u64 * (1 + u64::from(retried));
        }
        self.recorder.retried += u64::from(retried && sent.is_some());
        self.recorder.received_bytes += received_bytes;
        let outcome = match (outcome, &mut self.stage) {
            (Outcome::Status(status), Some(stage)) => stage.answered(slot, status, item, kept.as_deref()),
            (failed, Some(stage)) => {
                stage.unanswered(slot);
                failed
            }
            (outcome, None) => outcome,
        };
        self.all[n].kept = kept;
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
        self.tell_time();
        let answered = matches!(outcome, Outcome::Status(_) | Outcome::Check(_));
        Some((slot, End { answered, client: item.client }))
    }
}

impl Lanes for Slots {
    fn count(&self) -> usize {
        self.all.len()
    }

    fn add(&mut self) -> bool {
        let n = self.all.len();
        if self.client_of(n) >= self.clients.len() {
            match self.maker.client(self.client_of(n), n >= self.planned) {
                Ok(client) => self.clients.push(Arc::new(client)),
                Err(why) => {
                    self.recorder.tell_fault(self.now, format!("no more connections can be made: {why}"));
                    return false;
                }
            }
        }
        self.all.push(Slot::default());
        true
    }

    /// What a client does with its connections is its own affair.
    fn is_connected(&self, _: u32) -> bool {
        true
    }

    fn begin(&mut self, slot: u32, ticket: Ticket) -> Option<End> {
        let n = slot as usize;
        let lag_ns = self.is_open.then(|| self.now.since_ns(ticket.due));
        self.recorder.begun(lag_ns);
        let client = self.clients[self.client_of(n)].clone();
        let place = &mut self.all[n];
        if let Some(stage) = &self.stage {
            stage.keep(slot, &mut place.kept);
        }
        let call = Call {
            slot,
            ticket: ticket.clone(),
            client,
            origin: self.origin.clone(),
            plan: self.plan.clone(),
            clock: self.clock.clone(),
            begun: self.now,
            kept: place.kept.take(),
        };
        place.call = Some((self.calls.spawn(call.make()).id(), ticket));
        None
    }

    fn has_nothing_to_do(&mut self, _: u32) {}

    fn hang_up(&mut self, _: u32) {}

    fn now(&self) -> At {
        self.now
    }

    fn tell_time(&mut self) -> At {
        self.now = self.clock.now();
        self.now
    }

    fn stage(&mut self) -> Option<&mut Stage> {
        self.stage.as_mut()
    }

    fn recorder(&mut self) -> &mut Recorder {
        let made = link::take(&self.maker.ledger);
        self.recorder.connections_opened += made.opened;
        self.recorder.grown += made.grown;
        for (phase, ns) in made.phases {
            self.recorder.phase(phase, ns);
        }
        &mut self.recorder
    }
}

impl Dispatcher<Slots> {
    async fn run(mut self, mut wait: Wait) {
        let mut ended: Vec<Result<Done, JoinError>> = Vec::new();
        loop {
            for done in ended.drain(..) {
                if let Some((slot, end)) = self.lanes.take_end(done) {
                    self.ended(slot, end);
                }
            }
            self.lanes.tell_time();
            let Some(until) = self.turn() else { break };
            let now = self.lanes.now();
            wait.wait(&mut self.lanes.calls, &mut ended, now, until).await;
        }
        self.lanes.abandon();
        self.finish();
    }
}
