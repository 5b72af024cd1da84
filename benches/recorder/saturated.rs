//! perfbench itself as the load: a closed loop that leaves nginx no CPU, with and without `--no-profile`.
//!
//! Must not: leave loopback.

use crate::{Outcome, cpu_of};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Length of a run; naming everything for the first time is in it.
pub const SECONDS: u32 = 8;

/// What runs have in common.
pub struct Load<'a> {
    /// Samples per second and CPU that are sent.
    pub hz: u32,
    /// nginx's.
    pub port: u16,
    /// nginx's worker.
    pub worker: i32,
    /// For the session.
    pub folder: &'a Path,
}

/// One run.
pub struct Run {
    pub per_s: f64,
    /// CPU time of perfbench and of nginx's worker a request, µs.
    pub cpu_us: f64,
    /// How much of one CPU nginx's worker had.
    pub nginx_share: f64,
}

impl Load<'_> {
    pub fn measure(&self, is_profiled: bool) -> Outcome<Run> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perfbench"));
        command.arg(format!("http://127.0.0.1:{}/", self.port)).args(["--connections", "50", "--threads", "1"]);
        command.args([
            "--replay",
            concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo/access.log.gz"),
            "--methods",
            "GET",
        ]);
        command.args(["--json", "--overwrite", "--duration"]).arg(format!("{SECONDS}s"));
        command.arg("--record").arg(self.folder.join("s.perfbench"));
        if is_profiled {
            command.arg("--profile-hz").arg(self.hz.to_string());
        } else {
            command.arg("--no-profile");
        }
        let nginx = format!("/proc/{}", self.worker);
        let (before, began) = (cpu_of(&nginx)?, Instant::now());
        let out = command.stdin(Stdio::null()).output()?;
        let (nginx_ns, wall_s) = ((cpu_of(&nginx)? - before) as f64, began.elapsed().as_secs_f64());
        if !out.status.success() {
            return Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr)).into());
        }
        let report: serde_json::Value = serde_json::from_slice(&out.stdout)?;
        let number = |path: &str| report.pointer(path).and_then(serde_json::Value::as_f64).ok_or(format!("no {path}"));
        let completed = number("/requests/completed")?;
        if number("/requests/failed")? > 0.0 || completed == 0.0 {
            return Err(format!("requests failed: {}", report["outcomes"]).into());
        }
        let cpu_us = number("/client/process_cpu_us_per_request")? + nginx_ns / 1e3 / completed;
        Ok(Run { per_s: completed / number("/duration_s")?, cpu_us, nginx_share: nginx_ns / 1e9 / wall_s })
    }
}
