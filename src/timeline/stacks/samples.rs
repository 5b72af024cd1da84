//! The samples themselves, for what writes them down elsewhere.
//!
//! Must not: add samples up.

use super::{Profile, SampleType, StackFilter};
use crate::model::{At, CaptureId, StackId, StackTable};
use std::sync::Arc;

/// A sample as it was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taken<'a> {
    /// When.
    pub at: At,
    /// For which capture.
    pub capture: CaptureId,
    /// On which CPU.
    pub cpu: u32,
    /// Of which process.
    pub pid: u32,
    /// Of which thread.
    pub tid: u32,
    /// The thread's name (untrusted).
    pub comm: &'a Arc<str>,
    /// What its weight measures.
    pub sample_type: &'a SampleType,
    /// Its stack in [`Profile::table`]; `None` when it came without one.
    pub stack: Option<StackId>,
    /// What it stands for, in the type's unit.
    pub weight: u64,
}

impl Profile {
    /// The frames and stacks of all samples.
    pub fn table(&self) -> &StackTable {
        &self.table
    }

    /// The samples a filter lets through, in time order.
    pub fn samples<'a, 'f>(&'a self, filter: &'f StackFilter) -> impl Iterator<Item = Taken<'a>> + use<'a, 'f> {
        self.passing(filter).filter(move |row| filter.idle || !row.source.idle).map(|row| Taken {
            at: row.at,
            capture: row.source.capture,
            cpu: row.cpu,
            pid: row.thread.pid,
            tid: row.thread.tid,
            comm: &self.comms.values[row.thread.comm as usize],
            sample_type: &self.types.values[row.source.sample_type as usize],
            stack: row.stack,
            weight: row.weight,
        })
    }

    /// Whether samples of this event are among those that [`StackFilter::event`] `None` means.
    pub fn is_meant(&self, event: &str) -> bool {
        let meant = self.types_meant(None);
        self.types.values.iter().zip(meant).any(|(t, meant)| meant && *t.event == *event)
    }
}
