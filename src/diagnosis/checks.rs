//! Whole responses that a check refused: failures inside answers that look well.
//!
//! Must not: count requests without an answer; those are [`super::unanswered`]'s.

use super::Focused;
use crate::model::{CheckKind, Evidence, Finding, Outcome, Severity};

/// Share of answers refused from which it is a warning, per cent; the first one is worth a note.
const WARNS_FROM: f64 = 1.0;
/// Share from which what was measured is mostly something else, per cent.
const GRAVE_FROM: f64 = 10.0;

/// See the top of the file.
pub(super) fn check(view: &Focused<'_>) -> Option<Finding> {
    let all = view.timeline.load().counts(view.focus()).outcomes;
    let refused: Vec<_> = all.iter().filter(|o| matches!(o.outcome, Outcome::Check(_)) && o.count > 0).collect();
    let most = refused.iter().max_by_key(|o| o.count)?;
    let count = refused.iter().fold(0u64, |n, o| n.saturating_add(o.count));
    let ended = all.iter().fold(0u64, |n, o| n.saturating_add(o.count));
    let percent = 100.0 * count as f64 / ended.max(1) as f64;
    let what = match most.outcome {
        Outcome::Check(CheckKind::Status) => "a status other than expected",
        Outcome::Check(CheckKind::Recorded) => "another status than when they were recorded",
        Outcome::Check(CheckKind::Header) => "a header other than expected",
        Outcome::Check(CheckKind::Body) => "a body without the text expected",
        Outcome::Check(CheckKind::Json) => "a JSON field other than expected",
        Outcome::Check(CheckKind::Cut) => "a body too long to be judged",
        _ => "nothing to take the next request's value from",
    };
    Some(Finding {
        rule: "load.checks",
        severity: match percent {
            p if p >= GRAVE_FROM => Severity::Critical,
            p if p >= WARNS_FROM => Severity::Warning,
            _ => Severity::Note,
        },
        title: format!("{count} answers ({percent:.2} %) failed a check, most of them with {what}"),
        span: view.focus(),
        evidence: refused
            .iter()
            .map(|o| Evidence { text: format!("{} ended in {}", o.count, o.outcome), series: None })
            .collect(),
        advice: match most.outcome {
            Outcome::Check(CheckKind::Cut) => "a check looks at the beginning of a body only: expect a status instead",
            _ => "look at the target's log over the same stretch: it answers, and not what was asked for",
        }
        .into(),
    })
}
