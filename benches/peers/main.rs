//! Requests per client-CPU-second: perfbench, recording, against wrk and oha at the same nginx.
//!
//! Machines are shared and noisy, so the two of a pair run in turns, the other one first every
//! round, and only the median of the rounds' ratios with its spread is quoted.
//!
//! Two kinds of wrk: with the same requests out of the log, by a Lua script, and plain, with one
//! fixed request and no script, which is the least a client can do. oha sends the log's URLs and can't send
//! its header fields: perfbench is held to its promise with the whole log, and shown with those URLs beside it.
//!
//! Needs nginx, openssl and wrk (Debian: `apt-get install nginx openssl wrk`), and oha, if it is
//! to be compared (`cargo install oha`). Options behind `--`: `--pairs N` (15), `--seconds S` (10),
//! `--log FILE`, `--case NAME` (one of the cases; all without it, which is an hour and a half).

mod clients;
mod nginx;
mod turns;

use clients::{Job, PAIRS, Pair};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What can go wrong in a bench.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// One comparison.
pub struct Case {
    /// What `--case` takes.
    name: &'static str,
    /// Connections of each client.
    pub connections: u32,
    /// A connection for each request.
    pub close: bool,
    /// Over TLS.
    pub tls: bool,
    /// What is promised against each client of that program, as a share of its requests per
    /// client-CPU-second.
    promised: &'static [(&'static str, f64)],
}

static CASES: &[Case] = &[
    Case { name: "keepalive", connections: 50, close: false, tls: false, promised: &[("wrk", 1.15), ("oha", 2.0)] },
    Case { name: "close", connections: 50, close: true, tls: false, promised: &[("wrk", 1.1)] },
    Case { name: "5000", connections: 5000, close: false, tls: false, promised: &[("wrk", 1.0)] },
    Case { name: "tls", connections: 50, close: false, tls: true, promised: &[("wrk", 1.0)] },
];

/// What the bench was asked for.
pub struct Options {
    pairs: usize,
    /// Length of each run.
    pub seconds: u32,
    /// What is replayed.
    pub log: PathBuf,
    case: Option<String>,
}

fn main() -> Outcome<()> {
    let o = options()?;
    let folder = tempfile::tempdir()?;
    let nginx = nginx::Nginx::start(folder.path())?;
    let count = clients::prepare(&o.log, folder.path())?;
    raise_descriptors()?;
    println!(
        "{} rounds of {} s a client, 1 client thread, nginx with 1 worker, {count} requests in {}",
        o.pairs,
        o.seconds,
        o.log.display()
    );
    let mut broken = Vec::new();
    for case in CASES.iter().filter(|c| o.case.as_ref().is_none_or(|name| name == c.name)) {
        broken.extend(compare(&o, case, &nginx, folder.path())?);
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ").into()) }
}

/// Runs one case; tells which promises it broke.
///
/// Pair by pair, because all at once would have more connections than the target may have
/// descriptors: nginx then leaves those of whoever came last unanswered.
fn compare(options: &Options, case: &Case, nginx: &nginx::Nginx, folder: &Path) -> Outcome<Vec<String>> {
    println!("\n{}: {} connections{}", case.name, case.connections, if case.tls { ", TLS" } else { "" });
    let (pairs, missing): (Vec<&Pair>, Vec<&Pair>) = PAIRS.iter().partition(|p| is_there(p.theirs.program));
    for pair in missing.iter().filter(|p| p.is_promised) {
        println!("not compared with {}: {} is not installed", pair.theirs.name, pair.theirs.program);
    }
    let job = &Job { options, case, nginx, folder };
    print!("| round |");
    pairs.iter().for_each(|p| print!(" {}, per CPU-s | {} | ratio |", p.ours.name, p.theirs.name));
    println!("\n|---:|{}", "---:|".repeat(3 * pairs.len()));
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); pairs.len()];
    for round in 0..options.pairs {
        print!("| {} |", round + 1);
        for (pair, ratios) in pairs.iter().zip(&mut ratios) {
            // The other one first every time.
            let both = [pair.ours, pair.theirs];
            let commands = [(pair.ours.command)(job)?, (pair.theirs.command)(job)?];
            let turn = Duration::from_secs(options.seconds.into()) / 4;
            let ended = turns::in_turns(commands, round, turn)?;
            let per_cpu_s = |n: usize| Ok::<_, Box<dyn Error>>((both[n].requests)(&ended[n].out)? / ended[n].cpu_s);
            let (ours, theirs) = (per_cpu_s(0)?, per_cpu_s(1)?);
            ratios.push(ours / theirs);
            print!(" {ours:.0} | {theirs:.0} | {:.3} |", ours / theirs);
        }
        println!();
    }
    let mut broken = Vec::new();
    for (pair, ratios) in pairs.iter().zip(&mut ratios) {
        ratios.sort_by(f64::total_cmp);
        // Of an even number the mean of the two in the middle: the upper one would favour us.
        let median = (ratios[(ratios.len() - 1) / 2] + ratios[ratios.len() / 2]) / 2.0;
        let quartile = |n: usize| ratios[(ratios.len() - 1) * n / 4];
        let (low, high) = (ratios[0], ratios[ratios.len() - 1]);
        println!(
            "{} / {}: median {median:.3}, half of the rounds {:.3} to {:.3}, all {low:.3} to {high:.3}",
            pair.ours.name,
            pair.theirs.name,
            quartile(1),
            quartile(3)
        );
        let promised = case.promised.iter().filter(|(program, _)| pair.is_promised && *program == pair.theirs.program);
        for (_, promised) in promised.filter(|(_, p)| median < *p) {
            broken.push(format!("{}: {median:.3} × {}, promised {promised}", case.name, pair.theirs.name));
        }
    }
    Ok(broken)
}

fn options() -> Outcome<Options> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/logs/nginx-combined.log.gz");
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/access.log.gz");
    let log = if shared.exists() { shared } else { bundled };
    // A start (finding the log's format, its first reading) is 2 % of 4 s and no part of a request's cost.
    let mut o = Options { pairs: 15, seconds: 10, log, case: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--pairs" => o.pairs = value()?.parse()?,
            "--seconds" => o.seconds = value()?.parse()?,
            "--log" => o.log = value()?.into(),
            "--case" => o.case = Some(value()?),
            "--bench" => {} // cargo's own
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    if o.pairs == 0 {
        return Err("no rounds, no ratio".into());
    }
    if let Some(name) = o.case.as_ref().filter(|name| CASES.iter().all(|c| c.name != **name)) {
        return Err(format!("no case {name}; known: {:?}", CASES.iter().map(|c| c.name).collect::<Vec<_>>()).into());
    }
    Ok(o)
}

/// Whether a program can be run.
fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// 5000 connections need descriptors, in the clients as in nginx, which take over our limit.
fn raise_descriptors() -> Outcome<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(())
}
