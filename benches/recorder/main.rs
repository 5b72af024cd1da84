//! What sampling all the time costs, on an nginx from idle to saturated, and what `--off-cpu` does besides.
//!
//! Run: `cargo bench --bench recorder` (behind `--`: `--turns N`, pairs with the recorder and without, 600;
//! `--pairs N`, those with `--off-cpu`, 15; `--hz N`, 49; `--level saturated|idle|half|busy|pinned`, one of them).
//! Machines are shared and noisy: the recorder is started once and its events are switched off and on, two turns of
//! a tenth of a second make a pair, and the medians of the pairs' ratios are quoted with their quartiles and how well
//! they are known. It fails when the recorder takes 2 % of the machine or more, or costs 2 % of the requests per
//! second or more. What `--off-cpu` costs is not promised to be little but to be known: its pairs are with and
//! without it, both with the recorder.
//!
//! `saturated` is the program itself as a user runs it. The other levels have a client of ours,
//! sampled from within: threads that wait for each answer, at which even `busy` leaves nginx a fifth of its
//! CPU, and which the kernel's scheduler may place as it likes, but for `pinned`. The recorder's thread works in
//! turns of both kinds; what it takes is told by itself.
//!
//! CPU time is the kernel's own account in ns (schedstat): of nginx and the client for a request, which
//! has the timer's interrupts and the walks over stacks in it, and of the recorder's thread. `of machine` is
//! that thread and a sample's cost at 3000 Hz times the rate: where threads wait for one another an interrupt
//! costs more at a low rate, which only `CPU a request` and `requests/s` have in them.
//!
//! Must not: leave loopback.

#[path = "../peers/nginx.rs"]
mod nginx;
mod saturated;
mod switch;

use perfbench::clock::Clock;
use perfbench::model::{CaptureId, Event};
use perfbench::profile::{
    Capture, CaptureRequest, OffCpu, OffCpuRequest, Recorder, RecorderRequest, Source, Surroundings, Want, dense_hz,
    inspect_built_in, interrupt_ns, record, start, watch_off_cpu,
};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What can go wrong in a bench.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Of the machine, and of the requests per second.
const PROMISED: f64 = 0.02;
/// A run with or without `--off-cpu`, and how long what begins may take to settle before.
const RUN: Duration = Duration::from_millis(1000);
const WARM: Duration = Duration::from_millis(1500);
/// A turn with the recorder's events on or off.
const TURN: Duration = Duration::from_millis(100);

/// The level at which perfbench itself is the load.
const SATURATED: &str = "saturated";

/// How busy nginx is kept by a client of ours.
struct Level {
    name: &'static str,
    connections: usize,
    /// Of each connection between two requests, µs.
    pause_us: u64,
    /// nginx on the first CPU and the client on the second, so that the scheduler has nothing to choose.
    is_pinned: bool,
}

const LEVELS: &[Level] = &[
    Level { name: "idle", connections: 1, pause_us: 10_000, is_pinned: false },
    Level { name: "half", connections: 8, pause_us: 500, is_pinned: false },
    Level { name: "busy", connections: 8, pause_us: 0, is_pinned: false },
    Level { name: "pinned", connections: 8, pause_us: 0, is_pinned: true },
];

/// What the bench was asked for.
struct Options {
    pairs: usize,
    /// Pairs of turns.
    turns: usize,
    hz: u32,
    level: Option<String>,
}

fn main() -> Outcome<()> {
    let options = options()?;
    let is_asked_for = |name: &str| options.level.as_ref().is_none_or(|level| level == name);
    let levels: Vec<_> = LEVELS.iter().filter(|l| is_asked_for(l.name)).collect();
    let folder = tempfile::tempdir()?;
    let nginx = nginx::Nginx::start(folder.path())?;
    let cpus = std::thread::available_parallelism()?.get() as f64;
    let worker = nginx.pid().and_then(|p| worker_of(p.as_raw_nonzero().get())).ok_or("nginx has no worker")?;
    let around = Surroundings::here();
    let event = inspect_built_in(&around).plan(&around, &[], Want::AllCpus).map_err(|o| o.what)?.event;
    let interrupt_us = interrupt_ns(event).map_or("?".into(), |ns| format!("{:.1}", ns as f64 / 1e3));
    let sampled_hz = dense_hz(options.hz, event);
    println!(
        "{cpus} CPUs, {} pairs, {} Hz sent, {sampled_hz} Hz sampled by {event}: {interrupt_us} µs an interrupt",
        options.pairs, options.hz
    );
    let bench = Bench { options: &options, port: nginx.port, worker, cpus, sampled_hz };
    let mut broken = Vec::new();
    if is_asked_for(SATURATED) {
        broken.extend(bench.saturated(folder.path())?);
    }
    if !levels.is_empty() {
        broken.extend(bench.always_on(&levels)?);
    }
    bench.off_cpu(&levels)?;
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ").into()) }
}

/// What every table is made with.
struct Bench<'a> {
    options: &'a Options,
    port: u16,
    /// nginx's.
    worker: i32,
    cpus: f64,
    /// Samples per second and CPU.
    sampled_hz: u32,
}

impl Bench<'_> {
    /// perfbench itself as the load; tells which promise it broke.
    fn saturated(&self, folder: &Path) -> Outcome<Option<String>> {
        let mut load = saturated::Load::start(self.options.hz, self.port, self.worker, folder)?;
        let switch = switch::Switch::of(load.pid())?;
        let turn = |is_on: bool| switch.turn(is_on, || load.measure(TURN));
        let Ratios { cost, rate, known_to, per_s, .. } = Ratios::of(self.options.turns, self.cpus, turn)?;
        load.end()?;
        println!("perfbench itself, 50 connections, {} pairs of turns of {} s", self.options.turns, TURN.as_secs_f64());
        println!("{SATURATED}: {per_s:.0} requests/s without");
        println!(
            "requests/s with/without {}, known to {:.2} %; CPU a request of both {}",
            shown(rate),
            known_to * 100.0,
            shown(cost)
        );
        let lost = 1.0 - rate[1];
        Ok((lost >= PROMISED).then(|| format!("{SATURATED}: {:.2} % of the requests per second", lost * 100.0)))
    }

    /// A client of our own, sampled from within; tells which promises were broken.
    fn always_on(&self, levels: &[&Level]) -> Outcome<Vec<String>> {
        let busy = LEVELS.iter().find(|l| l.pause_us == 0).ok_or("no level is busy")?;
        let client = Client::start(self.port, busy, self.worker)?;
        std::thread::sleep(Duration::from_millis(300));
        let [low, per_sample, high] = ns_per_sample(&client, self.worker)?.map(|ns| ns.max(0.0));
        client.end();
        println!(
            "a client of threads that wait for each answer, {} pairs of turns of {} s",
            self.options.turns,
            TURN.as_secs_f64()
        );
        println!(
            "kernel: {:.1} µs a sample ({:.1}–{:.1}), by CPU a request with and without 3000 Hz",
            per_sample / 1e3,
            low / 1e3,
            high / 1e3
        );
        println!(
            "level   requests/s  CPU a request         thread     kernel     of machine  requests/s            known to   moves/s"
        );
        println!(
            "                    with/without          of machine of machine             with/without                     without, with"
        );
        let mut broken = Vec::new();
        for &level in levels {
            let Level { name, pause_us, .. } = *level;
            let client = Client::start(self.port, level, self.worker)?;
            let recording = Recording::start(Way::Recorder { hz: self.options.hz });
            std::thread::sleep(WARM);
            recording.check()?;
            let switch = switch::Switch::of(rustix::process::getpid())?;
            let turn = |is_on: bool| switch.turn(is_on, || measure(&client, self.worker, Some(&recording), TURN));
            let before_ns = thread_cpu(recording.thread)?;
            let Ratios { cost, rate, known_to, per_s, moves, .. } = Ratios::of(self.options.turns, self.cpus, turn)?;
            // What it does in a turn without samples it does for those of the turn before.
            let on_ns = ((TURN + switch::SETTLED) * self.options.turns as u32).as_nanos() as f64;
            let thread = (thread_cpu(recording.thread)? - before_ns) as f64 / on_ns / self.cpus;
            recording.end()?;
            client.end();
            // Every CPU takes the timer's interrupt, busy or not.
            let kernel = f64::from(self.sampled_hz) * per_sample / 1e9;
            let machine = thread + kernel;
            println!(
                "{name:<6} {per_s:>10.0}   {:<20} {:>8.3} % {:>8.3} % {:>8.3} %   {:<20}  {:>5.2} %    {:.0}, {:.0}",
                shown(cost),
                thread * 100.0,
                kernel * 100.0,
                machine * 100.0,
                shown(rate),
                known_to * 100.0,
                moves[0],
                moves[1],
            );
            if machine >= PROMISED {
                broken.push(format!("{name}: {:.2} % of the machine", machine * 100.0));
            }
            if pause_us == 0 && 1.0 - rate[1] >= PROMISED {
                broken.push(format!("{name}: {:.2} % of the requests per second", (1.0 - rate[1]) * 100.0));
            }
        }
        Ok(broken)
    }

    /// With and without `--off-cpu`, both with the recorder.
    fn off_cpu(&self, levels: &[&Level]) -> Outcome<()> {
        if levels.iter().all(|l| l.is_pinned) {
            return Ok(());
        }
        println!("--off-cpu");
        println!("level   requests/s  switches/s  CPU a request   µs a switch         thread of machine  requests/s");
        println!("                                with/without    (of all that works) with/without       with/without");
        for &level in levels.iter().filter(|l| !l.is_pinned) {
            let client = Client::start(self.port, level, self.worker)?;
            let hz = self.options.hz;
            let turn = |is_watched: bool| {
                let watched = Way::OffCpu { hz, worker: self.worker };
                let recording = Recording::start(if is_watched { watched } else { Way::Recorder { hz } });
                std::thread::sleep(WARM);
                recording.check()?;
                let run = measure(&client, self.worker, Some(&recording), RUN)?;
                recording.end()?;
                Ok(run)
            };
            let r = Ratios::of(self.options.pairs, self.cpus, turn)?;
            client.end();
            let more_us = r.per_switch.map(|ns| ns / 1e3);
            println!(
                "{:<6} {:>10.0}  {:>10.0}  {:<15} {:<19} {:>8.3} %         {}",
                level.name,
                r.per_s,
                r.switches_per_s,
                shown(r.cost),
                shown(more_us),
                r.thread[1] * 100.0,
                shown(r.rate),
            );
        }
        Ok(())
    }
}

fn options() -> Outcome<Options> {
    let mut o = Options { pairs: 15, turns: 600, hz: 49, level: None };
    let mut words = std::env::args().skip(1).filter(|w| w != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--pairs" => o.pairs = value.parse()?,
            "--hz" => o.hz = value.parse()?,
            "--turns" => o.turns = value.parse()?,
            "--level" => o.level = Some(value),
            _ => return Err(format!("{word} is not an option of this bench").into()),
        }
    }
    if o.level.as_ref().is_some_and(|name| name != SATURATED && LEVELS.iter().all(|l| l.name != *name)) {
        return Err("no such level: saturated, idle, half, busy or pinned".into());
    }
    Ok(o)
}

/// Pairs of runs, compared: quartiles of with / without.
struct Ratios {
    cost: [f64; 3],
    rate: [f64; 3],
    /// The standard error of the rate's median.
    known_to: f64,
    /// The added thread, of the machine.
    thread: [f64; 3],
    /// CPU time in ns that each switch of nginx and the client cost more.
    per_switch: [f64; 3],
    /// Without: medians.
    per_s: f64,
    switches_per_s: f64,
    /// Moves of threads between CPUs a second, without and with: medians.
    moves: [f64; 2],
}

impl Ratios {
    /// `turn` makes one run, with what is compared or without.
    fn of(pairs: usize, cpus: f64, mut turn: impl FnMut(bool) -> Outcome<Run>) -> Outcome<Ratios> {
        let mut all: [Vec<f64>; 8] = std::array::from_fn(|_| Vec::new());
        for pair in 0..pairs {
            let mut runs = [None, None];
            for is_with in if pair % 2 == 0 { [true, false] } else { [false, true] } {
                runs[usize::from(is_with)] = Some(turn(is_with)?);
            }
            let [Some(without), Some(with)] = runs else { unreachable!("both were run") };
            let more_ns = (with.ns_per_request() - without.ns_per_request()) * with.requests as f64;
            let found = [
                with.ns_per_request() / without.ns_per_request(),
                with.per_s() / without.per_s(),
                with.thread_ns as f64 / (with.wall * 1e9 * cpus),
                more_ns / with.switches.max(1) as f64,
                without.per_s(),
                without.switches as f64 / without.wall,
                without.moves as f64 / without.wall,
                with.moves as f64 / with.wall,
            ];
            all.iter_mut().zip(found).for_each(|(all, value)| all.push(value));
        }
        let [cost, rate, thread, per_switch, per_s, switches, still, moved] = all.map(|mut all| quartiles(&mut all));
        let moves = [still[1], moved[1]];
        // Of a normal distribution's median, its deviation taken from the quartiles.
        let known_to = (rate[2] - rate[0]) / 1.349 * 1.2533 / (pairs as f64).sqrt();
        Ok(Ratios { cost, rate, known_to, thread, per_switch, per_s: per_s[1], switches_per_s: switches[1], moves })
    }
}

/// What watches meanwhile.
#[derive(Clone, Copy)]
enum Way {
    Recorder {
        hz: u32,
    },
    /// The recorder and `--off-cpu`, of nginx's worker and the client.
    OffCpu {
        hz: u32,
        worker: i32,
    },
}

/// What watches; its events are taken and thrown away.
struct Recording {
    recorder: Option<Recorder>,
    off_cpu: Option<OffCpu>,
    reader: Option<JoinHandle<Option<String>>>,
    /// The thread whose CPU time is told.
    thread: &'static str,
}

impl Recording {
    fn start(way: Way) -> Recording {
        let (out, events): (_, Receiver<Event>) = sync_channel(1024);
        let (hz, thread) = match way {
            Way::Recorder { hz } => (hz, "recorder"),
            Way::OffCpu { hz, .. } => (hz, "off-cpu"),
        };
        let request = RecorderRequest { hz, want: Want::AllCpus, ..RecorderRequest::new(vec![]) };
        let recorder = Some(record(request, Clock::start(), out.clone()));
        let off_cpu = match way {
            Way::OffCpu { worker, .. } => {
                let pids = vec![worker.unsigned_abs(), std::process::id()];
                Some(watch_off_cpu(OffCpuRequest::new(pids), Clock::start(), out))
            }
            _ => None,
        };
        // What stands in the way: a watch that only looks at /proc costs nothing.
        let reader = std::thread::spawn(move || {
            let faults = events.iter().filter_map(|e| if let Event::Fault(f) = e { Some(f.what) } else { None });
            faults.reduce(|first, _| first)
        });
        Recording { recorder, off_cpu, reader: Some(reader), thread }
    }

    fn check(&self) -> Outcome<()> {
        if self.recorder.as_ref().is_some_and(Recorder::is_sampling) {
            return Ok(());
        }
        Err("the recorder does not sample here: see `perfbench doctor`".into())
    }

    fn end(mut self) -> Outcome<()> {
        (self.recorder, self.off_cpu) = (None, None);
        let fault = self.reader.take().and_then(|reader| reader.join().ok()).flatten();
        fault.map_or(Ok(()), |what| Err(what.into()))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        (self.recorder, self.off_cpu) = (None, None);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// One run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    requests: u64,
    cpu_ns: u64,
    thread_ns: u64,
    switches: u64,
    moves: u64,
    wall: f64,
}

impl Run {
    fn per_s(&self) -> f64 {
        self.requests as f64 / self.wall
    }

    fn ns_per_request(&self) -> f64 {
        self.cpu_ns as f64 / self.requests.max(1) as f64
    }
}

fn measure(client: &Client, worker: i32, recording: Option<&Recording>, time: Duration) -> Outcome<Run> {
    let mut watched: Vec<String> = client.tids.iter().map(|tid| format!("/proc/self/task/{tid}")).collect();
    watched.push(format!("/proc/{worker}"));
    let read = || -> Outcome<[u64; 5]> {
        let cpu_ns: u64 = watched.iter().map(|folder| cpu_of(folder)).sum::<Outcome<u64>>()?;
        let switches: u64 = watched.iter().map(|folder| switches_of(folder)).sum::<Outcome<u64>>()?;
        let moves: u64 = watched.iter().map(|folder| moves_of(folder)).sum();
        let thread_ns = recording.map_or(Ok(0), |r| thread_cpu(r.thread))?;
        Ok([client.requests.load(Ordering::Relaxed), cpu_ns, thread_ns, switches, moves])
    };
    let (before, began) = (read()?, Instant::now());
    std::thread::sleep(time);
    let (after, wall) = (read()?, began.elapsed().as_secs_f64());
    let [requests, cpu_ns, thread_ns, switches, moves] = std::array::from_fn(|n| after[n] - before[n]);
    Ok(Run { requests, cpu_ns, thread_ns, switches, moves, wall })
}

/// Threads that ask nginx for the same thing all the time.
struct Client {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
    tids: Vec<i32>,
}

impl Client {
    fn start(port: u16, level: &Level, worker: i32) -> Outcome<Client> {
        let &Level { connections, pause_us, is_pinned, .. } = level;
        let [theirs, ours] = places(is_pinned)?;
        sched_setaffinity(Pid::from_raw(worker), &theirs)?;
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (say, heard) = std::sync::mpsc::channel();
        let mut threads = Vec::new();
        for _ in 0..connections {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            let (stop, requests, say) = (stop.clone(), requests.clone(), say.clone());
            threads.push(std::thread::spawn(move || {
                sched_setaffinity(None, &ours).expect("a thread may choose among its CPUs");
                let _ = say.send(rustix::thread::gettid().as_raw_nonzero().get());
                let mut buffer = [0; 4096];
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("nginx takes a request");
                    let n = stream.read(&mut buffer).expect("nginx answers");
                    assert!(n > 200, "the whole answer comes in one piece");
                    requests.fetch_add(1, Ordering::Relaxed);
                    if pause_us > 0 {
                        std::thread::sleep(Duration::from_micros(pause_us));
                    }
                }
            }));
        }
        let tids = heard.iter().take(connections).collect();
        Ok(Client { stop, requests, threads, tids })
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client that ends");
        }
    }
}

/// What one sample costs the CPU it hits, stack walk included: CPU time of a request with a busy nginx,
/// sampled so often that it stands out from the noise, and not. Nothing is drained meanwhile that would
/// count: the sampler's thread is neither nginx's nor the client's.
fn ns_per_sample(client: &Client, worker: i32) -> Outcome<[f64; 3]> {
    let rate = std::fs::read_to_string("/proc/sys/kernel/perf_event_max_sample_rate")?;
    let hz = rate.trim().parse::<u32>()?.min(3000);
    let mut costs = Vec::new();
    for pair in 0..20 {
        let mut runs = [0.0; 2];
        for with in if pair % 2 == 0 { [true, false] } else { [false, true] } {
            let (out, events) = sync_channel(1024);
            let ordinary = CaptureRequest::new(CaptureId(1), Duration::from_secs(60), vec![]);
            let request = CaptureRequest { hz, source: Source::BuiltIn, want: Want::AllCpus, ..ordinary };
            let capture: Option<Capture> = with.then(|| start(request, Clock::start(), out));
            if with {
                events.recv()?; // it samples
            }
            std::thread::sleep(Duration::from_millis(200));
            runs[usize::from(with)] = measure(client, worker, None, RUN)?.ns_per_request();
            drop(capture);
        }
        costs.push((1.0 - runs[0] / runs[1]) / f64::from(hz) * 1e9);
    }
    Ok(quartiles(&mut costs))
}

/// CPU time in ns by schedstat of a process or thread.
pub fn cpu_of(folder: &str) -> Outcome<u64> {
    let text = std::fs::read_to_string(format!("{folder}/schedstat"))?;
    Ok(text.split_whitespace().next().and_then(|w| w.parse().ok()).ok_or("no time in schedstat")?)
}

/// How often a process's main thread or a thread was taken off its CPU, by itself or not.
fn switches_of(folder: &str) -> Outcome<u64> {
    let text = std::fs::read_to_string(format!("{folder}/status"))?;
    let counts = text.lines().filter_map(|l| l.split_once("voluntary_ctxt_switches:")?.1.trim().parse::<u64>().ok());
    Ok(counts.sum())
}

/// How often it went from one CPU to another; 0 where the kernel doesn't tell (CONFIG_SCHED_DEBUG).
fn moves_of(folder: &str) -> u64 {
    let text = std::fs::read_to_string(format!("{folder}/sched")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("se.nr_migrations"));
    line.and_then(|l| l.trim_start_matches([' ', ':']).parse().ok()).unwrap_or(0)
}

/// Where nginx's worker and the client may run: anywhere, or on a CPU each.
fn places(is_pinned: bool) -> Outcome<[CpuSet; 2]> {
    let all = sched_getaffinity(None)?;
    if !is_pinned {
        return Ok([all; 2]);
    }
    let mut each = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).map(|cpu| {
        let mut one = CpuSet::new();
        one.set(cpu);
        one
    });
    each.next().zip(each.next()).map(|(first, second)| [first, second]).ok_or("`pinned` needs two CPUs".into())
}

fn thread_cpu(name: &str) -> Outcome<u64> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let folder = task?.path();
        if std::fs::read_to_string(folder.join("comm"))?.trim() == name {
            return cpu_of(&folder.to_string_lossy());
        }
    }
    Err(format!("no thread `{name}`").into())
}

fn worker_of(master: i32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn quartiles(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|q| values[(values.len() - 1) * q / 4])
}

fn shown(q: [f64; 3]) -> String {
    format!("{:.3} ({:.3}–{:.3})", q[1], q[0], q[2])
}
