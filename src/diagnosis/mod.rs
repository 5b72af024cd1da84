//! Rules over a [`View`] that say what the bottleneck is, each with its evidence. One file
//! per cause and one row of [`RULES`].
//!
//! Must not: read the host or keep state; an old session is judged by today's rules.

use crate::model::Finding;
use crate::timeline::View;

/// A rule: looks at a stretch of a session and gives a verdict, or none.
pub type Rule = fn(&View<'_>) -> Option<Finding>;

/// Every rule there is.
pub static RULES: &[Rule] = &[];

/// All findings over what is in focus, gravest first.
pub fn check(view: &View<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = RULES.iter().filter_map(|rule| rule(view)).collect();
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.rule.cmp(b.rule)));
    found
}
