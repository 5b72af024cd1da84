//! Each rule over a small timeline where its cause is, and over a healthy one.

use super::check;
use crate::model::{
    At, CheckKind, Event, Finding, HostFacts, Interval, Latency, LoadPlan, Metric, Opening, Outcome, OutcomeCount,
    Reading, Readings, RouteInterval, Severity, Span, new_histogram,
};
use crate::timeline::{Cursor, Selection, Timeline, View};

const SECOND: u64 = 1_000_000_000;

fn latency(ms: u64, n: u64) -> Latency {
    let mut dense = new_histogram();
    dense.saturating_record_n(ms * 1_000_000, n);
    Latency::encode(&dense)
}

/// Five seconds of load, one interval per tick, as `make` leaves it.
fn load(make: impl Fn(&mut Interval)) -> Vec<Event> {
    let host = HostFacts { cpus: 4, memory_bytes: 8 << 30, ticks_per_s: 100, ..Default::default() };
    let opening = Opening { load: LoadPlan { connections: 50, ..Default::default() }, host, ..Default::default() };
    let mut events = vec![Event::from(opening)];
    for n in 0..25 {
        let span = Span { from: At(n * Interval::TICK_NS), to: At((n + 1) * Interval::TICK_NS) };
        let mut i = Interval {
            worker: 0,
            span,
            offered: 100,
            sent: 100,
            completed: 100,
            failed: 0,
            dropped: 0,
            retried: 0,
            in_flight: 3,
            queued: 0,
            connections_opened: 0,
            received_bytes: 0,
            sent_bytes: 0,
            response_time: latency(5, 100),
            service_time: latency(5, 100),
            send_lag: latency(0, 100),
            phases: Default::default(),
            grown: 0,
            remarks: Default::default(),
            outcomes: vec![OutcomeCount { outcome: Outcome::Status(200), count: 100 }],
            routes: vec![],
            exemplars: vec![],
        };
        make(&mut i);
        events.push(Event::Interval(i));
    }
    events
}

/// Readings at 0 s and 5 s: counters go from 0 to the value, gauges hold it.
fn host(values: &[(Metric, &str, i64)]) -> Vec<Event> {
    let read = |at_s: u64| {
        let value = |m: Metric, v| if m.kind() == crate::model::Kind::Counter && at_s == 0 { 0 } else { v };
        let values = values.iter().map(|(m, i, v)| Reading { metric: *m, instance: (*i).into(), value: value(*m, *v) });
        Event::Readings(Readings { at: At(at_s * SECOND), sampler: "t".into(), took_ns: 1, values: values.collect() })
    };
    vec![read(0), read(5)]
}

fn findings(events: Vec<Event>) -> Vec<Finding> {
    let mut t = Timeline::new();
    events.iter().for_each(|e| t.apply(e));
    let selection = Selection::default();
    let view = View { timeline: &t, cursor: Cursor::Follow, selection: &selection, window_ns: 60 * SECOND };
    check(&view)
}

fn found(events: Vec<Event>) -> Vec<&'static str> {
    findings(events).iter().map(|f| f.rule).collect()
}

/// What the only finding, but for that something was dropped, says of itself: rule, gravity, whether
/// the client limits the run.
fn only(events: Vec<Event>) -> (&'static str, Severity, bool) {
    let all: Vec<Finding> = findings(events).into_iter().filter(|f| f.rule != "load.dropped").collect();
    match all.as_slice() {
        [f] => (f.rule, f.severity, f.limits_client()),
        all => panic!("not one finding but {all:#?}"),
    }
}

/// A thread's counters at 0 s and 5 s, as shares of its time in per cent.
fn thread(run: i64, wait: i64) -> Vec<Event> {
    let ns = |percent: i64| percent * 50_000_000;
    host(&[(Metric::ThreadRun, "load-0", ns(run)), (Metric::ThreadRunWait, "load-0", ns(wait))])
}

/// One request of all ends like this.
fn once(outcome: Outcome) -> Vec<Event> {
    load(move |i| {
        if i.span.from == At::START {
            i.outcomes.push(OutcomeCount { outcome, count: 1 });
        }
    })
}

fn closed(i: &mut Interval) {
    i.send_lag = Latency::default();
}

#[test]
fn what_was_never_sent_is_said_and_so_is_a_silence_that_is_over() {
    assert_eq!(found(load(|i| i.dropped = 5)), ["load.dropped"]);
    // One second of five without an answer.
    let silent = |i: &mut Interval| {
        if (2..3).contains(&(i.span.from.0 / SECOND)) {
            (i.completed, i.failed, i.in_flight) = (0, 0, 7);
            i.outcomes.clear();
        }
    };
    let all = findings(load(silent));
    let f = all.iter().find(|f| f.rule == "target.silent").expect("it is found");
    assert_eq!((f.severity, f.span.from.0 / SECOND, f.span.secs()), (Severity::Warning, 2, 1.0), "{f:?}");
    assert_eq!(f.title, "the target answered nothing for 1.0 s");
}

#[test]
fn a_healthy_run_has_no_findings_and_neither_has_an_empty_one() {
    let idle = host(&[(Metric::CpuIdle, "0", 400), (Metric::CpuUser, "0", 100), (Metric::TcpListenOverflows, "", 0)]);
    assert_eq!(found([load(|_| {}), idle].concat()), [""; 0]);
    assert_eq!(found(vec![]), [""; 0]);
}

#[test]
fn a_failing_and_a_silent_target_are_told_apart() {
    let failing = load(|i| {
        i.completed = 60;
        i.failed = 40;
        i.outcomes = vec![
            OutcomeCount { outcome: Outcome::Status(200), count: 60 },
            OutcomeCount { outcome: Outcome::Errno(111), count: 40 },
        ];
    });
    assert_eq!(found(failing), ["load.failing"]);
    let silent = load(|i| {
        if i.span.from.0 >= 3 * SECOND {
            (i.completed, i.in_flight, i.outcomes) = (0, 50, vec![]);
        }
    });
    assert_eq!(found(silent), ["target.silent"]);
}

#[test]
fn a_late_client_is_named_only_when_its_lag_matters() {
    assert_eq!(found(load(|i| (i.send_lag, i.response_time) = (latency(40, 100), latency(45, 100)))), ["client.late"]);
    assert_eq!(found(load(|i| (i.send_lag, i.response_time) = (latency(2, 100), latency(45, 100)))), [""; 0]);
    assert_eq!(found(load(|i| i.send_lag = Latency::default())), [""; 0], "a closed loop has no lag");
}

#[test]
fn ports_past_the_cliff_overflows_and_full_cpus_are_found() {
    let d = "10.0.0.7:80";
    let ports = |used| host(&[(Metric::PortsUsed, d, used), (Metric::PortsBudget, d, 28_232)]);
    assert_eq!(found(ports(14_200)), ["ports.cliff"]);
    assert_eq!(found(ports(14_000)), [""; 0]);
    let gravity = |again: i64| {
        let all =
            [(Metric::PortsUsed, d, 28_232), (Metric::PortsBudget, d, 28_232), (Metric::TcpTwRecycled, "", again)];
        let found = findings(host(&all));
        assert!(!found[0].evidence.iter().any(|e| e.text.contains("full in")), "{:?}", found[0].evidence);
        found[0].severity
    };
    assert_eq!((gravity(0), gravity(900)), (Severity::Critical, Severity::Note));
    assert_eq!(found(host(&[(Metric::TcpListenOverflows, "", 8)])), ["accept.overflow"]);
    let full = host(&[(Metric::CpuUser, "0", 490), (Metric::CpuIdle, "0", 10)]);
    assert_eq!(found(full), ["cpu.full"]);
    let worker = |ticks, threads| {
        let us = [(Metric::ProcUser, "7 nginx", ticks), (Metric::ProcSystem, "7 nginx", 1)];
        found(host(&[us[0], us[1], (Metric::ProcThreads, "7 nginx", threads), (Metric::ProcRss, "7 nginx", 1)]))
    };
    // Without an opening a tick is a second.
    assert_eq!((worker(4, 1), worker(3, 1), worker(4, 8)), (vec!["target.cpu"], vec![], vec![]));
    let one_core = [(Metric::CpuSoftirq, "0", 450), (Metric::CpuIdle, "0", 50), (Metric::CpuIdle, "1", 500)];
    assert_eq!(found(host(&one_core)), ["softirq.one_core"]);
}

#[test]
fn a_full_load_thread_limits_a_closed_loop_and_a_schedule_only_when_it_is_missed() {
    let limits = ("client.cpu", Severity::Warning, true);
    assert_eq!(only([load(closed), thread(99, 0)].concat()), limits);
    assert_eq!(found([load(closed), thread(80, 0)].concat()), [""; 0]);
    assert_eq!(only([load(|_| {}), thread(99, 0)].concat()), ("client.cpu", Severity::Note, false));
    let late = load(|i| (i.send_lag, i.response_time) = (latency(3, 100), latency(50, 100)));
    assert_eq!(only([late, thread(99, 0)].concat()), limits);
    let dropping = load(|i| i.dropped = 5);
    assert_eq!(only([dropping, thread(99, 0)].concat()), ("client.cpu", Severity::Critical, true));
    let [f] = &findings([load(closed), thread(99, 0)].concat())[..] else { panic!() };
    assert_eq!(
        (f.title.as_str(), f.advice.as_str()),
        ("load-0 used 99 % of a core", "add --threads: 1 of 4 CPUs have a load thread")
    );
}

#[test]
fn a_thread_that_waits_for_a_cpu_and_a_quota_are_found() {
    assert_eq!(only([load(closed), thread(60, 25)].concat()), ("client.runqueue", Severity::Warning, true));
    assert_eq!(only([load(|_| {}), thread(60, 25)].concat()), ("client.runqueue", Severity::Note, false));
    assert_eq!(found([load(closed), thread(60, 5)].concat()), [""; 0]);
    let quota = |us| host(&[(Metric::ProcThrottled, "self", us)]);
    assert_eq!(only([load(closed), quota(600_000)].concat()), ("client.throttled", Severity::Warning, true));
    assert_eq!(found([load(closed), quota(100_000)].concat()), [""; 0]);
}

#[test]
fn memory_is_found_near_its_limit_growing_and_refused() {
    let near = |mb: i64| host(&[(Metric::ProcRss, "self", mb << 20), (Metric::ProcMemLimit, "self", 1000 << 20)]);
    assert_eq!(only([load(closed), near(850)].concat()), ("client.memory", Severity::Warning, true));
    assert_eq!(only([load(closed), near(960)].concat()), ("client.memory", Severity::Critical, true));
    assert_eq!(found([load(closed), near(700)].concat()), [""; 0]);
    let grows = |mb_at: fn(i64) -> i64| {
        let read = |s: i64| Reading { metric: Metric::ProcRss, instance: "self".into(), value: mb_at(s) << 20 };
        let at =
            |s: i64| Readings { at: At(s as u64 * SECOND), sampler: "t".into(), took_ns: 1, values: vec![read(s)] };
        [load(closed), (0..40).map(|s| Event::Readings(at(s))).collect()].concat()
    };
    // To 8 GB: in a quarter of an hour, in some minutes, and a start-up that ends.
    assert_eq!(only(grows(|s| 100 + 8 * s)), ("client.memory", Severity::Note, false));
    assert_eq!(only(grows(|s| 100 + 40 * s)), ("client.memory", Severity::Warning, true));
    assert_eq!(found(grows(|s| 100 + 40 * s.min(10))), [""; 0]);
    let refused = once(Outcome::Errno(105));
    assert_eq!(found(refused), ["client.memory"]);
}

#[test]
fn one_descriptor_that_was_not_to_be_had_is_enough() {
    let lacks = once(Outcome::Errno(24));
    let fds = host(&[(Metric::ProcFds, "self", 1024), (Metric::ProcFdLimit, "self", 1024)]);
    let [f] = &findings([lacks, fds].concat())[..] else { panic!() };
    assert_eq!((f.rule, f.severity), ("client.descriptors", Severity::Critical));
    assert!(f.evidence.iter().any(|e| e.text == "1024 of 1024 descriptors open"), "{f:?}");
}

#[test]
fn connections_that_are_all_busy_are_not_the_clients_fault() {
    let busy = load(|i| {
        (i.send_lag, i.response_time, i.in_flight) = (latency(40, 100), latency(45, 100), 50);
    });
    assert_eq!(only(busy), ("load.connections", Severity::Warning, false));
}

#[test]
fn answers_that_a_check_refused_are_not_answers_that_never_came() {
    let refused = |n: u64, kind| {
        load(move |i| {
            (i.completed, i.failed) = (100 - n, n);
            i.outcomes = vec![
                OutcomeCount { outcome: Outcome::Status(200), count: 100 - n },
                OutcomeCount { outcome: Outcome::Check(kind), count: n },
            ];
        })
    };
    assert_eq!(only(refused(30, CheckKind::Json)), ("load.checks", Severity::Critical, false));
    assert_eq!(only(refused(2, CheckKind::Body)), ("load.checks", Severity::Warning, false));
    assert_eq!(found(refused(0, CheckKind::Body)), [""; 0]);
}

#[test]
fn routes_that_answer_otherwise_than_recorded_are_named() {
    let routes = |of: &'static [(&str, u64, u64)]| {
        load(move |i| {
            i.routes = of
                .iter()
                .map(|(route, requests, mismatched)| RouteInterval {
                    route: (*route).into(),
                    requests: *requests,
                    failed: 0,
                    server_errors: 0,
                    mismatched: *mismatched,
                    response_time: Latency::default(),
                })
                .collect();
        })
    };
    let [f] = &findings(routes(&[("/a\u{1b}", 50, 40), ("/b", 50, 1), ("/rare", 0, 0)]))[..] else { panic!() };
    assert_eq!((f.rule, f.severity), ("load.mismatch", Severity::Warning));
    assert_eq!(f.title, "answers on /a· differ from the recording");
    assert_eq!(found(routes(&[("/a", 100, 4), ("/z", 100_000, 9)])), [""; 0], "too few, or on too small a route");
}

#[test]
fn every_rule_is_explained_in_the_docs() {
    fn rules_in(folder: &std::path::Path, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                rules_in(&path, into);
            } else if path.file_name().is_some_and(|n| n != "tests.rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                // `rule: "a.b",` and `rule: if … { "a.b" } else { "c.d" },`
                for line in source.lines().filter(|l| l.trim_start().starts_with("rule: ")) {
                    into.extend(line.split('"').skip(1).step_by(2).map(str::to_owned));
                }
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = vec![];
    rules_in(&root.join("src/diagnosis"), &mut names);
    assert!(names.len() >= super::RULES.len(), "{names:?}");
    let docs = std::fs::read_to_string(root.join("docs/findings.md")).unwrap();
    for name in names {
        assert!(docs.contains(&format!("| `{name}` |")), "docs/findings.md has no row for {name}");
    }
}
