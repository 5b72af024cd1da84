//! The clients that are compared: how each is run, and how many requests it says it has sent.
//!
//! Client CPU is user + system of the process with all its threads as the kernel accounts it to
//! its parent (getrusage(2), RUSAGE_CHILDREN), which for perfbench includes reading,
//! rendering, sampling the host and recording.
//!
//! Must not: judge.

use super::nginx::Nginx;
use super::{Case, Options, Outcome};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a client is given.
pub struct Job<'a> {
    /// What the bench was asked for.
    pub options: &'a Options,
    /// Which comparison.
    pub case: &'a Case,
    /// The target.
    pub nginx: &'a Nginx,
    /// Where files may be put.
    pub folder: &'a Path,
}

impl Job<'_> {
    fn url(&self) -> String {
        if self.case.tls {
            format!("https://127.0.0.1:{}", self.nginx.tls_port)
        } else {
            format!("http://127.0.0.1:{}", self.nginx.port)
        }
    }

    /// How long it runs with the other's turns between its own, which are as long as was asked for.
    fn duration(&self) -> String {
        format!("{}s", 2 * self.options.seconds)
    }
}

/// A client.
pub struct Client {
    /// Its name in tables.
    pub name: &'static str,
    /// What a system needs for it.
    pub program: &'static str,
    /// How it is run.
    pub command: fn(&Job<'_>) -> Outcome<Command>,
    /// How many requests were answered, by what it wrote.
    pub requests: fn(&str) -> Outcome<f64>,
}

static WRK_LOG: Client =
    Client { name: "wrk, the log", program: "wrk", command: |job| Ok(wrk(job, true)), requests: told_by_wrk };
static WRK_ONE: Client =
    Client { name: "wrk, one request", program: "wrk", command: |job| Ok(wrk(job, false)), requests: told_by_wrk };
static OHA: Client = Client { name: "oha, the URLs", program: "oha", command: oha, requests: told_by_oha };
static LOG: Client = Client {
    name: "perfbench, the log",
    program: "perfbench",
    command: |job| Ok(perfbench(job, &job.options.log, "log")),
    requests: told_by_perfbench,
};
static URLS: Client = Client {
    name: "perfbench, the URLs",
    program: "perfbench",
    command: |job| Ok(perfbench(job, &urls(job)?, "urls")),
    requests: told_by_perfbench,
};

/// Ours, and what it is compared with.
pub struct Pair {
    pub ours: &'static Client,
    pub theirs: &'static Client,
    /// It is what was promised: ours sends the whole log.
    pub is_promised: bool,
}

/// Who is compared with whom. oha can't send recorded header fields: of the log it has the URLs, so ours
/// is shown with those alone as well, which is equal work.
pub static PAIRS: &[Pair] = &[
    Pair { ours: &LOG, theirs: &WRK_LOG, is_promised: true },
    Pair { ours: &LOG, theirs: &WRK_ONE, is_promised: true },
    Pair { ours: &URLS, theirs: &OHA, is_promised: false },
    Pair { ours: &LOG, theirs: &OHA, is_promised: true },
];

fn wrk(job: &Job<'_>, log: bool) -> Command {
    let mut command = Command::new("wrk");
    command.args(["-t1", "--timeout", "10s", "-c"]).arg(job.case.connections.to_string());
    command.arg("-d").arg(job.duration());
    if log {
        command.arg("-s").arg(job.folder.join(if job.case.close { "close.lua" } else { "keep.lua" }));
    }
    if job.case.close {
        command.args(["-H", "Connection: close"]);
    }
    command.arg(job.url());
    command
}

/// "  123456 requests in 5.10s, 30.10MB read"
fn told_by_wrk(out: &str) -> Outcome<f64> {
    let line = out.lines().find(|l| l.contains(" requests in ")).ok_or(format!("wrk said: {out}"))?;
    Ok(line.split_whitespace().next().unwrap_or("").parse()?)
}

/// The log's URLs, a line each.
fn urls(job: &Job<'_>) -> Outcome<PathBuf> {
    let urls = job.folder.join(format!("urls-{}", if job.case.tls { "https" } else { "http" }));
    let mut list = std::io::BufWriter::new(std::fs::File::create(&urls)?);
    for path in std::fs::read_to_string(job.folder.join("paths"))?.lines() {
        writeln!(list, "{}{path}", job.url())?;
    }
    list.flush()?;
    Ok(urls)
}

fn oha(job: &Job<'_>) -> Outcome<Command> {
    let mut command = Command::new("oha");
    command.args(["--no-tui", "--output-format", "json", "--wait-ongoing-requests-after-deadline"]);
    command.arg("-c").arg(job.case.connections.to_string()).arg("-z").arg(job.duration());
    if job.case.close {
        command.arg("--disable-keepalive");
    }
    if job.case.tls {
        command.arg("--insecure");
    }
    // One thread, as the others have: its default is one for each CPU, and nginx needs the other.
    command.env("TOKIO_WORKER_THREADS", "1").arg("--urls-from-file").arg(urls(job)?);
    Ok(command)
}

fn told_by_oha(out: &str) -> Outcome<f64> {
    let report: serde_json::Value = serde_json::from_str(out)?;
    let statuses = report["statusCodeDistribution"].as_object().ok_or("oha told no statuses")?;
    Ok(statuses.values().filter_map(serde_json::Value::as_f64).sum())
}

/// With what is replayed; `name`: of its session.
fn perfbench(job: &Job<'_>, replayed: &Path, name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perfbench"));
    command.arg(job.url()).arg("--replay").arg(replayed);
    command.args(["--methods", "GET", "--threads", "1", "--json", "--overwrite", "--connections"]);
    command.arg(job.case.connections.to_string()).arg("--duration").arg(job.duration());
    // The others profile nothing. What sampling costs is measured by itself: `cargo bench --bench recorder`.
    command.arg("--no-profile").arg("--record").arg(job.folder.join(format!("{name}.perfbench")));
    if job.case.close {
        command.args(["--connection", "close"]);
    }
    if job.case.tls {
        command.arg("--insecure");
    }
    command
}

fn told_by_perfbench(out: &str) -> Outcome<f64> {
    let report: serde_json::Value = serde_json::from_str(out)?;
    let number = |path: &str| report.pointer(path).and_then(serde_json::Value::as_f64).ok_or(format!("no {path}"));
    if number("/requests/failed")? > 0.0 {
        return Err(format!("requests failed: {}", report["outcomes"]).into());
    }
    Ok(number("/requests/completed")?)
}

/// wrk sends the same requests, in the log's order: path and the recorded header fields, made
/// into bytes once when it starts, which is the cheapest wrk can do it. GET only, on both
/// sides: wrk waits for a body behind the response to HEAD. oha is given the URLs.
pub fn prepare(log: &std::path::PathBuf, folder: &Path) -> Outcome<usize> {
    let gets = perfbench::traffic::Options { methods: "GET".parse()?, ..Default::default() };
    let mut reader = perfbench::traffic::Reader::open(std::slice::from_ref(log), gets)?;
    let mut request = perfbench::traffic::Reader::blank();
    let mut paths = std::io::BufWriter::new(std::fs::File::create(folder.join("paths"))?);
    let mut lists = [("keep", false), ("close", true)].map(|(name, close)| {
        let rendering = perfbench::load::Rendering { authority: "127.0.0.1".into(), close, ..Default::default() };
        (name, rendering, Vec::<u8>::new())
    });
    let (mut wire, mut count) = (Vec::new(), 0);
    while reader.next(&mut request)? {
        writeln!(paths, "{}", request.path)?;
        for (_, rendering, list) in &mut lists {
            wire.clear();
            rendering.render(&request, &mut wire);
            list.extend(String::from_utf8(wire.clone())?.replace("\r\n", "\u{1}").bytes());
            list.push(b'\n');
        }
        count += 1;
    }
    paths.flush()?;
    for (name, _, list) in lists {
        let wire = folder.join(format!("{name}.wire"));
        std::fs::write(&wire, list)?;
        std::fs::write(
            folder.join(format!("{name}.lua")),
            format!(
                "local requests = {{}}\nfor line in io.lines(\"{}\") do\n\
                 requests[#requests + 1] = line:gsub(\"\\1\", \"\\r\\n\")\nend\n\
                 local n = 0\nrequest = function() n = n % #requests + 1; return requests[n] end\n",
                wire.display()
            ),
        )?;
    }
    Ok(count)
}
