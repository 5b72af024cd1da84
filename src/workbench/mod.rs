//! The meeting point: [`Workbench::ingest`] is the only door for events, and a [`Feed`] is
//! where they come from. Live, headless and playback differ in the feed and in nothing else.
//!
//! Must not: draw, or parse arguments.

mod control;
mod headless;
mod live;
mod playback;
mod recorder;
mod search;

pub use control::{Control, FindMax, Order, Searching, Trigger};
pub use headless::{Interrupt, run_headless};
pub use live::{Live, LiveParts, Profiling};
pub use playback::Playback;
pub use recorder::Recorder;
pub use search::Search;

use crate::diagnosis;
use crate::model::{At, Event, Fault, Finding};
use crate::timeline::{Timeline, View};
use std::path::PathBuf;
use std::time::Duration;

/// A session as it is known so far.
#[derive(Debug, Default)]
pub struct Workbench {
    timeline: Timeline,
    recorder: Option<Recorder>,
}

impl Workbench {
    /// A workbench without events that keeps none.
    pub fn new() -> Workbench {
        Workbench::default()
    }

    /// A workbench that keeps every event in a session file.
    pub fn recording(recorder: Recorder) -> Workbench {
        Workbench { recorder: Some(recorder), ..Workbench::default() }
    }

    /// The only door: folds an event and keeps it. When it can't be kept, recording ends
    /// with a fault that can be seen, and the run goes on.
    pub fn ingest(&mut self, event: Event) {
        self.timeline.apply(&event);
        let at = event.at();
        if let Some(recorder) = &mut self.recorder
            && let Err(why) = recorder.keep(event)
        {
            self.recorder = None;
            let what = format!("recording has stopped: {why}");
            self.timeline.apply(&Event::Fault(Fault { at, place: "session".into(), what, mend: None }));
        }
    }

    /// The timeline alone; what is kept in a file ends here.
    pub fn into_timeline(self) -> Timeline {
        self.timeline
    }

    /// Everything known of the session.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The findings over what a view has in focus.
    pub fn findings(&self, view: &View<'_>) -> Vec<Finding> {
        diagnosis::check(view)
    }

    /// Whether events are being kept.
    pub fn is_recording(&self) -> bool {
        self.recorder.is_some()
    }

    /// Closes the session file; its path, when there is one.
    ///
    /// # Errors
    /// When what is left could not be written, in one line.
    pub fn finish(&mut self) -> Result<Option<PathBuf>, String> {
        self.recorder.take().map(Recorder::finish).transpose()
    }
}

/// Where a feed stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedState {
    /// More is coming as it happens: a live run, or a session that is being recorded.
    Live,
    /// A recorded session is being read; more is there already.
    Loading,
    /// Nothing more will come.
    Ended,
}

/// What a user may ask of a feed.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Take a profile from now on.
    Capture {
        /// How long.
        length: Duration,
    },
    /// Set a mark at the present instant.
    Mark(String),
    /// Change the rate or speed of the load.
    Rate {
        /// The present one times this.
        factor: f64,
    },
    /// Offer nothing more for now, or go on when that was asked before.
    Pause,
    /// End the run: no new requests; what is under way is waited for.
    Stop,
}

impl Command {
    /// The mark to be set when this process was stopped (ctrl-z, SIGSTOP) and goes on: the load
    /// stood still and the clock did not, so what was late then is nobody else's doing.
    pub fn was_stopped(for_ns: u64) -> Command {
        Command::Mark(format!("perfbench was stopped for {:.1} s", for_ns as f64 / 1e9))
    }
}

/// A source of events.
pub trait Feed {
    /// Moves what has come into the workbench, waiting at most `wait` when there is nothing.
    /// Bounded: comes back after a few hundred events so that keys stay responsive.
    fn feed(&mut self, into: &mut Workbench, wait: Duration) -> FeedState;

    /// Carries out a command, or says in one line why it can't be.
    fn command(&mut self, command: Command) -> Result<(), String>;

    /// The present instant of the feed's own clock, for pacing redraws and playback. In a
    /// live run it is the session's time; in playback it counts from opening the file.
    fn now(&self) -> At;

    /// Whether this is a recorded session rather than a run of our own.
    fn is_playback(&self) -> bool;
}
