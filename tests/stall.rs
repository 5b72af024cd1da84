//! A target that stops for two seconds in an open loop: the response time, which starts when a
//! request is due, shows it, and the service time alone would hide it.
//!
//! What must come: 2000 requests a second for 10 s are 20 000. One due `t` after the stop
//! waits for the rest of the two seconds, so the longest tenth (2000 requests: those due in the
//! first second of the stop) waits at least 2 s − 1 s, and the longest hundredth (those due in
//! its first tenth of a second) at least 1.9 s. After the stop there are some 4000 in the queue;
//! while they are worked off all wait longer, by at most the time that this takes. Of the
//! service times only those of the requests on the wire when it stopped are long: one for each
//! connection, 50 of 20 000.
//!
//! Must not: need a fast machine; the time that the queue takes is measured.

#[macro_use]
mod screen_support;

use perfbench::model::Event;
use rustix::process::{Signal, kill_process};
use screen_support::{Folder, Nginx, Running, adds_up, count, events, there};
use std::time::{Duration, Instant};

const RATE: u64 = 2000;
const LENGTH_S: u64 = 10;
const CONNECTIONS: u64 = 50;
const STOPPED: Duration = Duration::from_secs(2);

#[test]
fn response_time_shows_a_stall_and_service_time_hides_it() {
    let folder = Folder::new();
    let Some(nginx) = Nginx::start(&folder) else { skip!("nginx") };
    let log = match there("logs/nginx-combined.log.gz") {
        Some(log) => log,
        None => {
            folder.file("own.log", "192.0.2.1 - - [10/Oct/2025:13:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\"\n")
        }
    };
    let (log, session) = (log.display().to_string(), folder.word("s.perfbench"));
    let (rate, length, connections) = (RATE.to_string(), format!("{LENGTH_S}s"), CONNECTIONS.to_string());
    let words = [
        [&*nginx.url, "--replay", &log, "--rate", &rate, "--duration", &length],
        ["--connections", &connections, "--timeout", "30s", "--json", "--record", &session],
    ];
    let run = Running::start(folder.perfbench(&words.concat()));
    std::thread::sleep(Duration::from_secs(4));
    kill_process(nginx.worker(), Signal::STOP).unwrap();
    let stopped = Instant::now();
    std::thread::sleep(STOPPED);
    let stop_s = stopped.elapsed().as_secs_f64();
    kill_process(nginx.worker(), Signal::CONT).unwrap();
    let report = run.end().fine().json();

    adds_up(&report);
    let n = |name| count(&report, name);
    assert!(n("offered").abs_diff(RATE * LENGTH_S) <= 2, "{}", report["requests"]);
    assert_eq!((n("completed"), n("failed"), n("dropped")), (n("offered"), 0, 0), "{}", report["outcomes"]);
    assert_eq!(nginx.logged(n("completed")), n("completed"));

    // How long it took to work off what had queued up: the longest stretch with a queue, from
    // its first interval to its last, is the stop and that.
    let mut queued: Vec<(u64, u64)> = events(session.as_ref())
        .iter()
        .filter_map(|e| if let Event::Interval(i) = e { Some((i.span.to.0, i.queued)) } else { None })
        .collect();
    queued.sort_unstable();
    let most = queued.iter().map(|(_, n)| *n).max().unwrap();
    assert!(most > 3000, "{most} requests were in the queue at the most");
    let at_most = queued.iter().position(|(_, n)| *n == most).unwrap();
    let empty = queued[at_most..].iter().find(|(_, n)| *n == 0).expect("the queue was worked off").0;
    let before = queued[..at_most].iter().rev().find(|(_, n)| *n == 0).expect("there was no queue before").0;
    let with_queue_s = (empty - before) as f64 / 1e9;
    let off_s = (with_queue_s - stop_s).max(0.0);
    assert!(off_s < 3.0, "{off_s} s to work the queue off: this machine is too busy for this test");

    let seconds = |of: &str, q: &str| report[of][q].as_f64().unwrap() / 1e6;
    let within = |what: &str, value: f64, low: f64, high: f64| {
        let all = (&report["response_time_us"], &report["service_time_us"], stop_s, off_s);
        assert!((low..high).contains(&value), "{what} {value} s, not within {low} to {high}: {all:?}");
    };
    // Below: what a tick of the schedule and the histogram's three digits may take off.
    // Above: the time it took to work the queue off.
    within("response p90", seconds("response_time_us", "p90"), stop_s - 1.0 - 0.05, stop_s - 1.0 + 0.05 + off_s);
    within("response p99", seconds("response_time_us", "p99"), stop_s - 0.1 - 0.05, stop_s - 0.1 + 0.05 + off_s);
    within("response max", seconds("response_time_us", "max"), stop_s - 0.05, stop_s + 0.05 + off_s);
    // 50 of 20 000 are a four-hundredth: beyond p99, short of the longest thousandth.
    within("service p90", seconds("service_time_us", "p90"), 0.0, 0.1);
    within("service p99", seconds("service_time_us", "p99"), 0.0, 0.3);
    within("service max", seconds("service_time_us", "max"), stop_s - 0.05, stop_s + 0.3);
    // Whose fault it was: the requests could not be sent.
    within("send lag p99", seconds("send_lag_us", "p99"), stop_s - 0.1 - 0.1, stop_s - 0.1 + 0.05 + off_s);
    folder.left_clean(Duration::from_secs(5));
}
