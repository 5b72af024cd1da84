//! Rules over a [`View`] that say what the bottleneck is, each with its evidence. One file
//! per cause and one row of [`RULES`]. What the names of rules begin with says who is at fault:
//! `client.` perfbench itself, `target.` what it loads, `load.` what became of the requests.
//!
//! Must not: read the host or keep state; an old session is judged by today's rules.

mod accept_queue;
mod checks;
mod client;
mod cpu;
mod local_ports;
mod mismatch;
#[cfg(test)]
mod tests;
mod unanswered;

use crate::model::Finding;
use crate::timeline::View;

/// A rule: looks at a stretch of a session and gives a verdict, or none.
pub type Rule = fn(&View<'_>) -> Option<Finding>;

/// Every rule there is.
pub static RULES: &[Rule] = &[
    unanswered::silence,
    unanswered::failing,
    local_ports::check,
    accept_queue::check,
    cpu::one_softirq,
    cpu::full,
    client::cpu::check,
    client::runqueue::check,
    client::throttled::check,
    client::late::check,
    client::memory::check,
    client::descriptors::check,
    checks::check,
    mismatch::check,
];

/// All findings over what is in focus, gravest first.
pub fn check(view: &View<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = RULES.iter().filter_map(|rule| rule(view)).collect();
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.rule.cmp(b.rule)));
    found
}
