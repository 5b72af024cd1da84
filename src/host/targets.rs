//! The list of the target's processes, shared by who finds them, who reads them and whoever
//! outside wants to profile them.
//!
//! Must not: find processes.

use std::sync::{Arc, Mutex, PoisonError};

/// A process, told apart from a later one with the same number by when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Process {
    /// Its number.
    pub(super) pid: u32,
    /// Clock ticks after boot when it began: /proc/PID/stat starttime.
    pub(super) start: u64,
}

/// The target's processes as last found. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Targets(Arc<Mutex<Vec<Process>>>);

impl Targets {
    /// The target's processes, at most 64, lowest number first; empty when there are none on
    /// this host or they could not be found (then a fault said why).
    pub fn pids(&self) -> Vec<u32> {
        self.list().iter().map(|p| p.pid).collect()
    }

    pub(super) fn list(&self) -> Vec<Process> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, processes: &[Process]) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.clear();
        list.extend_from_slice(processes);
    }
}
