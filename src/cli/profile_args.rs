//! The options that say what is profiled, when, and how densely.
//!
//! Must not: take a profile.

use crate::model::At;
use crate::profile::served::Server;
use crate::profile::{CallGraph, Source};
use crate::timeline::objective::{Lasting, Objective};
use crate::workbench::{Profiling, Trigger};
use anyhow::bail;
use clap::ArgAction;
use std::time::Duration;

/// What is profiled.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ProfileArgs {
    /// Take a profile AT this time for so long: 3s,5s; may be given several times
    #[arg(long, value_name = "AT,FOR", value_parser = capture, action = ArgAction::Append, help_heading = "Profile")]
    pub(super) capture: Vec<(Duration, Duration)>,
    /// Samples per second and CPU that are taken all the time, so that any stretch has its stacks
    #[arg(long, value_name = "HZ", default_value_t = 49, value_parser = clap::value_parser!(u32).range(1..=1_000), help_heading = "Profile")]
    pub(super) profile_hz: u32,
    /// Sample nothing but captures
    #[arg(long, conflicts_with = "profile_hz", help_heading = "Profile")]
    pub(super) no_profile: bool,
    /// What takes captures
    #[arg(long, value_enum, default_value = "auto", help_heading = "Profile")]
    pub(super) profiler: ProfilerName,
    /// How a capture finds the callers of a function: by frame pointers, or by DWARF tables from a copy
    /// of each stack, which takes perf and kilobytes a sample
    #[arg(long, value_enum, default_value = "fp", help_heading = "Profile")]
    pub(super) call_graph: CallGraphName,
    /// Samples per second and CPU of captures; also of what was before the key, so as many are then taken all the
    /// time. Without it as many as interrupts here are cheap (53, 98 or 196 for 49), and 99 by perf or with
    /// --no-profile
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = "Profile")]
    pub(super) capture_hz: Option<u32>,
    /// How much a capture keeps of what was before the key was pressed, and of what comes after
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = length, help_heading = "Profile")]
    pub(super) capture_length: Duration,
    /// Take what the target's threads wait for too (locks, disks, the network, a free CPU): blocked and
    /// runnable time by stack, in captures and all the time. Costs about 0.5 us of CPU per context switch
    #[arg(long, help_heading = "Profile")]
    pub(super) off_cpu: bool,
    /// The shortest wait that --off-cpu shows
    #[arg(long, value_name = "TIME", default_value = "1us", value_parser = super::args::duration, requires = "off_cpu", help_heading = "Profile")]
    pub(super) off_cpu_min: Duration,
    /// Take a profile by itself when this becomes true of a second of load, like `p99>200ms` or
    /// `errors>1% for 3s`; again only after it was false. May be given several times
    #[arg(long, value_name = "CONDITION", action = ArgAction::Append, help_heading = "Profile")]
    pub(super) capture_if: Vec<Objective>,
    /// Profiles that --capture-if takes at most
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000), requires = "capture_if", help_heading = "Profile")]
    pub(super) capture_most: u32,
    /// With every profile, also those that the target serves itself, as Go's net/http/pprof does: CPU,
    /// allocations, heap, locks, goroutines
    #[arg(long, value_name = "URL", value_parser = served, help_heading = "Profile")]
    pub(super) pprof: Option<Server>,
}

/// What takes captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ProfilerName {
    /// The built-in sampler, or perf where that can do more
    Auto,
    /// The built-in sampler: no package, more often than --profile-hz, and what was before the key
    Builtin,
    /// The program perf
    Perf,
}

/// How callers are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum CallGraphName {
    /// By frame pointers
    Fp,
    /// By DWARF tables
    Dwarf,
}

impl ProfileArgs {
    /// What is profiled, for a live feed.
    pub(super) fn profiling(&self) -> anyhow::Result<Profiling> {
        if self.call_graph == CallGraphName::Dwarf && self.profiler == ProfilerName::Builtin {
            bail!("--call-graph dwarf takes --profiler perf: the built-in sampler goes by frame pointers");
        }
        Ok(Profiling {
            captures: self.capture.iter().map(|(at, length)| (At::START + *at, *length)).collect(),
            capture_hz: self.capture_hz,
            length: self.capture_length,
            recorder_hz: (!self.no_profile).then_some(self.profile_hz),
            source: match self.profiler {
                ProfilerName::Auto => Source::Auto,
                ProfilerName::Builtin => Source::BuiltIn,
                ProfilerName::Perf => Source::Perf,
            },
            call_graph: match self.call_graph {
                CallGraphName::Fp => CallGraph::FramePointers,
                CallGraphName::Dwarf => CallGraph::Dwarf,
            },
            served: self.pprof.clone(),
            off_cpu: self.off_cpu.then_some(self.off_cpu_min),
        })
    }

    /// Options that would do nothing in a run in which nobody can press the capture key.
    ///
    /// # Errors
    /// When there is one: what to give besides.
    pub(super) fn check_without_screen(&self) -> anyhow::Result<()> {
        let takes_captures = !self.capture.is_empty() || !self.capture_if.is_empty();
        if self.pprof.is_some() && !takes_captures {
            bail!(
                "--pprof fetches with captures, and nothing takes one: add --capture AT,FOR or --capture-if CONDITION"
            );
        }
        if self.off_cpu && self.no_profile && !takes_captures {
            bail!("--off-cpu with --no-profile waits for captures, and nothing takes one: add --capture AT,FOR");
        }
        Ok(())
    }

    /// What takes profiles by itself.
    pub(super) fn triggers(&self) -> Vec<Trigger> {
        let conditions = self.capture_if.iter().flat_map(|o| o.conditions()).cloned();
        conditions.map(|c| Trigger::new(Lasting::new(c))).collect()
    }
}

/// `http://host:6060`.
fn served(text: &str) -> Result<Server, String> {
    Server::new(text, None)
}

/// `3s,500ms`: when and how long.
fn capture(text: &str) -> Result<(Duration, Duration), String> {
    let (at, length) = text.split_once(',').ok_or("give when and how long, like 3s,5s")?;
    let (at, length) = (super::args::duration(at)?, super::args::duration(length)?);
    if length.is_zero() { Err("a capture of no length has no samples".into()) } else { Ok((at, length)) }
}

/// The most that is kept densely of the time before a key.
const LONGEST: Duration = Duration::from_secs(60);

fn length(text: &str) -> Result<Duration, String> {
    match super::args::duration(text)? {
        l if l.is_zero() => Err("a capture of no length has no samples".into()),
        l if l > LONGEST => Err(format!("at most {} s", LONGEST.as_secs())),
        l => Ok(l),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_read_as_written() {
        assert_eq!(capture("3s,500ms"), Ok((Duration::from_secs(3), Duration::from_millis(500))));
        assert!(capture("3s").is_err() && capture("3s,0s").is_err());
        assert_eq!(length("30s"), Ok(Duration::from_secs(30)));
        assert!(length("0s").is_err() && length("2m").is_err());
    }
}
