//! A run without a screen: the same feed and the same door, with a progress line instead of
//! panes.
//!
//! Must not: print; the caller is given the state and decides.

use super::{Command, Feed, FeedState, Workbench};
use crate::model::{Closing, Event};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long nothing may happen before signals and the end of the run are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Counts the signals that ask perfbench to end, and those that come after it was stopped.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    asked: Arc<AtomicUsize>,
    continued: Arc<AtomicBool>,
}

impl Interrupt {
    /// One that has been raised once: what is under way is ended in good order.
    pub fn raised() -> Interrupt {
        let interrupt = Interrupt::default();
        interrupt.raise();
        interrupt
    }

    /// Another signal has come.
    pub fn raise(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// The process was stopped, and goes on (SIGCONT).
    pub fn go_on(&self) {
        self.continued.store(true, Ordering::Relaxed);
    }

    /// Whether it was stopped since this was last asked.
    pub fn was_stopped(&self) -> bool {
        self.continued.swap(false, Ordering::Relaxed)
    }

    /// How many have come.
    pub fn count(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Feeds the workbench until the run ends. The first interrupt stops the load and waits for
/// what is under way, the second does not wait. `progress` is called a few times a second.
pub fn run_headless(
    workbench: &mut Workbench,
    feed: &mut dyn Feed,
    interrupt: &Interrupt,
    mut progress: impl FnMut(&Workbench),
) {
    let mut stopped = false;
    let mut last_look = feed.now();
    while feed.feed(workbench, LOOK) != FeedState::Ended {
        let looked = feed.now();
        if interrupt.was_stopped() {
            // A feed that takes no marks has no load that stood still.
            let _ = feed.command(Command::was_stopped(looked.since_ns(last_look)));
        }
        last_look = looked;
        match interrupt.count() {
            0 => {}
            _ if !stopped => {
                stopped = true;
                let _ = feed.command(Command::Stop); // a feed that can't be stopped ends by itself
            }
            1 => {}
            _ => {
                let why = "interrupted twice: what was under way was not waited for".into();
                workbench.ingest(Event::Closing(Closing { at: feed.now(), why }));
                return;
            }
        }
        progress(workbench);
    }
}
