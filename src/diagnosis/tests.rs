//! Each rule over a small timeline where its cause is, and over a healthy one.

use super::check;
use crate::model::{
    At, Event, Interval, Latency, LoadPlan, Metric, Opening, Outcome, OutcomeCount, Reading, Readings, Span,
    new_histogram,
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
    let opening = Opening { load: LoadPlan { connections: 50, ..Default::default() }, ..Default::default() };
    let mut events = vec![Event::Opening(opening)];
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

fn found(events: Vec<Event>) -> Vec<&'static str> {
    let mut t = Timeline::new();
    events.iter().for_each(|e| t.apply(e));
    let selection = Selection::default();
    let view = View { timeline: &t, cursor: Cursor::Follow, selection: &selection, window_ns: 10 * SECOND };
    check(&view).iter().map(|f| f.rule).collect()
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
    assert_eq!(found(host(&[(Metric::TcpListenOverflows, "", 8)])), ["accept.overflow"]);
    let full = host(&[(Metric::CpuUser, "0", 490), (Metric::CpuIdle, "0", 10)]);
    assert_eq!(found(full), ["cpu.full"]);
    let one_core = [(Metric::CpuSoftirq, "0", 450), (Metric::CpuIdle, "0", 50), (Metric::CpuIdle, "1", 500)];
    assert_eq!(found(host(&one_core)), ["softirq.one_core"]);
}
