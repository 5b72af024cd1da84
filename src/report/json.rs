//! The report as one JSON object. Its keys are stable: they are added to, never renamed.
//!
//! Must not: hold a number that was not measured; what is not known is `null` or absent.

use crate::model::{At, CaptureId, CaptureState, Finding, Metric, Quantiles, Severity, Span, is_obeyed};
use crate::timeline::objective::{self, Unit};
use crate::timeline::stacks::StackFilter;
use crate::timeline::steer::{Found, Probe};
use crate::timeline::{CpuSplit, LoadSum, Timeline};
use serde_json::{Map, Value, json};

/// Version of the object's layout, its key `schema`.
pub const SCHEMA: u32 = 1;

/// The object, indented.
pub(super) fn render(t: &Timeline, findings: &[Finding]) -> String {
    written(&object(t, findings))
}

/// A value, indented, with nothing in it that a terminal obeys.
pub(super) fn written(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    // JSON need not escape DEL, C1 and what turns text around, but a terminal obeys them.
    let mut safe = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if c != '\n' && is_obeyed(c) {
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe.push('\n');
    safe
}

fn object(t: &Timeline, findings: &[Finding]) -> Value {
    let o = t.opening();
    let sum = t.load().sum(t.whole());
    let duration_s = super::run_span(t).secs();
    let per_s = |n: u64| if duration_s > 0.0 { round(n as f64 / duration_s) } else { 0.0 };
    let outcomes: Map<String, Value> = sum.outcomes.iter().map(|o| (o.outcome.to_string(), o.count.into())).collect();
    let routes: Vec<Value> = t
        .load()
        .routes(t.whole())
        .iter()
        .map(|r| {
            json!({
                "route": &*r.route, "requests": r.requests, "failed": r.failed, "server_errors": r.server_errors,
                "mismatched": r.mismatched,
                "p50_us": us(r.response.p50), "p99_us": us(r.response.p99),
            })
        })
        .collect();
    let phases: serde_json::Map<String, Value> =
        sum.phases.iter().map(|(phase, times)| (phase.name().into(), quantiles(times))).collect();
    json!({
        "schema": SCHEMA,
        "target": o.target,
        "duration_s": micros(duration_s),
        "load": {
            "engine": o.load.engine, "engine_why": o.load.engine_why, "mode": o.load.mode, "connections": o.load.connections,
            "threads": o.load.threads, "connection": o.load.connection,
            "rate_per_s": o.load.rate_per_s, "speed": o.load.speed, "phases": o.load.phases,
            "peak_over_s": o.load.peak_over_ns.map(|ns| ns as f64 / 1e9), "arrivals": o.load.arrivals, "overload": o.load.overload,
        },
        "requests": {
            "offered": sum.offered, "sent": sum.sent, "completed": sum.completed, "failed": sum.failed,
            "dropped": sum.dropped, "in_flight": sum.in_flight, "retried": sum.retried,
            "connections_grown": sum.grown,
        },
        "remarks": sum.remarks.named().into_iter().map(|(name, n)| (name.into(), n.into())).collect::<Map<String, Value>>(),
        "objectives": objective::judge(t.load(), &o.load.fail_if).iter()
            .map(|j| json!({
                "fail_if": j.text, "held": j.held, "value": j.value.map(unrounded), "unit": unit(j.unit), "shown": j.shown,
            }))
            .collect::<Vec<_>>(),
        "stop_if": o.load.stop_if,
        "capture_if": o.load.capture_if,
        "find_max": o.load.find_max.as_deref().map(|objective| find_max(t, objective)),
        "outcomes": outcomes,
        "response_time_us": quantiles(&sum.response),
        "service_time_us": quantiles(&sum.service),
        "send_lag_us": quantiles(&sum.lag),
        "phases_us": phases,
        "throughput": {
            "completed_per_s": per_s(sum.completed),
            "received_bytes_per_s": per_s(sum.received_bytes),
            "connections_per_s": per_s(sum.connections_opened),
        },
        "client": client(t, &sum, findings),
        "findings": findings.iter().map(found).collect::<Vec<_>>(),
        "host": host(t),
        "routes": routes,
        "traffic": traffic(t),
        "flight_recorder": recorder(t),
        "captures": captures(t),
        "marks": t.marks().iter().map(|m| json!({ "at_s": seconds(m.at), "kind": m.kind.name(), "label": m.label })).collect::<Vec<_>>(),
        "faults": t.faults().iter()
            .map(|f| json!({ "at_s": seconds(f.at), "place": f.place, "what": f.what, "mend": f.mend }))
            .collect::<Vec<_>>(),
        "ended": t.closing().map(|c| c.why.clone()),
    })
}

/// The unit of an objective's value.
fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Time => "ns",
        Unit::Count => "requests",
        Unit::Share => "share",
        Unit::PerSecond => "per_s",
    }
}

/// Shares need more digits than three.
fn unrounded(x: f64) -> f64 {
    (x * 1e6).round() / 1e6
}

fn find_max(t: &Timeline, objective: &str) -> Value {
    let probes = Probe::all(t);
    let found = Found::of(&probes);
    let probe_ns = t.opening().load.probe_ns;
    json!({
        "objective": objective,
        "rate_per_s": found.per_s,
        "not_at_per_s": found.not_at,
        "limited_by_client": found.by_client,
        "result": found.line(objective),
        "probes": probes.iter().map(|p| {
            let judged = probe_ns.filter(|_| p.verdict.is_some()).map(|ns| Probe::judged(p.span.from, ns));
            let sum = judged.map(|span| t.load().sum(span));
            json!({
                "at_s": seconds(p.span.from), "for_s": round(p.span.secs()), "rate_per_s": p.per_s,
                "verdict": p.verdict.as_ref().map(|(v, _)| v.name()), "why": p.verdict.as_ref().map(|(_, why)| why),
                "judged_from_s": judged.map(|span| seconds(span.from)), "judged_to_s": judged.map(|span| seconds(span.to)),
                "offered": sum.as_ref().map(|s| s.offered), "completed": sum.as_ref().map(|s| s.completed),
                "failed": sum.as_ref().map(|s| s.failed),
                "response_time_us": sum.as_ref().map(|s| quantiles(&s.response)),
                "send_lag_us": sum.as_ref().map(|s| quantiles(&s.lag)),
            })
        }).collect::<Vec<_>>(),
    })
}

fn us(ns: u64) -> f64 {
    round(ns as f64 / 1e3)
}

fn seconds(at: At) -> f64 {
    round(at.secs())
}

/// Seconds to the microsecond: what counts are divided by must not be rougher than they are.
fn micros(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// To three decimals: more would claim what was not measured.
fn round(x: f64) -> f64 {
    (x * 1e3).round() / 1e3
}

fn quantiles(q: &Quantiles) -> Value {
    if q.count == 0 {
        return json!({
            "count": 0, "mean": null, "p50": null, "p90": null, "p99": null, "p999": null, "max": null,
        });
    }
    json!({
        "count": q.count, "mean": round(q.mean / 1e3), "p50": us(q.p50), "p90": us(q.p90), "p99": us(q.p99),
        "p999": us(q.p999), "max": us(q.max),
    })
}

/// A verdict with what it rests on.
fn found(f: &Finding) -> Value {
    json!({
        "rule": f.rule,
        "severity": match f.severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Note => "note",
        },
        "title": f.title,
        "from_s": seconds(f.span.from),
        "to_s": seconds(f.span.to),
        "evidence": f.evidence.iter().map(|e| e.text.as_str()).collect::<Vec<_>>(),
        "advice": f.advice,
    })
}

/// What perfbench itself took: CPU from the start of its process to its last reading, the rest of
/// the ledger over the run.
fn client(t: &Timeline, load: &LoadSum, findings: &[Finding]) -> Value {
    let ticks_per_s = f64::from(t.opening().host.ticks_per_s.max(1));
    let seconds = |m| {
        let (_, ticks) = t.series(m, "self")?.last_at(t.end())?;
        Some(round(ticks as f64 / ticks_per_s))
    };
    let mut all = json!({
        "cpu_user_s": seconds(Metric::ProcUser),
        "cpu_system_s": seconds(Metric::ProcSystem),
        "max_rss_bytes": t.series(Metric::ProcRss, "self").and_then(|s| s.peak(t.whole())),
    });
    super::client::json(t, load, findings, &mut all);
    all
}

fn host(t: &Timeline) -> Value {
    let whole = super::run_span(t);
    let peak = |m| t.series(m, "").and_then(|s| s.peak(t.whole()));
    let peak_of_any = |m| t.instances(m).iter().filter_map(|(_, s)| s.peak(t.whole())).max();
    let state = |name: &str| t.series(Metric::TcpState, name).and_then(|s| s.peak(t.whole()));
    json!({
        "name": t.opening().host.name,
        "kernel": t.opening().host.kernel,
        "cpus": t.opening().host.cpus,
        "cpu_percent": t.cpu_total(whole).map(|c| split(&c)),
        "per_cpu": t.cpus(whole).iter().map(|(n, c)| {
            let mut v = split(c);
            v["cpu"] = (*n).into();
            v
        }).collect::<Vec<_>>(),
        "peak": {
            "time_wait": state("TIME_WAIT").or(peak(Metric::TcpTimeWait)),
            "syn_sent": state("SYN_SENT"),
            "ports_used": peak_of_any(Metric::PortsUsed),
            "ports_budget": peak_of_any(Metric::PortsBudget),
        },
        "moved": t.tcp_moved(Span { from: At::START, to: t.end() }).iter()
            .map(|m| (m.metric.name().to_owned(), m.delta.into())).collect::<Map<String, Value>>(),
    })
}

fn split(c: &CpuSplit) -> Value {
    json!({
        "us": round(c.us), "sy": round(c.sy), "ni": round(c.ni), "si": round(c.si), "hi": round(c.hi),
        "wa": round(c.wa), "st": round(c.st), "idle": round(c.id),
    })
}

fn traffic(t: &Timeline) -> Value {
    let Some(c) = t.traffic(t.end()) else { return Value::Null };
    json!({
        "files": t.opening().traffic,
        "format": c.format,
        "lines": c.lines,
        "requests": c.requests,
        "skipped": c.skipped.iter().map(|s| (s.reason.to_string(), s.count.into())).collect::<Map<String, Value>>(),
        "first_skipped": c.skipped.iter().map(|s| (s.reason.to_string(), s.first.clone().into()))
            .collect::<Map<String, Value>>(),
        "out_of_order": c.out_of_order,
        "outside_window": c.outside_window,
        "repeats": t.repeats(t.end()),
    })
}

fn recorder(t: &Timeline) -> Value {
    let (samples, lost) = t.profile().counts(CaptureId::RECORDER);
    let of = StackFilter::of(CaptureId::RECORDER);
    let mut v = json!({ "samples": samples, "lost": lost, "shortfalls": t.shortfalls(&of) });
    for n in t.recorder() {
        match &n.state {
            CaptureState::Sampling { hz, how, .. } => (v["hz"], v["how"]) = ((*hz).into(), how.clone().into()),
            CaptureState::Failed { what, mend } => {
                (v["failed"], v["mend"]) = (what.clone().into(), mend.clone().into());
            }
            CaptureState::Reading | CaptureState::Done { .. } => {}
        }
    }
    if t.recorder().is_empty() { Value::Null } else { v }
}

fn captures(t: &Timeline) -> Value {
    t.captures()
        .map(|(id, news)| {
            let mut v = json!({ "id": id.0 });
            for n in news {
                match &n.state {
                    CaptureState::Sampling { hz, how, for_ns } => {
                        v["at_s"] = seconds(n.at).into();
                        v["for_s"] = round(*for_ns as f64 / 1e9).into();
                        v["hz"] = (*hz).into();
                        v["how"] = how.clone().into();
                    }
                    CaptureState::Reading => {}
                    CaptureState::Done { span, samples, lost, notes } => {
                        v["at_s"] = seconds(span.from).into();
                        v["for_s"] = round(span.secs()).into();
                        v["samples"] = (*samples).into();
                        v["lost"] = (*lost).into();
                        v["notes"] = notes.clone().into();
                        v["shortfalls"] = json!(t.shortfalls(&StackFilter::of(id)));
                    }
                    CaptureState::Failed { what, mend } => {
                        v["failed"] = what.clone().into();
                        v["mend"] = mend.clone().into();
                        if v["at_s"].is_null() {
                            v["at_s"] = seconds(n.at).into();
                        }
                    }
                }
            }
            v
        })
        .collect::<Vec<_>>()
        .into()
}
