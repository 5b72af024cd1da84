//! What a capture of 100 000 samples costs: `perf script` text folded by us and by inferno, perf.data to
//! folded lines by us and by `perf script | inferno-collapse-perf`, and a session with it opened until its
//! flame graph is there.
//!
//! `cargo bench --bench profile [-- perf.data]` makes up the text of 100 000 samples, the same each
//! time, and where perf may sample also records this machine while it folds; or takes the perf.data given.
//! Rounds alternate, so that what else the machine does falls on both; what is compared are medians, and
//! the smallest and the largest ratio of a round are told.
//! Fails when a promise is broken: a perf.data, and what was read of it once and recorded, 5 times as fast as
//! `perf script | inferno-collapse-perf`, a session open within 200 ms, memory by distinct stacks.
//!
//! Must not: compare different work. Both sides end with folded lines, kernel and compiled code marked, in
//! memory.

use perfbench::model::{At, CaptureId, CaptureNews, CaptureState, Event, Opening, Span, Stacks};
use perfbench::profile::import::{Input, import};
use perfbench::profile::script::{Batch, Script};
use perfbench::session::Writer;
use perfbench::timeline::stacks::{Order, Profile, StackFilter};
use perfbench::workbench::Playback;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SAMPLES: usize = 100_000;
const ROUNDS: usize = 9;
/// As a capture sends them (src/profile/perf.rs).
const BATCH: usize = 20_000;
/// What a capture asks perf script for.
const FIELDS: &str = "comm,pid,tid,cpu,time,event,period,ip,sym,dso";

fn main() {
    let given = std::env::args().skip(1).find(|a| !a.starts_with('-')).map(PathBuf::from);
    let folder = tempfile::tempdir().expect("a folder");
    let mut broken = Vec::new();

    let text = made_up(SAMPLES);
    println!("made up: {SAMPLES} samples, {:.1} MB of perf script text", text.len() as f64 / 1e6);
    memory(&text, &mut broken);
    fold_text(&text);
    session(folder.path(), &text, &mut broken);

    match given.or_else(|| recorded(folder.path(), &text)) {
        Some(data) => from_perf_data(folder.path(), &data, &mut broken),
        None => println!("perf.data: skipped: perf may not sample all CPUs here"),
    }
    for what in &broken {
        println!("BROKEN: {what}");
    }
    std::process::exit(i32::from(!broken.is_empty()));
}

/// Medians of two things done in turn, and theirs over ours of each round.
struct Turns {
    ours: Duration,
    theirs: Duration,
    ratios: Vec<f64>,
}

fn in_turn<A, B>(mut ours: impl FnMut() -> A, mut theirs: impl FnMut() -> B) -> Turns {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for side in [round % 2, (round + 1) % 2] {
            let start = Instant::now();
            if side == 0 {
                drop(std::hint::black_box(ours()))
            } else {
                drop(std::hint::black_box(theirs()))
            }
            if side == 0 { a.push(start.elapsed()) } else { b.push(start.elapsed()) }
        }
    }
    let mut ratios: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b.as_secs_f64() / a.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    Turns { ours: median(a), theirs: median(b), ratios }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Says how two things compare; gives the median of the rounds' ratios.
fn compared(what: &str, theirs_name: &str, turns: Turns) -> f64 {
    let Turns { ours, theirs, ratios } = turns;
    let (low, ratio, high) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    println!(
        "{what}: ours {:.0} ms, {theirs_name} {:.0} ms: {ratio:.2} times as fast ({low:.2} to {high:.2})",
        ms(ours),
        ms(theirs)
    );
    ratio
}

/// Text to the batches of a capture, as perf's readout does it.
fn batches(text: impl Read) -> (Vec<Stacks>, u64) {
    let mut script = Script::new(0);
    let mut all = Vec::new();
    let mut lines = BufReader::with_capacity(1 << 16, text);
    let mut line = Vec::new();
    let stacks = |batch: Batch, script: &perfbench::profile::script::Counts| Stacks {
        at: batch.samples.last().map_or(At::START, |s| s.at),
        capture: CaptureId(1),
        event: script.event.clone().unwrap_or_default(),
        unit: script.unit.clone(),
        table: batch.table,
        samples: batch.samples,
        lost: 0,
    };
    while lines.read_until(b'\n', &mut line).expect("text") > 0 {
        script.line(&line);
        line.clear();
        if script.waiting() >= BATCH {
            let batch = script.take();
            all.push(stacks(batch, script.counts()));
        }
    }
    let (batch, counts) = script.finish();
    all.push(stacks(batch, &counts));
    (all, counts.samples)
}

fn ours(text: impl Read) -> Vec<String> {
    let mut profile = Profile::default();
    batches(text).0.iter().for_each(|b| profile.apply(b));
    profile.folded(&StackFilter { idle: true, ..StackFilter::default() }, true)
}

fn theirs(text: impl Read) -> Vec<u8> {
    use inferno::collapse::Collapse as _;
    let mut options = inferno::collapse::perf::Options::default();
    (options.annotate_jit, options.annotate_kernel) = (true, true);
    let mut folded = Vec::new();
    let reader = BufReader::with_capacity(1 << 16, text);
    inferno::collapse::perf::Folder::from(options).collapse(reader, &mut folded).expect("perf script text");
    folded
}

fn sum<'a>(lines: impl Iterator<Item = &'a str>) -> u64 {
    lines.map(|l| l.rsplit_once(' ').expect("a weight").1.parse::<u64>().expect("a number")).sum()
}

/// The promise is about perf.data to folded; this is the part of it that is ours.
fn fold_text(text: &str) {
    let (a, b) = (ours(text.as_bytes()), theirs(text.as_bytes()));
    let b = String::from_utf8(b).expect("text");
    assert_eq!(sum(a.iter().map(String::as_str)), sum(b.lines()), "both count the same weight");
    println!("          {} distinct stacks", a.len());
    let times = in_turn(|| ours(text.as_bytes()), || theirs(text.as_bytes()));
    compared("text to folded", "inferno's library, one thread", times);
}

/// perf's own recording of this machine while it folds.
fn recorded(folder: &Path, text: &str) -> Option<PathBuf> {
    let data = folder.join("perf.data");
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let seconds = 8;
    let hz = (SAMPLES / seconds / cpus).min(9_999);
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-a", "-g", "-e", "cpu-clock", "-k", "CLOCK_MONOTONIC", "-F", &hz.to_string(), "-o"]);
    perf.arg(&data).args(["--", "sleep", &seconds.to_string()]);
    let mut child = perf.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    while child.try_wait().ok()?.is_none() {
        std::hint::black_box(ours(text.as_bytes()));
    }
    let worked = child.wait().ok()?.success();
    worked.then_some(data)
}

/// perf.data as `perfbench import` reads it, to the folded lines.
fn imported(data: &Path) -> Vec<String> {
    let input = Input::open(data).expect("a file");
    let (imported, _) = import(input, Some("perf-data")).expect("perf.data");
    assert!(imported.notes[0].starts_with("read here"), "{:?}", imported.notes);
    let mut profile = Profile::default();
    imported.stacks.iter().for_each(|s| profile.apply(s));
    profile.folded(&StackFilter { idle: true, ..StackFilter::default() }, true)
}

/// `perf script`'s words for what is run.
fn perf_script(data: &Path, fields: bool) -> Command {
    let mut perf = Command::new("perf");
    perf.arg("script");
    if fields {
        perf.args(["--force", "--ns", "--no-inline", "--show-lost-events", "-F", FIELDS]);
    }
    perf.arg("-i").arg(data).stdin(Stdio::null()).stderr(Stdio::null());
    perf
}

fn piped<T>(mut perf: Command, fold: impl FnOnce(std::process::ChildStdout) -> T) -> T {
    let mut child = perf.stdout(Stdio::piped()).spawn().expect("perf");
    let done = fold(child.stdout.take().expect("a pipe"));
    child.wait().expect("perf ends");
    done
}

/// As a user has it: perf.data, which both tools have perf read; and what was read once and recorded.
fn from_perf_data(folder: &Path, data: &Path, broken: &mut Vec<String>) {
    let text = perf_script(data, true).output().expect("perf").stdout;
    let size = std::fs::metadata(data).map_or(0, |m| m.len());
    let (all, samples) = batches(&text[..]);
    println!("perf.data: {samples} samples, {:.1} MB, {:.1} MB as text", size as f64 / 1e6, text.len() as f64 / 1e6);
    compared("its text to folded", "inferno's library, one thread", in_turn(|| ours(&text[..]), || theirs(&text[..])));

    // The program when it is there, which folds on all CPUs; else the library in its place.
    let program = Command::new("inferno-collapse-perf").arg("--help").output().is_ok_and(|o| o.status.success());
    let name = if program { "perf script | inferno-collapse-perf" } else { "perf script | inferno's library" };
    let pipeline = || {
        piped(perf_script(data, false), |pipe| match program {
            true => {
                let mut inferno = Command::new("inferno-collapse-perf");
                inferno.arg("--all").stdin(pipe).stderr(Stdio::null());
                inferno.output().expect("inferno-collapse-perf").stdout
            }
            false => theirs(pipe),
        })
    };
    let (mine, perfs) = (imported(data), piped(perf_script(data, true), ours));
    let sums = [&mine, &perfs].map(|lines| sum(lines.iter().map(String::as_str)));
    assert_eq!(sums[0], sums[1], "both count the same weight");
    let ratio = compared("perf.data to folded, read here", name, in_turn(|| imported(data), pipeline));
    if ratio < 5.0 {
        broken.push(format!("a perf.data folds {ratio:.2} times as fast as {name}, not 5 times"));
    }
    let times = in_turn(|| piped(perf_script(data, true), ours), pipeline);
    compared("perf.data to folded, both through perf script", name, times);

    let path = folder.join("data.perfbench");
    record(&path, &all);
    let times = in_turn(|| folded(&path), pipeline);
    let ratio = compared("the recorded capture to folded", name, times);
    if ratio < 5.0 {
        broken.push(format!("a recorded capture folds {ratio:.2} times as fast as {name}, not 5 times"));
    }
    opened(&path, samples, broken);
}

fn folded(session: &Path) -> Vec<String> {
    let workbench = Playback::load(session).expect("a session");
    workbench.timeline().profile().folded(&StackFilter { idle: true, ..StackFilter::default() }, true)
}

fn record(path: &Path, all: &[Stacks]) {
    let mut writer = Writer::create(path, true).expect("a new session");
    writer.write(&Event::from(Opening::default())).expect("space");
    let start = Instant::now();
    for stacks in all {
        writer.write(&Event::Stacks(stacks.clone())).expect("space");
    }
    let (from, to) = (all[0].samples[0].at, all[all.len() - 1].at);
    let samples = all.iter().map(|s| s.samples.len() as u64).sum();
    let state = CaptureState::Done { span: Span { from, to }, samples, lost: 0, notes: vec![] };
    writer.write(&Event::Capture(CaptureNews { at: to, id: CaptureId(1), state })).expect("space");
    writer.finish().expect("space");
    let size = std::fs::metadata(path).map_or(0, |m| m.len());
    println!("recorded: {:.0} ms, {:.1} MB", start.elapsed().as_secs_f64() * 1e3, size as f64 / 1e6);
}

fn session(folder: &Path, text: &str, broken: &mut Vec<String>) {
    let path = folder.join("made-up.perfbench");
    let (all, samples) = batches(text.as_bytes());
    record(&path, &all);
    opened(&path, samples, broken);
}

/// From the file to the flame graph of all its samples.
fn opened(path: &Path, samples: u64, broken: &mut Vec<String>) {
    let (mut whole, mut reading, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    let mut boxes = 0;
    for _ in 0..ROUNDS {
        let (start, used) = (Instant::now(), thread_cpu());
        let workbench = Playback::load(path).expect("a session");
        reading.push(start.elapsed());
        let graph = workbench.timeline().profile().flame(&StackFilter::default(), Order::Name, true);
        whole.push(start.elapsed());
        cpu.push(thread_cpu() - used);
        boxes = graph.nodes.len();
    }
    let (whole, reading, cpu) = (median(whole), median(reading), median(cpu));
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    println!(
        "opened: {:.0} ms to the flame graph of {boxes} boxes, {:.0} ms of it reading; {:.0} ms of CPU",
        ms(whole),
        ms(reading),
        ms(cpu)
    );
    // One thread does it all, so on a machine with a CPU to spare this is the time; on others it is what is ours.
    let most = Duration::from_millis(200).mul_f64((samples as f64 / SAMPLES as f64).max(1.0));
    if cpu > most {
        broken.push(format!("{samples} samples are open after {:.0} ms of CPU, not {:.0}", ms(cpu), ms(most)));
    }
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec.unsigned_abs(), u32::try_from(t.tv_nsec).unwrap_or(0))
}

/// The same stacks ten times: what grows are the samples' rows and nothing else.
fn memory(text: &str, broken: &mut Vec<String>) {
    let (all, samples) = batches(text.as_bytes());
    let mut profile = Profile::default();
    let before = resident();
    all.iter().for_each(|b| profile.apply(b));
    let once = resident();
    for _ in 0..9 {
        all.iter().for_each(|b| profile.apply(b));
    }
    let ten = resident();
    let (first, each) = (once.saturating_sub(before), ten.saturating_sub(once) / 9);
    let per_sample = each as f64 / samples as f64;
    println!(
        "memory: {:.1} MB, and {:.1} MB ({per_sample:.0} bytes a sample) for the same stacks again",
        mb(first),
        mb(each)
    );
    // A row has eight numbers, and a list that grows has up to twice the space it needs.
    if per_sample > 192.0 {
        broken.push(format!("each sample of known stacks costs {per_sample:.0} bytes"));
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Resident memory of this process, bytes: `VmRSS` of proc_pid_status(5).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Text in the shape of a busy server: stacks that branch from a few roots, 8 to 60 frames deep, a few
/// thousand functions with names of several languages, a third of the samples in the kernel.
fn made_up(samples: usize) -> String {
    let mut random = fastrand::Rng::with_seed(4);
    let name = |n: u64| match n % 4 {
        0 => format!("ngx_http_module_{n}_handler"),
        1 => format!("<alloc::vec::Vec<T,A> as core::iter::Extend<&T>>::extend_{n}::{{{{closure}}}}"),
        2 => format!("std::__cxx11::basic_string<char, std::char_traits<char> >::_M_replace_{n}"),
        _ => format!("Lorg/example/service/handler/Request{n};::handle"),
    };
    let module = |n: u64| {
        ["/usr/sbin/nginx", "/opt/service/bin/service", "/usr/lib/libstdc++.so.6", "/tmp/perf-812.map"]
            [(n % 4) as usize]
    };
    let mut text = String::with_capacity(samples * 2500);
    for n in 0..samples {
        let (seconds, ns) = (1000 + n / 1000, (n % 1000) * 1_000_000 + random.usize(..1000));
        let (pid, cpu) = (800 + random.u32(..4), random.u32(..8));
        let _ = writeln!(
            text,
            "worker-{pid} {pid}/{}   [{cpu:03}]  {seconds}.{ns:09}:   10101010 cpu-clock: ",
            pid + random.u32(..6)
        );
        // A walk down a tree: at each node a few ways on, one of them likely. The way so far decides the names.
        let depth = 8 + random.usize(..8) + if random.u32(..20) == 0 { random.usize(..44) } else { 0 };
        let mut path = Vec::with_capacity(depth);
        let mut node = u64::from(pid % 2);
        for level in 0..depth as u64 {
            let way = if random.u32(..1000) < 985 { 0 } else { 1 + random.u64(..3) };
            node = node
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(level * 7 + way * 1_442_695_040_888_963_407 + 1);
            path.push((node >> 40) % 4000);
        }
        let kernel = if random.u32(..3) == 0 { 4 + random.u64(..12) } else { 0 };
        let way = random.u64(..40);
        for k in (0..kernel).rev() {
            let f = (way * 31 + k * 7) % 600;
            let _ = writeln!(text, "\tffffffff8{:07x} tcp_v4_function_{f} ([kernel.kallsyms])", f * 4096 + way);
        }
        for f in path.iter().rev() {
            let _ = writeln!(text, "\t    {:012x} {} ({})", 0x5500_0000_0000 + f * 4096 + f % 64, name(*f), module(*f));
        }
        text.push('\n');
    }
    text
}
