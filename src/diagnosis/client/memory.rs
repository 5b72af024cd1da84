//! The client's memory: near its limit, growing towards it, or refused by the kernel.
//! Source: /proc/PID/statm, cgroup memory.max, errno(3) ENOMEM and ENOBUFS.
//!
//! Must not: take a start-up, in which buffers are filled once, for growth.

use super::{bytes, said};
use crate::diagnosis::Focused;
use crate::model::{At, Evidence, Finding, Metric, Severity, Span};

/// Share of the limit from which it is said, per cent: the kernel reclaims and swaps before it
/// kills, and that is felt from here on.
const NEAR: f64 = 80.0;
/// Share from which the next large allocation may end the run, per cent.
const FULL: f64 = 95.0;
/// A stretch shorter than this says nothing about growth, s.
const LEAST_S: f64 = 20.0;
/// Growth below this is no matter, bytes.
const LEAST_BYTES: i64 = 64 << 20;
/// Growth towards the limit is told when it would get there within this, s: a run may last hours.
const HORIZON_S: f64 = 3600.0;
/// It is a warning when it would within this, s.
const SOON_S: f64 = 600.0;

/// See the top of the file.
pub(in crate::diagnosis) fn check(view: &Focused<'_>) -> Option<Finding> {
    let ledger = view.timeline.client(view.focus());
    // ENOMEM, ENOBUFS
    let refused = view.errnos(&[12, 105]);
    let (used, limit) = (ledger.memory.unwrap_or(0), ledger.memory_limit.unwrap_or(u64::MAX));
    let percent = 100.0 * used as f64 / limit.max(1) as f64;
    let growth = growth_per_s(view);
    let full_in_s = growth.map(|per_s| limit.saturating_sub(used) as f64 / per_s).filter(|s| *s <= HORIZON_S);
    let (severity, title) = if refused > 0 {
        (Severity::Critical, format!("the kernel had no memory for {refused} of the client's socket calls"))
    } else if percent >= NEAR {
        let severity = if percent >= FULL { Severity::Critical } else { Severity::Warning };
        (severity, format!("perfbench uses {percent:.0} % of the memory it may"))
    } else {
        let s = full_in_s?;
        let severity = if s <= SOON_S { Severity::Warning } else { Severity::Note };
        (severity, format!("perfbench's memory grows steadily: at its limit in {:.0} min", (s / 60.0).max(1.0)))
    };
    let series = Some((Metric::ProcRss, "self".into()));
    let mut evidence = vec![Evidence { text: format!("{} resident", bytes(used)), series }];
    evidence.extend(ledger.memory_limit.map(|n| said(format!("{} are to be had", bytes(n)))));
    evidence.extend(growth.map(|n| said(format!("grew by {} a second over this stretch", bytes(n as u64)))));
    Some(Finding {
        rule: "client.memory",
        severity,
        title,
        span: view.focus(),
        evidence,
        advice: "fewer --connections, a shorter --queue, or more memory for perfbench's control group".into(),
    })
}

/// Bytes a second by which resident memory grew, when it grew in every third of the stretch and
/// in the last no less than half as fast as over all.
fn growth_per_s(view: &Focused<'_>) -> Option<f64> {
    let series = view.timeline.series(Metric::ProcRss, "self")?;
    let readings: Vec<(At, i64)> = series.window(view.focus()).collect();
    let (first, last) = (readings.first()?, readings.last()?);
    let span = Span { from: first.0, to: last.0 };
    let grown = last.1.saturating_sub(first.1);
    if span.secs() < LEAST_S || grown < LEAST_BYTES || (grown as f64) < first.1 as f64 / 4.0 {
        return None;
    }
    let at = |part: u64| series.last_at(At(span.from.0 + span.len_ns() / 3 * part)).map_or(first.1, |(_, v)| v);
    let thirds = [at(1).saturating_sub(first.1), at(2).saturating_sub(at(1)), last.1.saturating_sub(at(2))];
    let is_steady = thirds.iter().all(|t| t.saturating_mul(6) >= grown);
    is_steady.then(|| grown as f64 / span.secs())
}
