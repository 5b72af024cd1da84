//! How the profile is looked at: which sample type, whose stacks, which way up, which sums.
//!
//! Must not: draw, or hold what the timeline knows.

use crate::model::Span;
use crate::timeline::Band;
use crate::timeline::stacks::SampleType;
use std::sync::Arc;

/// How the profile is looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProfileState {
    /// The event whose weights are shown; `None` for what ran on a CPU.
    pub event: Option<Arc<str>>,
    /// Whether the samples that are not selected are shown.
    pub rest: bool,
    /// Whether what is selected is shown as its difference to something else.
    pub against: bool,
    /// The time it is compared with, instead of the rest or of another session.
    pub held: Option<Held>,
    /// Whether callees stand on their callers, as in a flame graph with its roots at the bottom.
    pub upward: bool,
    /// Whether stacks of threads of different names are put together.
    pub merged: bool,
    /// Whether hot spots are told apart by source line.
    pub by_line: bool,
    /// Patterns that are summed up, the latest first.
    pub sums: Vec<String>,
}

/// A stretch of time, or of slow requests in it, that was selected and is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// The stretch.
    pub span: Span,
    /// Only while such requests were under way.
    pub band: Option<Band>,
}

impl Held {
    /// `0:10.0–0:20.0`, for titles.
    pub fn name(&self) -> String {
        let slow = if self.band.is_some() { "slow requests, " } else { "" };
        format!("{slow}{}–{}", self.span.from, self.span.to)
    }
}

/// Patterns that are remembered.
const SUMS: usize = 20;

impl ProfileState {
    /// Shows the sample type after the present one.
    pub fn next_type(&mut self, types: &[&SampleType]) {
        let at = types.iter().position(|t| Some(&t.event) == self.event.as_ref()).unwrap_or(0);
        self.event = match types.get(at + 1) {
            Some(next) => Some(next.event.clone()),
            None => types.first().filter(|t| !t.is_on_cpu()).map(|t| t.event.clone()),
        };
    }

    /// Remembers a pattern to sum up.
    pub fn remember(&mut self, pattern: &str) {
        self.sums.retain(|p| p != pattern);
        self.sums.insert(0, pattern.into());
        self.sums.truncate(SUMS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_types_come_one_after_the_other_and_again() {
        let of = |event: &str| SampleType { event: event.into(), unit: "".into() };
        let (cpu, space, objects) = (of("cpu-clock"), of("alloc_space"), of("alloc_objects"));
        let types = [&cpu, &space, &objects];
        let mut p = ProfileState::default();
        let mut seen = vec![];
        for _ in 0..4 {
            p.next_type(&types);
            seen.push(p.event.as_deref().map(str::to_owned));
        }
        let s = |t: &str| Some(t.to_string());
        assert_eq!(seen, [s("alloc_space"), s("alloc_objects"), None, s("alloc_space")]);
        let mut p = ProfileState::default();
        p.next_type(&[&cpu]);
        assert_eq!(p.event, None);
        p.next_type(&[]);
        assert_eq!(p.event, None);
    }

    #[test]
    fn a_pattern_is_remembered_once_and_the_latest_stands_first() {
        let mut p = ProfileState::default();
        ["a", "b", "a"].into_iter().for_each(|t| p.remember(t));
        assert_eq!(p.sums, ["a", "b"]);
        (0..50).for_each(|n| p.remember(&n.to_string()));
        assert_eq!(p.sums.len(), SUMS);
    }
}
