//! Waits become stacks with names, the innermost frame being a marker of what is waited for.
//!
//! Must not: change a weight.

use super::classes;
use super::sight::{Sight, Way, event};
use super::waits::{Kind, Place, Wait};
use crate::model::{At, CaptureId, Frame, FrameKind, Sample, StackId, StackTable, Stacks};
use std::collections::{BTreeMap, HashMap};

/// Where functions lie that /proc names.
const KERNEL: &str = "[kernel.kallsyms]";

/// Time by what was waited for, ns.
pub(super) type ByMarker = BTreeMap<(Kind, &'static str), u64>;

impl Sight {
    /// One batch for each kind there is; what they come to is added to `sums`. Those of one turn and
    /// `way` only: the way says what the event is called.
    pub(super) fn stacks(&mut self, id: CaptureId, at: At, waits: &[(Way, Wait)], sums: &mut ByMarker) -> Vec<Stacks> {
        let mut batches: BTreeMap<(Kind, Way), Stacks> = BTreeMap::new();
        let mut known: HashMap<(Kind, Way, Place), (StackId, &'static str)> = HashMap::new();
        for (way, wait) in waits {
            let stacks = batches.entry((wait.kind, *way)).or_insert_with(|| Stacks {
                at,
                capture: id,
                event: event(wait.kind, *way),
                unit: "ns".into(),
                table: StackTable::default(),
                samples: Vec::new(),
                lost: 0,
            });
            let (stack, marker) = *known.entry((wait.kind, *way, wait.place.clone())).or_insert_with(|| {
                let (frames, marker) = self.frames(wait.kind, &wait.place);
                let marked = frames.into_iter().chain([Frame::new(marker, "", FrameKind::Kernel)]);
                let mut stack = None;
                for frame in marked {
                    let frame = stacks.table.frame(frame);
                    stack = Some(stacks.table.push(stack, frame));
                }
                (stack.unwrap_or(StackId(0)), marker)
            });
            let sum = sums.entry((wait.kind, marker)).or_default();
            *sum = sum.saturating_add(wait.weight);
            stacks.samples.push(Sample {
                at: wait.at,
                cpu: wait.cpu,
                pid: wait.pid,
                tid: wait.tid,
                comm: wait.comm.clone(),
                stack: Some(stack),
                weight: wait.weight,
            });
        }
        let mut batches: Vec<Stacks> = batches.into_values().collect();
        batches.iter_mut().for_each(|s| s.samples.sort_by_key(|s| s.at));
        batches
    }

    /// The frames of a place from the outermost to the innermost, and what marks them.
    fn frames(&mut self, kind: Kind, place: &Place) -> (Vec<Frame>, &'static str) {
        let frames: Vec<Frame> = match place {
            Place::Stack(chain) => chain.iter().rev().map(|&site| self.symbols.frame(site, &self.processes)).collect(),
            Place::Function(name) if !name.is_empty() => vec![Frame::new(name.clone(), KERNEL, FrameKind::Kernel)],
            Place::Function(_) | Place::Queue | Place::NotSampled => Vec::new(),
        };
        let marker = match (place, kind) {
            (Place::Queue, _) => classes::WOKEN,
            (Place::NotSampled, _) => classes::NOT_SAMPLED,
            (_, Kind::Runnable) => classes::PREEMPTED,
            (_, Kind::Blocked) => classes::marker(frames.iter()),
        };
        (frames, marker)
    }
}
