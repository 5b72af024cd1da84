//! Who called a function, and what it called: the neighbours of the functions that match.
//!
//! An edge is a pair of caller and callee that stand next to each other on a stack, and counts with the
//! stack's whole weight once, however often recursion repeats it: `pprof -peek` counts so. The
//! functions that match are looked at as if they were one. A call from one of them to another
//! is no edge of either list (pprof would list a recursive function as its own caller), but is told
//! as [`Peek::recursive`].
//!
//! So without recursion the callers and [`Peek::outermost`] add up to the total, and so do the callees and
//! [`Peek::self_weight`]; where a stack enters the functions more than once, as in `a;f;b;f`,
//! both `a` and `b` count as callers with all of it, and the sums come to more.
//!
//! Must not: recurse, or take a part of a name for the whole where a function was named exactly.

use super::{Function, Pattern, Profile, StackFilter};
use crate::model::{FrameKind, StackId};
use std::collections::HashMap;
use std::sync::Arc;

/// A function with its callers and callees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peek {
    /// Weight of the stacks it is in, each once.
    pub total: u64,
    /// Weight of the stacks that end in it.
    pub self_weight: u64,
    /// Weight of the stacks that begin with it: nobody called it.
    pub outermost: u64,
    /// Weight of the stacks in which one of the functions that match directly calls one of them.
    pub recursive: u64,
    /// What called it, the heaviest first.
    pub callers: Vec<Edge>,
    /// What it called, the heaviest first.
    pub callees: Vec<Edge>,
}

/// A caller or a callee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Its name (untrusted).
    pub symbol: Arc<str>,
    /// Binary, library or kernel module; empty when unknown.
    pub module: Arc<str>,
    /// What kind of code it is.
    pub kind: FrameKind,
    /// Weight of the stacks in which the two stand next to each other, each stack once.
    pub weight: u64,
}

/// Weights by function; a function counts once a stack.
#[derive(Default)]
struct Edges {
    weights: HashMap<u32, u64>,
    /// The last stack a function was counted for.
    last: HashMap<u32, usize>,
}

impl Edges {
    fn add(&mut self, function: u32, stack: usize, weight: u64) {
        if self.last.insert(function, stack) != Some(stack) {
            let sum = self.weights.entry(function).or_default();
            *sum = sum.saturating_add(weight);
        }
    }

    fn sorted(self, functions: &[Function]) -> Vec<Edge> {
        let edge = |(function, weight): (u32, u64)| {
            let Function { symbol, module, kind } = functions[function as usize].clone();
            Edge { symbol, module, kind, weight }
        };
        let mut edges: Vec<Edge> = self.weights.into_iter().map(edge).collect();
        edges.sort_by(|a, b| {
            let name = |e: &Edge| (e.symbol.clone(), e.module.clone(), e.kind);
            b.weight.cmp(&a.weight).then_with(|| name(a).cmp(&name(b)))
        });
        edges
    }
}

impl Profile {
    /// Callers and callees of the functions whose symbol matches, in the samples a filter lets through.
    pub fn peek(&self, filter: &StackFilter, pattern: &Pattern) -> Peek {
        self.peek_where(filter, |function| pattern.matches(&function.symbol))
    }

    /// Callers and callees of the functions of exactly this name.
    pub fn peek_symbol(&self, filter: &StackFilter, symbol: &str) -> Peek {
        self.peek_where(filter, |function| *function.symbol == *symbol)
    }

    fn peek_where(&self, filter: &StackFilter, is_meant: impl Fn(&Function) -> bool) -> Peek {
        let meant: Vec<bool> = self.functions.values.iter().map(is_meant).collect();
        // Threads of different names may end in one stack.
        let mut by_stack: HashMap<StackId, u64> = HashMap::new();
        for ((_, stack), weight) in self.select(filter).0 {
            if let Some(stack) = stack {
                let sum = by_stack.entry(stack).or_default();
                *sum = sum.saturating_add(weight);
            }
        }
        let mut peek = Peek::default();
        let (mut callers, mut callees) = (Edges::default(), Edges::default());
        for (n, (&stack, &weight)) in by_stack.iter().enumerate() {
            let mut callee: Option<u32> = None;
            let (mut inside, mut ends, mut recursive, mut is_any) = (false, false, false, false);
            for frame in self.table.walk(stack) {
                let function = self.function_of[frame.0 as usize];
                let is_meant = meant[function as usize];
                match (callee, is_meant) {
                    (None, true) => ends = true,
                    (Some(_), true) if inside => recursive = true,
                    (Some(callee), true) => callees.add(callee, n, weight),
                    (Some(_), false) if inside => callers.add(function, n, weight),
                    _ => {}
                }
                is_any |= is_meant;
                (callee, inside) = (Some(function), is_meant);
            }
            // After the walk the last frame seen is the outermost.
            for (sum, counts) in [
                (&mut peek.total, is_any),
                (&mut peek.self_weight, ends),
                (&mut peek.outermost, inside),
                (&mut peek.recursive, recursive),
            ] {
                *sum = sum.saturating_add(if counts { weight } else { 0 });
            }
        }
        peek.callers = callers.sorted(&self.functions.values);
        peek.callees = callees.sorted(&self.functions.values);
        peek
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{any_samples, borrowed, profile};
    use super::*;
    use proptest::prelude::*;

    fn told(edges: &[Edge]) -> Vec<(&str, u64)> {
        edges.iter().map(|e| (&*e.symbol, e.weight)).collect()
    }

    #[test]
    fn callers_and_callees_add_up() {
        let p = profile(&[
            (1, 1, "x", "main;serve;parse;alloc", 5),
            (2, 1, "y", "main;serve;parse;alloc", 1),
            (3, 1, "x", "main;serve;parse", 2),
            (4, 1, "x", "main;retry;parse;copy", 3),
            (5, 1, "x", "parse;copy", 4),
            (6, 1, "x", "main;serve", 9),
            (7, 1, "x", "", 8),
        ]);
        let peek = p.peek(&StackFilter::default(), &Pattern::new("parse"));
        assert_eq!((peek.total, peek.self_weight, peek.outermost, peek.recursive), (15, 2, 4, 0));
        assert_eq!(told(&peek.callers), [("serve", 8), ("retry", 3)]);
        assert_eq!(told(&peek.callees), [("copy", 7), ("alloc", 6)]);
        assert_eq!(p.peek(&StackFilter::default(), &Pattern::new("none")), Peek::default());
    }

    #[test]
    fn recursion_counts_once() {
        let p = profile(&[(1, 1, "x", "a;f;b;f;b;f", 4), (2, 1, "x", "a;f;f;c;f", 2)]);
        let peek = p.peek(&StackFilter::default(), &Pattern::new("f"));
        assert_eq!((peek.total, peek.self_weight, peek.outermost, peek.recursive), (6, 6, 0, 2));
        assert_eq!(told(&peek.callers), [("a", 6), ("b", 4), ("c", 2)]);
        assert_eq!(told(&peek.callees), [("b", 4), ("c", 2)]);
    }

    #[test]
    fn functions_that_match_are_as_one_unless_one_is_named() {
        let p = profile(&[(1, 1, "x", "main;read_all;read;k_read", 4), (2, 1, "x", "main;read", 2)]);
        let peek = p.peek(&StackFilter::default(), &Pattern::new("read"));
        assert_eq!((peek.total, peek.self_weight, peek.recursive), (6, 6, 4));
        assert_eq!((told(&peek.callers), told(&peek.callees)), (vec![("main", 6)], vec![]));
        let peek = p.peek_symbol(&StackFilter::default(), "read");
        assert_eq!((peek.total, peek.self_weight, peek.recursive), (6, 2, 0));
        assert_eq!(
            (told(&peek.callers), told(&peek.callees)),
            (vec![("read_all", 4), ("main", 2)], vec![("k_read", 4)])
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn edges_of_any_samples_cover_the_total(samples in any_samples()) {
            let p = profile(&borrowed(&samples));
            let all = StackFilter { idle: true, ..StackFilter::default() };
            for hot in p.hot(&all) {
                let peek = p.peek_symbol(&all, &hot.symbol);
                let sum = |edges: &[Edge]| edges.iter().map(|e| e.weight).sum::<u64>();
                prop_assert_eq!(peek.total, p.matched(&all, &Pattern::new(&hot.symbol)));
                prop_assert!(peek.self_weight >= hot.self_weight);
                prop_assert!(sum(&peek.callers) + peek.outermost >= peek.total);
                prop_assert!(sum(&peek.callees) + peek.self_weight >= peek.total);
                prop_assert!(peek.callers.iter().chain(&peek.callees).all(|e| e.weight <= peek.total));
                prop_assert!(peek.callers.iter().chain(&peek.callees).all(|e| e.symbol != hot.symbol));
            }
        }
    }
}
