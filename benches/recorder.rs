//! What sampling all the time costs, on an nginx from idle to busy.
//!
//! Run: `cargo bench --bench recorder` (behind `--`: `--pairs N`, 30; `--hz N`, 49). Machines are shared
//! and noisy, so each measure with the recorder stands beside one without it, in turns, and the medians
//! of the pairs' ratios are quoted with their quartiles. It fails when the recorder takes 2 % of the
//! machine or more, or costs 2 % of the requests per second or more.
//!
//! CPU time is the kernel's own account in ns (schedstat): of nginx and the client for a request, which
//! has the timer's interrupts and the walks over stacks in it, and of the recorder's thread.
//!
//! Must not: leave loopback.

#[path = "peers/nginx.rs"]
mod nginx;

use perfbench::clock::Clock;
use perfbench::model::{CaptureId, Event};
use perfbench::profile::{Capture, CaptureRequest, Recorder, RecorderRequest, Source, Want, record, start};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What can go wrong in a bench.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Of the machine, and of the requests per second.
const PROMISED: f64 = 0.02;
const WARM: Duration = Duration::from_millis(1500);
const MEASURED: Duration = Duration::from_millis(1000);

/// How busy nginx is kept: connections, and the pause of each between two requests.
const LEVELS: &[(&str, usize, u64)] = &[("idle", 1, 10_000), ("half", 8, 500), ("busy", 8, 0)];

fn main() -> Outcome<()> {
    let (pairs, hz) = options()?;
    let folder = tempfile::tempdir()?;
    let nginx = nginx::Nginx::start(folder.path())?;
    let cpus = std::thread::available_parallelism()?.get() as f64;
    let worker = nginx.pid().and_then(|p| worker_of(p.as_raw_nonzero().get())).ok_or("nginx has no worker")?;
    println!("{cpus} CPUs, {pairs} pairs of {} s, {hz} Hz sent, {} Hz sampled", MEASURED.as_secs_f64(), hz * 4);
    let client = Client::start(nginx.port, 8, 0)?;
    std::thread::sleep(Duration::from_millis(300));
    let [low, per_sample, high] = ns_per_sample(&client, worker)?.map(|ns| ns.max(0.0));
    client.end();
    println!(
        "kernel: {:.1} µs a sample ({:.1}–{:.1}), by CPU a request with and without 3000 Hz",
        per_sample / 1e3,
        low / 1e3,
        high / 1e3
    );
    println!("level   requests/s  CPU a request   thread     kernel     of machine  requests/s");
    println!("                    with/without    of machine of machine             with/without");
    let mut broken = Vec::new();
    for &(name, connections, pause_us) in LEVELS {
        let client = Client::start(nginx.port, connections, pause_us)?;
        std::thread::sleep(Duration::from_millis(300));
        let (mut costs, mut rates, mut threads, mut plain) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for pair in 0..pairs {
            let mut runs = [None, None];
            for with in if pair % 2 == 0 { [true, false] } else { [false, true] } {
                let recorder = with.then(|| Recording::start(hz));
                std::thread::sleep(if with { WARM } else { Duration::from_millis(100) });
                runs[usize::from(with)] = Some(measure(&client, worker, recorder.as_ref())?);
            }
            let [Some(without), Some(with)] = runs else { unreachable!("both were run") };
            costs.push(with.ns_per_request() / without.ns_per_request());
            rates.push(with.per_s() / without.per_s());
            threads.push(with.thread_ns as f64 / (with.wall * 1e9 * cpus));
            plain.push(without.per_s());
        }
        client.end();
        let (cost, rate, thread) = (quartiles(&mut costs), quartiles(&mut rates), quartiles(&mut threads));
        // Every CPU takes the timer's interrupt, busy or not.
        let kernel = f64::from(hz * 4) * per_sample / 1e9;
        let machine = thread[1] + kernel;
        println!(
            "{name:<6} {:>10.0}   {:<15} {:>8.3} % {:>8.3} % {:>8.3} %   {}",
            quartiles(&mut plain)[1],
            shown(cost),
            thread[1] * 100.0,
            kernel * 100.0,
            machine * 100.0,
            shown(rate),
        );
        if machine >= PROMISED {
            broken.push(format!("{name}: {:.2} % of the machine", machine * 100.0));
        }
        if pause_us == 0 && 1.0 - rate[1] >= PROMISED {
            broken.push(format!("{name}: {:.2} % of the requests per second", (1.0 - rate[1]) * 100.0));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ").into()) }
}

fn options() -> Outcome<(usize, u32)> {
    let (mut pairs, mut hz) = (30, 49);
    let mut words = std::env::args().skip(1).filter(|w| w != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--pairs" => pairs = value.parse()?,
            "--hz" => hz = value.parse()?,
            _ => return Err(format!("{word} is not an option of this bench").into()),
        }
    }
    Ok((pairs, hz))
}

/// A flight recorder whose events are taken and thrown away.
struct Recording {
    recorder: Option<Recorder>,
    reader: Option<JoinHandle<()>>,
}

impl Recording {
    fn start(hz: u32) -> Recording {
        let (out, events): (_, Receiver<Event>) = sync_channel(1024);
        let request = RecorderRequest { hz, want: Want::AllCpus, ..RecorderRequest::new(vec![]) };
        let recorder = record(request, Clock::start(), out);
        let reader = std::thread::spawn(move || events.iter().for_each(drop));
        Recording { recorder: Some(recorder), reader: Some(reader) }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.recorder = None;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// One run.
struct Run {
    requests: u64,
    cpu_ns: u64,
    thread_ns: u64,
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

fn measure(client: &Client, worker: i32, recording: Option<&Recording>) -> Outcome<Run> {
    if recording.is_some_and(|r| !r.recorder.as_ref().is_some_and(Recorder::is_sampling)) {
        return Err("the recorder does not sample here: see `perfbench doctor`".into());
    }
    let read = || -> Outcome<(u64, u64, u64)> {
        let client_ns: u64 =
            client.tids.iter().map(|tid| cpu_of(&format!("/proc/self/task/{tid}"))).sum::<Outcome<u64>>()?;
        let thread_ns = if recording.is_some() { thread_cpu("recorder")? } else { 0 };
        let requests = client.requests.load(Ordering::Relaxed);
        Ok((requests, client_ns + cpu_of(&format!("/proc/{worker}"))?, thread_ns))
    };
    let (before, began) = (read()?, Instant::now());
    std::thread::sleep(MEASURED);
    let (after, wall) = (read()?, began.elapsed().as_secs_f64());
    Ok(Run { requests: after.0 - before.0, cpu_ns: after.1 - before.1, thread_ns: after.2 - before.2, wall })
}

/// Threads that ask nginx for the same thing all the time.
struct Client {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
    tids: Vec<i32>,
}

impl Client {
    fn start(port: u16, connections: usize, pause_us: u64) -> Outcome<Client> {
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (say, heard) = std::sync::mpsc::channel();
        let mut threads = Vec::new();
        for _ in 0..connections {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            let (stop, requests, say) = (stop.clone(), requests.clone(), say.clone());
            threads.push(std::thread::spawn(move || {
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
            runs[usize::from(with)] = measure(client, worker, None)?.ns_per_request();
            drop(capture);
        }
        costs.push((1.0 - runs[0] / runs[1]) / f64::from(hz) * 1e9);
    }
    Ok(quartiles(&mut costs))
}

/// CPU time in ns by schedstat of a process or thread.
fn cpu_of(folder: &str) -> Outcome<u64> {
    let text = std::fs::read_to_string(format!("{folder}/schedstat"))?;
    Ok(text.split_whitespace().next().and_then(|w| w.parse().ok()).ok_or("no time in schedstat")?)
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
