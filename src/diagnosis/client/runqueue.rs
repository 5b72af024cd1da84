//! Load threads are ready to run and have no CPU: something else is running there.
//! Source: /proc/PID/task/TID/schedstat field 2 (run-queue wait), sched-stats.rst.
//!
//! Must not: say who has the CPU instead when that is not known.

use super::{gravity, lateness, said, schedule};
use crate::diagnosis::Focused;
use crate::model::{Evidence, Finding, Metric};

/// Share of its time that a thread may wait for a CPU, per cent: on a machine of its own it is
/// well below one; a tenth is a tenth of what it could do, and it is in the times it measures.
const SAID_FROM: f64 = 10.0;

/// See the top of the file.
pub(in crate::diagnosis) fn check(view: &Focused<'_>) -> Option<Finding> {
    let ledger = view.timeline.client(view.focus());
    let worst = ledger.threads.iter().max_by(|a, b| a.wait_percent.total_cmp(&b.wait_percent))?;
    if worst.wait_percent < SAID_FROM {
        return None;
    }
    let late = lateness(view);
    let series = Some((Metric::ThreadRunWait, worst.name.as_str().into()));
    let text = format!("{} waited for a CPU {:.0} % of the time", worst.name, worst.wait_percent);
    let mut evidence = vec![Evidence { text, series }];
    evidence.extend(ledger.run_wait_us_per_request().map(|us| said(format!("{us:.1} µs per request, all threads"))));
    evidence.push(said(format!("{} times a load thread was preempted", ledger.switches.1)));
    let others = view.timeline.processes(view.focus());
    for p in others.iter().filter(|p| !p.is_self()).take(2) {
        evidence.push(said(format!("{}: {:.0} % of one CPU", p.instance, p.us + p.sy)));
    }
    evidence.extend(schedule(&late));
    Some(Finding {
        rule: "client.runqueue",
        severity: gravity(&late),
        title: format!("{} was ready to run and had no CPU for {:.0} % of the time", worst.name, worst.wait_percent),
        span: view.focus(),
        evidence,
        advice: "give the client CPUs of its own (taskset), fewer --threads than CPUs, or load from another host"
            .into(),
    })
}
