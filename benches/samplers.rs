//! What the samplers cost on a host with 40 000 sockets in TIME_WAIT.
//!
//! Run: `cargo bench --bench samplers`. It makes the sockets itself, on loopback, half of
//! them to the one destination that is watched; they are gone a minute after it ends. It
//! prints what one reading of each sampler costs and, of a watch at the default interval,
//! the share of one core that its thread takes over 20 s. It fails when that is 3 % or more.
//!
//! Must not: leave loopback.

use perfbench::clock::{Clock, thread_cpu_ns};
use perfbench::host::{Batch, Config, SAMPLERS, Setup, Watch};
use perfbench::model::{Event, Metric};
use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

const SOCKETS: usize = 40_000;
const WATCHED: Duration = Duration::from_secs(20);
const ROUNDS: u32 = 20;
const LIMIT_PERCENT: f64 = 3.0;

fn main() -> ExitCode {
    match measure() {
        Ok(percent) if percent < LIMIT_PERCENT => ExitCode::SUCCESS,
        Ok(percent) => {
            println!("FAILED: {percent:.2} % is not under {LIMIT_PERCENT} %");
            ExitCode::FAILURE
        }
        Err(e) => {
            println!("FAILED: {e}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<f64, Box<dyn std::error::Error>> {
    let watched = TcpListener::bind("127.0.31.1:0")?;
    let other = TcpListener::bind("127.0.31.2:0")?;
    let target = watched.local_addr()?;
    let began = Instant::now();
    // Ports are named and not left to connect(), which would take those in TIME_WAIT again
    // after a second (tcp_tw_reuse = 2 does so on loopback).
    let first_port = 32_768;
    for n in 0..SOCKETS {
        let (listener, source) = if n % 2 == 0 { (&watched, "127.0.31.3") } else { (&other, "127.0.31.4") };
        let source = SocketAddr::new(source.parse()?, u16::try_from(first_port + n / 2)?);
        let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        client.set_reuse_address(true)?;
        client.bind(&SockAddr::from(source))?;
        client.connect(&SockAddr::from(listener.local_addr()?))?;
        let (server, _) = listener.accept()?;
        drop(client); // the client closes first and so holds TIME_WAIT
        drop(server);
    }
    println!("{SOCKETS} connections made and closed in {:.1} s", began.elapsed().as_secs_f64());
    let tw = time_wait(target)?;
    println!("TIME_WAIT on this host: {tw}");
    if tw < SOCKETS as i64 * 9 / 10 {
        return Err(format!("only {tw} sockets are in TIME_WAIT: see net.ipv4.tcp_max_tw_buckets").into());
    }

    println!("\none reading, mean of {ROUNDS}:  CPU µs   wall µs   values");
    let setup = Setup::of_host(Some(target), None, Clock::start());
    for row in SAMPLERS {
        let mut sampler = (row.open)(&setup);
        sampler.sample(&mut Batch::default())?; // opens its files
        let (cpu, wall, mut values) = (thread_cpu_ns(), Instant::now(), 0);
        for _ in 0..ROUNDS {
            let mut batch = Batch::default();
            sampler.sample(&mut batch)?;
            values = batch.values.len();
        }
        let cpu = (thread_cpu_ns() - cpu) as f64 / f64::from(ROUNDS) / 1e3;
        let wall = wall.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
        println!("  {:<24} {cpu:>8.0} {wall:>9.0} {values:>8}", row.name);
    }

    let (out, events) = sync_channel(65_536);
    let watch = Watch::start(Config { target: Some(target), ..Config::default() }, Clock::start(), out);
    // Without the first readings, which open everything and come twice as fast.
    std::thread::sleep(Duration::from_secs(1));
    events.try_iter().count();
    let before = host_thread_cpu()?;
    let began = Instant::now();
    std::thread::sleep(WATCHED);
    let (cpu, wall) = (host_thread_cpu()? - before, began.elapsed());
    let mut batches: BTreeMap<String, (u32, u64)> = BTreeMap::new();
    for event in events.try_iter() {
        match event {
            Event::Readings(r) => {
                let of = batches.entry(r.sampler.to_string()).or_default();
                *of = (of.0 + 1, of.1 + r.took_ns);
            }
            Event::Fault(f) => println!("fault: {}: {}", f.place, f.what),
            _ => {}
        }
    }
    watch.stop();
    println!("\nwatch of {:.1} s:       readings    every   wall µs each", wall.as_secs_f64());
    for (name, (count, took_ns)) in &batches {
        let every = wall.as_secs_f64() / f64::from(*count);
        println!("  {name:<24} {count:>6} {every:>7.2}s {:>10.0}", *took_ns as f64 / f64::from(*count) / 1e3);
    }
    let percent = cpu.as_secs_f64() / wall.as_secs_f64() * 100.0;
    println!("\nTIME_WAIT at the end: {}", time_wait(target)?);
    println!("all samplers together: {percent:.2} % of one core (CPU time of the thread `host`)");
    Ok(percent)
}

fn time_wait(target: SocketAddr) -> Result<i64, Box<dyn std::error::Error>> {
    let row = SAMPLERS.iter().find(|r| r.name == "tcp").ok_or("no sampler `tcp`")?;
    let mut batch = Batch::default();
    (row.open)(&Setup::of_host(Some(target), None, Clock::start())).sample(&mut batch)?;
    let tw = batch.values.iter().find(|r| r.metric == Metric::TcpTimeWait);
    Ok(tw.ok_or("no `tw` in /proc/net/sockstat")?.value)
}

/// CPU time of our thread `host`: the first number of its schedstat, in ns.
fn host_thread_cpu() -> Result<Duration, Box<dyn std::error::Error>> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let folder = task?.path();
        if std::fs::read_to_string(folder.join("comm"))?.trim() == "host" {
            let text = std::fs::read_to_string(folder.join("schedstat"))?;
            let ns = text.split_whitespace().next().and_then(|w| w.parse().ok()).ok_or("no time in schedstat")?;
            return Ok(Duration::from_nanos(ns));
        }
    }
    Err("no thread `host`".into())
}
