//! Runs two programs in turns: one goes on while the other is stopped, so that what else the machine does for longer
//! than a turn meets both alike. The order is turned round each time (ABBA), so that what becomes slowly better or worse
//! does so too.
//!
//! Must not: know what the programs do.

use crate::Outcome;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// What became of a program.
pub struct Ended {
    /// What it wrote to its standard output.
    pub out: String,
    /// Its CPU time, user and system, all threads.
    pub cpu_s: f64,
}

/// Runs both to their ends, the one at `first` beginning; each has four turns of a run that takes eight. Two turns follow
/// each other but for an instant, so that there are few stops: what a program does each half second falls due once more
/// after each of them, and a client that is never stopped, which promises are about, has none.
pub fn in_turns(mut commands: [Command; 2], first: usize, turn: Duration) -> Outcome<[Ended; 2]> {
    let [a, b] = &mut commands;
    let mut both = [Running::begin_stopped(a)?, Running::begin_stopped(b)?];
    let mut turns = [first % 2, (first + 1) % 2];
    while both.iter().any(|r| r.ended.is_none()) {
        for which in turns {
            both[which].go_on(turn)?;
        }
        turns.reverse();
    }
    let [a, b] = both;
    Ok([a.into_ended()?, b.into_ended()?])
}

/// A program between its turns.
struct Running {
    shown: String,
    child: Child,
    pid: Pid,
    /// Readable once it has ended (pidfd_open(2)).
    end: OwnedFd,
    out: File,
    err: File,
    ended: Option<(ExitStatus, f64)>,
}

impl Running {
    /// Starts it and stops it as soon as that is possible: what it did meanwhile is part of its run.
    fn begin_stopped(command: &mut Command) -> Outcome<Running> {
        // Files, not pipes: nobody reads while they run.
        let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let shown = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
        let child = command.spawn().map_err(|e| format!("{shown}: {e}"))?;
        let pid = Pid::from_child(&child);
        let end = pidfd_open(pid, PidfdFlags::empty())?;
        kill_process(pid, Signal::STOP)?;
        Ok(Running { shown, child, pid, end, out, err, ended: None })
    }

    /// A turn, of which one that has ended has no more.
    fn go_on(&mut self, turn: Duration) -> Outcome<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        kill_process(self.pid, Signal::CONT)?;
        let turn = Timespec::try_from(turn)?;
        poll(&mut [PollFd::new(&self.end, PollFlags::IN)], Some(&turn))?;
        let before_s = children_cpu_s()?;
        match self.child.try_wait()? {
            // Only now is its time among that of ended children.
            Some(status) => self.ended = Some((status, children_cpu_s()? - before_s)),
            None => kill_process(self.pid, Signal::STOP)?,
        }
        Ok(())
    }

    fn into_ended(mut self) -> Outcome<Ended> {
        let text = |file: &mut File| -> Outcome<String> {
            let mut bytes = Vec::new();
            file.rewind()?;
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let (status, cpu_s) = self.ended.take().ok_or("it has not ended")?;
        if !status.success() {
            return Err(format!("{}: {}", self.shown, text(&mut self.err)?).into());
        }
        Ok(Ended { out: text(&mut self.out)?, cpu_s })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only what was given up on: a stopped one would stay.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The CPU time of all ended children so far, seconds.
fn children_cpu_s() -> Outcome<f64> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}
