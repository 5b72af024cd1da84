//! The CPUs of this host: all of them full, or one of them full with soft interrupts.
//!
//! Must not: tell who is to blame when the target is elsewhere.

use super::Focused;
use crate::model::{Evidence, Finding, Metric, Severity};
use crate::timeline::{FULL_PERCENT, ProcessUse};

/// Everything is busy.
pub(super) fn full(view: &Focused<'_>) -> Option<Finding> {
    let all = view.timeline.cpu_total(view.focus())?;
    if all.busy() < 95.0 {
        return None;
    }
    let shares = format!("us {:.0} sy {:.0} si {:.0} st {:.0} %", all.us, all.sy, all.si, all.st);
    let mut evidence = vec![Evidence { text: shares, series: Some((Metric::CpuIdle, "0".into())) }];
    for p in view.timeline.processes(view.focus()).iter().take(3) {
        let name = if p.is_self() { "perfbench itself" } else { p.instance.as_str() };
        evidence.push(Evidence { text: format!("{name}: {:.0} % of one CPU", p.us + p.sy), series: None });
    }
    let known: f64 = view.timeline.processes(view.focus()).iter().map(|p| p.us + p.sy).sum();
    let others = all.busy() * view.timeline.cpus(view.focus()).len() as f64 - known;
    if others >= 20.0 {
        let text = format!("others, and the kernel for nobody: {others:.0} % of one CPU; 5 shows who");
        evidence.push(Evidence { text, series: None });
    }
    Some(Finding {
        rule: "cpu.full",
        severity: Severity::Warning,
        title: format!("the CPUs of this host are full: {:.0} % busy", all.busy()),
        span: view.focus(),
        evidence,
        advice: "response times hold waiting for a CPU now; c shows who takes it".into(),
    })
}

/// Programs of one thread, of the target, that use a CPU up: they can do no more, however many CPUs idle.
pub(super) fn one_thread(view: &Focused<'_>) -> Option<Finding> {
    let is_full = |p: &ProcessUse| !p.is_self() && p.threads == 1 && p.us + p.sy >= FULL_PERCENT;
    let full: Vec<ProcessUse> = view.timeline.processes(view.focus()).into_iter().filter(is_full).collect();
    let evidence = full.iter().map(|p| Evidence {
        text: format!("{}: us {:.0} sy {:.0} % of one CPU, one thread", p.instance, p.us, p.sy),
        series: Some((Metric::ProcUser, p.instance.as_str().into())),
    });
    let title = match full.as_slice() {
        [] => return None,
        [one] => format!("{} of the target uses up a CPU", one.instance),
        more => format!("{} processes of the target use up a CPU each", more.len()),
    };
    Some(Finding {
        rule: "target.cpu",
        severity: Severity::Warning,
        title,
        span: view.focus(),
        evidence: evidence.collect(),
        advice: "that is what it can do: more workers, or less work a request; 5 shows where its time goes".into(),
    })
}

/// One CPU does all the soft interrupts: most often one receive queue without RPS.
pub(super) fn one_softirq(view: &Focused<'_>) -> Option<Finding> {
    let mut by_si = view.timeline.cpus(view.focus());
    by_si.sort_by(|a, b| b.1.si.total_cmp(&a.1.si));
    let (cpu, most) = by_si.first()?;
    let median = by_si.get(by_si.len() / 2)?.1.si;
    if by_si.len() < 2 || most.si < 80.0 || median >= 20.0 {
        return None;
    }
    let text = format!("si {:.0} % on CPU {cpu}, {median:.0} % on the median CPU", most.si);
    Some(Finding {
        rule: "softirq.one_core",
        severity: Severity::Critical,
        title: format!("CPU {cpu} is full with soft interrupts"),
        span: view.focus(),
        evidence: vec![Evidence { text, series: Some((Metric::CpuSoftirq, cpu.to_string().into())) }],
        advice: "spread receiving over CPUs: more queues (ethtool -L), or RPS (rps_cpus of the interface)".into(),
    })
}
