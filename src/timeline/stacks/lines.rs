//! What each line of source cost: functions told apart by `function:line`.
//!
//! Must not: open source files.

use super::{Function, Profile, StackFilter};
use crate::model::{FrameId, FrameKind, SourceLine};
use std::collections::HashMap;
use std::sync::Arc;

/// A line of a function with what it cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotLine {
    /// The function's name (untrusted).
    pub symbol: Arc<str>,
    /// Binary, library or kernel module; empty when unknown.
    pub module: Arc<str>,
    /// What kind of code it is.
    pub kind: FrameKind,
    /// The line that ran or called; `None` when the profile does not know it.
    pub line: Option<SourceLine>,
    /// Weight of samples in the line itself.
    pub self_weight: u64,
    /// Weight of samples in it or in what it called; a stack that holds it twice counts once.
    pub total: u64,
}

impl Profile {
    /// The samples a filter lets through by function and source line, the line with the most
    /// weight of its own first. Own weights add up as in [`Profile::hot`]; the totals of the lines of
    /// one function may come to more than its own, since a recursive function stands on a stack
    /// with several of its lines.
    pub fn lines(&self, filter: &StackFilter) -> Vec<HotLine> {
        // A frame is a function and a line, and whether it was inlined, which is no other line.
        let mut numbers: HashMap<(u32, Option<&SourceLine>), u32> = HashMap::new();
        let mut first = Vec::with_capacity(self.table.frames.len());
        for (n, (frame, function)) in (0u32..).zip(self.table.frames.iter().zip(&self.function_of)) {
            first.push(*numbers.entry((*function, frame.line.as_ref())).or_insert(n));
        }
        let costs = self.costs(filter, |frame| first[frame.0 as usize]);
        let mut lines: Vec<HotLine> = costs
            .into_iter()
            .map(|(frame, (self_weight, total))| {
                let function = &self.functions.values[self.function_of[frame as usize] as usize];
                let Function { symbol, module, kind } = function.clone();
                let line = self.frame(FrameId(frame)).line.clone();
                HotLine { symbol, module, kind, line, self_weight, total }
            })
            .collect();
        lines.sort_by(|a, b| {
            let by = |h: &HotLine| std::cmp::Reverse((h.self_weight, h.total));
            let name = |h: &HotLine| (h.symbol.clone(), h.module.clone(), h.kind, h.line.clone());
            by(a).cmp(&by(b)).then_with(|| name(a).cmp(&name(b)))
        });
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::with_lines;
    use super::*;

    fn told(lines: &[HotLine]) -> Vec<(String, u64, u64)> {
        let line = |h: &HotLine| h.line.as_ref().map_or("?".into(), |l| format!("{}:{}", l.file, l.line));
        lines.iter().map(|h| (format!("{} {}", h.symbol, line(h)), h.self_weight, h.total)).collect()
    }

    #[test]
    fn lines_of_one_function_are_told_apart_and_functions_are_not_torn() {
        let p = with_lines(&[
            ("main:3;parse:10;alloc", 5),
            ("main:3;parse:12;alloc", 7),
            ("main:4;parse:12", 2),
            ("main:3", 1),
        ]);
        let want = [
            ("alloc ?", 12, 12),
            ("parse src/x.c:12", 2, 9),
            ("main src/x.c:3", 1, 13),
            ("parse src/x.c:10", 0, 5),
            ("main src/x.c:4", 0, 2),
        ];
        let all = StackFilter::default();
        assert_eq!(told(&p.lines(&all)), want.map(|(name, own, total)| (name.to_string(), own, total)));
        let hot: Vec<_> = p.hot(&all).into_iter().map(|h| (h.symbol.to_string(), h.self_weight, h.total)).collect();
        assert_eq!(hot, [("alloc".to_string(), 12, 12), ("parse".into(), 2, 14), ("main".into(), 1, 15)]);
    }

    #[test]
    fn a_recursive_line_counts_once() {
        let p = with_lines(&[("f:1;f:2;f:1;g:9", 4), ("f:1", 3)]);
        let lines = told(&p.lines(&StackFilter::default()));
        let want = [("g src/x.c:9", 4, 4), ("f src/x.c:1", 3, 7), ("f src/x.c:2", 0, 4)];
        assert_eq!(lines, want.map(|(name, own, total)| (name.to_string(), own, total)));
    }
}
