//! Whether requests are sent when they fall due, and whether response times tell of a stall:
//! two tables, each with what is promised of it: `cargo bench --bench pacing`.
//!
//! Rates: how many requests were sent of those that a rate asks for, and the send lag. (What was not
//! got to at the end of a run counts as offered and dropped, so that offered alone says nothing.) An
//! idle machine is part of the promise. Before each run a thread looks at the clock and does nothing else
//! for a second: for how much of it it was stopped is what no client could do anything about. Where that is
//! more than the hundredth of the requests that a p99 leaves out, no p99 can be kept, and the reports of these
//! runs have to say that requests were not on time; elsewhere a p99 above what is promised fails the bench.
//!
//! Stall: the target is stopped for 2 s in a run of 10 s at 2000/s. A request due `t` after the
//! stop waits what is left of it, so the quantile q of all response times is
//! `stop - (1 - q) · 10 s` as long as that is above 0. Below, requests saw no stall: the median of
//! all is then the quantile 0.5 / (1 - stop / 10 s) of those before it and of those after what had queued up.
//! Both, because a machine that is faster or slower after the stop than before it says nothing of the client.
//!
//! Needs nginx and openssl. Options behind `--`: `--rounds N` (5), `--log FILE`.
//!
//! Must not: judge by the best round; the median counts.

#[path = "peers/nginx.rs"]
mod nginx;

use hdrhistogram::Histogram;
use perfbench::model::{Event, new_histogram};
use perfbench::session::Reader;
use perfbench::timeline::{ON_TIME_MISSING, ON_TIME_P50_NS, ON_TIME_P99_NS};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What can go wrong in a bench.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

const LENGTH_S: f64 = 10.0;
const RATES: [f64; 3] = [1_000.0, 5_000.0, 20_000.0];
/// At every rate: sent of what was asked for, both ways, percent.
const SENT_WITHIN: f64 = ON_TIME_MISSING * 100.0;
/// At the highest rate, µs.
const LAG_P50: f64 = ON_TIME_P50_NS as f64 / 1e3;
const LAG_P99: f64 = ON_TIME_P99_NS as f64 / 1e3;
/// Of the time, from which on a machine keeps no p99: it stops a thread while a hundredth of the requests fall due.
const STOPPED_TOO_LONG: f64 = 0.01;

const STALL_RATE: f64 = 2_000.0;
const STALL_AFTER: Duration = Duration::from_secs(4);
const STALL: Duration = Duration::from_secs(2);
/// From the start of the load client's process to its first request is less than this, ns.
const MARGIN_NS: u64 = 500_000_000;
/// What queued up in the stop is worked off in less than this, ns: were it not, the p90 would be off by far more than
/// is promised.
const WORKED_OFF_NS: u64 = 1_000_000_000;
/// Measured quantiles of the analytic ones, percent.
const STALL_WITHIN: f64 = 5.0;

struct Options {
    rounds: usize,
    log: PathBuf,
}

fn main() -> Outcome<()> {
    let o = options()?;
    let folder = tempfile::tempdir()?;
    let nginx = nginx::Nginx::start(folder.path())?;
    let mut broken = rates(&o, &nginx, folder.path())?;
    broken.extend(stall(&o, &nginx, folder.path())?);
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ").into()) }
}

fn rates(o: &Options, nginx: &nginx::Nginx, folder: &Path) -> Outcome<Vec<String>> {
    println!("{} rounds of {LENGTH_S} s at each rate, medians (lowest to highest)\n", o.rounds);
    println!("| rate /s | sent off by | send lag p50 | p99 | p99.9 | client CPU of a core | client says |");
    println!("|---:|---:|---:|---:|---:|---:|---|");
    let mut rounds: Vec<Vec<Value>> = vec![Vec::new(); RATES.len()];
    let mut stopped: Vec<Stopped> = Vec::new();
    for _ in 0..o.rounds {
        for (rate, reports) in RATES.iter().zip(&mut rounds) {
            stopped.push(Stopped::of_a_second());
            reports.push(perfbench(o, nginx, folder, *rate, |_| Ok(()))?);
        }
    }
    let machine = Stopped::line(&stopped);
    let mut broken = Vec::new();
    for (rate, reports) in RATES.iter().zip(&rounds) {
        let of = |figure: &dyn Fn(&Value) -> Option<f64>| -> Outcome<[f64; 3]> {
            let mut all =
                reports.iter().map(figure).collect::<Option<Vec<f64>>>().ok_or("the report lacks a figure")?;
            all.sort_by(f64::total_cmp);
            Ok([all[all.len() / 2], all[0], all[all.len() - 1]])
        };
        let off = of(&|r| {
            let asked = rate * LENGTH_S;
            Some((number(r, "/requests/sent")? - asked).abs() / asked * 100.0)
        })?;
        let lag = |q: &'static str| of(&move |r| number(r, &format!("/send_lag_us/{q}")));
        let (p50, p99, p999) = (lag("p50")?, lag("p99")?, lag("p999")?);
        let cpu = of(&|r| {
            let cpu_s = number(r, "/client/cpu_user_s")? + number(r, "/client/cpu_system_s")?;
            Some(cpu_s / number(r, "/duration_s")? * 100.0)
        })?;
        let limits = reports.iter().filter(|r| r["client"]["limits_run"] == true).count();
        let is_late = |r: &&Value| {
            let above = |path, most| number(r, path).is_none_or(|us| us >= most);
            above("/send_lag_us/p50", LAG_P50) || above("/send_lag_us/p99", LAG_P99)
        };
        let late: Vec<&Value> = reports.iter().filter(is_late).collect();
        let unsaid = late.iter().filter(|r| r["client"]["on_time"] != false).count();
        if unsaid > 0 {
            broken.push(format!("{rate}/s: {unsaid} reports of {} late rounds do not say so", late.len()));
        }
        let shown = |[median, low, high]: [f64; 3], unit| format!("{median:.1} ({low:.1} to {high:.1}) {unit}");
        println!(
            "| {rate} | {:.3} % | {} | {} | {} | {} | late in {}, limits in {limits} of {} rounds |",
            off[0],
            shown(p50, "µs"),
            shown(p99, "µs"),
            shown(p999, "µs"),
            shown(cpu, "%"),
            late.len(),
            reports.len()
        );
        if off[0] > SENT_WITHIN {
            broken.push(format!("{rate}/s: sent is off by {:.3} %, promised {SENT_WITHIN} %", off[0]));
        }
        if *rate == RATES[RATES.len() - 1] && (p50[0] > LAG_P50 || p99[0] > LAG_P99) {
            let told = format!(
                "{rate}/s: send lag p50 {:.1} and p99 {:.1} µs, promised {LAG_P50} and {LAG_P99}; {machine}",
                p50[0], p99[0]
            );
            match Stopped::mean(&stopped) >= STOPPED_TOO_LONG && p50[0] <= LAG_P50 {
                true => println!("\nnot to be kept here, and the reports say so: {told}"),
                false => broken.push(told),
            }
        }
    }
    println!("\n{machine}");
    Ok(broken)
}

/// For how long a thread that only looks at the clock was stopped within a second.
struct Stopped {
    /// All of it, from 50 µs each on.
    share: f64,
    longest_ms: f64,
}

impl Stopped {
    fn of_a_second() -> Stopped {
        let from = Instant::now();
        let (mut last, mut sum, mut longest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        while last < Duration::from_secs(1) {
            let now = from.elapsed();
            let gap = now - last;
            if gap > Duration::from_micros(50) {
                sum += gap;
                longest = longest.max(gap);
            }
            last = now;
        }
        Stopped { share: sum.as_secs_f64(), longest_ms: longest.as_secs_f64() * 1e3 }
    }

    fn mean(all: &[Stopped]) -> f64 {
        all.iter().map(|s| s.share).sum::<f64>() / all.len() as f64
    }

    fn line(all: &[Stopped]) -> String {
        let mean = Stopped::mean(all) * 100.0;
        let longest = all.iter().map(|s| s.longest_ms).fold(0.0, f64::max);
        format!(
            "the machine stopped a thread that does nothing else for {mean:.2} % of the time, {longest:.1} ms on end"
        )
    }
}

fn stall(o: &Options, nginx: &nginx::Nginx, folder: &Path) -> Outcome<Vec<String>> {
    println!("\n{} rounds of {LENGTH_S} s at {STALL_RATE}/s, the target stopped for {STALL:?}\n", o.rounds);
    println!("| round | quantile | analytic | response time | off by | service time |\n|---:|---|---:|---:|---:|---:|");
    let master = nginx.pid().ok_or("nginx has no process")?;
    let mut off: Vec<(&str, Vec<f64>)> = Vec::new();
    for round in 1..=o.rounds {
        let mut stopped_s = 0.0;
        let report = perfbench(o, nginx, folder, STALL_RATE, |_| {
            std::thread::sleep(STALL_AFTER);
            let workers = children(master)?;
            let from = Instant::now();
            workers.iter().try_for_each(|pid| kill_process(*pid, Signal::STOP))?;
            std::thread::sleep(STALL);
            workers.iter().try_for_each(|pid| kill_process(*pid, Signal::CONT))?;
            stopped_s = from.elapsed().as_secs_f64();
            Ok(())
        })?;
        let undisturbed = undisturbed(&folder.join("s.perfbench"))?;
        for (name, q) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
            let waited_s = stopped_s - (1.0 - q) * LENGTH_S;
            let analytic_us = if waited_s > 0.0 {
                waited_s * 1e6
            } else {
                undisturbed.value_at_quantile(q / (1.0 - stopped_s / LENGTH_S)) as f64 / 1e3
            };
            let figure = |of: &str| number(&report, &format!("/{of}/{name}")).ok_or(format!("no {of}/{name}"));
            let (response_us, service_us) = (figure("response_time_us")?, figure("service_time_us")?);
            let percent = (response_us / analytic_us - 1.0) * 100.0;
            println!(
                "| {round} | {name} | {:.3} ms | {:.3} ms | {percent:+.2} % | {:.3} ms |",
                analytic_us / 1e3,
                response_us / 1e3,
                service_us / 1e3
            );
            match off.iter_mut().find(|(n, _)| *n == name) {
                Some((_, all)) => all.push(percent),
                None => off.push((name, vec![percent])),
            }
        }
    }
    let mut broken = Vec::new();
    for (name, all) in &mut off {
        all.sort_by(f64::total_cmp);
        let median = all[all.len() / 2];
        println!("{name}: off by {median:+.2} % (median; {:+.2} to {:+.2})", all[0], all[all.len() - 1]);
        if median.abs() > STALL_WITHIN {
            broken.push(format!("stall {name}: off by {median:+.2} %, promised {STALL_WITHIN} %"));
        }
    }
    Ok(broken)
}

/// The response times of the requests that ended before the target was stopped, or fell due when what had
/// queued up meanwhile was worked off.
fn undisturbed(session: &Path) -> Outcome<Histogram<u64>> {
    let stop_ns = STALL_AFTER.as_nanos() as u64;
    let over_ns = stop_ns + STALL.as_nanos() as u64 + WORKED_OFF_NS;
    let mut dense = new_histogram();
    let mut reader = Reader::open(session)?;
    loop {
        let events = reader.next_batch(1000)?;
        if events.is_empty() {
            break;
        }
        for event in events {
            match event {
                Event::Interval(i) if i.span.to.0 + MARGIN_NS < stop_ns || i.span.from.0 > over_ns => {
                    i.response_time.add_to(&mut dense);
                }
                _ => {}
            }
        }
    }
    Ok(dense)
}

/// One run of the load client; `meanwhile` is done while it runs, told its process.
fn perfbench(
    o: &Options,
    nginx: &nginx::Nginx,
    folder: &Path,
    rate: f64,
    mut meanwhile: impl FnMut(u32) -> Outcome<()>,
) -> Outcome<Value> {
    let child = Command::new(env!("CARGO_BIN_EXE_perfbench"))
        .arg(format!("http://127.0.0.1:{}", nginx.port))
        .arg("--replay")
        .arg(&o.log)
        .args(["--threads", "1", "--json", "--overwrite", "--connections", "50", "--timeout", "30s"])
        .args(["--rate", &rate.to_string(), "--duration", &format!("{LENGTH_S}s"), "--no-profile", "--record"])
        .arg(folder.join("s.perfbench"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    meanwhile(child.id())?;
    let out = child.wait_with_output()?;
    if !out.status.success() {
        return Err(format!("perfbench: {}", String::from_utf8_lossy(&out.stderr)).into());
    }
    let report: Value = serde_json::from_slice(&out.stdout)?;
    match number(&report, "/requests/failed") {
        Some(0.0) => Ok(report),
        _ => Err(format!("requests failed: {}", report["outcomes"]).into()),
    }
}

fn number(report: &Value, path: &str) -> Option<f64> {
    report.pointer(path).and_then(Value::as_f64)
}

/// The children of a process's first thread (proc_pid_children(5)).
fn children(pid: Pid) -> Outcome<Vec<Pid>> {
    let pid = pid.as_raw_nonzero();
    let pids = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(pids.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect())
}

fn options() -> Outcome<Options> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/logs/nginx-combined.log.gz");
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/access.log.gz");
    let mut o = Options { rounds: 5, log: if shared.exists() { shared } else { bundled } };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--rounds" => o.rounds = value()?.parse()?,
            "--log" => o.log = value()?.into(),
            "--bench" => {} // cargo's own
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    if o.rounds == 0 { Err("no rounds, no median".into()) } else { Ok(o) }
}
