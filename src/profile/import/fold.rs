//! Weights added up by thread and stack: what a profile without times comes to, bounded by its
//! distinct stacks.
//!
//! Must not: know a format.

use super::{MOST_SAMPLES, Obstacle, UNKNOWN, wrong};
use crate::model::{At, CaptureId, FrameId, Sample, StackId, StackTable, Stacks};
use std::collections::HashMap;
use std::sync::Arc;

/// Nodes of the tree of stacks that are kept of one file; a Go service's allocations have 50 000.
const MOST_NODES: usize = 1 << 23;
/// Frames kept of one stack; the kernel's limit is 127 by default, that of Go 64.
pub(super) const DEEPEST: usize = 1 << 16;
/// Threads told apart.
const MOST_THREADS: usize = 1 << 14;

/// What is measured: the event's name and its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) event: String,
    pub(super) unit: String,
}

/// A thread as far as a profile tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Thread {
    pub(super) comm: Arc<str>,
    pub(super) pid: u32,
    pub(super) tid: u32,
}

impl Thread {
    /// A thread of which only a name is known.
    pub(super) fn named(comm: &str) -> Thread {
        Thread { comm: comm.into(), pid: UNKNOWN, tid: UNKNOWN }
    }
}

/// See the top of the file.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) table: StackTable,
    types: Vec<Type>,
    threads: Vec<Thread>,
    thread_index: HashMap<Thread, u32>,
    rows: Vec<(u32, Option<StackId>)>,
    /// By row as many weights as there are types.
    weights: Vec<u64>,
    index: HashMap<(u32, Option<StackId>), u32>,
}

impl Fold {
    pub(super) fn new(types: Vec<Type>) -> Fold {
        Fold {
            table: StackTable::default(),
            types,
            threads: Vec::new(),
            thread_index: HashMap::new(),
            rows: Vec::new(),
            weights: Vec::new(),
            index: HashMap::new(),
        }
    }

    /// The number of a thread; those beyond the bound are the first one.
    pub(super) fn thread(&mut self, thread: Thread) -> u32 {
        if let Some(&n) = self.thread_index.get(&thread) {
            return n;
        }
        if self.threads.len() >= MOST_THREADS {
            return 0;
        }
        let n = self.threads.len() as u32;
        self.threads.push(thread.clone());
        self.thread_index.insert(thread, n);
        n
    }

    /// The stack of these frames, outermost first; deeper ones than are kept lose their innermost.
    pub(super) fn stack(&mut self, frames: &[FrameId]) -> Result<Option<StackId>, Obstacle> {
        let mut stack = None;
        for &frame in frames.iter().take(DEEPEST) {
            stack = Some(self.table.push(stack, frame));
        }
        match self.table.nodes.len() > MOST_NODES {
            true => Err(wrong(format!("it has more than {MOST_NODES} distinct callers and callees"))),
            false => Ok(stack),
        }
    }

    /// Adds one weight per type to a thread's stack.
    pub(super) fn add(
        &mut self,
        thread: u32,
        stack: Option<StackId>,
        weights: impl Iterator<Item = u64>,
    ) -> Result<(), Obstacle> {
        let width = self.types.len();
        let row = match self.index.get(&(thread, stack)) {
            Some(&row) => row,
            None if self.rows.len() >= MOST_SAMPLES => {
                return Err(wrong(format!("it has more than {MOST_SAMPLES} samples")));
            }
            None => {
                let row = self.rows.len() as u32;
                self.rows.push((thread, stack));
                self.weights.resize(self.weights.len() + width, 0);
                self.index.insert((thread, stack), row);
                row
            }
        };
        let sums = &mut self.weights[row as usize * width..][..width];
        for (n, (sum, weight)) in sums.iter_mut().zip(weights).enumerate() {
            *sum = sum.checked_add(weight).ok_or_else(|| {
                wrong(format!("its weights of {} add up to more than 64 bits hold", self.types[n].event))
            })?;
        }
        Ok(())
    }

    /// The samples by type, each once per thread and stack, in the order of their first coming;
    /// the types in `order`.
    ///
    /// # Errors
    /// When the weights of a type add up to more than 64 bits.
    pub(super) fn finish(self, order: &[usize]) -> Result<Vec<Stacks>, Obstacle> {
        let width = self.types.len();
        let mut all = Vec::with_capacity(width);
        for &n in order {
            let Type { event, unit } = &self.types[n];
            let weights = self.weights.iter().skip(n).step_by(width.max(1));
            if weights.clone().try_fold(0u64, |sum, &w| sum.checked_add(w)).is_none() {
                return Err(wrong(format!("its weights of {event} add up to more than 64 bits hold")));
            }
            let samples = self.rows.iter().zip(weights).filter(|&(_, &weight)| weight > 0);
            let samples = samples.map(|(&(thread, stack), &weight)| {
                let Thread { comm, pid, tid } = self.threads[thread as usize].clone();
                Sample { at: At::START, cpu: 0, pid, tid, comm, stack, weight }
            });
            all.push(Stacks {
                at: At::START,
                capture: CaptureId(1),
                event: event.as_str().into(),
                unit: unit.as_str().into(),
                table: self.table.clone(),
                samples: samples.collect(),
                lost: 0,
            });
        }
        Ok(all)
    }
}
