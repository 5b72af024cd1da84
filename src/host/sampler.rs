//! What a sampler is, and the table of them.
//!
//! To add a metric: a row of `metrics!` in `model/metric.rs` and a line in its sampler. To
//! add a sampler: a file in `samplers/` and a row of [`SAMPLERS`].
//!
//! Must not: schedule, or read anything itself.

use super::samplers::{
    client, conntrack, cpu, destination, disk, memory, net, pressure, process, sockets, softirq, target, tcp,
};
use super::targets::Targets;
use crate::clock::Clock;
use crate::model::{Instance, Metric, Reading};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Reads one part of the host.
pub trait Sampler: Send {
    /// Puts what is now into `out`. An error means that there is nothing to be had; a part
    /// that is missing is said with [`Batch::fault`] and the rest is put all the same.
    fn sample(&mut self, out: &mut Batch) -> Result<(), HostError>;
}

/// A sampler's row in the table.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its name, as in [`crate::model::Readings::sampler`] and `host/NAME` of faults.
    pub name: &'static str,
    /// Makes it; it opens what it reads when it first samples.
    pub open: fn(&Setup) -> Box<dyn Sampler>,
    /// Its period is never shorter than this; zero leaves it to [`super::Config::period`].
    pub at_least: Duration,
    /// What it may cost, in thousandths of one core; its period is stretched to stay below.
    pub permille: u32,
}

/// Every sampler, in the order they run at a tick. `target` finds the processes that
/// `process` reads, so it comes first.
pub const SAMPLERS: &[Row] = &[
    Row { name: "cpu", open: cpu::open, at_least: Duration::ZERO, permille: 2 },
    Row { name: "softirq", open: softirq::open, at_least: Duration::ZERO, permille: 1 },
    Row { name: "tcp", open: tcp::open, at_least: Duration::ZERO, permille: 1 },
    Row { name: "sockets", open: sockets::open, at_least: Duration::ZERO, permille: 6 },
    Row { name: "destination", open: destination::open, at_least: Duration::ZERO, permille: 8 },
    Row { name: "net", open: net::open, at_least: Duration::ZERO, permille: 2 },
    Row { name: "memory", open: memory::open, at_least: Duration::ZERO, permille: 1 },
    Row { name: "disk", open: disk::open, at_least: Duration::ZERO, permille: 1 },
    Row { name: "pressure", open: pressure::open, at_least: Duration::ZERO, permille: 1 },
    Row { name: "conntrack", open: conntrack::open, at_least: Duration::ZERO, permille: 1 },
    Row { name: "target", open: target::open, at_least: Duration::from_secs(3), permille: 1 },
    Row { name: "process", open: process::open, at_least: Duration::ZERO, permille: 2 },
    Row { name: "client", open: client::open, at_least: Duration::ZERO, permille: 1 },
];

/// What samplers are made from.
#[derive(Clone)]
pub struct Setup {
    /// Where `proc` and `sys` are: `/`, or a tree of fixtures.
    pub root: PathBuf,
    /// See [`super::Config::target`].
    pub target: Option<SocketAddr>,
    /// See [`super::Config::pid`].
    pub pid: Option<u32>,
    /// The target's processes, found by `target` and read by `process`.
    pub targets: Targets,
    /// Bounds how long a reading of the socket table may last.
    pub clock: Clock,
    /// Set when the watch is to end: long readings are given up.
    pub stop: Arc<AtomicBool>,
}

impl Setup {
    /// Samplers of this very host.
    pub fn of_host(target: Option<SocketAddr>, pid: Option<u32>, clock: Clock) -> Setup {
        Setup { root: PathBuf::from("/"), target, pid, targets: Targets::default(), clock, stop: Arc::default() }
    }

    /// Whether the watch is to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What one sampler reads at one instant.
#[derive(Debug)]
pub struct Batch {
    /// The values so far.
    pub values: Vec<Reading>,
    /// What could not be read, and what mends it.
    pub faults: Vec<(String, Option<String>)>,
    host: Instance,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { values: Vec::new(), faults: Vec::new(), host: Instance::from("") }
    }
}

impl Batch {
    /// A value of one instance. What does not fit 63 bits becomes the greatest value.
    pub fn put(&mut self, metric: Metric, instance: &Instance, value: u64) {
        self.put_signed(metric, instance, i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A value of one instance that the kernel prints with a sign.
    pub fn put_signed(&mut self, metric: Metric, instance: &Instance, value: i64) {
        self.values.push(Reading { metric, instance: instance.clone(), value });
    }

    /// A value of the whole host.
    pub fn put_host(&mut self, metric: Metric, value: u64) {
        let host = self.host.clone();
        self.put(metric, &host, value);
    }

    /// Something could not be read; the same words are reported once only.
    pub fn fault(&mut self, what: impl Into<String>, mend: Option<&str>) {
        self.faults.push((what.into(), mend.map(str::to_owned)));
    }
}

/// Why a sampler has nothing to give.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A kernel file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A kernel file was read and not understood.
    #[error("{} is not of a known shape: {what}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: String,
    },
    /// The kernel refuses the socket table over netlink (sock_diag(7)).
    #[error("the kernel refuses the socket table over netlink (sock_diag): {0}")]
    Diag(io::Error),
    /// The socket table is so long that reading it was given up.
    #[error("reading the socket table took more than {0} ms and was given up")]
    TooLong(u128),
    /// The watch is ending.
    #[error("the watch is ending")]
    Stopped,
}

impl HostError {
    /// Whether the kernel, its build or its boot options have no such file.
    pub(super) fn is_absent(&self) -> bool {
        // ENOTSUP (95): /proc/pressure exists and the kernel was booted without psi=1.
        matches!(self, HostError::Read { source, .. }
            if source.kind() == io::ErrorKind::NotFound || source.raw_os_error() == Some(95))
    }

    /// The command or option that mends it, if one does.
    pub fn mend(&self) -> Option<&'static str> {
        match self {
            HostError::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Some("run as root"),
            _ => None,
        }
    }
}

/// The instance names of CPUs, made once.
#[derive(Debug, Default)]
pub(super) struct CpuNames(Vec<Instance>);

impl CpuNames {
    /// More CPUs than any kernel is built for (CONFIG_NR_CPUS).
    const MOST: usize = 1 << 16;

    /// The name of CPU `number`.
    pub(super) fn get(&mut self, number: u32) -> Instance {
        let n = number as usize;
        if n < CpuNames::MOST {
            for next in self.0.len()..=n {
                self.0.push(Instance::from(next.to_string()));
            }
        }
        self.0.get(n).cloned().unwrap_or_else(|| Instance::from(number.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_samplers_stay_under_three_percent_of_a_core() {
        assert!(SAMPLERS.iter().map(|r| r.permille).sum::<u32>() <= 28);
        assert!(SAMPLERS.iter().all(|r| r.permille > 0));
        for (n, r) in SAMPLERS.iter().enumerate() {
            assert!(SAMPLERS[..n].iter().all(|other| other.name != r.name), "{} twice", r.name);
        }
    }
}
