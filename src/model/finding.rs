//! A verdict and what it rests on.
//!
//! Must not: hold a value that cannot be read again from the timeline at its instant.

use super::{Instance, Metric, Span};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Costs performance now or soon.
    Warning,
    /// Is the bottleneck, or makes numbers untrue.
    Critical,
}

/// One reading or derived value that a finding rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// What it says, with value and unit.
    pub text: String,
    /// The series it comes from, when it is one.
    pub series: Option<(Metric, Instance)>,
}

/// A verdict over a stretch of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule that found it: stable, dotted, lower case.
    pub rule: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The verdict in one line.
    pub title: String,
    /// Where it holds.
    pub span: Span,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// What to do about it.
    pub advice: String,
}

impl Finding {
    /// Whether it says that the load client limits the run, rather than the target: a rule named
    /// `client.…` that is more than a note. What was measured then is in part of the client.
    pub fn limits_client(&self) -> bool {
        self.rule.starts_with("client.") && self.severity > Severity::Note
    }
}
