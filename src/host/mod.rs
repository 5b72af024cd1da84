//! The host room: reads the machine and the target's processes, and hands over raw counters.
//!
//! One thread ([`Watch`]) runs a table of samplers ([`SAMPLERS`]), each of which reads a few
//! kernel files or asks the kernel's socket table, and gives one batch of [`Reading`]s with
//! the instant it was taken and what it cost. Two laws shape it:
//!
//! - *Raw.* Counters leave as the kernel gives them; whoever reads them makes rates.
//! - *Cheap.* Every sampler has a share of one core that it may cost ([`Row::permille`]); the
//!   watch measures it and stretches its period so that it stays inside. The shares add up
//!   to less than 3 %, so that the whole room does, whatever the host holds.
//!
//! Must not: compute rates or percentages, block the load, or need privileges to start.
//!
//! [`Reading`]: crate::model::Reading

mod cgroup;
mod diag;
mod doctor;
mod fields;
mod ports;
mod procfile;
mod sampler;
mod samplers;
mod sockettable;
mod targets;
mod watch;

pub use doctor::{Check, Reach, Verdict, doctor, doctor_in};
pub use sampler::{Batch, HostError, Row, SAMPLERS, Sampler, Setup};
pub use targets::Targets;
pub use watch::Watch;

use crate::model::HostFacts;
use std::net::SocketAddr;
use std::time::Duration;

/// What the watch is to look at besides the host itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// The target's socket address: sockets and local ports are counted per this
    /// destination, and its processes are found by it when it is on this host.
    pub target: Option<SocketAddr>,
    /// The target's process, when the user named it; its descendants are watched too.
    pub pid: Option<u32>,
    /// Time between two readings of a sampler that is cheap enough.
    pub period: Duration,
}

impl Config {
    /// The default of [`Config::period`].
    pub const PERIOD: Duration = Duration::from_millis(500);
}

impl Default for Config {
    fn default() -> Config {
        Config { target: None, pid: None, period: Config::PERIOD }
    }
}

/// The machine this runs on. Fields that the host does not tell are empty or 0.
pub fn facts() -> HostFacts {
    use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};
    let wanted =
        RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing()).with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(wanted).ok();
    HostFacts {
        name: System::host_name().unwrap_or_default(),
        kernel: System::kernel_version().unwrap_or_default(),
        cpus: system.as_ref().and_then(|s| u32::try_from(s.cpus().len()).ok()).unwrap_or(0),
        memory_bytes: system.as_ref().map_or(0, System::total_memory),
        ticks_per_s: u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_facts_of_this_host_are_told() {
        let f = super::facts();
        assert!(f.cpus >= 1 && f.memory_bytes > 1 << 20 && f.ticks_per_s >= 1 && !f.kernel.is_empty(), "{f:?}");
    }
}
