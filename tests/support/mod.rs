//! What tests of whole runs share: a scripted server, a small log, perfbench itself run as a
//! user would, and nginx.
//!
//! Must not: listen or connect beyond loopback, or end a process it has not started.

#![allow(dead_code)] // each test crate that includes this uses a part of it

pub mod certificates;
pub mod nginx;
pub mod server;

use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[allow(unused_imports)] // as above
pub use server::{Do, Server, ok};

/// No run of these tests may take longer.
const PATIENCE: Duration = Duration::from_secs(40);

/// Says what a test lacks and leaves it; a failure where nothing may be lacking.
#[allow(unused_macros)]
macro_rules! skip {
    ($needs:expr) => {{
        assert!(std::env::var_os("PERFBENCH_NO_SKIP").is_none(), "needs {}", $needs);
        // Not by println!, which cargo keeps to itself when a test passes.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: needs {}\n", $needs).as_bytes());
        return;
    }};
}

/// Whether a program is there to be run.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin".into()]).any(|dir| dir.join(program).is_file())
}

/// A free port. Another may take it before a server of ours does; none has yet.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A combined log line `second` seconds after 13:00.
pub fn line(second: u64, method: &str, path: &str) -> String {
    let (h, m, s) = (13 + second / 3600, second / 60 % 60, second % 60);
    format!(
        "192.0.2.1 - - [10/Oct/2025:{h:02}:{m:02}:{s:02} +0000] \"{method} {path} HTTP/1.1\" 200 5 \"-\" \"old/1\"\n"
    )
}

/// `n` GET requests in one second, for /r0, /r1, …
pub fn gets(n: usize) -> String {
    (0..n).map(|i| line(0, "GET", &format!("/r{i}"))).collect()
}

/// A folder for one test with its logs and sessions.
pub struct Bench {
    dir: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of the folder.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// perfbench with these words, its screen nowhere.
    pub fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_perfbench"));
        c.args(args).current_dir(self.dir.path()).env_remove("RUST_BACKTRACE");
        c
    }

    /// The usual words of a recorded run, with `more` behind them, written with spaces. Nothing is
    /// profiled: a dozen runs at once would each name everything that the others do.
    pub fn words(&self, target: &str, log: &Path, more: &str) -> Vec<String> {
        let session = self.path("s.perfbench");
        let mut words: Vec<String> = vec![target.into(), "--replay".into(), log.display().to_string()];
        words.extend(["--record".into(), session.display().to_string(), "--overwrite".into(), "--json".into()]);
        words.push("--no-profile".into());
        words.extend(more.split_whitespace().map(str::to_owned));
        words
    }

    /// Replays `log` at `target` and gives back what came of it.
    pub fn run(&self, target: &str, log: &str, more: &str) -> Report {
        let log = self.file("access.log", log);
        Running::start(self.command(&self.words(target, &log, more))).report()
    }
}

/// A perfbench under way.
pub struct Running {
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
    started: Instant,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("perfbench");
        fn all(mut from: impl std::io::Read + Send + 'static) -> JoinHandle<String> {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                from.read_to_end(&mut text).unwrap();
                String::from_utf8_lossy(&text).into_owned()
            })
        }
        let (stdout, stderr) = (all(child.stdout.take().unwrap()), all(child.stderr.take().unwrap()));
        Running { child, stdout, stderr, started: Instant::now() }
    }

    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits for the end; a run without one is ended and fails the test.
    pub fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.started.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("no end in {PATIENCE:?}; stderr: {}", self.stderr.join().unwrap());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let took = self.started.elapsed();
        Ended { status, stdout: self.stdout.join().unwrap(), stderr: self.stderr.join().unwrap(), took }
    }

    /// Waits for the end and reads the report, which must add up.
    pub fn report(self) -> Report {
        let ended = self.end();
        let json = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|e| panic!("{e}: `{}`, stderr: {}", ended.stdout, ended.stderr));
        let report = Report { json, ended };
        report.adds_up();
        report
    }
}

/// How a perfbench ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// What a run printed with --json.
#[derive(Debug)]
pub struct Report {
    pub json: Value,
    pub ended: Ended,
}

impl Report {
    /// A count under `requests`.
    pub fn n(&self, name: &str) -> u64 {
        self.json["requests"][name].as_u64().unwrap_or_else(|| panic!("no requests.{name}"))
    }

    pub fn outcomes(&self) -> BTreeMap<&str, u64> {
        self.json["outcomes"].as_object().unwrap().iter().map(|(k, v)| (k.as_str(), v.as_u64().unwrap())).collect()
    }

    pub fn outcome(&self, name: &str) -> u64 {
        self.outcomes().get(name).copied().unwrap_or(0)
    }

    /// A value of a distribution, ms.
    pub fn ms(&self, distribution: &str, value: &str) -> f64 {
        self.json[distribution][value].as_f64().unwrap() / 1e3
    }

    pub fn text(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }

    /// All faults, a line each.
    pub fn faults(&self) -> String {
        self.json["faults"].as_array().unwrap().iter().fold(String::new(), |mut all, f| {
            let _ = writeln!(all, "{}: {}", f["place"].as_str().unwrap(), f["what"].as_str().unwrap());
            all
        })
    }

    /// The laws every report keeps.
    pub fn adds_up(&self) {
        let n = |name| self.n(name);
        let text = serde_json::to_string(&self.json["requests"]).unwrap();
        assert_eq!(n("offered"), n("completed") + n("failed") + n("dropped") + n("in_flight"), "{text}");
        assert_eq!(self.outcomes().values().sum::<u64>(), n("completed") + n("failed"), "{:?}", self.outcomes());
        let statuses: u64 = self.outcomes().iter().filter(|(k, _)| k.parse::<u16>().is_ok()).map(|(_, n)| n).sum();
        assert_eq!(statuses, n("completed"));
        let routes = self.json["routes"].as_array().unwrap();
        let sum = |key: &str| routes.iter().map(|r| r[key].as_u64().unwrap()).sum::<u64>();
        assert_eq!((sum("requests"), sum("failed")), (n("completed") + n("failed"), n("failed")));
        assert_eq!(self.json["response_time_us"]["count"].as_u64().unwrap(), n("completed") + n("failed"));
        assert!(n("sent") >= n("completed") && n("sent") <= n("offered"), "{text}");
    }
}

/// Sends a signal to a process that a test has started.
pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

/// Writes bytes, as many as are wanted, and leaves the pipe open.
pub fn feed(pipe: &mut ChildStdin, bytes: &str) {
    let written = pipe.write_all(bytes.as_bytes()).and_then(|()| pipe.flush());
    // A run may be over before it has read all it was given.
    assert!(written.map_or_else(|e| e.kind() == ErrorKind::BrokenPipe, |()| true));
}
