//! The flight recorder: samples all the time, sends a thin stream, and keeps the last seconds
//! densely for the capture that is asked for after the fact.
//!
//! Must not: block whoever asks, or the channel's reader.

use super::flight::{Flight, Outbox};
use crate::clock::Clock;
use crate::model::{At, CaptureId, CaptureState, Event, Fault};
use crate::profile::{Surroundings, Want};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Always-on sampling; one for a run.
#[derive(Clone, Debug)]
pub struct RecorderRequest {
    /// Samples per second and CPU of the thin stream; 49 is out of step with what runs every 10 or 20 ms.
    pub hz: u32,
    /// Samples per second and CPU that are taken and kept for captures, never fewer than `hz`; `None` for as many as
    /// are cheap here.
    pub dense_hz: Option<u32>,
    /// How much is kept densely.
    pub keep: Duration,
    /// The target's processes on this machine; perhaps none.
    pub pids: Vec<u32>,
    /// How much to sample.
    pub want: Want,
    /// Where proc is.
    pub around: Surroundings,
}

impl RecorderRequest {
    /// The ordinary one: 49 Hz, 30 s kept, as much as is permitted.
    pub fn new(pids: Vec<u32>) -> RecorderRequest {
        let (keep, around) = (Duration::from_secs(30), Surroundings::here());
        RecorderRequest { hz: 49, dense_hz: None, keep, pids, want: Want::Widest, around }
    }
}

/// What is asked of the thread.
#[derive(Debug)]
pub(super) enum Order {
    /// `asked`: when, which is what before and after go by.
    Capture {
        id: CaptureId,
        asked: At,
        before: Duration,
        after: Duration,
    },
    Stop,
    Cancel,
    Pids(Vec<u32>),
}

/// What the thread tells without being asked.
#[derive(Debug, Default)]
pub(super) struct Signs {
    pub(super) sampling: AtomicBool,
    /// Captures whose last news was not sent yet.
    pub(super) under_way: AtomicUsize,
}

/// A flight recorder under way. Dropping it ends it, and a capture of its with it, within
/// milliseconds.
#[derive(Debug)]
pub struct Recorder {
    clock: Clock,
    orders: Option<Sender<Order>>,
    signs: Arc<Signs>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a recorder on its own thread. Over `out` come, as [`CaptureId::RECORDER`]: `Sampling` once
/// it runs, a `Stacks` a second of the thin stream, `Failed` when it may not run or breaks off; and the
/// life and the stacks of each capture. It never waits for `out`: while that is full it gathers, and
/// what it has no more room for counts as lost.
pub fn record(request: RecorderRequest, clock: Clock, out: SyncSender<Event>) -> Recorder {
    let (orders, taken) = channel();
    let signs = Arc::new(Signs::default());
    let mut outbox = Outbox::new(out, signs.clone());
    let (thread_signs, thread_clock) = (signs.clone(), clock.clone());
    let spare = outbox.clone();
    let thread = std::thread::Builder::new().name("recorder".into()).spawn(move || {
        let fly = || fly(request, thread_clock.clone(), spare.clone(), thread_signs.clone(), taken);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(fly));
        thread_signs.sampling.store(false, Ordering::SeqCst);
        if outcome.is_err() {
            let what = "the flight recorder broke off by a fault of perfbench itself".to_string();
            let (at, place) = (thread_clock.now(), "profile".into());
            let mut outbox = spare.clone();
            outbox.send(Event::Fault(Fault { at, place, what: what.clone(), mend: None }));
            outbox.news(at, CaptureId::RECORDER, CaptureState::Failed { what, mend: None });
            thread_signs.under_way.store(0, Ordering::SeqCst);
        }
    });
    let thread = thread.map_err(|e| {
        let what = format!("no thread for the flight recorder: {e}");
        outbox.news(clock.now(), CaptureId::RECORDER, CaptureState::Failed { what, mend: None });
    });
    Recorder { clock, orders: Some(orders), signs, thread: thread.ok() }
}

/// How much the load goes before the recorder, which has a quarter of a second for everything: names of
/// a program met for the first time may take that long.
const NICE: i32 = 5;

fn fly(request: RecorderRequest, clock: Clock, outbox: Outbox, signs: Arc<Signs>, orders: Receiver<Order>) {
    // On Linux a thread has a priority of its own (setpriority(2)); without it things go on as well.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
    Flight::new(request, clock, outbox, signs).run(&orders);
}

impl Recorder {
    /// Keeps what was sampled densely in the time `before` now (as far back as it is kept) and what
    /// will be in the time `after`, as capture `id`. Its news: `Sampling` (for the time that is still to
    /// come), `Reading`, stacks, `Done`; `Failed` when nothing is sampled or another is under way.
    pub fn capture(&self, id: CaptureId, before: Duration, after: Duration) {
        self.signs.under_way.fetch_add(1, Ordering::SeqCst);
        if !self.order(Order::Capture { id, asked: self.clock.now(), before, after }) {
            self.signs.under_way.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether it samples; when not, the reason was sent.
    pub fn is_sampling(&self) -> bool {
        self.signs.sampling.load(Ordering::SeqCst)
    }

    /// Whether the last news of a capture is still to come.
    pub fn has_capture_under_way(&self) -> bool {
        self.signs.under_way.load(Ordering::SeqCst) > 0 && self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }

    /// Ends the time of a capture now and keeps what there is.
    pub fn stop_capture(&self) {
        self.order(Order::Stop);
    }

    /// Ends a capture at once and throws away what there is: `Failed` is its last news.
    pub fn cancel_captures(&self) {
        self.order(Order::Cancel);
    }

    /// The target's processes became known or changed; matters only when not all CPUs are sampled.
    pub fn set_pids(&self, pids: Vec<u32>) {
        self.order(Order::Pids(pids));
    }

    fn order(&self, order: Order) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was told there.
            let _ = thread.join();
        }
    }
}
