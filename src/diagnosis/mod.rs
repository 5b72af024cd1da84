//! Rules over a [`View`] that say what the bottleneck is, each with its evidence. One file
//! per cause and one row of [`RULES`]. What the names of rules begin with says who is at fault:
//! `client.` perfbench itself, `target.` what it loads, `load.` what became of the requests.
//!
//! Must not: read the host or keep state; an old session is judged by today's rules.

mod accept_queue;
mod checks;
mod client;
mod cpu;
mod dropped;
mod local_ports;
mod mismatch;
#[cfg(test)]
mod tests;
mod unanswered;

use crate::model::{Finding, Outcome, OutcomeCount};
use crate::timeline::{LoadSum, View};
use std::cell::OnceCell;
use std::ops::Deref;

/// A rule: looks at a stretch of a session and gives a verdict, or none.
pub type Rule = fn(&Focused<'_>) -> Option<Finding>;

/// A view, and what more than one rule wants of its focus and is dear to add up.
pub struct Focused<'a> {
    view: &'a View<'a>,
    load: OnceCell<LoadSum>,
}

impl Focused<'_> {
    /// The load in focus with its distributions; for counts alone there is
    /// [`counts`](crate::timeline::LoadTrack::counts).
    pub fn load(&self) -> &LoadSum {
        self.load.get_or_init(|| self.timeline.load().sum(self.focus()))
    }

    /// How many requests of the focus ended in one of these errno values.
    fn errnos(&self, wanted: &[i32]) -> u64 {
        let all = self.timeline.load().counts(self.focus()).outcomes;
        let is_wanted = |o: &&OutcomeCount| matches!(o.outcome, Outcome::Errno(n) if wanted.contains(&n));
        all.iter().filter(is_wanted).fold(0, |n, o| n.saturating_add(o.count))
    }
}

impl<'a> Deref for Focused<'a> {
    type Target = View<'a>;

    fn deref(&self) -> &View<'a> {
        self.view
    }
}

/// Every rule there is.
pub static RULES: &[Rule] = &[
    unanswered::silence,
    unanswered::failing,
    dropped::check,
    local_ports::check,
    accept_queue::check,
    cpu::one_softirq,
    cpu::one_thread,
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
    let focused = Focused { view, load: OnceCell::new() };
    let mut found: Vec<Finding> = RULES.iter().filter_map(|rule| rule(&focused)).collect();
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.rule.cmp(b.rule)));
    found
}
