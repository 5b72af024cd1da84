//! Requests that fell due and were never sent: they are in no response time, so a run that drops
//! looks better than it was.
//!
//! Must not: say whose fault it is; `client.late` and `target.silent` do.

use super::Focused;
use crate::model::{Evidence, Finding, Severity};

/// Share of what was offered from which it is said, per cent.
const SAID_FROM: f64 = 1.0;

/// See the top of the file.
pub(super) fn check(view: &Focused<'_>) -> Option<Finding> {
    if view.timeline.opening().load.find_max.is_some() {
        return None; // its probes are meant to find the rate that is too high
    }
    let s = view.timeline.load().counts(view.focus());
    let percent = 100.0 * s.dropped as f64 / s.offered.max(1) as f64;
    if percent < SAID_FROM {
        return None;
    }
    let said = |text: String| Evidence { text, series: None };
    Some(Finding {
        rule: "load.dropped",
        severity: if percent >= 10.0 { Severity::Critical } else { Severity::Warning },
        title: format!("{percent:.1} % of what fell due was never sent"),
        span: view.focus(),
        evidence: vec![
            said(format!("{} of {} requests dropped", s.dropped, s.offered)),
            said("response times and statuses are of the others alone".into()),
        ],
        advice: "the target or the client can't keep this rate: lower it, or give --connections and --queue".into(),
    })
}
