//! The feed of a recorded session, or of one that another perfbench is recording.
//!
//! The whole session is folded as fast as it can be read; the cursor then moves over a
//! complete timeline, so that scrubbing costs nothing.
//!
//! Must not: change the file.

use super::{Command, Feed, FeedState, Workbench};
use crate::clock::Clock;
use crate::model::{At, Event, Fault};
use crate::session::{Reader, SessionError};
use std::path::Path;
use std::time::Duration;

/// Events folded before keys are looked at again.
const BATCH: usize = 512;

/// See the top of the file.
#[derive(Debug)]
pub struct Playback {
    reader: Reader,
    clock: Clock,
    ended: bool,
}

impl Playback {
    /// Opens a session file.
    ///
    /// # Errors
    /// When it is no session that this version can read, in one line.
    pub fn open(path: &Path) -> Result<Playback, SessionError> {
        Ok(Playback { reader: Reader::open(path)?, clock: Clock::start(), ended: false })
    }

    /// Whether more may come.
    fn is_live(&self) -> bool {
        self.reader.is_being_recorded() && !self.reader.is_closed()
    }

    /// Reads everything there is now into a fresh workbench.
    ///
    /// # Errors
    /// When the file can't be read to its end.
    pub fn load(path: &Path) -> Result<Workbench, SessionError> {
        let mut reader = Reader::open(path)?;
        let mut workbench = Workbench::new();
        loop {
            let batch = reader.next_batch(BATCH)?;
            if batch.is_empty() {
                break;
            }
            batch.into_iter().for_each(|e| workbench.ingest(e));
        }
        say_how_it_ended(&reader, &mut workbench);
        Ok(workbench)
    }
}

/// A session that was neither closed nor is being recorded was cut off: said as a fault,
/// as is what a newer version wrote and this one can't read.
fn say_how_it_ended(reader: &Reader, workbench: &mut Workbench) {
    let at = workbench.timeline().end();
    let mut fault = |what: String| {
        workbench.ingest(Event::Fault(Fault { at, place: "session".into(), what, mend: None }));
    };
    if !reader.is_closed() && !reader.is_being_recorded() {
        fault("the recording ended without being closed: perfbench was killed or the machine went down".into());
    }
    let unread = reader.unread();
    if let Some(first) = &unread.first {
        fault(format!(
            "{} events and {} values of this file could not be understood, the first: {first}",
            unread.events, unread.values
        ));
    }
}

impl Feed for Playback {
    fn feed(&mut self, into: &mut Workbench, wait: Duration) -> FeedState {
        if self.ended {
            std::thread::sleep(wait);
            return FeedState::Ended;
        }
        // Asked before reading: what is written between the two is read the next time.
        let more = self.is_live();
        match self.reader.next_batch(BATCH) {
            Ok(batch) if !batch.is_empty() => {
                // A batch that is not full is the news of a session that is being recorded.
                let caught_up = batch.len() < BATCH && more;
                batch.into_iter().for_each(|e| into.ingest(e));
                if caught_up { FeedState::Live } else { FeedState::Loading }
            }
            Ok(_) if more => {
                std::thread::sleep(wait);
                FeedState::Live
            }
            Ok(_) => {
                self.ended = true;
                say_how_it_ended(&self.reader, into);
                FeedState::Ended
            }
            Err(e) => {
                self.ended = true;
                let at = into.timeline().end();
                into.ingest(Event::Fault(Fault { at, place: "session".into(), what: e.to_string(), mend: None }));
                FeedState::Ended
            }
        }
    }

    fn command(&mut self, _: Command) -> Result<(), String> {
        Err("this is a recorded session: nothing can be captured, marked, changed or stopped in it".into())
    }

    fn now(&self) -> At {
        self.clock.now()
    }

    fn is_playback(&self) -> bool {
        true
    }
}
