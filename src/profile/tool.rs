//! A program run for a capture: in a process group of its own, with its last words kept, and
//! never outliving the capture.
//!
//! Its standard input is a pipe that only perfbench holds the other end of. What it starts
//! reads that pipe and ends when it closes, which it does even when perfbench is killed.
//!
//! Must not: know perf's options or its output.

use super::Obstacle;
use super::capture::{GLANCE, Stage};
use rustix::process::{Pid, Signal};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes of standard error that are kept: the last ones, and as many of the first.
const WORDS: usize = 4096;

/// A program under way.
pub(super) struct Tool<'a> {
    stage: &'a Stage,
    child: Child,
    stdin: Option<ChildStdin>,
    status: Option<ExitStatus>,
    words: Arc<Mutex<Words>>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Words {
    first: Vec<u8>,
    last: Vec<u8>,
}

impl<'a> Tool<'a> {
    /// Starts it. All three standard streams are pipes.
    pub(super) fn start(mut command: Command, stage: &'a Stage) -> Result<Tool<'a>, Obstacle> {
        let name = command.get_program().to_string_lossy().into_owned();
        // A group of its own: the terminal's interrupt is for perfbench, which then ends it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = stage.control.group();
        if stage.cancelled() {
            return Err(Obstacle::new("the capture was cancelled", None));
        }
        let mut child = command.spawn().map_err(|e| Obstacle::new(format!("{name} does not start: {e}"), None))?;
        *group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        drop(group);
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let words = Arc::new(Mutex::new(Words::default()));
        let heard = words.clone();
        let listener = std::thread::Builder::new().name("profile-stderr".into()).spawn(move || {
            if let Some(stderr) = stderr {
                listen(stderr, &heard);
            }
        });
        Ok(Tool { stage, child, stdin, status: None, words, listener: listener.ok() })
    }

    /// Its standard output, once.
    pub(super) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Closes its standard input.
    pub(super) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// How it ended, when it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            // While the lock is held nobody signals a number that this wait gives back.
            let mut group = self.stage.control.group();
            if let Ok(Some(status)) = self.child.try_wait() {
                self.status = Some(status);
                *group = None;
            }
        }
        self.status
    }

    /// Waits for its end, at most about `time`.
    pub(super) fn ends_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let mut left = time;
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if left.is_zero() || self.stage.cancelled() {
                return None;
            }
            let step = left.min(GLANCE);
            // Not `Stage::pause`: a wake-up would shorten the time that is counted here.
            std::thread::sleep(step);
            left -= step;
        }
    }

    /// Asks it to end, as Ctrl-C would.
    pub(super) fn interrupt(&self) {
        self.stage.control.signal(Signal::INT);
    }

    /// Kills it with all it started, and waits for it.
    pub(super) fn kill(&mut self) {
        self.close_stdin();
        if self.ended().is_none() {
            self.stage.control.signal(Signal::KILL);
            let mut group = self.stage.control.group();
            self.status = self.child.wait().ok();
            *group = None;
        }
    }

    /// What it said on standard error, without the middle of a long speech.
    pub(super) fn words(&mut self) -> String {
        // Somebody it started may still hold the other end; then what was heard must do.
        for _ in 0..20 {
            if self.listener.as_ref().is_none_or(JoinHandle::is_finished) {
                break;
            }
            std::thread::sleep(GLANCE);
        }
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let text = [&words.first[..], &words.last[..]].concat();
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Tool<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

fn listen(mut from: impl Read, heard: &Mutex<Words>) {
    let mut buffer = [0; 1024];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 {
            return;
        }
        let mut words = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let room = WORDS.saturating_sub(words.first.len()).min(n);
        let (first, rest) = buffer[..n].split_at(room);
        words.first.extend_from_slice(first);
        words.last.extend_from_slice(rest);
        let over = words.last.len().saturating_sub(WORDS);
        words.last.drain(..over);
    }
}
