//! What reading a log costs: lines per second of one core's CPU time, and the most memory,
//! over a log made longer and longer. One command: `cargo bench --bench traffic`.
//!
//! Options behind `--`: `--gib N` (2): size of the largest log; `--log FILE`.
//! The time includes making the repeated log (copying it, and counting its dates up).

use jiff::ToSpan as _;
use jiff::civil::Date;
use perfbench::clock::thread_cpu_ns;
use perfbench::traffic::{Options, Reader, Source};
use std::collections::HashMap;
use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a replay of any log may take at most.
const MOST_MIB: u64 = 300;

fn main() -> Result<(), Box<dyn Error>> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/logs/nginx-combined.log.gz");
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/access.log.gz");
    let (mut log, mut gib) = (if shared.exists() { shared } else { bundled }, 2.0f64);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--gib" => gib = value()?.parse()?,
            "--log" => log = PathBuf::from(value()?),
            "--bench" => {} // cargo's own
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(&log)?).read_to_end(&mut text)?;
    println!(
        "{:>12} {:>12} {:>9} {:>14} {:>12} {:>14} {:>10}",
        "bytes", "lines", "CPU s", "lines/CPU-s", "out of order", "outside window", "peak RSS"
    );
    for share in [0.01, 0.1, 1.0] {
        let most = (gib * share * (1u64 << 30) as f64) as u64;
        let source = Source::Stream { name: "repeated".into(), stream: Box::new(Repeated::new(&text, most)) };
        let before = thread_cpu_ns();
        let mut reader = Reader::open_sources(vec![source], Options::default())?;
        let mut request = Reader::blank();
        while reader.next(&mut request)? {}
        let cpu_s = (thread_cpu_ns() - before) as f64 / 1e9;
        let c = reader.counts();
        let rss = peak_rss_mib()?;
        println!(
            "{most:>12} {:>12} {cpu_s:>9.2} {:>14.0} {:>12} {:>14} {rss:>6} MiB",
            c.lines,
            c.lines as f64 / cpu_s,
            c.out_of_order,
            c.outside_window
        );
        if rss > MOST_MIB {
            return Err(format!("more than {MOST_MIB} MiB").into());
        }
    }
    Ok(())
}

/// The most memory this process ever had resident; proc_pid_status(5) VmHWM.
fn peak_rss_mib() -> Result<u64, Box<dyn Error>> {
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
