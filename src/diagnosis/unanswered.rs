//! Requests that fail, by their most frequent kind; and a target that answers nothing at all.
//!
//! Must not: count answers, whatever their status, as failed.

use super::Focused;
use crate::model::{Evidence, Finding, Metric, Outcome, OutcomeCount, Severity, Span};
use crate::timeline::Slot;

/// Share of requests without an answer from which it is said, per cent.
const SAID_FROM: f64 = 1.0;

/// Requests fail.
pub(super) fn failing(view: &Focused<'_>) -> Option<Finding> {
    let s = view.timeline.load().counts(view.focus());
    // What a check refused was answered; the checks have a rule of their own.
    let is_unanswered = |o: &&OutcomeCount| !matches!(o.outcome, Outcome::Status(_) | Outcome::Check(_));
    // One cause has several names, by where it struck.
    let of_kind = |kind: Outcome| {
        let alike = s.outcomes.iter().filter(is_unanswered).filter(|o| o.outcome.general() == kind);
        alike.fold(0u64, |n, o| n.saturating_add(o.count))
    };
    let most = s.outcomes.iter().filter(is_unanswered).max_by_key(|o| (of_kind(o.outcome.general()), o.count))?;
    let alike = of_kind(most.outcome.general());
    let likes = if alike > most.count { " and the like" } else { "" };
    let failed = s.outcomes.iter().filter(is_unanswered).fold(0u64, |n, o| n.saturating_add(o.count));
    let percent = 100.0 * failed as f64 / s.completed.saturating_add(s.failed).max(1) as f64;
    if percent < SAID_FROM {
        return None;
    }
    let advice = match most.outcome {
        Outcome::Errno(111) => "nothing listens there: is the target up, and is its accept queue open?",
        Outcome::Errno(99) => "no local port is left to this destination: keep connections open, or widen the range",
        Outcome::Errno(24) => "out of file descriptors: raise the limit with ulimit -n",
        Outcome::Tls => {
            "trust its certificate with --ca FILE, or don't check it with --insecure; or no TLS is spoken there: http://"
        }
        Outcome::EndlessBody => {
            "a stream that does not end by itself? leave it out with --skip, or give --timeout more"
        }
        Outcome::Timeout(_) | Outcome::TimeoutHead => "look at the target's CPU and accept queue over the same stretch",
        _ => "look at the target's error log over the same stretch",
    };
    Some(Finding {
        rule: "load.failing",
        severity: if percent >= 10.0 { Severity::Critical } else { Severity::Warning },
        title: format!("{percent:.1} % of requests get no answer, most of them {}{likes}", most.outcome),
        span: view.focus(),
        evidence: vec![
            Evidence { text: format!("{failed} unanswered, {} completed", s.completed), series: None },
            Evidence { text: format!("{alike} ended in {}{likes}", most.outcome), series: None },
        ],
        advice: advice.into(),
    })
}

/// Shortest stretch without an answer that is worth saying.
const SILENT_FOR: f64 = 0.8;

/// Nothing was answered for a while although requests were under way: now, or anywhere in focus.
pub(super) fn silence(view: &Focused<'_>) -> Option<Finding> {
    let (mut longest, mut run) = (None::<(Span, &Slot)>, None::<Span>);
    for (of, slot) in view.timeline.load().slots(view.focus()) {
        if slot.completed > 0 || slot.failed > 0 || slot.in_flight == 0 {
            run = None;
            continue;
        }
        let so_far = Span { from: run.map_or(of.from, |run| run.from), to: of.to };
        run = Some(so_far);
        if longest.is_none_or(|(span, _)| span.len_ns() < so_far.len_ns()) {
            longest = Some((so_far, slot));
        }
    }
    let (span, s) = longest.filter(|(span, _)| span.secs() >= SILENT_FOR)?;
    let goes_on = span.to >= view.timeline.load().known_until().min(view.focus().to);
    let mut evidence = vec![Evidence { text: format!("{} in flight, {} queued", s.in_flight, s.queued), series: None }];
    if let Some(overflows) = view.timeline.delta(Metric::TcpListenOverflows, "", span).filter(|n| *n > 0) {
        let series = Some((Metric::TcpListenOverflows, "".into()));
        evidence.push(Evidence { text: format!("{overflows} accept queue overflows"), series });
    }
    Some(Finding {
        rule: "target.silent",
        severity: if goes_on { Severity::Critical } else { Severity::Warning },
        title: match goes_on {
            true => format!("the target has answered nothing for {:.1} s", span.secs()),
            false => format!("the target answered nothing for {:.1} s", span.secs()),
        },
        span,
        evidence,
        advice: "is it stopped, or waiting for a lock or a collection? take a capture with c".into(),
    })
}
