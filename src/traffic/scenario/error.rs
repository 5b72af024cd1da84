//! Why a scenario file cannot be used: each message is one line that says where (line and
//! column), what, and what to write instead.
//!
//! Must not: carry text from a file that `model::clean` has not been through.

use super::super::error::TrafficError;
use crate::model::clean;
use std::ops::Range;
use thiserror::Error;

/// Why a scenario cannot be used.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The file, or one that it names, cannot be read.
    #[error(transparent)]
    File(#[from] TrafficError),
    /// Something in the file is wrong.
    #[error("{path}:{line}:{column}: {what}")]
    Wrong {
        /// The file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong and what to do, cleaned.
        what: String,
    },
    /// There is no example of this name.
    #[error("no example scenario is called '{name}'; there are: {known}")]
    NoExample {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// An option of the command line is wrong.
    #[error("{what}")]
    Option {
        /// What is wrong and what to do, cleaned.
        what: String,
    },
}

/// A scenario file's text, to find places in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'t> {
    /// The file as messages name it.
    pub(super) path: &'t str,
    /// What it holds.
    pub(super) text: &'t str,
}

impl Text<'_> {
    /// The error of what stands at the bytes `span`.
    pub(super) fn wrong(&self, span: Range<usize>, what: impl AsRef<str>) -> ScenarioError {
        let mut at = span.start.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        ScenarioError::Wrong {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what: clean(what.as_ref(), 400),
        }
    }
}

/// `; did you mean 'x'?` when one of `known` is near `word`, else the list of them.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    // Words of a file may be a megabyte long, and the distance takes the product of lengths.
    let word: String = word.chars().take(60).collect();
    let near = known.iter().map(|k| (strsim::osa_distance(&word, k), *k)).min();
    match near {
        Some((distance, k)) if distance <= 1 + word.chars().count() / 4 => format!("; did you mean '{k}'?"),
        _ if known.is_empty() => "; there are none".into(),
        _ => format!("; known: {}", known.join(", ")),
    }
}
