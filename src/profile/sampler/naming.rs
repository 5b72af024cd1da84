//! Samples with places become stacks with names; what came of it is counted on the way.
//!
//! Must not: decide what is worth telling (`quality`).

use super::quality::Tally;
use super::{Sampling, Taken};
use crate::model::{At, CaptureId, FrameId, Sample, StackId, StackTable, Stacks};
use std::collections::HashMap;

impl Sampling {
    /// Names the samples, which are counted into `tally`.
    pub(super) fn stacks(&mut self, id: CaptureId, at: At, samples: &[Taken], tally: &mut Tally) -> Stacks {
        let mut table = StackTable::default();
        let mut frames: HashMap<super::Site, FrameId> = HashMap::new();
        // Chains are kept once, so their address tells them apart as long as the samples live.
        let mut known: HashMap<*const super::Site, Option<StackId>> = HashMap::new();
        let mut named = Vec::with_capacity(samples.len());
        for taken in samples {
            let stack = *known.entry(taken.chain.as_ptr()).or_insert_with(|| {
                let mut stack = None;
                for &site in taken.chain.iter().rev() {
                    let frame =
                        *frames.entry(site).or_insert_with(|| table.frame(self.symbols.frame(site, &self.processes)));
                    stack = Some(table.push(stack, frame));
                }
                stack
            });
            let innermost = stack.and_then(|s: StackId| table.nodes.get(s.0 as usize));
            let innermost = innermost.and_then(|&(_, f)| table.frames.get(f.0 as usize));
            tally.count(taken, innermost, &self.processes);
            named.push(Sample {
                at: taken.at,
                cpu: taken.cpu,
                pid: taken.pid,
                tid: taken.tid,
                comm: taken.comm.clone(),
                stack,
                weight: taken.weight,
            });
        }
        named.sort_by_key(|s| s.at);
        let what = self.events.what;
        Stacks { at, capture: id, event: what.name().into(), unit: what.unit().into(), table, samples: named, lost: 0 }
    }

    /// Names places that have no name yet, at most `most` of them, so that they are at hand later.
    pub(super) fn name_ahead(&mut self, samples: &[Taken], mut most: usize) {
        for &site in samples.iter().flat_map(|t| t.chain.iter()) {
            if most == 0 {
                return;
            }
            if !self.symbols.knows(site) {
                self.symbols.frame(site, &self.processes);
                most -= 1;
            }
        }
    }
}
