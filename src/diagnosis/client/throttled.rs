//! A CPU quota keeps the client off the CPUs: a container's limit.
//! Source: cgroup cpu.stat throttled_usec, Documentation/scheduler/sched-bwc.rst.
//!
//! Must not: look at the target's quota.

use crate::diagnosis::Focused;
use crate::model::{Evidence, Finding, Metric, Severity};

/// Share of the time it was kept off from which it is said, per cent. A quota stops all threads at
/// once, and for tens of milliseconds: one in twenty is in every percentile above p95.
const SAID_FROM: f64 = 5.0;

/// See the top of the file.
pub(in crate::diagnosis) fn check(view: &Focused<'_>) -> Option<Finding> {
    let ledger = view.timeline.client(view.focus());
    let percent = 100.0 * ledger.throttled_ns as f64 / ledger.span.len_ns().max(1) as f64;
    if ledger.ended == 0 || percent < SAID_FROM {
        return None;
    }
    let text = format!("kept off for {:.1} s of {:.0} s", ledger.throttled_ns as f64 / 1e9, ledger.span.secs());
    Some(Finding {
        rule: "client.throttled",
        severity: Severity::Warning,
        title: format!("a CPU quota kept perfbench off the CPUs for {percent:.0} % of the time"),
        span: view.focus(),
        evidence: vec![Evidence { text, series: Some((Metric::ProcThrottled, "self".into())) }],
        advice: "raise the CPU limit of the container or control group that perfbench runs in".into(),
    })
}
