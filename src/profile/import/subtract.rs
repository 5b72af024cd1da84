//! One profile less an earlier one: what was allocated, or waited for, between the two, of a
//! program that counts from its start.
//!
//! Must not: tell how the two were taken.

use crate::model::{Sample, StackId, Stacks};
use std::collections::HashMap;
use std::sync::Arc;

/// What is said when a stack weighs less later, as it can't in what only grows.
pub const MISSING: &str = "weighed less at the end than at the start: their counts were begun anew";

/// `later` less `earlier`, stack by stack; both of one sample type. Beside it, how many stacks
/// weigh less in `later`: those are left out.
pub fn minus(later: &Stacks, earlier: &Stacks) -> (Stacks, u64) {
    let mut before: HashMap<(Arc<str>, Option<StackId>), u64> = HashMap::new();
    // Stacks of one table have one number each; what only the earlier one has is added to it.
    let mut table = later.table.clone();
    let mut known = vec![None; earlier.table.nodes.len()];
    for s in &earlier.samples {
        let stack = s.stack.and_then(|stack| table.adopt(&earlier.table, &mut known, stack));
        let sum = before.entry((s.comm.clone(), stack)).or_default();
        *sum = sum.saturating_add(s.weight);
    }
    let mut less = 0;
    let mut samples: Vec<Sample> = Vec::new();
    let mut after: HashMap<(Arc<str>, Option<StackId>), usize> = HashMap::new();
    for s in &later.samples {
        match after.get(&(s.comm.clone(), s.stack)) {
            Some(&n) => samples[n].weight = samples[n].weight.saturating_add(s.weight),
            None => {
                after.insert((s.comm.clone(), s.stack), samples.len());
                samples.push(s.clone());
            }
        }
    }
    samples.retain_mut(|s| {
        let was = before.remove(&(s.comm.clone(), s.stack)).unwrap_or(0);
        less += u64::from(was > s.weight);
        s.weight = s.weight.saturating_sub(was);
        s.weight > 0
    });
    less += before.values().filter(|was| **was > 0).count() as u64;
    let difference = Stacks { table, samples, event: later.event.clone(), unit: later.unit.clone(), ..*later };
    (difference.tidy(), less)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{At, CaptureId, Frame, FrameId, FrameKind, StackTable};

    fn of(stacks: &[(&[&str], u64)]) -> Stacks {
        let mut table = StackTable::default();
        let samples = stacks.iter().map(|(names, weight)| {
            let frames: Vec<FrameId> = names.iter().map(|n| table.frame(Frame::new(*n, "", FrameKind::User))).collect();
            let stack = frames.into_iter().fold(None, |caller, f| Some(table.push(caller, f)));
            Sample { at: At::START, cpu: 0, pid: 1, tid: 1, comm: "x".into(), stack, weight: *weight }
        });
        let samples = samples.collect();
        let (event, unit) = ("alloc_space".into(), "bytes".into());
        Stacks { at: At::START, capture: CaptureId(1), event, unit, table, samples, lost: 0 }
    }

    #[test]
    fn what_was_there_before_is_taken_away_whatever_the_tables_are() {
        let earlier = of(&[(&["b"], 7), (&["a", "x"], 5), (&["gone"], 3)]);
        let later = of(&[(&["a", "x"], 9), (&["a", "y"], 2), (&["b"], 7), (&["b", "x"], 4)]);
        let (difference, less) = minus(&later, &earlier);
        let weights: Vec<u64> = difference.samples.iter().map(|s| s.weight).collect();
        assert_eq!((weights, less), (vec![4, 2, 4], 1));
        let names: Vec<String> = difference
            .samples
            .iter()
            .map(|s| {
                s.stack
                    .into_iter()
                    .flat_map(|k| difference.table.walk(k))
                    .map(|f| difference.table.frames[f.0 as usize].symbol.to_string())
                    .collect::<Vec<_>>()
                    .join("<")
            })
            .collect();
        assert_eq!(names, ["x<a", "y<a", "x<b"]);
        assert_eq!(minus(&earlier, &earlier).0.samples.len(), 0);
    }
}
