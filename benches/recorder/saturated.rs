//! perfbench itself as the load: a closed loop that leaves nginx no CPU.
//!
//! Must not: leave loopback.

use crate::{Outcome, Run, cpu_of};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What it needs for its start.
const START: Duration = Duration::from_secs(4);

/// A run under way, recording and profiling.
pub struct Load {
    child: Child,
    /// Answers with how many requests it has had.
    status: TcpStream,
    /// nginx's.
    worker: i32,
}

impl Load {
    /// `hz`: samples per second and CPU that are sent; `folder`: for the session.
    pub fn start(hz: u32, port: u16, worker: i32, folder: &Path) -> Outcome<Load> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perfbench"));
        command.arg(format!("http://127.0.0.1:{port}/")).args(["--connections", "50", "--threads", "1"]);
        command.args([
            "--replay",
            concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo/access.log.gz"),
            "--methods",
            "GET",
        ]);
        // Ended when there were turns enough; within an hour whatever happens.
        command.args(["--json", "--overwrite", "--duration", "1h", "--profile-hz"]).arg(hz.to_string());
        command.arg("--record").arg(folder.join("s.perfbench"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let load = Load { child: command.spawn()?, status: TcpStream::connect(("127.0.0.1", port))?, worker };
        std::thread::sleep(START);
        Ok(load)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What happens in so much time; CPU time is that of nginx's worker and of all of perfbench.
    pub fn measure(&mut self, time: Duration) -> Outcome<Run> {
        let (before, began) = (self.read()?, Instant::now());
        std::thread::sleep(time);
        let (after, wall) = (self.read()?, began.elapsed().as_secs_f64());
        Ok(Run { requests: after.0 - before.0, cpu_ns: after.1 - before.1, wall, ..Run::default() })
    }

    fn read(&mut self) -> Outcome<(u64, u64)> {
        let requests = self.requests()?;
        let mut cpu_ns = cpu_of(&format!("/proc/{}", self.worker))?;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            // A thread that has ended meanwhile had little.
            cpu_ns += cpu_of(&task?.path().to_string_lossy()).unwrap_or(0);
        }
        Ok((requests, cpu_ns))
    }

    /// By nginx's own count (ngx_http_stub_status_module).
    fn requests(&mut self) -> Outcome<u64> {
        self.status.write_all(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut buffer = [0; 4096];
        let n = self.status.read(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..n]);
        // "server accepts handled requests", and below it the three numbers.
        let counts = text.lines().skip_while(|l| !l.contains("handled requests")).nth(1);
        let last = counts.and_then(|l| l.split_whitespace().nth(2)).ok_or(format!("nginx said: {text}"))?;
        Ok(last.parse()?)
    }

    /// Ends it as Ctrl-C does; an error where requests failed.
    pub fn end(mut self) -> Outcome<()> {
        kill_process(self.pid(), Signal::INT)?;
        let mut out = String::new();
        self.child.stdout.take().ok_or("no output")?.read_to_string(&mut out)?;
        self.child.wait()?;
        let report: serde_json::Value = serde_json::from_str(&out)?;
        let number = |path: &str| report.pointer(path).and_then(serde_json::Value::as_f64).ok_or(format!("no {path}"));
        if number("/requests/failed")? > 0.0 || number("/requests/completed")? == 0.0 {
            return Err(format!("requests failed: {}", report["outcomes"]).into());
        }
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
