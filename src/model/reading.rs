//! A raw value read from the host, and the batch one sampler reads at once.
//!
//! Must not: hold rates or percentages; counters are kept as read.

use super::{At, Metric};
use std::sync::Arc;

/// Which CPU, interface, disk, process, destination or state a reading is of; empty for
/// the whole host. Readings of one metric and one instance make one series.
///
/// By scope: CPU `0`; interface `eth0`; disk `vda`; process `self` (perfbench) or
/// `PID name` (the target's); load thread `load-0`; destination `10.0.0.7:8081`; socket state `SYN_SENT`.
pub type Instance = Arc<str>;

/// One raw value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What was read.
    pub metric: Metric,
    /// Of what.
    pub instance: Instance,
    /// The value in the metric's unit; a counter as the kernel gives it.
    pub value: i64,
}

/// What one sampler read at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readings {
    /// When: the middle of the reading.
    pub at: At,
    /// The sampler's name.
    pub sampler: Arc<str>,
    /// What the reading cost, ns of wall time.
    pub took_ns: u64,
    /// The values.
    pub values: Vec<Reading>,
}
