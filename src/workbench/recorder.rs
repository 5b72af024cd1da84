//! The session writer on a thread of its own, so that a slow disk stalls neither the screen
//! nor, through it, the load.
//!
//! Must not: decide what is kept; every event is.

use crate::model::Event;
use crate::session::{SessionError, Writer};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Events that may wait for the disk: well over ten seconds of a busy run.
const WAITING: usize = 4096;
/// How long written events may stay uncommitted when no more come.
const IDLE_COMMIT: Duration = Duration::from_millis(250);

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
        match &self.events {
            Some(events) if events.send(event).is_ok() => Ok(()),
            // The thread has ended before its time, which it does only with an error.
            _ => self.end().and(Err(format!("{}: writing has ended", self.path.display()))),
        }
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
        match events.recv_timeout(IDLE_COMMIT) {
            Ok(event) => writer.write(&event)?,
            Err(RecvTimeoutError::Timeout) => writer.commit()?,
            Err(RecvTimeoutError::Disconnected) => return writer.finish(),
        }
    }
}
