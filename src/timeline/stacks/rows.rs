//! The samples as they are kept: in time order, 32 bytes each, whoever they are of and wherever they come
//! from told by number. A day holds millions of them.
//!
//! Must not: know stacks, or add samples up.

use super::Numbered;
use crate::model::{At, CaptureId, Span, StackId};

/// A sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    pub at: At,
    pub weight: u64,
    pub stack: Option<StackId>,
    pub cpu: u32,
    pub thread: Thread,
    pub source: Source,
}

/// Who a sample is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Thread {
    pub pid: u32,
    pub tid: u32,
    /// The number of its name.
    pub comm: u32,
}

/// Where a sample comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub capture: CaptureId,
    /// The number of what was sampled.
    pub sample_type: u32,
    /// Whether there was nothing to do.
    pub idle: bool,
}

/// All samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rows {
    packed: Vec<Packed>,
    threads: Numbered<Thread>,
    sources: Numbered<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Packed {
    at: At,
    weight: u64,
    /// [`NO_STACK`] when it came without one.
    stack: u32,
    cpu: u32,
    thread: u32,
    source: u32,
}

/// The number of no stack: a table has fewer.
const NO_STACK: u32 = u32::MAX;

impl Rows {
    /// Adds samples, in whatever order, behind those there are.
    pub(super) fn extend(&mut self, rows: impl IntoIterator<Item = Row>) {
        let sorted = self.packed.len().saturating_sub(1);
        for Row { at, weight, stack, cpu, thread, source } in rows {
            let stack = stack.map_or(NO_STACK, |s| s.0);
            let (thread, source) = (self.threads.number(&thread), self.sources.number(&source));
            self.packed.push(Packed { at, weight, stack, cpu, thread, source });
        }
        if !self.packed[sorted..].is_sorted_by_key(|p| p.at) {
            self.packed.sort_by_key(|p| p.at);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.packed.len()
    }

    /// From the first sample to the last, when there is one.
    pub(super) fn span(&self) -> Option<Span> {
        Some(Span { from: self.packed.first()?.at, to: At(self.packed.last()?.at.0.saturating_add(1)) })
    }

    /// The samples of a stretch, in time order, of the threads and sources that are meant.
    pub(super) fn select(
        &self,
        span: Option<Span>,
        is_meant: (impl Fn(&Thread) -> bool, impl Fn(&Source) -> bool),
    ) -> impl Iterator<Item = Row> {
        let before = |at: At| self.packed.partition_point(|p| p.at < at);
        let range = span.map_or(0..self.packed.len(), |s| before(s.from)..before(s.to).max(before(s.from)));
        let threads: Vec<bool> = self.threads.values.iter().map(is_meant.0).collect();
        let sources: Vec<bool> = self.sources.values.iter().map(is_meant.1).collect();
        let is_meant = move |p: &&Packed| threads[p.thread as usize] && sources[p.source as usize];
        self.packed[range].iter().filter(is_meant).map(|p| Row {
            at: p.at,
            weight: p.weight,
            stack: (p.stack != NO_STACK).then_some(StackId(p.stack)),
            cpu: p.cpu,
            thread: self.threads.values[p.thread as usize],
            source: self.sources.values[p.source as usize],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row() -> impl Strategy<Value = Row> {
        let stack = prop::option::of(0u32..9).prop_map(|s| s.map(StackId));
        let thread = (0u32..3, 0u32..3, 0u32..3).prop_map(|(pid, tid, comm)| Thread { pid, tid, comm });
        let source = (0u32..3, 0u32..3, any::<bool>());
        let source = source.prop_map(|(c, sample_type, idle)| Source { capture: CaptureId(c), sample_type, idle });
        (0u64..50, any::<u64>(), stack, 0u32..4, thread, source)
            .prop_map(|(at, weight, stack, cpu, thread, source)| Row { at: At(at), weight, stack, cpu, thread, source })
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back_in_time_order(batches in prop::collection::vec(prop::collection::vec(row(), 0..9), 0..5),
                                                 from in 0u64..60, len in 0u64..60) {
            let mut rows = Rows::default();
            batches.iter().for_each(|b| rows.extend(b.iter().copied()));
            let mut all = batches.concat();
            all.sort_by_key(|r| r.at);
            prop_assert_eq!(rows.len(), all.len());
            prop_assert_eq!(rows.select(None, (|_: &_| true, |_: &_| true)).collect::<Vec<_>>(), all.clone());
            prop_assert_eq!(rows.span().map(|s| (s.from, s.to.0 - 1)), all.first().map(|r| r.at).zip(all.last().map(|r| r.at.0)));
            let span = Span { from: At(from), to: At(from + len) };
            all.retain(|r| span.contains(r.at) && r.thread.pid == 1 && !r.source.idle);
            let some = rows.select(Some(span), (|t: &Thread| t.pid == 1, |s: &Source| !s.idle));
            prop_assert_eq!(some.collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn a_sample_takes_32_bytes() {
        assert_eq!(size_of::<Packed>(), 32);
    }
}
