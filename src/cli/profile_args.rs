//! The options that say what is profiled, when, and how densely.
//!
//! Must not: take a profile.

use crate::timeline::objective::{Lasting, Objective};
use crate::workbench::Trigger;
use clap::ArgAction;
use std::time::Duration;

/// What is profiled.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ProfileArgs {
    /// Take a profile AT this time for so long: 3s,5s; may be given several times
    #[arg(long, value_name = "AT,FOR", value_parser = capture, action = ArgAction::Append, help_heading = "Profile")]
    pub(super) capture: Vec<(Duration, Duration)>,
    /// Samples per second and CPU of a profile
    #[arg(long, value_name = "HZ", default_value_t = 99, value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = "Profile")]
    pub(super) capture_hz: u32,
    /// How much a capture keeps of what was before the key was pressed, and of what comes after
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = length, help_heading = "Profile")]
    pub(super) capture_length: Duration,
    /// Take a profile by itself when this becomes true of a second of load, like `p99>200ms` or
    /// `errors>1% for 3s`; again only after it was false. May be given several times
    #[arg(long, value_name = "CONDITION", action = ArgAction::Append, help_heading = "Profile")]
    pub(super) capture_if: Vec<Objective>,
    /// Profiles that --capture-if takes at most
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000), requires = "capture_if", help_heading = "Profile")]
    pub(super) capture_most: u32,
}

impl ProfileArgs {
    /// What takes profiles by itself.
    pub(super) fn triggers(&self) -> Vec<Trigger> {
        let conditions = self.capture_if.iter().flat_map(|o| o.conditions()).cloned();
        conditions.map(|c| Trigger::new(Lasting::new(c))).collect()
    }
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
