//! What reading a log costs: lines per second of one core against awk counting one field of the same
//! file, and the most memory over a log made longer and longer. One command:
//! `cargo bench --bench traffic`. Fails when a promise is broken: [`MOST_MIB`], [`LEAST_LINES`], and not
//! slower than the machine's own awk.
//!
//! Options behind `--`: `--rounds N` (9): pairs with awk; `--mib N` (256): size of their file;
//! `--gib N` (2): size of the largest log; `--log FILE`: what is repeated.
//!
//! Against awk both read the same uncompressed file out of the page cache, one after the other, in
//! another order every round. Ours is the whole of what a replay's log costs: reading, parsing, putting
//! in order, naming routes, counting, and every request handed out, on one thread. In the second table
//! the time includes making the repeated log (copying it, and counting its dates up).

use jiff::ToSpan as _;
use jiff::civil::Date;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use perfbench::clock::{Clock, thread_cpu_ns};
use perfbench::traffic::{Options, Reader, Source};
use std::collections::HashMap;
use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What a replay of any log may take at most.
const MOST_MIB: u64 = 300;

/// Combined-format lines per CPU-second that one core reads at least.
const LEAST_LINES: f64 = 2e6;

struct Args {
    rounds: usize,
    mib: u64,
    gib: f64,
    log: PathBuf,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<ExitCode> {
    let args = args()?;
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(&args.log)?).read_to_end(&mut text)?;
    let mut broken = against_awk(&text, &args)?;
    println!();
    broken.extend(longer_and_longer(&text, args.gib)?);
    broken.iter().for_each(|b| println!("BROKEN: {b}"));
    Ok(ExitCode::from(u8::from(!broken.is_empty())))
}

fn args() -> Outcome<Args> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/logs/nginx-combined.log.gz");
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/access.log.gz");
    let log = if shared.exists() { shared } else { bundled };
    let mut args = Args { rounds: 9, mib: 256, gib: 2.0, log };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--rounds" => args.rounds = value()?.parse::<usize>()?.max(1),
            "--mib" => args.mib = value()?.parse()?,
            "--gib" => args.gib = value()?.parse()?,
            "--log" => args.log = PathBuf::from(value()?),
            "--bench" => {} // cargo's own
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    Ok(args)
}

/// What one reading of a file cost.
#[derive(Clone, Copy)]
struct Cost {
    cpu_s: f64,
    wall_s: f64,
}

/// Pairs of readings of one file, ours and those of each awk there is. What of it is not as promised.
fn against_awk(text: &[u8], args: &Args) -> Outcome<Vec<String>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("access.log");
    std::io::copy(&mut Repeated::new(text, args.mib << 20), &mut std::fs::File::create(&path)?)?;
    let found = |name: &&str| {
        let dirs = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&dirs).map(|d| d.join(name)).find_map(|p| p.canonicalize().ok())
    };
    let Some(own) = found(&"awk") else { return Err("needs awk".into()) };
    let mut awks = vec![own];
    awks.extend(["mawk", "gawk"].iter().filter_map(found));
    let mut seen = Vec::new();
    awks.retain(|a| {
        !seen.contains(a) && {
            seen.push(a.clone());
            true
        }
    });

    let names: Vec<String> = awks.iter().map(|a| a.file_name().unwrap_or_default().display().to_string()).collect();
    println!("Reading {} MiB, lines per second of CPU and of time; awk is {}.", args.mib, awks[0].display());
    println!();
    print!("| round | perfbench: per CPU-s | per s |");
    names.iter().for_each(|n| print!(" {n}: per CPU-s | per s | ratio |"));
    println!("\n|---:|---:|---:|{}", "---:|---:|---:|".repeat(names.len()));
    let (mut rates, mut ratios) = (Vec::new(), vec![(Vec::new(), Vec::new()); awks.len()]);
    for round in 1..=args.rounds {
        let mut costs = vec![None; awks.len() + 1];
        let mut lines = 0.0;
        for turn in 0..costs.len() {
            let n = (turn + round) % costs.len();
            costs[n] = Some(match awks.get(n) {
                Some(awk) => count_by_awk(awk, &path)?,
                None => {
                    let (cost, read) = read_by_us(&path)?;
                    lines = read;
                    cost
                }
            });
        }
        let costs: Vec<Cost> = costs.into_iter().flatten().collect();
        let ours = costs[awks.len()];
        rates.push(lines / ours.cpu_s);
        print!("| {round} | {:.0} | {:.0} |", lines / ours.cpu_s, lines / ours.wall_s);
        for (awk, (by_cpu, by_wall)) in costs.iter().zip(&mut ratios) {
            by_cpu.push(awk.cpu_s / ours.cpu_s);
            by_wall.push(awk.wall_s / ours.wall_s);
            print!(" {:.0} | {:.0} | {:.3} |", lines / awk.cpu_s, lines / awk.wall_s, awk.cpu_s / ours.cpu_s);
        }
        println!();
    }
    let mut broken = Vec::new();
    let rate = Spread::of(rates);
    println!("\nperfbench: median {:.0} lines per CPU-second, {:.0} to {:.0}", rate.median, rate.low, rate.high);
    if rate.median < LEAST_LINES {
        broken.push(format!("{:.0} lines per CPU-second, promised {LEAST_LINES}", rate.median));
    }
    for (n, (name, (by_cpu, by_wall))) in names.iter().zip(ratios).enumerate() {
        let (cpu, wall) = (Spread::of(by_cpu), Spread::of(by_wall));
        println!(
            "perfbench / {name}: median {:.3} by CPU time ({:.3} to {:.3}), {:.3} by time ({:.3} to {:.3})",
            cpu.median, cpu.low, cpu.high, wall.median, wall.low, wall.high
        );
        if n == 0 && cpu.median < 1.0 {
            broken.push(format!("{:.3} × awk ({name}) by CPU time, promised 1.0", cpu.median));
        }
    }
    Ok(broken)
}

/// A median and what lies around it.
struct Spread {
    median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        Spread { median: values[values.len() / 2], low: values[0], high: values[values.len() - 1] }
    }
}

/// One run of `awk '{n[$9]++}'`, as a process. In the C locale, where characters are bytes as for us.
fn count_by_awk(awk: &Path, log: &Path) -> Outcome<Cost> {
    let cpu_us = || {
        getrusage(UsageWho::RUSAGE_CHILDREN)
            .map(|u: Usage| u.user_time().num_microseconds() + u.system_time().num_microseconds())
    };
    let (clock, before) = (Clock::start(), cpu_us()?);
    let mut command = Command::new(awk);
    let status = command.arg("{n[$9]++}").arg(log).env("LC_ALL", "C").stdin(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("{}: {status}", awk.display()).into());
    }
    Ok(Cost { cpu_s: (cpu_us()? - before) as f64 / 1e6, wall_s: clock.now().0 as f64 / 1e9 })
}

/// One reading by the whole of our reader, and how many lines there were.
fn read_by_us(log: &Path) -> Outcome<(Cost, f64)> {
    let (clock, before) = (Clock::start(), thread_cpu_ns());
    let mut reader = Reader::open(&[log.to_owned()], Options::default())?;
    let mut request = Reader::blank();
    while reader.next(&mut request)? {}
    let cost = Cost { cpu_s: (thread_cpu_ns() - before) as f64 / 1e9, wall_s: clock.now().0 as f64 / 1e9 };
    Ok((cost, reader.counts().lines as f64))
}

/// Reads longer and longer logs, which are never stored. What of it is not as promised.
fn longer_and_longer(text: &[u8], gib: f64) -> Outcome<Vec<String>> {
    println!("| bytes | lines | lines per CPU-second | out of order | outside the window | peak memory |");
    println!("|---:|---:|---:|---:|---:|---:|");
    let mut broken = Vec::new();
    for share in [0.01, 0.1, 1.0] {
        let most = (gib * share * (1u64 << 30) as f64) as u64;
        let source = Source::Stream { name: "repeated".into(), stream: Box::new(Repeated::new(text, most)) };
        let before = thread_cpu_ns();
        let mut reader = Reader::open_sources(vec![source], Options::default())?;
        let mut request = Reader::blank();
        while reader.next(&mut request)? {}
        let cpu_s = (thread_cpu_ns() - before) as f64 / 1e9;
        let c = reader.counts();
        let (rate, rss) = (c.lines as f64 / cpu_s, peak_rss_mib()?);
        println!("| {most} | {} | {rate:.0} | {} | {} | {rss} MiB |", c.lines, c.out_of_order, c.outside_window);
        if rss > MOST_MIB {
            broken.push(format!("{rss} MiB, promised {MOST_MIB} at most"));
        }
    }
    Ok(broken)
}

/// The most memory this process ever had resident; proc_pid_status(5) VmHWM.
fn peak_rss_mib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse::<u64>()? >> 10)
}

/// A log again and again, its dates moved on by its own length each time, so that it stays in
/// order from one pass to the next.
struct Repeated {
    pass: Vec<u8>,
    /// Where each date `17/May/2015` is, and which day it is in the log.
    dates: Vec<(usize, Date)>,
    length_days: i64,
    passes: i64,
    at: usize,
    left: u64,
}

/// Bytes of a date in a log.
const DATE: usize = "17/May/2015".len();

impl Repeated {
    fn new(text: &[u8], bytes: u64) -> Repeated {
        let stamp = |w: &[u8]| w[0] == b'[' && w[3] == b'/' && w[7] == b'/' && w[12] == b':';
        let dates: Vec<(usize, Date)> = text
            .windows(13)
            .enumerate()
            .filter(|(_, w)| stamp(w))
            .filter_map(|(n, w)| Some((n + 1, Date::strptime("%d/%b/%Y", &w[1..=DATE]).ok()?)))
            .collect();
        let (first, last) = (dates.iter().map(|d| d.1).min(), dates.iter().map(|d| d.1).max());
        let length_days = first.zip(last).map_or(0, |(a, b)| i64::from((b - a).get_days())) + 1;
        Repeated { pass: text.to_vec(), dates, length_days, passes: 0, at: 0, left: bytes }
    }

    fn next_pass(&mut self) {
        self.at = 0;
        self.passes += 1;
        let mut known: HashMap<Date, String> = HashMap::new();
        for (at, date) in &self.dates {
            let moved = known.entry(*date).or_insert_with(|| {
                let moved = date.checked_add((self.passes * self.length_days).days()).unwrap_or(*date);
                moved.strftime("%d/%b/%Y").to_string()
            });
            self.pass[*at..*at + DATE].copy_from_slice(moved.as_bytes());
        }
    }
}

impl Read for Repeated {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.pass.len() {
            self.next_pass();
        }
        let n = into.len().min(self.pass.len() - self.at).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        into[..n].copy_from_slice(&self.pass[self.at..self.at + n]);
        self.at += n;
        self.left -= n as u64;
        Ok(n)
    }
}
