//! What tests of the finished program share: a folder of their own in which perfbench is run,
//! a terminal to look at it through, its demo target and an nginx.
//!
//! Must not: end a process that a test has not started, or connect beyond loopback.

#![allow(dead_code, unused_macros, unused_imports)] // each test crate that includes this uses a part of it

#[path = "../material/mod.rs"]
pub mod material;
pub mod nginx;
pub mod tmux;

pub use material::{needed, there};
pub use nginx::Nginx;
pub use tmux::Tmux;

use perfbench::model::{CaptureState, Event};
use perfbench::profile::{Scope, Surroundings, Want, inspect};
use perfbench::session::Reader;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// No run of these tests may take longer.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// The variable by which a folder's processes are known; its value is the folder.
const MARK: &str = "PERFBENCH_TEST_FOLDER";

/// Says what a test lacks and leaves it; a failure where nothing may be lacking.
macro_rules! skip {
    ($needs:expr) => {{
        $crate::screen_support::skipped(&$needs.to_string());
        return;
    }};
}

/// The line of a test that is left. Written past the capture of the test harness, which
/// would show it for failed tests only.
pub fn skipped(needs: &str) {
    assert!(std::env::var_os("PERFBENCH_NO_SKIP").is_none(), "needs {needs}, and PERFBENCH_NO_SKIP is set");
    // In one write: the harness writes to the same terminal.
    let _ = std::io::stderr().write_all(format!("\nskipped: needs {needs}\n").as_bytes());
}

/// Whether a program is there to be run.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into()]).any(|dir| dir.join(program).is_file())
}

/// What keeps perf from sampling all CPUs here, if something does.
pub fn perf_lacks() -> Option<String> {
    let around = Surroundings { perf: None, ..Surroundings::here() };
    match inspect(&around).plan(&around, &[], Want::AllCpus) {
        Ok(plan) => (plan.scope != Scope::AllCpus).then(|| "perf that may sample all CPUs".into()),
        Err(obstacle) => Some(format!("perf ({obstacle})")),
    }
}

/// Asks until it is so, at most for a time; whether it became so.
pub fn within(time: Duration, mut so: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if so() {
            return true;
        }
        if started.elapsed() > time {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder for one test. Every process that is started in it, and what those start, is
/// known by a variable in its environment, and is ended with the folder.
pub struct Folder {
    dir: TempDir,
}

impl Folder {
    pub fn new() -> Folder {
        let dir = tempfile::Builder::new().prefix("perfbench-e2e-").tempdir().unwrap();
        for sub in ["state", "temp"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        Folder { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path as an argument.
    pub fn word(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file of the folder.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Any program, so that what it leaves behind is found.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut c = Command::new(program);
        c.current_dir(self.dir.path()).env(MARK, self.dir.path());
        c.env("XDG_STATE_HOME", self.path("state")).env("TMPDIR", self.path("temp"));
        for name in ["RUST_BACKTRACE", "NO_COLOR", "COLORTERM", "PERFBENCH_PERF"] {
            c.env_remove(name);
        }
        c
    }

    /// perfbench with these words.
    pub fn perfbench(&self, words: &[impl AsRef<OsStr>]) -> Command {
        let mut c = self.program(env!("CARGO_BIN_EXE_perfbench"));
        c.args(words);
        c
    }

    /// Runs perfbench to its end, with nothing on its standard input.
    pub fn run(&self, words: &[impl AsRef<OsStr>]) -> Ended {
        Running::start(self.perfbench(words)).end()
    }

    /// The sessions in the state folder.
    pub fn sessions(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.path("state/perfbench")) else { return vec![] };
        let mut all: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
        all.retain(|p| p.extension().is_some_and(|e| e == "perfbench"));
        all
    }

    /// The living processes of this folder: id and command line.
    pub fn processes(&self) -> Vec<(Pid, Vec<String>)> {
        let mark = [MARK.as_bytes(), b"=", self.dir.path().as_os_str().as_encoded_bytes()].concat();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()).and_then(Pid::from_raw) else {
                continue;
            };
            // What ended meanwhile, is another user's, or is a zombie cannot be read or is empty.
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment.split(|b| *b == 0).any(|v| v == mark) {
                let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let words = words.split(|b| *b == 0).filter(|w| !w.is_empty());
                found.push((pid, words.map(|w| String::from_utf8_lossy(w).into_owned()).collect()));
            }
        }
        found
    }

    /// The processes that are perfbench, its demo target or perf: all but the terminal's.
    pub fn ours(&self) -> Vec<(Pid, Vec<String>)> {
        let named = |w: &[String]| w.first().is_some_and(|p| ["perfbench", "perf"].iter().any(|n| p.ends_with(n)));
        self.processes().into_iter().filter(|(_, words)| named(words)).collect()
    }

    /// The one perfbench that is no demo target.
    pub fn perfbench_pid(&self) -> Pid {
        let all = self.ours();
        let mut found = all.iter().filter(|(_, w)| w[0].ends_with("perfbench") && w.get(1).is_none_or(|w| w != "lab"));
        found.next().unwrap_or_else(|| panic!("no perfbench runs: {all:?}")).0
    }

    /// Fails when a process of this folder lives on for longer than `time`, or when temporary
    /// files were left.
    pub fn left_clean(&self, time: Duration) {
        let clean = within(time, || self.ours().is_empty());
        assert!(clean, "still there after {time:?}: {:?}", self.ours());
        let left: Vec<_> = std::fs::read_dir(self.path("temp")).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(left.is_empty(), "left in the folder for temporary files: {left:?}");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// A program under way.
pub struct Running {
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
    started: Instant,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        fn all(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                from.read_to_end(&mut text).unwrap();
                String::from_utf8_lossy(&text).into_owned()
            })
        }
        let (stdout, stderr) = (all(child.stdout.take().unwrap()), all(child.stderr.take().unwrap()));
        Running { child, stdout, stderr, started: Instant::now() }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Whether it has not ended yet.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end; a program without one is killed and fails the test.
    pub fn end(mut self) -> Ended {
        while self.lives() {
            if self.started.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("no end in {PATIENCE:?}; stderr: {}", self.stderr.join().unwrap());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let status = self.child.wait().unwrap();
        let took = self.started.elapsed();
        Ended { status, stdout: self.stdout.join().unwrap(), stderr: self.stderr.join().unwrap(), took }
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ended {
    /// Fails unless the exit code was 0.
    #[track_caller]
    pub fn fine(self) -> Ended {
        assert!(self.status.success(), "{self:?}");
        self
    }

    /// Fails unless it refused with this exit code, one line on stderr and nothing on stdout;
    /// gives back the line.
    #[track_caller]
    pub fn refused(self, code: i32) -> String {
        assert_eq!((self.status.code(), self.stdout.as_str()), (Some(code), ""), "{self:?}");
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("perfbench: "), "{self:?}");
        self.stderr.trim_end().to_owned()
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// A count of a report under `requests`.
#[track_caller]
pub fn count(report: &Value, name: &str) -> u64 {
    report["requests"][name].as_u64().unwrap_or_else(|| panic!("no requests.{name} in {report}"))
}

/// Fails unless a report's counts are each other's sums.
#[track_caller]
pub fn adds_up(report: &Value) {
    let n = |name| count(report, name);
    assert_eq!(n("offered"), n("completed") + n("failed") + n("dropped") + n("in_flight"), "{}", report["requests"]);
    let outcomes: u64 = report["outcomes"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
    assert_eq!(outcomes, n("completed") + n("failed"), "{}", report["outcomes"]);
    let routes: u64 = report["routes"].as_array().unwrap().iter().map(|r| r["requests"].as_u64().unwrap()).sum();
    assert_eq!(routes, n("completed") + n("failed"), "{}", report["routes"]);
    assert_eq!(report["response_time_us"]["count"].as_u64(), Some(n("completed")), "{}", report["response_time_us"]);
    assert_eq!(report["service_time_us"]["count"].as_u64(), Some(n("completed")), "{}", report["service_time_us"]);
}

/// The events of a session file, read as any reader would.
#[track_caller]
pub fn events(session: &Path) -> Vec<Event> {
    let mut reader = Reader::open(session).unwrap();
    let mut all = Vec::new();
    loop {
        let batch = reader.next_batch(4096).unwrap();
        if batch.is_empty() {
            return all;
        }
        all.extend(batch);
    }
}

/// How the captures among events ended: samples, or why there are none.
pub fn captures(events: &[Event]) -> Vec<Result<u64, String>> {
    let ends = events.iter().filter_map(|e| match e {
        Event::Capture(news) => Some(&news.state),
        _ => None,
    });
    ends.filter_map(|state| match state {
        CaptureState::Done { samples, .. } => Some(Ok(*samples)),
        CaptureState::Failed { what, .. } => Some(Err(what.clone())),
        _ => None,
    })
    .collect()
}

/// perfbench's demo target on its own, ended when dropped.
pub struct Demo {
    child: Child,
    lifeline: Option<ChildStdin>,
    pub url: String,
}

impl Demo {
    pub fn start(folder: &Folder) -> Demo {
        let mut command = folder.perfbench(&["lab", "demo"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (lifeline, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (said, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = said.send(line);
        });
        let line = heard.recv_timeout(PATIENCE).expect("the demo target says where it listens");
        let url = format!("http://{}", line.trim());
        Demo { child, lifeline, url }
    }
}

impl Drop for Demo {
    /// As the perfbench that starts one ends it: by closing its standard input.
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let child = &mut self.child;
        if !within(Duration::from_secs(5), || child.try_wait().is_ok_and(|s| s.is_some())) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
