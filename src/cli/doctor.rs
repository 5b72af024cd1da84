//! `perfbench doctor`.
//!
//! Must not: change anything.

use super::args::DoctorArgs;
use super::target::{self, Target};
use super::{Failure, print, usage};
use crate::host::{Reach, Verdict, doctor as examine};
use crate::model::clean;
use anyhow::Context as _;
use std::fmt::Write as _;
use std::net::ToSocketAddrs as _;

/// Prints what this host permits and what will bite.
pub(super) fn doctor(args: &DoctorArgs) -> Result<(), Failure> {
    let reach = match &args.target {
        None => Reach::Anywhere,
        Some(text) => target::parse(text).and_then(|t| reach_of(&t)).map_err(usage)?,
    };
    let checks = examine(reach);
    let word = |v| match v {
        Verdict::Good => "good",
        Verdict::Bites => "bites",
        Verdict::Unknown => "unknown",
    };
    if args.json {
        let all: Vec<_> = checks
            .iter()
            .map(|c| {
                serde_json::json!({
                    "name": c.name, "value": c.value, "verdict": word(c.verdict), "why": c.why, "mend": c.mend,
                })
            })
            .collect();
        return print(&(serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"));
    }
    let mut out = String::new();
    let width = checks.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    for c in &checks {
        let _ = writeln!(out, "{:<7} {:<width$}  {}", word(c.verdict), c.name, clean(&c.value, 100));
        if c.verdict != Verdict::Good {
            let _ = writeln!(out, "{:8}{:width$}  {}", "", "", clean(&c.why, 300));
        }
        if let Some(mend) = &c.mend {
            let _ = writeln!(out, "{:8}{:width$}  → {}", "", "", clean(mend, 300));
        }
    }
    let bites = checks.iter().filter(|c| c.verdict == Verdict::Bites).count();
    let _ = writeln!(out, "\n{bites} of {} will bite", checks.len());
    print(&out)
}

/// Where a target is, by its first address; nothing is sent to it.
fn reach_of(target: &Target) -> anyhow::Result<Reach> {
    let (host, shown) = (target.host.as_str(), target.shown.as_str());
    let found = (host, target.port).to_socket_addrs();
    let mut found = found.with_context(|| format!("{shown}: the name `{host}` does not resolve"))?;
    found.next().map(Reach::of).with_context(|| format!("{shown}: the name `{host}` has no address"))
}
