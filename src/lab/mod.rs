//! Targets with a known bottleneck, run as separate processes, so that their CPU time and
//! stacks are their own.
//!
//! Must not: listen on anything but loopback.

mod demo;

pub use demo::serve;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A lab target running as a child process.
#[derive(Debug)]
pub struct Target {
    child: Child,
    /// The target ends when this is closed, however perfbench ends.
    lifeline: Option<ChildStdin>,
    address: SocketAddr,
}

impl Target {
    /// Starts the demo target: `program lab demo`, which prints its address.
    ///
    /// # Errors
    /// When the process can't be started or does not say where it listens.
    pub fn start(program: &Path) -> std::io::Result<Target> {
        let mut child = Command::new(program)
            .args(["lab", "demo"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0) // ctrl-c is for perfbench, which still has requests under way here
            .spawn()?;
        let lifeline = child.stdin.take();
        let mut line = String::new();
        let said = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        match (said, line.trim().parse()) {
            (Some(Ok(_)), Ok(address)) => Ok(Target { child, lifeline, address }),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                Err(std::io::Error::other("the demo target did not say where it listens"))
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
