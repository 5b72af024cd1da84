//! The options that choose samples of a session, for every command that shows or writes stacks.
//!
//! Must not: print.

use super::no_samples::why_none;
use super::{Failure, args, failed, usage};
use crate::model::{At, CaptureId, Span, clean};
use crate::timeline::Timeline;
use crate::timeline::stacks::{Pattern, Profile, Ring, StackFilter};
use anyhow::anyhow;
use clap::ValueEnum;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum RingName {
    Kernel,
    User,
}

/// Which samples are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct StackArgs {
    /// What the samples measure: cpu, alloc_space, ...; by default time on a CPU, else what the
    /// profile itself has for its default
    #[arg(long, value_name = "NAME", help_heading = "Samples")]
    pub(super) sample_type: Option<String>,
    /// Only samples from this time of the session on: 12.5 or 12.5s
    #[arg(long, value_name = "S", value_parser = args::duration, help_heading = "Samples")]
    pub(super) from: Option<Duration>,
    /// Only samples before this time of the session
    #[arg(long, value_name = "S", value_parser = args::duration, help_heading = "Samples")]
    pub(super) to: Option<Duration>,
    /// Only samples of this process
    #[arg(long, value_name = "PID", help_heading = "Samples")]
    pub(super) process: Option<u32>,
    /// Only samples of the thread of this number, or of the threads of this name
    #[arg(long, value_name = "TID|NAME", help_heading = "Samples")]
    pub(super) thread: Option<String>,
    /// Only samples on this CPU
    #[arg(long, value_name = "N", help_heading = "Samples")]
    pub(super) cpu: Option<u32>,
    /// Only samples that were taken in the kernel, or in user space
    #[arg(long, value_enum, value_name = "RING", help_heading = "Samples")]
    pub(super) ring: Option<RingName>,
    /// Only samples with a function whose name has one of these parts in it: parse|Parse
    #[arg(long, value_name = "PATTERN", help_heading = "Samples")]
    pub(super) symbol: Option<String>,
    /// Only samples of this capture; 0 is the flight recorder
    #[arg(long, value_name = "N", help_heading = "Samples")]
    pub(super) capture: Option<u32>,
    /// Idle CPUs too
    #[arg(long, help_heading = "Samples")]
    pub(super) idle: bool,
}

impl StackArgs {
    /// The samples that are meant of a session.
    ///
    /// # Errors
    /// When the session has no samples, or none of that type, or the times go backwards.
    pub(super) fn filter(&self, t: &Timeline) -> Result<StackFilter, Failure> {
        let span = Span {
            from: self.from.map_or(At::START, |d| At::START + d),
            to: self.to.map_or(At(u64::MAX), |d| At::START + d),
        };
        if span.is_empty() {
            return Err(usage(anyhow!("--to is not after --from")));
        }
        let profile = t.profile();
        let event = match &self.sample_type {
            None => None,
            Some(name) if profile.sample_types().is_empty() => {
                return Err(failed(anyhow!(
                    "no samples of {}: {}",
                    clean(name, 60),
                    why_none(t, &StackFilter::default())
                )));
            }
            Some(name) => Some(named(profile, name)?),
        };
        let tid = self.thread.as_ref().and_then(|text| text.parse().ok());
        Ok(StackFilter {
            event,
            span: (self.from.is_some() || self.to.is_some()).then_some(span),
            cpu: self.cpu,
            pid: self.process,
            tid,
            comm: self.thread.clone().filter(|_| tid.is_none()),
            capture: self.capture.map(CaptureId),
            ring: self.ring.map(|r| if r == RingName::Kernel { Ring::Kernel } else { Ring::User }),
            symbol: self.symbol.as_deref().map(Pattern::new),
            idle: self.idle,
            ..StackFilter::default()
        })
    }
}

/// The sample type of that name.
fn named(profile: &Profile, name: &str) -> Result<std::sync::Arc<str>, Failure> {
    let types = profile.sample_types();
    let found = types.iter().find(|t| *t.event == *name);
    found.map(|t| t.event.clone()).ok_or_else(|| {
        let all: Vec<String> = types.iter().map(|t| clean(&t.event, 60)).collect();
        usage(anyhow!("there are no samples of `{}`; there are {}", clean(name, 60), all.join(", ")))
    })
}
