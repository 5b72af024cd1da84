//! Folded stacks: `outermost;…;innermost weight` a line, as stackcollapse scripts, inferno,
//! bpftrace tools, async-profiler, py-spy and `perfbench flamegraph --folded` print them.
//!
//! A frame's kind is read off the end of its name: `_[k]` kernel, `_[j]` compiled while the program
//! ran, `_[i]` inlined (stackcollapse-perf.pl --all).
//!
//! Must not: take the first frame for a thread's name; nothing says whether it is one.

use super::fold::{Fold, Thread, Type};
use super::{Head, Imported, Importer, Input, Obstacle, wrong};
use crate::model::{Frame, FrameId};
use std::collections::HashMap;

/// Lines of the head that are looked at.
const LOOKED_AT: usize = 50;

/// See the top of the file.
pub(super) struct Folded;

impl Importer for Folded {
    fn name(&self) -> &'static str {
        "folded"
    }

    fn about(&self) -> &'static str {
        "folded stacks, `outermost;...;innermost weight` a line: stackcollapse, inferno-collapse, bpftrace, async-profiler"
    }

    fn recognises(&self, head: &Head<'_>) -> Option<String> {
        let mut lines = head.lines().filter(|l| !is_remark(l)).take(LOOKED_AT).peekable();
        let first = super::name(lines.peek()?);
        let all = lines.all(|l| parts(l).is_some_and(|(stack, _)| std::str::from_utf8(stack).is_ok()));
        all.then(|| format!("every line is a stack and a weight, like `{}`", crate::model::clean(&first, 60)))
    }

    fn read(&self, input: Input) -> Result<Imported, Obstacle> {
        let types = vec![Type { event: "samples".into(), unit: "count".into() }];
        let mut fold = Fold::new(types);
        let thread = fold.thread(Thread::named(""));
        let mut known: HashMap<Box<[u8]>, FrameId> = HashMap::new();
        let mut path = Vec::new();
        let mut lines = input.lines();
        let (mut n, mut unreadable, mut first_unreadable) = (0u64, 0u64, 0u64);
        let (mut stacks, mut twice) = (0u64, 0u64);
        while let Some(line) = lines.next()? {
            n += 1;
            if is_remark(line) {
                continue;
            }
            let Some((stack, weight)) = parts(line) else {
                unreadable += 1;
                first_unreadable = if unreadable == 1 { n } else { first_unreadable };
                continue;
            };
            stacks += 1;
            twice += u64::from(has_weight(stack));
            path.clear();
            for part in stack.split(|b| *b == b';') {
                let id = match known.get(part) {
                    Some(&id) => id,
                    None => {
                        let id = fold.table.frame(Frame::marked(&super::name(part)));
                        known.insert(part.into(), id);
                        id
                    }
                };
                path.push(id);
            }
            let stack = fold.stack(&path)?;
            fold.add(thread, stack, std::iter::once(weight))?;
        }
        let mut notes = Vec::new();
        if unreadable > 0 {
            notes.push(format!(
                "{unreadable} of {n} lines are no stack and weight and were left out, the first is line {first_unreadable}"
            ));
        }
        match stacks {
            0 => return Err(wrong("no line is a stack and a weight")),
            n if n == twice => {
                return Err(wrong(
                    "every line has two weights: it is the difference of two profiles, which is none itself",
                ));
            }
            _ => {}
        }
        Ok(Imported { stacks: fold.finish(&[0])?, notes, ..Imported::default() })
    }
}

/// Empty lines, and what some tools write above the stacks.
fn is_remark(line: &[u8]) -> bool {
    line.trim_ascii().is_empty() || line.starts_with(b"# ")
}

/// The stack and its weight.
fn parts(line: &[u8]) -> Option<(&[u8], u64)> {
    let line = line.trim_ascii_end();
    let space = memchr::memrchr2(b' ', b'\t', line)?;
    let weight = std::str::from_utf8(&line[space + 1..]).ok().filter(|w| w.bytes().all(|b| b.is_ascii_digit()))?;
    let stack = line[..space].trim_ascii_end();
    (!stack.is_empty()).then_some((stack, weight.parse().ok()?))
}

/// Whether the innermost frame ends in a number of its own, as the first of two weights stands.
fn has_weight(stack: &[u8]) -> bool {
    let innermost = stack.rsplit(|b| *b == b';').next().unwrap_or(stack);
    parts(innermost).is_some_and(|(name, _)| !name.contains(&b' '))
}
