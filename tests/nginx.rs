//! perfbench and a real nginx: two books kept of one run agree.
//!
//! Must not: need anything of the network.

#[macro_use]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::nginx::Nginx;
use support::{Bench, Report, Running, line};

/// The recorded log that lies beside the project, or one of our own.
fn recorded(bench: &Bench) -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("PERFBENCH_SHARED").map_or_else(beside, PathBuf::from);
    let log = shared.join("data/logs/nginx-combined.log.gz");
    if log.exists() { log } else { bench.file("own.log", routes(500)) }
}

/// A log over every kind of answer our nginx gives.
fn routes(n: usize) -> String {
    let paths = ["/", "/missing/x", "/broken", "/empty", "/files/big", "/a?b=c"];
    (0..n).map(|i| line(i as u64 / 50, if i % 7 == 0 { "HEAD" } else { "GET" }, paths[i % paths.len()])).collect()
}

fn run(bench: &Bench, nginx: &Nginx, log: &Path, more: &str) -> Report {
    let report = Running::start(bench.command(&bench.words(&nginx.url(), log, more))).report();
    assert_eq!((report.n("failed"), report.n("in_flight")), (0, 0), "{:?}", report.outcomes());
    report
}

/// nginx's own account of a run agrees with ours.
fn agree(report: &Report, lines: &[String]) {
    assert_eq!(lines.len() as u64, report.n("completed"), "{:?}", report.outcomes());
    let mut statuses: BTreeMap<&str, u64> = BTreeMap::new();
    for l in lines {
        let after_request = l.split('"').nth(2).unwrap();
        *statuses.entry(after_request.split_whitespace().next().unwrap()).or_default() += 1;
    }
    assert_eq!(statuses, report.outcomes());
}

#[test]
fn its_access_log_agrees_with_our_counts() {
    for more in ["", "--connection close", "--threads 2", "--rate 500", "--rate 500 --connection close --threads 2"] {
        let Some(nginx) = Nginx::start() else { skip!("nginx") };
        let bench = Bench::new();
        let report = run(&bench, &nginx, &recorded(&bench), &format!("--requests 400 --connections 10 {more}"));
        assert_eq!((report.n("offered"), report.n("completed")), (400, 400), "{more}");
        agree(&report, &nginx.log(400));
    }
}

#[test]
fn every_kind_of_answer_is_read_to_its_end() {
    let Some(nginx) = Nginx::start() else { skip!("nginx") };
    let bench = Bench::new();
    let log = bench.file("own.log", routes(420));
    let report = run(&bench, &nginx, &log, "--connections 7");
    let lines = nginx.log(420);
    agree(&report, &lines);
    assert_eq!(report.outcomes().into_keys().collect::<Vec<_>>(), ["200", "204", "404", "500"]);
    assert_eq!(lines.iter().filter(|l| l.contains("\"HEAD ")).count(), 60);
    // One 200 000 byte file in six requests, but for HEAD.
    let received = report.json["throughput"]["received_bytes_per_s"].as_f64().unwrap()
        * report.json["duration_s"].as_f64().unwrap();
    let bodies = 60.0 * 200_000.0;
    assert!((bodies..bodies * 1.05).contains(&received), "{received} bytes");
    let by_route: BTreeMap<&str, u64> = report.json["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["route"].as_str().unwrap(), r["requests"].as_u64().unwrap()))
        .collect();
    assert_eq!((by_route.len(), by_route["/files/big"], by_route["/a"]), (6, 70, 70), "{by_route:?}");
    // nginx closes each connection after its hundredth request and says so: nothing is retried.
    assert_eq!(report.n("retried"), 0);
}

#[test]
fn the_report_of_a_session_is_what_the_run_printed() {
    let Some(nginx) = Nginx::start() else { skip!("nginx") };
    let bench = Bench::new();
    let printed = run(&bench, &nginx, &recorded(&bench), "--duration 1s --connections 10 --threads 2");
    let session = bench.path("s.perfbench").display().to_string();
    let ended = Running::start(bench.command(&["report", &session, "--format", "json"])).end();
    let read: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(read, printed.json);
    let text = Running::start(bench.command(&["report", &session])).end();
    assert!(text.status.success() && text.stdout.contains(&nginx.url()), "{}", text.stdout);
}
