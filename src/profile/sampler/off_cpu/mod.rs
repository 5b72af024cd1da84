//! What threads wait for while they are not on a CPU: by stack, blocked and runnable kept apart.
//!
//! ```text
//! sight     the switches, or looks at /proc     waits    switches -> time by thread and stack
//! threads   what /proc tells                    classes  functions -> what is waited for
//! watcher   keeps, thins out, serves captures   naming   waits -> Stacks
//! ```
//!
//! Of the target's processes only: everything else on a machine sleeps too. It samples nothing that
//! runs; captures and the flight recorder do, and its stacks come as further ones of theirs.
//!
//! Must not: block whoever asks, or the channel's reader.

mod classes;
mod naming;
mod sight;
mod threads;
mod waits;
mod watcher;

use super::flight::Outbox;
use super::recorder::{Order, Signs};
use crate::clock::Clock;
use crate::model::{CaptureId, Event, Fault};
use crate::profile::Surroundings;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, SyncSender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use watcher::Watcher;

/// Where faults of it are placed.
const PLACE: &str = "profile/off-cpu";

/// Whose waits are to be seen, and how.
#[derive(Clone, Debug)]
pub struct OffCpuRequest {
    /// The processes; none for perfbench itself.
    pub pids: Vec<u32>,
    /// Shorter waits are summed up, but have no stacks.
    pub least: Duration,
    /// How much is kept for captures of the time before.
    pub keep: Duration,
    /// Whether a thin stream is sent all the time, as of the flight recorder; else captures only.
    pub throughout: bool,
    /// Where proc is.
    pub around: Surroundings,
}

impl OffCpuRequest {
    /// The ordinary one: all waits of at least 1 us, 30 s kept.
    pub fn new(pids: Vec<u32>) -> OffCpuRequest {
        let (least, keep) = (Duration::from_micros(1), Duration::from_secs(30));
        OffCpuRequest { pids, least, keep, throughout: true, around: Surroundings::here() }
    }
}

/// A watch over waiting threads. Dropping it ends it, and a capture of its with it, within
/// milliseconds.
#[derive(Debug)]
pub struct OffCpu {
    orders: Option<Sender<Order>>,
    clock: Clock,
    signs: Arc<Signs>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a watch on its own thread. Over `out` come stacks of the events `off-cpu:blocked` (where
/// only /proc may be looked at, `off-cpu:wchan`) and `off-cpu:runnable`, in ns: as
/// [`CaptureId::RECORDER`] one batch a second of each, when it is to be throughout; and of each capture
/// its own, with a `Done` that tells what was seen and how. What stands in the way comes as a fault.
pub fn watch_off_cpu(request: OffCpuRequest, clock: Clock, out: SyncSender<Event>) -> OffCpu {
    let (orders, taken) = channel();
    let signs = Arc::new(Signs::default());
    let mut outbox = Outbox::new(out, signs.clone());
    let (spare, thread_signs, thread_clock) = (outbox.clone(), signs.clone(), clock.clone());
    let thread = std::thread::Builder::new().name("off-cpu".into()).spawn(move || {
        let watch = || Watcher::new(request, thread_clock.clone(), spare.clone()).run(&taken);
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(watch)).is_err() {
            let what = "the watch over waiting threads broke off by a fault of perfbench itself".to_string();
            let fault = Fault { at: thread_clock.now(), place: PLACE.into(), what, mend: None };
            spare.clone().send(Event::Fault(fault));
        }
        thread_signs.under_way.store(0, Ordering::SeqCst);
    });
    let thread = thread.map_err(|e| {
        let what = format!("no thread to watch waiting threads: {e}");
        outbox.send(Event::Fault(Fault { at: clock.now(), place: PLACE.into(), what, mend: None }));
    });
    OffCpu { orders: Some(orders), clock, signs, thread: thread.ok() }
}

impl OffCpu {
    /// Takes the waits of the time `before` now, as far back as they are kept, and of the time `after`,
    /// as further stacks of capture `id`.
    pub fn capture(&self, id: CaptureId, before: Duration, after: Duration) {
        self.signs.under_way.fetch_add(1, Ordering::SeqCst);
        if !self.order(Order::Capture { id, asked: self.clock.now(), before, after }) {
            self.signs.under_way.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether the last news of a capture is still to come.
    pub fn has_capture_under_way(&self) -> bool {
        self.signs.under_way.load(Ordering::SeqCst) > 0 && self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }

    /// Ends the time of a capture now and keeps what there is.
    pub fn stop_capture(&self) {
        self.order(Order::Stop);
    }

    /// The target's processes became known or changed.
    pub fn set_pids(&self, pids: Vec<u32>) {
        self.order(Order::Pids(pids));
    }

    fn order(&self, order: Order) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }
}

impl Drop for OffCpu {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was told there.
            let _ = thread.join();
        }
    }
}
