//! The feeder thread: reads recorded requests, renders them and deals them to the workers
//! ahead of time, so that no worker ever parses or formats.
//!
//! Must not: decide when a request is sent; workers own the schedule.

use super::arena::Arena;
use super::supply::{Batch, Giver, Part, Refused};
use super::{Control, Plan, RequestSource};
use crate::clock::Clock;
use crate::model::{At, Body, Event, Fault, Method, Request, Route};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// Requests in a batch once the run has got going; the first batches are small so that the
/// first requests leave at once. Each time the feeder is woken it takes a CPU from the load or its target.
const BATCH: usize = 512;
/// The same of a kept recording, which costs nothing to hold.
const KEPT_BATCH: usize = 2048;
/// The same where a number of requests ends the run: a worker must not be left with a long last batch.
const COUNTED_BATCH: usize = 128;
/// How long a feeder for which no worker has room leaves them alone.
const LEAST_REST: Duration = Duration::from_millis(1);
const MOST_REST: Duration = Duration::from_millis(10);
/// A recording whose rendered form is smaller than this is rendered once and kept for its
/// repeats, bytes.
const KEEP_BYTES: usize = 64 << 20;
/// How often the counts of the recording are told, ns.
const COUNTS_EVERY_NS: u64 = 500_000_000;

/// The feeder's state.
pub(super) struct Feeder {
    plan: Arc<Plan>,
    source: Box<dyn RequestSource>,
    supplies: Vec<Giver>,
    control: Arc<Control>,
    clock: Clock,
    out: SyncSender<Event>,
    told: At,
    repeats: u64,
    dealt: u64,
    kept: Option<Vec<Kept>>,
    kept_bytes: usize,
    /// That requests whose clients were to be kept apart name none was told.
    told_nobody: bool,
}

/// A batch of the first pass, for the passes to come.
struct Kept {
    /// The worker that was dealt it.
    worker: usize,
    /// How many requests of the pass that worker had been dealt before.
    before: u64,
    arena: Arc<Arena>,
}

/// The run is over, whoever ended it.
struct Over;

impl Feeder {
    pub(super) fn new(
        plan: Arc<Plan>,
        source: Box<dyn RequestSource>,
        supplies: Vec<Giver>,
        control: Arc<Control>,
        clock: Clock,
        out: SyncSender<Event>,
    ) -> Feeder {
        let kept = plan.repeat.then(Vec::new);
        Feeder {
            plan,
            source,
            supplies,
            control,
            clock,
            out,
            told: At::START,
            repeats: 0,
            dealt: 0,
            kept,
            kept_bytes: 0,
            told_nobody: false,
        }
    }

    /// Feeds until the recording, the requests asked for or the run are at their end.
    /// `ready` is called once the first batches are dealt.
    pub(super) fn work(mut self, ready: impl FnOnce()) {
        let mut ready = Some(ready);
        let mut base_ns = 0;
        loop {
            let pass = self.read_pass(base_ns, &mut ready);
            if let Some(ready) = ready.take() {
                ready(); // a recording shorter than the first batches
            }
            let Ok(length_ns) = pass else { break };
            base_ns += length_ns;
            if !self.plan.repeat || self.dealt == 0 {
                break;
            }
            self.repeats += 1;
            if self.kept.is_some() {
                self.repeat_kept(base_ns, length_ns);
                break;
            }
            match self.source.restart() {
                Ok(true) => {}
                Ok(false) => {
                    self.say_it_ends_here();
                    break;
                }
                Err(why) => {
                    let _ = self.control.source_error.set(why);
                    break;
                }
            }
        }
        self.tell(true);
    }

    /// Reads the recording once; tells its length in recorded time, one mean gap added.
    fn read_pass(&mut self, base_ns: u64, ready: &mut Option<impl FnOnce()>) -> Result<u64, Over> {
        let workers = self.supplies.len();
        let mut request = Request {
            recorded_unix_ns: 0,
            method: Method::Get,
            path: String::new(),
            host: None,
            headers: Vec::new(),
            body: Body::default(),
            route: Route { id: 0, name: "".into() },
            client: 0,
            recorded_status: None,
        };
        let mut open: Vec<Arena> = (0..workers).map(|_| Arena::default()).collect();
        let enough = if self.plan.requests.is_some() { COUNTED_BATCH } else { BATCH };
        let mut most = if base_ns == 0 { 4 } else { enough };
        let most_ns = self.plan.max_recorded_gap.map_or(u64::MAX, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
        // What was left out of gaps so far.
        let mut cut_ns = 0;
        let (mut first, mut last_ns, mut read) = (None, 0, 0u64);
        let at_end = loop {
            match self.source.next(&mut request) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(why) => {
                    let _ = self.control.source_error.set(why);
                    break Err(Over);
                }
            }
            let first = *first.get_or_insert(request.recorded_unix_ns);
            let after_ns = u64::try_from(request.recorded_unix_ns.saturating_sub(first)).unwrap_or(0);
            let after_ns = after_ns.saturating_sub(cut_ns).max(last_ns);
            cut_ns += (after_ns - last_ns).saturating_sub(most_ns);
            last_ns = after_ns.min(last_ns.saturating_add(most_ns));
            // A client's requests must not overtake each other: one worker has them all.
            let turn = match (self.plan.policy.sessions, request.client) {
                (true, 0) => {
                    self.say_whose_order_is_lost();
                    self.dealt
                }
                (true, client) => client,
                (false, _) => self.dealt,
            };
            let worker = (turn % workers as u64) as usize;
            open[worker].push(&request, last_ns, &self.plan.rendering);
            self.dealt += 1;
            read += 1;
            if open[worker].is_full(most) {
                let is_last = worker == workers - 1;
                if is_last {
                    most = (most * 2).min(enough);
                }
                let next = open[worker].another(most);
                self.give(worker, std::mem::replace(&mut open[worker], next), base_ns)?;
                if let Some(ready) = ready.take_if(|_| is_last) {
                    ready();
                }
            }
            if self.plan.requests.is_some_and(|n| self.dealt >= n) {
                break Err(Over);
            }
        };
        for (worker, arena) in open.into_iter().enumerate() {
            if arena.len() > 0 {
                self.give(worker, arena, base_ns)?;
            }
        }
        at_end.map(|()| last_ns + last_ns / read.saturating_sub(1).max(1))
    }

    /// Deals the kept batches again and again. Each pass goes on in turn where the one before
    /// it ended, or a worker would get more than its share and due times would shift; but a client
    /// whose requests must not overtake each other stays with its worker.
    fn repeat_kept(&mut self, mut base_ns: u64, length_ns: u64) {
        let kept = self.kept.take().unwrap_or_default();
        let workers = self.supplies.len();
        let (most, enough) = self.plan.requests.map_or((u64::MAX, KEPT_BATCH), |n| (n, COUNTED_BATCH));
        let mut open: Vec<Batch> = (0..workers).map(|_| Batch::default()).collect();
        loop {
            let pass = self.dealt;
            for Kept { worker, before, arena } in &kept {
                // Number of the batch's first request in the run; the next ones follow a round apart.
                let first = pass + *worker as u64 + before * workers as u64;
                let wanted = most.saturating_sub(first).div_ceil(workers as u64);
                let arena = match usize::try_from(wanted) {
                    Ok(0) => continue,
                    Ok(n) if n < arena.len() => Arc::new(arena.first(n)),
                    _ => arena.clone(),
                };
                self.dealt += arena.len() as u64;
                let turn = if self.plan.policy.sessions { 0 } else { (pass % workers as u64) as usize };
                let to = (*worker + turn) % workers;
                open[to].push(Part { arena, base_ns });
                // All at once: whose clients send little must not wait until they have sent as much.
                if open[to].requests() >= enough && self.send_all(&mut open).is_err() {
                    return;
                }
            }
            if self.dealt >= most {
                let _ = self.send_all(&mut open);
                return;
            }
            base_ns = base_ns.saturating_add(length_ns);
            self.repeats += 1;
        }
    }

    fn send_all(&mut self, open: &mut [Batch]) -> Result<(), Over> {
        for (worker, batch) in open.iter_mut().enumerate().filter(|(_, b)| b.requests() > 0) {
            self.send(worker, std::mem::take(batch))?;
        }
        Ok(())
    }

    fn give(&mut self, worker: usize, arena: Arena, base_ns: u64) -> Result<(), Over> {
        let arena = Arc::new(arena);
        if let Some(kept) = &mut self.kept {
            self.kept_bytes += arena.size();
            let before = kept.iter().filter(|k| k.worker == worker).map(|k| k.arena.len() as u64).sum();
            kept.push(Kept { worker, before, arena: arena.clone() });
            if self.kept_bytes > KEEP_BYTES {
                self.kept = None;
            }
        }
        self.send(worker, Part { arena, base_ns }.into())
    }

    /// Hands a batch over, waiting while the worker has enough. On a schedule, requests are
    /// dealt strictly in turn, or due times would shift between workers; what one of them has no
    /// more use for is left out, since another may be late and still have to send its own. In a
    /// closed loop whichever worker has room takes the batch, so that a stuck one holds nobody up.
    fn send(&mut self, worker: usize, mut batch: Batch) -> Result<(), Over> {
        self.tell(false);
        if self.plan.schedule.is_open() || self.supplies.len() == 1 {
            self.supplies[worker].give(batch);
            return if self.supplies.iter().all(Giver::is_refused) { Err(Over) } else { Ok(()) };
        }
        loop {
            let mut ended = 0;
            for n in 0..self.supplies.len() {
                match self.supplies[(worker + n) % self.supplies.len()].try_give(batch) {
                    Ok(()) => return Ok(()),
                    Err(Refused::Full(back)) => batch = back,
                    Err(Refused::Ended(back)) => {
                        batch = back;
                        ended += 1;
                    }
                }
            }
            if ended == self.supplies.len() || self.control.stopped() {
                return Err(Over);
            }
            // Each worker has sixteen as large, and needs 5 µs for a request at the least.
            std::thread::sleep(Duration::from_micros(5 * batch.requests() as u64).clamp(LEAST_REST, MOST_REST));
        }
    }

    /// Requests were to go out in the order of their clients, and there is one that has none.
    fn say_whose_order_is_lost(&mut self) {
        if std::mem::replace(&mut self.told_nobody, true) {
            return;
        }
        let _ = self.out.send(Event::Fault(Fault {
            at: self.clock.now(),
            place: "traffic".into(),
            what: "requests of this recording name no client: --sessions has no order for those".into(),
            mend: Some(
                "`perfbench traffic FILE` says how many; --field client=KEY names where JSON lines have it".into(),
            ),
        }));
    }

    /// A recording that was to be repeated can't be.
    fn say_it_ends_here(&self) {
        let _ = self.out.send(Event::Fault(Fault {
            at: self.clock.now(),
            place: "traffic".into(),
            what: "the recording ends here: it came through a pipe and is too long to be kept for repeats".into(),
            mend: Some("give --replay a file".into()),
        }));
    }

    /// Tells the counts of the recording, now and then and at the end.
    fn tell(&mut self, at_end: bool) {
        if self.plan.scripts.is_some() {
            return; // what is dealt is the leave to send, and no recording
        }
        let now = self.clock.now();
        if !at_end && now.since_ns(self.told) < COUNTS_EVERY_NS && self.told != At::START {
            return;
        }
        self.told = now;
        let mut counts = self.source.counts(now);
        counts.repeats = self.repeats;
        if at_end {
            let _ = self.out.send(Event::Traffic(counts));
            for fault in self.source.faults(now) {
                let _ = self.out.send(Event::Fault(fault));
            }
        } else {
            let _ = self.out.try_send(Event::Traffic(counts)); // cumulative: the next one has it all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::doorbell::Doorbell;
    use super::super::supply::{Taken, Taker, supply};
    use super::super::{Policy, Schedule, SourceError};
    use super::*;
    use crate::model::TrafficCounts;
    use std::sync::mpsc::sync_channel;
    use std::thread::JoinHandle;

    /// Three requests, as often as they are wanted.
    struct Three {
        n: u8,
        client: u64,
    }

    const THREE: Three = Three { n: 0, client: 2 };

    impl RequestSource for Three {
        fn next(&mut self, into: &mut Request) -> Result<bool, SourceError> {
            self.n += 1;
            into.path = format!("/{}", self.n);
            into.client = self.client;
            Ok(self.n <= 3)
        }

        fn restart(&mut self) -> Result<bool, SourceError> {
            self.n = 0;
            Ok(true)
        }

        fn counts(&self, at: At) -> TrafficCounts {
            TrafficCounts { at, ..TrafficCounts::default() }
        }
    }

    /// How many requests a worker finds until there are no more, or `most`.
    fn found(taker: &Taker, most: usize) -> usize {
        let mut n = 0;
        while n < most {
            match taker.take() {
                Taken::Batch(batch) => n += batch.requests(),
                Taken::NotYet => std::thread::yield_now(),
                Taken::Ended => break,
            }
        }
        n
    }

    /// A feeder of two workers, whose ends are given, and which has ended when the thread has.
    fn feed_two(policy: Policy) -> (Vec<Taker>, JoinHandle<()>) {
        let plan = Plan {
            schedule: Arc::new(Schedule::rate(100.0)),
            repeat: true,
            threads: 2,
            policy,
            ..Plan::to(([127, 0, 0, 1], 9).into())
        };
        let (out, _events) = sync_channel(10);
        let (givers, takers) = (0..2).map(|_| supply(Arc::new(Doorbell::new().unwrap()))).unzip();
        let feeder = Feeder::new(Arc::new(plan), Box::new(THREE), givers, Arc::default(), Clock::start(), out);
        (takers, std::thread::spawn(move || feeder.work(|| {})))
    }

    #[test]
    fn the_feeder_ends_with_its_workers_though_one_was_never_offered_anything() {
        let (takers, feeding) = feed_two(Policy { sessions: true, ..Policy::default() });
        // All requests are of one client, and so of one worker.
        assert!(found(&takers[0], 100) >= 100);
        drop(takers);
        for _ in 0..1000 {
            if feeding.is_finished() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it feeds nobody");
    }

    #[test]
    fn an_order_of_clients_that_there_are_none_of_is_told_of_once() {
        for (client, sessions, told) in [(0, true, 1), (2, true, 0), (0, false, 0)] {
            let policy = Policy { sessions, ..Policy::default() };
            let plan = Plan { repeat: false, policy, ..Plan::to(([127, 0, 0, 1], 9).into()) };
            let (out, events) = sync_channel(10);
            let (giver, taker) = supply(Arc::new(Doorbell::new().unwrap()));
            let source = Box::new(Three { client, ..THREE });
            let feeder = Feeder::new(Arc::new(plan), source, vec![giver], Arc::default(), Clock::start(), out);
            let feeding = std::thread::spawn(move || feeder.work(|| {}));
            assert_eq!(found(&taker, 100), 3);
            feeding.join().unwrap();
            let faults = events.iter().filter(|e| matches!(e, Event::Fault(f) if f.what.contains("--sessions")));
            assert_eq!(faults.count(), told, "client {client}, sessions {sessions}");
        }
    }

    #[test]
    fn a_kept_recording_is_dealt_in_large_batches_unless_a_number_of_requests_ends_the_run() {
        for (requests, all, largest) in
            [(None, usize::MAX, KEPT_BATCH..KEPT_BATCH + 3), (Some(1001), 1001, COUNTED_BATCH..COUNTED_BATCH + 3)]
        {
            let plan = Plan { repeat: true, threads: 1, requests, ..Plan::to(([127, 0, 0, 1], 9).into()) };
            let (out, _events) = sync_channel(10);
            let (giver, taker) = supply(Arc::new(Doorbell::new().unwrap()));
            let feeder = Feeder::new(Arc::new(plan), Box::new(THREE), vec![giver], Arc::default(), Clock::start(), out);
            let feeding = std::thread::spawn(move || feeder.work(|| {}));
            let (mut paths, mut most) = (Vec::new(), 0);
            while paths.len() < all.min(5000) {
                match taker.take() {
                    Taken::Batch(batch) => {
                        most = most.max(batch.requests());
                        for Part { arena, .. } in batch.into_parts() {
                            paths.extend((0..arena.len()).map(|n| arena.wire(arena.item(n))[5]));
                        }
                    }
                    Taken::NotYet => std::thread::yield_now(),
                    Taken::Ended => break,
                }
            }
            assert!(largest.contains(&most) && paths.len() >= all.min(5000), "{most}, {}", paths.len());
            assert!(all == usize::MAX || paths.len() == all);
            assert!(paths.iter().zip(b"123".iter().cycle()).all(|(a, b)| a == b), "in order, pass after pass");
            drop(taker);
            feeding.join().unwrap();
        }
    }

    #[test]
    fn a_worker_that_is_late_is_fed_although_another_has_ended() {
        let (mut takers, feeding) = feed_two(Policy::default());
        let (late, ended) = (takers.pop(), takers.pop());
        drop(ended);
        assert!(found(late.as_ref().unwrap(), 1000) >= 1000);
        drop(late);
        feeding.join().unwrap(); // and ends when all have
    }
}
