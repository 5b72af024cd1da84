//! The client's own ledger as text and as JSON: what perfbench itself took for the run, and
//! whether that limits what was measured.
//!
//! Must not: judge by itself; the findings say what limits.

use super::text::{bytes, time};
use crate::model::{Finding, clean};
use crate::timeline::{ClientLateness, ClientUse, LoadSum, ON_TIME_P50_NS, ON_TIME_P99_NS, Timeline};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Whether the client limits a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Limits {
    /// It does, and this is why and what to do.
    Yes(String),
    /// It does not.
    No,
    /// Nothing is known of it: a run without load, too short a one, or an old session.
    Unknown,
}

impl Limits {
    /// What the findings and the readings of a run say.
    pub(super) fn of(ledger: &ClientUse, findings: &[Finding]) -> Limits {
        let mut own = findings.iter().filter(|f| f.limits_client());
        match own.next() {
            Some(first) => {
                let rest: String = own.map(|f| format!("; {}", f.title)).collect();
                Limits::Yes(format!("{}{rest}; {}", first.title, first.advice))
            }
            None if ledger.threads.is_empty() || ledger.ended == 0 => Limits::Unknown,
            None => Limits::No,
        }
    }

    /// The verdict in a sentence.
    pub(super) fn verdict(&self) -> String {
        match self {
            Limits::Yes(why) => format!("THE CLIENT LIMITS THIS RUN: {}", clean(why, 500)),
            Limits::No => "the client does not limit this run".into(),
            Limits::Unknown => {
                "whether the client limits this run is not known: too few readings of its threads".into()
            }
        }
    }
}

/// `load`: that of the whole run.
fn over_run(t: &Timeline, load: &LoadSum) -> (ClientUse, ClientLateness) {
    (t.client(super::run_span(t)), ClientLateness::of(t, load))
}

/// The section of the text report.
pub(super) fn text(t: &Timeline, load: &LoadSum, findings: &[Finding], out: &mut String) {
    let (ledger, late) = over_run(t, load);
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    line("\nclient (perfbench itself)".into());
    if let Some(busiest) = ledger.busiest() {
        let of = |us: Option<f64>| us.map_or("?".into(), |us| time(us * 1e3));
        line(format!(
            "  CPU per request {} (load threads), {} (all); {} used {:.0} % of a core, at most {:.0} %",
            of(ledger.load_cpu_us_per_request()),
            of(ledger.process_cpu_us_per_request()),
            clean(&busiest.name, 20),
            busiest.cpu_percent,
            busiest.peak_percent
        ));
        line(format!(
            "  run-queue wait {:.2} % of their time, {} per request; {} switches, {} of them preempted",
            ledger.run_wait_percent().unwrap_or(0.0),
            of(ledger.run_wait_us_per_request()),
            ledger.switches.0.saturating_add(ledger.switches.1),
            ledger.switches.1
        ));
    }
    line(schedule(&late));
    if late.is_on_time() == Some(false) {
        line(format!(
            "  not on time: on an idle core p50 is under {} and p99 under {}; this machine, its CPUs' other work or too few \
             connections kept requests from leaving when they fell due",
            time(ON_TIME_P50_NS as f64),
            time(ON_TIME_P99_NS as f64)
        ));
    }
    if let Some(now) = ledger.memory {
        let peak = ledger.memory_peak.map_or("?".into(), |n| bytes(n as f64));
        let limit = ledger.memory_limit.map_or(String::new(), |n| format!(" of {}", bytes(n as f64)));
        let fds = match (ledger.fds, ledger.fd_limit) {
            (Some(fds), Some(limit)) => format!("; {fds} of {limit} file descriptors"),
            _ => String::new(),
        };
        line(format!("  memory {} now, {peak} at most{limit}{fds}", bytes(now as f64)));
    }
    line(format!("  {}", Limits::of(&ledger, findings).verdict()));
}

fn schedule(late: &ClientLateness) -> String {
    if late.lag.count == 0 {
        return "  a closed loop has no schedule to be late for".into();
    }
    let [p50, p99, max] = [late.lag.p50, late.lag.p99, late.lag.max].map(|ns| time(ns as f64));
    let scheduled = match (late.scheduled, late.short_percent()) {
        (Some(n), Some(short)) => format!("; offered {} of {n:.0} ({:+.3} %)", late.offered, 0.0 - short),
        _ => String::new(),
    };
    format!("  send lag p50 {p50}, p99 {p99}, max {max}; {} given up unsent{scheduled}", late.dropped)
}

/// The object of the JSON report, added to `client`.
pub(super) fn json(t: &Timeline, load: &LoadSum, findings: &[Finding], into: &mut Value) {
    let (ledger, late) = over_run(t, load);
    let round = |x: Option<f64>| x.filter(|x| x.is_finite()).map(|x| (x * 1e3).round() / 1e3);
    let limits = Limits::of(&ledger, findings);
    let more = json!({
        "measured_from_s": ledger.span.from.secs(),
        "measured_to_s": ledger.span.to.secs(),
        "requests": ledger.ended,
        "load_cpu_us_per_request": round(ledger.load_cpu_us_per_request()),
        "process_cpu_us_per_request": round(ledger.process_cpu_us_per_request()),
        "run_wait_us_per_request": round(ledger.run_wait_us_per_request()),
        "run_wait_percent": round(ledger.run_wait_percent()),
        "voluntary_switches": ledger.switches.0,
        "involuntary_switches": ledger.switches.1,
        "threads": ledger.threads.iter().map(|t| json!({
            "name": t.name, "cpu_percent": round(Some(t.cpu_percent)), "peak_cpu_percent": round(Some(t.peak_percent)),
            "full_s": round(Some(t.full_s)), "run_wait_percent": round(Some(t.wait_percent)),
        })).collect::<Vec<_>>(),
        "throttled_s": round(Some(ledger.throttled_ns as f64 / 1e9)),
        "rss_bytes": ledger.memory,
        "peak_rss_bytes": ledger.memory_peak,
        "memory_limit_bytes": ledger.memory_limit,
        "file_descriptors": ledger.fds,
        "file_descriptor_limit": ledger.fd_limit,
        "scheduled": round(late.scheduled),
        "offered": late.offered,
        "on_time": late.is_on_time(),
        "short_percent": round(late.short_percent()),
        "dropped": late.dropped,
        "limits_run": match limits {
            Limits::Yes(_) => Value::Bool(true),
            Limits::No => Value::Bool(false),
            Limits::Unknown => Value::Null,
        },
        "verdict": limits.verdict(),
    });
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        At, Event, HostFacts, Interval, Latency, LoadPlan, Metric, Opening, Outcome, OutcomeCount, Reading, Readings,
        Severity, Span, new_histogram,
    };
    use crate::timeline::ThreadUse;

    fn finding(rule: &'static str, severity: Severity) -> Finding {
        let (title, advice) = ("load-0 used 99 % of a core".into(), "add --threads".into());
        Finding { rule, severity, title, span: Span::default(), evidence: vec![], advice }
    }

    /// Ten seconds at a rate, with what load-0 took of a core.
    fn run(percent: i64) -> Timeline {
        let mut t = Timeline::new();
        let load = LoadPlan { mode: "rate".into(), rate_per_s: Some(100.0), ..Default::default() };
        let host = HostFacts { ticks_per_s: 100, ..Default::default() };
        t.apply(&Event::from(Opening { load, host, ..Default::default() }));
        let mut dense = new_histogram();
        dense.record_n(20_000, 20).unwrap();
        for n in 0..50 {
            t.apply(&Event::Interval(Interval {
                span: Span { from: At(n * Interval::TICK_NS), to: At((n + 1) * Interval::TICK_NS) },
                offered: 20,
                sent: 20,
                completed: 20,
                send_lag: Latency::encode(&dense),
                outcomes: vec![OutcomeCount { outcome: Outcome::Status(200), count: 20 }],
                ..Default::default()
            }));
        }
        for s in 0..=10 {
            let read = |metric, i: &str, value| Reading { metric, instance: i.into(), value };
            let values = vec![
                read(Metric::ThreadRun, "load-0", s * percent * 10_000_000),
                read(Metric::ThreadRunWait, "load-0", s * 1_000_000),
                read(Metric::ProcUser, "self", s * percent),
                read(Metric::ProcSystem, "self", 0),
                read(Metric::ProcRss, "self", 31_000_000),
            ];
            let at = At(s as u64 * 1_000_000_000);
            t.apply(&Event::Readings(Readings { at, sampler: "client".into(), took_ns: 1, values }));
        }
        t
    }

    #[test]
    fn the_ledger_tells_what_a_request_cost_and_the_verdict() {
        let t = run(20);
        let mut out = String::new();
        text(&t, &t.load().sum(t.whole()), &[], &mut out);
        assert!(out.contains("CPU per request 2.00 ms (load threads), 2.00 ms (all); load-0 used 20 %"), "{out}");
        assert!(out.contains("run-queue wait 0.10 % of their time, 10.0 µs per request"), "{out}");
        assert!(out.contains("offered 1000 of 1000 (+0.000 %)"), "{out}");
        assert!(out.contains("memory 31.0 MB now") && out.contains("  the client does not limit this run"), "{out}");
        let mut v = json!({ "kept": 1 });
        json(&t, &t.load().sum(t.whole()), &[finding("client.cpu", Severity::Warning)], &mut v);
        assert_eq!((&v["kept"], &v["limits_run"], &v["scheduled"]), (&json!(1), &json!(true), &json!(1000.0)));
        assert_eq!(v["load_cpu_us_per_request"], json!(2000.0));
        assert_eq!(v["threads"][0]["name"], "load-0");
    }

    #[test]
    fn only_a_grave_finding_about_the_client_limits() {
        let busy =
            ThreadUse { name: "load-0".into(), cpu_percent: 99.0, wait_percent: 0.0, peak_percent: 99.0, full_s: 9.0 };
        let ledger = ClientUse { threads: vec![busy], ended: 5, ..ClientUse::default() };
        let yes = Limits::of(
            &ledger,
            &[finding("target.silent", Severity::Critical), finding("client.cpu", Severity::Warning)],
        );
        assert_eq!(yes.verdict(), "THE CLIENT LIMITS THIS RUN: load-0 used 99 % of a core; add --threads");
        assert_eq!(Limits::of(&ledger, &[finding("client.cpu", Severity::Note)]), Limits::No);
        assert_eq!(Limits::of(&ClientUse::default(), &[]), Limits::Unknown);
        assert!(matches!(
            Limits::of(&ClientUse::default(), &[finding("client.late", Severity::Warning)]),
            Limits::Yes(_)
        ));
    }
}
