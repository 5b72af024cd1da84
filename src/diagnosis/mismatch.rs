//! The target answers otherwise than when the traffic was recorded: what is measured is another
//! work than what was recorded (error pages are fast, redirects cost nothing).
//!
//! Must not: count requests whose recording says nothing about their answer.

use super::Focused;
use crate::model::{Evidence, Finding, Severity, clean};
use crate::timeline::RouteSum;

/// Share of a route's answers that may differ, per cent: caches and expired objects make a few.
const SAID_FROM: f64 = 5.0;
/// Share of all requests a route must have to matter, per cent.
const MATTERS: f64 = 1.0;
/// Requests a route must have to be judged: below, one is many per cent.
const LEAST: u64 = 20;
/// Routes named in the verdict.
const NAMED: usize = 3;

/// See the top of the file.
pub(super) fn check(view: &Focused<'_>) -> Option<Finding> {
    let routes = view.timeline.load().routes(view.focus());
    // What was not answered has no status to compare.
    let answers = |r: &RouteSum| r.requests.saturating_sub(r.failed);
    let all = routes.iter().fold(0u64, |n, r| n.saturating_add(answers(r)));
    let mismatched = routes.iter().fold(0u64, |n, r| n.saturating_add(r.mismatched));
    let percent = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
    let mut found: Vec<_> = routes
        .iter()
        .filter(|r| answers(r) >= LEAST && percent(answers(r), all) >= MATTERS)
        .filter(|r| percent(r.mismatched, answers(r)) >= SAID_FROM)
        .collect();
    found.sort_by(|a, b| b.mismatched.cmp(&a.mismatched).then_with(|| a.route.cmp(&b.route)));
    let named: Vec<String> = found.iter().take(NAMED).map(|r| clean(&r.route, 40)).collect();
    let rest = found.len().saturating_sub(NAMED);
    let (first, more) = (named.first()?, if rest > 0 { format!(" and {rest} more") } else { String::new() });
    let mut evidence = vec![Evidence {
        text: format!("{mismatched} of {all} answers ({:.1} %) have another status", percent(mismatched, all)),
        series: None,
    }];
    evidence.extend(found.iter().take(NAMED).map(|r| Evidence {
        text: format!(
            "{}: {} of {} ({:.0} %)",
            clean(&r.route, 60),
            r.mismatched,
            answers(r),
            percent(r.mismatched, answers(r))
        ),
        series: None,
    }));
    Some(Finding {
        rule: "load.mismatch",
        severity: Severity::Warning,
        title: match named.len() {
            1 => format!("answers on {first} differ from the recording"),
            _ => format!("answers on {}{more} differ from the recording", named.join(", ")),
        },
        span: view.focus(),
        evidence,
        advice: "give the target the state it had (objects, logins, --host), or leave these routes out: \
                 an error page is not the work that was recorded"
            .into(),
    })
}
