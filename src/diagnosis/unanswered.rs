//! Requests that fail, by their most frequent kind; and a target that answers nothing at all.
//!
//! Must not: count answers, whatever their status, as failed.

use super::Focused;
use crate::model::{Evidence, Finding, Metric, Outcome, OutcomeCount, Severity};

/// Share of requests without an answer from which it is said, per cent.
const SAID_FROM: f64 = 1.0;

/// Requests fail.
pub(super) fn failing(view: &Focused<'_>) -> Option<Finding> {
    let s = view.timeline.load().counts(view.focus());
    // What a check refused was answered; the checks have a rule of their own.
    let is_unanswered = |o: &&OutcomeCount| !matches!(o.outcome, Outcome::Status(_) | Outcome::Check(_));
    let most = s.outcomes.iter().filter(is_unanswered).max_by_key(|o| o.count)?;
    let failed = s.outcomes.iter().filter(is_unanswered).fold(0u64, |n, o| n.saturating_add(o.count));
    let percent = 100.0 * failed as f64 / s.completed.saturating_add(s.failed).max(1) as f64;
    if percent < SAID_FROM {
        return None;
    }
    let advice = match most.outcome {
        Outcome::Errno(111) => "nothing listens there: is the target up, and is its accept queue open?",
        Outcome::Errno(99) => "no local port is left to this destination: keep connections open, or widen the range",
        Outcome::Errno(24) => "out of file descriptors: raise the limit with ulimit -n",
        Outcome::Timeout(_) => "look at the target's CPU and accept queue over the same stretch",
        _ => "look at the target's error log over the same stretch",
    };
    Some(Finding {
        rule: "load.failing",
        severity: if percent >= 10.0 { Severity::Critical } else { Severity::Warning },
        title: format!("{percent:.1} % of requests get no answer, most of them {}", most.outcome),
        span: view.focus(),
        evidence: vec![
            Evidence { text: format!("{failed} unanswered, {} completed", s.completed), series: None },
            Evidence { text: format!("{} ended in {}", most.count, most.outcome), series: None },
        ],
        advice: advice.into(),
    })
}

/// Nothing is answered although requests are under way.
pub(super) fn silence(view: &Focused<'_>) -> Option<Finding> {
    let s = view.timeline.load().counts(view.recent_load());
    if s.completed + s.failed > 0 || s.in_flight == 0 || s.span.secs() < 0.8 {
        return None;
    }
    let mut evidence = vec![Evidence { text: format!("{} in flight, {} queued", s.in_flight, s.queued), series: None }];
    if let Some(overflows) = view.timeline.delta(Metric::TcpListenOverflows, "", view.recent()).filter(|n| *n > 0) {
        let series = Some((Metric::TcpListenOverflows, "".into()));
        evidence.push(Evidence { text: format!("{overflows} accept queue overflows"), series });
    }
    Some(Finding {
        rule: "target.silent",
        severity: Severity::Critical,
        title: format!("the target has answered nothing for {:.1} s", s.span.secs()),
        span: s.span,
        evidence,
        advice: "is it stopped, or waiting for a lock or a collection? take a capture with c".into(),
    })
}
