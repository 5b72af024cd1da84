//! Stacks as other tools take them: one file and one row of [`EXPORTS`] per format.
//!
//! Must not: write files, or choose samples; a filter does.

mod firefox;
mod folded;
mod pprof;
mod speedscope;

use crate::model::{Span, StackId, StackTable};
use crate::timeline::Timeline;
use crate::timeline::stacks::{SampleType, StackFilter, Taken};
use std::collections::HashMap;
use std::sync::Arc;

/// A format that can be written.
pub trait Export: Sync {
    /// Its name, as `--format` takes it.
    fn name(&self) -> &'static str;

    /// What opens it, for a list.
    fn about(&self) -> &'static str;

    /// What is put behind a session's name for the file's.
    fn ending(&self) -> &'static str;

    /// The samples in that format.
    ///
    /// # Errors
    /// Why they can't be, in one line.
    fn write(&self, chosen: &Chosen<'_>) -> Result<Vec<u8>, ExportError>;
}

/// The formats.
pub static EXPORTS: &[&dyn Export] =
    &[&folded::Folded, &folded::Svg, &pprof::Pprof, &speedscope::Speedscope, &firefox::Firefox];

/// Why samples can't be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There are none.
    #[error("there are no samples to write")]
    Empty,
    /// The picture can't be drawn.
    #[error(transparent)]
    Svg(#[from] super::svg::SvgError),
    /// A weight does not fit.
    #[error("weights of {0} are more than the format holds")]
    TooHeavy(Arc<str>),
    /// What was to be written can't be.
    #[error("it can't be written: {0}")]
    Encoding(String),
}

/// The samples to be written, and the session they are of.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a> {
    /// The session.
    pub timeline: &'a Timeline,
    /// Which samples. Without an event every sample type is written where the format holds several,
    /// else the default one.
    pub filter: &'a StackFilter,
}

impl<'a> Chosen<'a> {
    fn table(&self) -> &'a StackTable {
        self.timeline.profile().table()
    }

    /// The samples of the default type, or of the one that was named.
    fn samples(&self) -> impl Iterator<Item = Taken<'a>> + use<'a> {
        self.timeline.profile().samples(self.filter)
    }

    /// The types that are meant: all, the default ones first, unless one was named.
    fn types(&self) -> Vec<&'a SampleType> {
        let profile = self.timeline.profile();
        let mut types = profile.sample_types();
        types.retain(|t| self.filter.event.as_ref().is_none_or(|e| *e == t.event));
        types.sort_by_key(|t| !profile.is_meant(&t.event));
        types
    }

    /// The filter for one type.
    fn of_type(&self, t: &SampleType) -> StackFilter {
        StackFilter { event: Some(t.event.clone()), ..self.filter.clone() }
    }

    /// The stretch that the samples are of.
    fn span(&self) -> Span {
        let whole = self.timeline.whole();
        match self.filter.span {
            Some(span) => Span { from: span.from.max(whole.from), to: span.to.min(whole.to).max(span.from) },
            None => whole,
        }
    }

    /// A name for the whole.
    fn title(&self) -> String {
        crate::model::clean(&self.timeline.opening().target, 100)
    }
}

/// Who a sample is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Thread<'a> {
    pid: u32,
    tid: u32,
    comm: &'a str,
}

impl<'a> Thread<'a> {
    fn of(sample: &Taken<'a>) -> Thread<'a> {
        Thread { pid: sample.pid, tid: sample.tid, comm: sample.comm }
    }

    /// Its name, with its number when that is known.
    fn title(&self) -> String {
        let name = crate::model::clean(self.comm, 200);
        match self.tid {
            u32::MAX => name,
            tid => format!("{name} ({tid})"),
        }
    }
}

/// Strings, or anything else, by their first coming.
#[derive(Debug)]
struct Numbered<K> {
    index: HashMap<K, usize>,
}

impl<K> Default for Numbered<K> {
    fn default() -> Self {
        Numbered { index: HashMap::new() }
    }
}

impl<K: std::hash::Hash + Eq> Numbered<K> {
    /// Its number, and whether it is new.
    fn number(&mut self, key: K) -> (usize, bool) {
        let next = self.index.len();
        let n = *self.index.entry(key).or_insert(next);
        (n, n == next)
    }
}

/// The frames of a stack, outermost first.
fn outermost_first(table: &StackTable, stack: Option<StackId>) -> Vec<crate::model::FrameId> {
    let mut path: Vec<_> = stack.into_iter().flat_map(|s| table.walk(s)).collect();
    path.reverse();
    path
}

#[cfg(test)]
mod tests;
