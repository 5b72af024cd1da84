//! perfbench against wrk: requests per second of client CPU, on the real log, against nginx,
//! 50 keep-alive connections. One command: `cargo bench --bench peers`.
//!
//! The machine is shared and noisy: runs come in alternating pairs, and only the median of
//! the pairs' ratios with its spread is quoted. Client CPU is user + system of the process
//! with all its threads as the kernel accounts it to its parent (getrusage RUSAGE_CHILDREN),
//! which for perfbench includes reading, rendering, sampling the host and recording.
//!
//! Two kinds of wrk: with the same requests out of the log, by a Lua script, and plain, with
//! one fixed request and no script, which is the least a client can do.
//!
//! Needs wrk and nginx (Debian: `apt-get install wrk nginx`). Options behind `--`:
//! `--pairs N` (7), `--seconds S` (5), `--log FILE`, `--close` (a connection per request).

use std::error::Error;
use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

type Outcome<T> = Result<T, Box<dyn Error>>;

const CONNECTIONS: &str = "50";
/// Below this share of wrk's requests per client-CPU-second the bench fails.
const REQUIRED: f64 = 0.9;

struct Options {
    pairs: usize,
    seconds: u32,
    log: PathBuf,
    close: bool,
}

/// What one run of a client came to.
#[derive(Clone, Copy)]
struct Run {
    requests: f64,
    wall_s: f64,
    cpu_s: f64,
}

impl Run {
    fn per_cpu_s(self) -> f64 {
        self.requests / self.cpu_s
    }
}

fn main() -> Outcome<()> {
    let o = options()?;
    let folder = tempfile::tempdir()?;
    let nginx = Nginx::start(folder.path())?;
    let paths = write_wrk_script(&o, folder.path())?;
    println!(
        "{} pairs of {} s, {CONNECTIONS} connections ({}), 1 client thread, nginx with 1 worker, {paths} requests in {}",
        o.pairs,
        o.seconds,
        if o.close { "one request each" } else { "keep-alive" },
        o.log.display()
    );
    println!(
        "{:>4} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12} {:>9} {:>9}",
        "", "wrk log/s", "per CPU-s", "wrk plain/s", "per CPU-s", "perfbench/s", "per CPU-s", "/ log", "/ plain"
    );
    let (mut over_log, mut over_plain) = (Vec::new(), Vec::new());
    for n in 0..o.pairs {
        // Another order every time, so that a drift of the machine favours nobody.
        let (mut log, mut plain, mut ours) = (None, None, None);
        for turn in 0..3 {
            match (turn + n) % 3 {
                0 => log = Some(wrk(&o, &nginx, folder.path(), true)?),
                1 => ours = Some(perfbench(&o, &nginx, folder.path())?),
                _ => plain = Some(wrk(&o, &nginx, folder.path(), false)?),
            }
        }
        let (Some(log), Some(plain), Some(ours)) = (log, plain, ours) else { continue };
        over_log.push(ours.per_cpu_s() / log.per_cpu_s());
        over_plain.push(ours.per_cpu_s() / plain.per_cpu_s());
        println!(
            "{:>4} {:>12.0} {:>12.0} {:>12.0} {:>12.0} {:>12.0} {:>12.0} {:>9.3} {:>9.3}",
            n + 1,
            log.requests / log.wall_s,
            log.per_cpu_s(),
            plain.requests / plain.wall_s,
            plain.per_cpu_s(),
            ours.requests / ours.wall_s,
            ours.per_cpu_s(),
            over_log[n],
            over_plain[n]
        );
    }
    let log = tell("wrk replaying the log", &mut over_log);
    let plain = tell("wrk with one fixed request", &mut over_plain);
    if log.min(plain) < REQUIRED {
        return Err(format!("below the promised {REQUIRED} × wrk").into());
    }
    Ok(())
}

/// Prints the median of ratios and their spread; gives the median.
fn tell(what: &str, ratios: &mut [f64]) -> f64 {
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!("perfbench / {what}: median {median:.3}, from {:.3} to {:.3}", ratios[0], ratios[ratios.len() - 1]);
    median
}

fn options() -> Outcome<Options> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/logs/nginx-combined.log.gz");
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/access.log.gz");
    let mut o = Options { pairs: 7, seconds: 5, log: if shared.exists() { shared } else { bundled }, close: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--pairs" => o.pairs = value()?.parse()?,
            "--seconds" => o.seconds = value()?.parse()?,
            "--log" => o.log = value()?.into(),
            "--close" => o.close = true,
            "--bench" => {} // cargo's own
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(o)
}

/// The CPU time of all ended children so far, seconds.
fn children_cpu_s() -> Outcome<f64> {
    // /proc/self/stat fields 16 and 17, cutime and cstime, in clock ticks (proc_pid_stat(5)).
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = fields[13].parse::<f64>()? + fields[14].parse::<f64>()?;
    Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
}

fn timed(command: &mut Command) -> Outcome<(String, f64)> {
    let before = children_cpu_s()?;
    let out = command.stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
    if !out.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr)).into());
    }
    Ok((String::from_utf8_lossy(&out.stdout).into_owned(), children_cpu_s()? - before))
}

fn wrk(o: &Options, nginx: &Nginx, folder: &Path, log: bool) -> Outcome<Run> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c", CONNECTIONS, "-d"]).arg(format!("{}s", o.seconds));
    if log {
        command.arg("-s").arg(folder.join("paths.lua"));
    }
    if o.close {
        command.args(["-H", "Connection: close"]);
    }
    let (out, cpu_s) = timed(command.arg(format!("http://127.0.0.1:{}", nginx.port)))?;
    // "  123456 requests in 5.10s, 30.10MB read"
    let line = out.lines().find(|l| l.contains(" requests in ")).ok_or(format!("wrk said: {out}"))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    Ok(Run { requests: words[0].parse()?, wall_s: words[3].trim_end_matches("s,").parse()?, cpu_s })
}

fn perfbench(o: &Options, nginx: &Nginx, folder: &Path) -> Outcome<Run> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perfbench"));
    command.arg(format!("http://127.0.0.1:{}", nginx.port)).arg("--replay").arg(&o.log);
    command.args([
        "--methods",
        "GET",
        "--threads",
        "1",
        "--connections",
        CONNECTIONS,
        "--json",
        "--overwrite",
        "--duration",
    ]);
    command.arg(format!("{}s", o.seconds)).arg("--record").arg(folder.join("s.perfbench"));
    if o.close {
        command.args(["--connection", "close"]);
    }
    let (out, cpu_s) = timed(&mut command)?;
    let report: serde_json::Value = serde_json::from_str(&out)?;
    let number = |path: &str| report.pointer(path).and_then(serde_json::Value::as_f64).ok_or(format!("no {path}"));
    if number("/requests/failed")? > 0.0 {
        return Err(format!("requests failed: {}", report["outcomes"]).into());
    }
    Ok(Run { requests: number("/requests/completed")?, wall_s: number("/duration_s")?, cpu_s })
}

/// wrk sends the same requests, in the log's order: path and the recorded header fields, made
/// into bytes once when it starts, which is the cheapest wrk can do it. GET only, on both
/// sides: wrk waits for a body behind the response to HEAD.
fn write_wrk_script(o: &Options, folder: &Path) -> Outcome<usize> {
    let gets = perfbench::traffic::Options { methods: "GET".parse()?, ..Default::default() };
    let mut reader = perfbench::traffic::Reader::open(std::slice::from_ref(&o.log), gets)?;
    let mut request = perfbench::traffic::Reader::blank();
    let rendering = perfbench::load::Rendering { authority: "127.0.0.1".into(), close: o.close, ..Default::default() };
    let mut wire = Vec::new();
    let mut count = 0;
    let mut script = std::io::BufWriter::new(std::fs::File::create(folder.join("paths.lua"))?);
    writeln!(script, "local requests = {{}}\nfor line in io.lines(\"{}\") do", folder.join("wire").display())?;
    writeln!(script, "  requests[#requests + 1] = line:gsub(\"\\1\", \"\\r\\n\")\nend")?;
    writeln!(script, "local n = 0\nrequest = function() n = n % #requests + 1; return requests[n] end")?;
    script.flush()?;
    let mut lines = std::io::BufWriter::new(std::fs::File::create(folder.join("wire"))?);
    while reader.next(&mut request)? {
        wire.clear();
        rendering.render(&request, &mut wire);
        let text = String::from_utf8(wire.clone())?.replace("\r\n", "\u{1}");
        writeln!(lines, "{text}")?;
        count += 1;
    }
    lines.flush()?;
    Ok(count)
}

struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    fn start(folder: &Path) -> Outcome<Nginx> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let www = folder.join("www");
        std::fs::create_dir_all(&www)?;
        std::fs::write(
            folder.join("nginx.conf"),
            format!(
                "worker_processes 1; daemon off; pid nginx.pid; error_log error.log;\n\
                 events {{ worker_connections 4096; }}\n\
                 http {{ access_log off; keepalive_requests 1000000000;\n\
                 server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 \"{}\"; }} }} }}\n",
                "x".repeat(200)
            ),
        )?;
        let mut child = Command::new("nginx")
            .arg("-p")
            .arg(folder)
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("nginx can't be started ({e}); install it: apt-get install nginx"))?;
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Nginx { child, port });
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = child.kill();
        let mut said = String::new();
        if let Some(err) = child.stderr.take() {
            BufReader::new(err).read_to_string(&mut said)?;
        }
        Err(format!("nginx does not listen: {}", said.lines().next().unwrap_or("it says nothing")).into())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM to the master: it takes its worker along, which SIGKILL would not.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
