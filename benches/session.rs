//! What a session costs: an hour of run written and read back.
//!
//! `cargo bench --bench session [-- READINGS]` makes an hour of 2 workers with 5 intervals a
//! second each and READINGS host values (300 when not given; a box of 64 cores has about
//! 1500) twice a second from 7 samplers, and prints times and the size of the file.
//!
//! Must not: compare with a fixed figure; it prints what it measured on this machine.

use perfbench::model::*;
use perfbench::session::{Reader, Writer};
use perfbench::timeline::Timeline;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SECONDS: u64 = 3600;
/// Of which memory is looked at.
const HOURS: u64 = 3;
const WORKERS: u16 = 2;
const SAMPLERS: usize = 7;
const ROUTES: usize = 10;

fn main() {
    let readings: usize = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(300);
    let folder = std::env::temp_dir().join(format!("perfbench-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the session");
    let path = folder.join("hour.perfbench");
    measure(&path, readings);
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    remember(readings);
}

/// What hours of it take in memory, folded as the screen and the report have them.
fn remember(readings: usize) {
    let (mut made, mut timeline) = (Hour::new(readings), Timeline::new());
    let mut before = resident();
    for hour in 0..HOURS {
        for tick in hour * SECONDS * 10..(hour + 1) * SECONDS * 10 {
            let at = At(tick * 100_000_000);
            if tick % 2 == 0 {
                (0..WORKERS).for_each(|worker| timeline.apply(&made.interval(worker, at)));
            }
            if tick % 5 == 0 {
                (0..SAMPLERS).for_each(|sampler| timeline.apply(&made.readings(sampler, at)));
            }
        }
        let now = resident();
        println!("memory {:6.1} MB more after hour {}", (now - before) as f64 / 1e6, hour + 1);
        before = now;
    }
    assert!(timeline.load().span().secs() > 3500.0 * HOURS as f64, "the hours are there");
}

/// Bytes of this process in memory; proc_pid_status(5) VmRSS.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a /proc");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("its VmRSS");
    line.trim().trim_end_matches(" kB").parse::<i64>().expect("kB") * 1024
}

fn measure(path: &Path, readings: usize) {
    let mut made = Hour::new(readings);
    let mut writer = Writer::create(path, true).expect("a new session");
    let (mut events, mut spent, mut longest) = (0u64, Duration::ZERO, Duration::ZERO);
    let mut write = |writer: &mut Writer, event: Event| {
        let start = Instant::now();
        writer.write(&event).expect("a disk with space");
        let took = start.elapsed();
        events += 1;
        spent += took;
        longest = longest.max(took);
    };
    write(&mut writer, Event::from(Opening::default()));
    for tick in 0..SECONDS * 10 {
        let at = At(tick * 100_000_000);
        if tick % 2 == 0 {
            (0..WORKERS).for_each(|worker| write(&mut writer, made.interval(worker, at)));
        }
        if tick % 5 == 0 {
            (0..SAMPLERS).for_each(|sampler| write(&mut writer, made.readings(sampler, at)));
        }
    }
    let start = Instant::now();
    writer.finish().expect("a disk with space");
    let finish = start.elapsed();
    let size = std::fs::metadata(path).expect("the session is there").len();
    println!("one hour, {readings} readings twice a second: {events} events, {:.1} MB", size as f64 / 1e6);
    println!(
        "write  {:6.2} s in all, {:.3} % of the hour; longest event {:.1} ms; finish {:.1} ms",
        spent.as_secs_f64(),
        spent.as_secs_f64() / SECONDS as f64 * 100.0,
        longest.as_secs_f64() * 1e3,
        finish.as_secs_f64() * 1e3
    );
    for limit in [100, 1000, 10_000] {
        let start = Instant::now();
        let mut reader = Reader::open(path).expect("a session");
        let (mut read, mut values) = (0u64, 0u64);
        loop {
            let batch = reader.next_batch(limit).expect("a whole session");
            if batch.is_empty() {
                break;
            }
            read += batch.len() as u64;
            values +=
                batch.iter().map(|e| if let Event::Readings(r) = e { r.values.len() as u64 } else { 0 }).sum::<u64>();
        }
        assert_eq!(read, events);
        println!("read   {:6.2} s in batches of {limit}: {values} readings", start.elapsed().as_secs_f64());
    }
}

/// Makes the hour: counters that climb, some that stand still, latencies of a busy service.
struct Hour {
    random: fastrand::Rng,
    instances: Vec<Arc<str>>,
    samplers: Vec<Arc<str>>,
    routes: Vec<Arc<str>>,
    values: Vec<i64>,
}

impl Hour {
    fn new(readings: usize) -> Hour {
        let mut random = fastrand::Rng::with_seed(7);
        Hour {
            instances: (0..readings.div_ceil(Metric::ALL.len())).map(|n| n.to_string().into()).collect(),
            samplers: (0..SAMPLERS).map(|n| format!("sampler{n}").into()).collect(),
            routes: (0..ROUTES).map(|n| format!("/products/{n}/*").into()).collect(),
            values: (0..readings).map(|_| 10i64.pow(random.u32(0..11)) - 1).collect(),
            random,
        }
    }

    fn readings(&mut self, sampler: usize, at: At) -> Event {
        let mut values = Vec::new();
        for n in (sampler..self.values.len()).step_by(SAMPLERS) {
            self.values[n] += if self.values[n] % 3 == 0 { 0 } else { self.random.i64(0..5000) };
            values.push(Reading {
                metric: Metric::ALL[n % Metric::ALL.len()],
                instance: self.instances[n / Metric::ALL.len()].clone(),
                value: self.values[n],
            });
        }
        Event::Readings(Readings { at, sampler: self.samplers[sampler].clone(), took_ns: 40_000, values })
    }

    fn interval(&mut self, worker: u16, at: At) -> Event {
        let mut all = new_histogram();
        let mut routes = Vec::new();
        for route in &self.routes {
            let mut one = new_route_histogram();
            for _ in 0..50 {
                let ns = 300_000 + (-self.random.f64().ln() * 900_000.0) as u64;
                all.saturating_record(ns);
                one.saturating_record(ns);
            }
            let response_time = Latency::encode(&one);
            let route = route.clone();
            routes.push(RouteInterval {
                route,
                requests: 50,
                failed: 0,
                server_errors: 1,
                mismatched: 0,
                response_time,
            });
        }
        let latency = Latency::encode(&all);
        let count = 50 * ROUTES as u64;
        let exemplar = |n: usize| Exemplar {
            due: at,
            response_ns: 9_000_000,
            service_ns: 8_000_000,
            route: self.routes[n].clone(),
            outcome: Outcome::Status(200),
        };
        Event::Interval(Interval {
            worker,
            span: Span::ending(At(at.0 + 200_000_000), 200_000_000),
            offered: count,
            sent: count,
            completed: count,
            failed: 0,
            dropped: 0,
            retried: 0,
            in_flight: 25,
            queued: 0,
            connections_opened: 0,
            grown: 0,
            remarks: Default::default(),
            received_bytes: count * 900,
            sent_bytes: count * 120,
            response_time: latency.clone(),
            service_time: latency.clone(),
            send_lag: latency,
            phases: PhaseTimes::default(),
            outcomes: [200, 304, 404].map(|s| OutcomeCount { outcome: Outcome::Status(s), count: count / 3 }).to_vec(),
            routes,
            exemplars: (0..3).map(exemplar).collect(),
        })
    }
}
