//! The session writer on a thread of its own, so that a slow disk stalls neither the screen
//! nor, through it, the load.
//!
//! It wakes up four times a second and writes what has come, not for every event: being woken
//! costs a load box more than writing does.
//!
//! Must not: decide what is kept; every event is.

use crate::model::Event;
use crate::session::{SessionError, Writer};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Events that may wait for the disk: well over ten seconds of a busy run.
const WAITING: usize = 4096;
/// How often what has come is written and committed.
const EVERY: Duration = Duration::from_millis(250);

/// Keeps events in a session file.
#[derive(Debug)]
pub struct Recorder {
    events: Option<SyncSender<Event>>,
    thread: Option<JoinHandle<Result<(), SessionError>>>,
    path: PathBuf,
}

impl Recorder {
    /// Starts the writing thread.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(writer: Writer) -> std::io::Result<Recorder> {
        let path = writer.path().to_owned();
        let (events, kept) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("recorder".into()).spawn(move || write(writer, &kept))?;
        Ok(Recorder { events: Some(events), thread: Some(thread), path })
    }

    /// Keeps an event. Waits when the disk is more than [`WAITING`] events behind: a session
    /// has no holes.
    ///
    /// # Errors
    /// When writing has failed, now or before; nothing more will be kept.
    pub(super) fn keep(&mut self, event: Event) -> Result<(), String> {
        let kept = self.events.as_ref().is_some_and(|events| match events.try_send(event) {
            Ok(()) => true,
            Err(TrySendError::Full(event)) => {
                self.wake();
                events.send(event).is_ok()
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
        // The thread has ended before its time, which it does only with an error.
        if kept { Ok(()) } else { self.end().and(Err(format!("{}: writing has ended", self.path.display()))) }
    }

    /// Has what has come be written now.
    fn wake(&self) {
        self.thread.iter().for_each(|thread| thread.thread().unpark());
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// When that could not be done.
    pub(super) fn finish(mut self) -> Result<PathBuf, String> {
        self.end()?;
        Ok(std::mem::take(&mut self.path))
    }

    fn end(&mut self) -> Result<(), String> {
        drop(self.events.take());
        self.wake();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Ok(()))) | None => Ok(()),
            Some(Ok(Err(e))) => Err(e.to_string()),
            Some(Err(_)) => Err(format!("{}: the recording thread has panicked", self.path.display())),
        }
    }
}

impl Drop for Recorder {
    /// However the workbench ends, what it was given is in the file.
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn write(mut writer: Writer, events: &Receiver<Event>) -> Result<(), SessionError> {
    loop {
        match events.try_recv() {
            Ok(event) => writer.write(&event)?,
            Err(TryRecvError::Empty) => {
                writer.commit()?;
                std::thread::park_timeout(EVERY);
            }
            Err(TryRecvError::Disconnected) => return writer.finish(),
        }
    }
}
