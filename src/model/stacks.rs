//! Call stacks with time, CPU and thread: what a profile is made of.
//!
//! Must not: know perf, or how a flame graph looks.

use super::{At, CaptureId};
use std::collections::HashMap;
use std::sync::Arc;

/// A frame of a [`StackTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(
    /// Index into [`StackTable::frames`].
    pub u32,
);

/// A stack of a [`StackTable`]: the node of its innermost frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackId(
    /// Index into [`StackTable::nodes`].
    pub u32,
);

/// One function on a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Function name as the symboliser gave it (untrusted), or `[module]` when unknown.
    pub symbol: Arc<str>,
    /// Base name of the binary, library or kernel module, empty when unknown.
    pub module: Arc<str>,
    /// Whether it ran in the kernel.
    pub kernel: bool,
}

/// Stacks as a prefix tree: a stack is a path from a root (outermost frame) to a node, so
/// memory is bounded by distinct stacks and shared callers are kept once.
#[derive(Clone, Debug, Default)]
pub struct StackTable {
    /// The distinct frames.
    pub frames: Vec<Frame>,
    /// The nodes: (the caller's node, the frame). A caller comes before its callees.
    pub nodes: Vec<(Option<StackId>, FrameId)>,
    frame_index: HashMap<Frame, FrameId>,
    node_index: HashMap<(Option<StackId>, FrameId), StackId>,
}

impl PartialEq for StackTable {
    fn eq(&self, other: &StackTable) -> bool {
        self.frames == other.frames && self.nodes == other.nodes
    }
}

impl StackTable {
    /// The id of a frame, added when new.
    pub fn frame(&mut self, frame: Frame) -> FrameId {
        if let Some(&id) = self.frame_index.get(&frame) {
            return id;
        }
        let id = FrameId(self.frames.len() as u32);
        self.frames.push(frame.clone());
        self.frame_index.insert(frame, id);
        id
    }

    /// The stack `caller` extended by `frame`, added when new.
    pub fn push(&mut self, caller: Option<StackId>, frame: FrameId) -> StackId {
        *self.node_index.entry((caller, frame)).or_insert_with(|| {
            self.nodes.push((caller, frame));
            StackId(self.nodes.len() as u32 - 1)
        })
    }

    /// The stack's frames from the innermost to the outermost.
    pub fn walk(&self, stack: StackId) -> impl Iterator<Item = FrameId> + '_ {
        let mut next = Some(stack);
        std::iter::from_fn(move || {
            let (caller, frame) = *self.nodes.get(next?.0 as usize)?;
            next = caller;
            Some(frame)
        })
    }
}

/// One sample of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was taken.
    pub at: At,
    /// On which CPU.
    pub cpu: u32,
    /// Of which process (0: the idle task).
    pub pid: u32,
    /// Of which thread.
    pub tid: u32,
    /// The thread's name (untrusted).
    pub comm: Arc<str>,
    /// Its stack; `None` when the sample came without frames.
    pub stack: Option<StackId>,
    /// What it stands for, in the profile's unit.
    pub weight: u64,
}

/// Samples of one capture, with the table their stacks are in.
#[derive(Clone, Debug, PartialEq)]
pub struct Stacks {
    /// When the batch was ready.
    pub at: At,
    /// The capture it belongs to.
    pub capture: CaptureId,
    /// The event sampled: `cycles`, `cpu-clock`, …
    pub event: Arc<str>,
    /// The unit of the weights: `ns` for clocks, `cycles`, …
    pub unit: Arc<str>,
    /// The frames and stacks of these samples.
    pub table: StackTable,
    /// The samples, in time order.
    pub samples: Vec<Sample>,
    /// Samples the kernel or perf says were lost.
    pub lost: u64,
}
