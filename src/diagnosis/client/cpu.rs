//! A load thread uses up its core: one thread does one core's work and no more.
//! Source: /proc/PID/task/TID/schedstat, Documentation/scheduler/sched-stats.rst.
//!
//! Must not: call a client limiting that keeps its schedule.

use super::{gravity, lateness, said, schedule};
use crate::diagnosis::Focused;
use crate::model::{Evidence, Finding, Metric, Severity};
use crate::timeline::FULL_PERCENT;

/// Seconds a thread has to be full ([`FULL_PERCENT`]) before it is said: below that it is one
/// reading, and the start of a run is always busy.
const LEAST_S: f64 = 1.0;
/// Share of the stretch it has to be full in: a fifth of the time is a fifth of all requests.
const LEAST_SHARE: f64 = 0.2;

/// See the top of the file.
pub(in crate::diagnosis) fn check(view: &Focused<'_>) -> Option<Finding> {
    let ledger = view.timeline.client(view.focus());
    let least_s = LEAST_S.max(LEAST_SHARE * ledger.span.secs());
    let full: Vec<_> = ledger.threads.iter().filter(|t| t.full_s >= least_s).collect();
    let worst = full.iter().max_by(|a, b| a.full_s.total_cmp(&b.full_s))?;
    let late = lateness(view);
    let severity = gravity(&late);
    let series = Some((Metric::ThreadRun, worst.name.as_str().into()));
    let text = format!("at least {FULL_PERCENT:.0} % of it for {:.0} s of {:.0} s", worst.full_s, ledger.span.secs());
    let mut evidence = vec![Evidence { text, series }];
    evidence.extend(ledger.load_cpu_us_per_request().map(|us| said(format!("{us:.1} µs of CPU per request"))));
    evidence.push(said(format!("{} of {} load threads are full", full.len(), ledger.threads.len())));
    evidence.extend(schedule(&late));
    let cpus = view.timeline.opening().host.cpus as usize;
    Some(Finding {
        rule: "client.cpu",
        severity,
        title: match severity {
            Severity::Note => {
                format!("{} uses {:.0} % of a core: no room above this rate", worst.name, worst.peak_percent)
            }
            _ => format!("{} used {:.0} % of a core", worst.name, worst.cpu_percent.max(FULL_PERCENT)),
        },
        span: view.focus(),
        evidence,
        advice: match ledger.threads.len() < cpus {
            true => format!("add --threads: {} of {cpus} CPUs have a load thread", ledger.threads.len()),
            false => "every CPU has a load thread: load from another host, or from several".into(),
        },
    })
}
