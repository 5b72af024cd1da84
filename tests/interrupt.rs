//! Runs that are asked to end, and targets that stop or die under them.
//!
//! Must not: signal a process it has not started.

#[macro_use]
mod support;

use perfbench::workbench::Playback;
use std::time::{Duration, Instant};
use support::nginx::Nginx;
use support::{Bench, Do, Report, Running, Server, gets, signal};

/// The session was closed in good order and says so.
fn closed_as(bench: &Bench, why: &str) {
    let workbench = Playback::load(&bench.path("s.perfbench")).unwrap();
    let timeline = workbench.timeline();
    assert_eq!(timeline.closing().map(|c| c.why.as_str()), Some(why));
    assert!(!timeline.faults().iter().any(|f| f.place == "session"), "{:?}", timeline.faults());
}

fn start(bench: &Bench, url: &str, more: &str) -> Running {
    let log = bench.file("access.log", gets(50));
    Running::start(bench.command(&bench.words(url, &log, more)))
}

#[test]
fn a_signal_ends_a_run_in_good_order() {
    for name in ["INT", "TERM", "HUP"] {
        for pace in ["", "--rate 200 --threads 2"] {
            let (bench, server) = (Bench::new(), Server::answering());
            let running = start(&bench, &server.url(), &format!("--loop --connections 4 {pace}"));
            server.wait_for(50);
            running.signal(name);
            let signalled = Instant::now();
            let report = running.report();
            assert!(signalled.elapsed() < Duration::from_millis(2500), "{name}: {:?}", signalled.elapsed());
            assert_eq!((report.text("ended"), report.ended.status.code()), ("interrupted", Some(0)), "{name}");
            assert_eq!((report.n("failed"), report.n("in_flight")), (0, 0), "what was under way was waited for");
            assert_eq!(server.requests(), report.n("completed"));
            closed_as(&bench, "interrupted");
        }
    }
}

#[test]
fn a_signal_waits_only_so_long_for_what_is_under_way() {
    let (bench, server) = (Bench::new(), Server::start(|_| vec![Do::Hang]));
    let running = start(&bench, &server.url(), "--connections 3 --timeout 60s");
    server.wait_for(3);
    running.signal("INT");
    let signalled = Instant::now();
    let report = running.report();
    let took = signalled.elapsed();
    assert!((Duration::from_millis(1500)..Duration::from_secs(4)).contains(&took), "{took:?}");
    assert_eq!((report.n("in_flight"), report.n("sent"), report.n("failed")), (3, 3, 0));
    closed_as(&bench, "interrupted");
}

#[test]
fn a_second_signal_does_not_wait_at_all() {
    let (bench, server) = (Bench::new(), Server::start(|_| vec![Do::Hang]));
    let running = start(&bench, &server.url(), "--connections 3 --timeout 60s");
    server.wait_for(3);
    running.signal("INT");
    std::thread::sleep(Duration::from_millis(300)); // two at once would be one
    running.signal("INT");
    let signalled = Instant::now();
    let report = running.report();
    assert!(signalled.elapsed() < Duration::from_millis(1000), "{:?}", signalled.elapsed());
    assert!(report.text("ended").starts_with("interrupted"), "{}", report.text("ended"));
    closed_as(&bench, report.text("ended"));
}

#[test]
fn a_signal_ends_a_run_that_waits_for_its_recording() {
    let (bench, server) = (Bench::new(), Server::answering());
    let mut running = Running::start(bench.command(&bench.words(&server.url(), "-".as_ref(), "--connections 1")));
    let mut stdin = running.stdin();
    support::feed(&mut stdin, &(0..3000).map(|i| support::line(i / 2, "GET", "/r")).collect::<String>());
    server.wait_for(10);
    running.signal("TERM");
    let signalled = Instant::now();
    let report = running.report(); // nobody has closed the pipe
    assert!(signalled.elapsed() < Duration::from_millis(2500), "{:?}", signalled.elapsed());
    assert_eq!(report.text("ended"), "interrupted");
    drop(stdin);
}

/// CPU that perfbench used, s.
fn cpu_s(report: &Report) -> f64 {
    let client = &report.json["client"];
    client["cpu_user_s"].as_f64().unwrap() + client["cpu_system_s"].as_f64().unwrap()
}

#[test]
fn a_target_killed_in_mid_run_is_counted_and_not_hammered() {
    let Some(mut nginx) = Nginx::start() else { skip!("nginx") };
    let bench = Bench::new();
    let started = Instant::now();
    let running = start(&bench, &nginx.url(), "--duration 3s --connections 20 --threads 1");
    nginx.log(100);
    nginx.end();
    let died = started.elapsed();
    let report = running.report();
    assert!(report.n("completed") > 0 && report.outcome("ECONNREFUSED") > 0, "{:?}", report.outcomes());
    assert_eq!(report.text("ended"), "duration reached");
    assert!(report.ended.took < Duration::from_secs(7), "{:?}", report.ended.took);
    // 20 connections, at most ten attempts a second each once they have backed off.
    assert!(report.outcome("ECONNREFUSED") < 20 * 40, "{:?}, died after {died:?}", report.outcomes());
    let names = ["200", "ECONNREFUSED", "EPIPE"];
    let is_known =
        |name: &str| ["reset_", "closed_"].iter().any(|start| name.starts_with(start)) || names.contains(&name);
    assert!(report.outcomes().keys().all(|name| is_known(name)), "{:?}", report.outcomes());
}

#[test]
fn a_dead_target_costs_next_to_no_cpu() {
    let server = Server::start(|_| vec![Do::StopListening, Do::wait_ms(5), Do::Close]);
    let report = Bench::new().run(&server.url(), &gets(5), "--duration 3s --connections 20 --threads 1 --period 200ms");
    assert!(report.outcome("ECONNREFUSED") > 20, "{:?}", report.outcomes());
    // Watching the host is in it; an unoptimised build that spun would use all three seconds.
    assert!(cpu_s(&report) < 1.5, "{} s of CPU in 3 s", cpu_s(&report));
}

#[test]
fn a_target_that_stands_still_and_goes_on_loses_nothing() {
    let Some(nginx) = Nginx::start() else { skip!("nginx") };
    let bench = Bench::new();
    let running = start(&bench, &nginx.url(), "--rate 100 --duration 3s --connections 10 --threads 1");
    nginx.log(20);
    signal(nginx.worker(), "STOP");
    std::thread::sleep(Duration::from_secs(1));
    signal(nginx.worker(), "CONT");
    let report = running.report();
    assert!(report.n("offered").abs_diff(300) <= 1, "{}", report.n("offered"));
    assert_eq!((report.n("completed"), report.n("failed")), (report.n("offered"), 0), "{:?}", report.outcomes());
    // A third of the run fell into the stall; half a second in the mean.
    assert!((600.0..2000.0).contains(&report.ms("response_time_us", "p99")), "{}", report.json["response_time_us"]);
    assert!(report.ms("service_time_us", "p50") < 100.0, "{}", report.json["service_time_us"]);
}
