//! `perfbench flamegraph FILE`.
//!
//! Must not: take a profile.

use super::args::FlamegraphArgs;
use super::{Failure, failed, print, tell, usage};
use crate::model::{At, CaptureState, Span, clean};
use crate::report::svg::flame_svg;
use crate::timeline::Timeline;
use crate::timeline::stacks::StackFilter;
use crate::workbench::Playback;
use anyhow::{Context as _, anyhow};

/// Draws or prints the stacks of a session.
pub(super) fn flamegraph(args: &FlamegraphArgs) -> Result<(), Failure> {
    let workbench = Playback::load(&args.file).map_err(usage)?;
    let t = workbench.timeline();
    let span = Span {
        from: args.from.map_or(At::START, |d| At::START + d),
        to: args.to.map_or(At(u64::MAX), |d| At::START + d),
    };
    if span.is_empty() {
        return Err(usage(anyhow!("--to is not after --from")));
    }
    let chosen = (args.from.is_some() || args.to.is_some()).then_some(span);
    let filter = StackFilter { span: chosen, idle: args.idle, ..StackFilter::default() };
    let folded = t.profile().folded(&filter, !args.folded);
    if folded.is_empty() {
        return Err(failed(anyhow!(why_empty(t, chosen))));
    }
    if args.folded {
        return print(&(folded.join("\n") + "\n"));
    }
    let subtitle = match (t.profile().span(), chosen) {
        (Some(all), Some(s)) => format!("{} to {}", s.from.max(all.from), s.to.min(all.to)),
        (Some(all), None) => format!("{} to {}", all.from, all.to),
        _ => String::new(),
    };
    let unit = t.profile().weights(&filter).unit;
    let svg = flame_svg(&folded, &clean(&t.opening().target, 100), &subtitle, &unit).map_err(failed)?;
    let output = args.output.clone().unwrap_or_else(|| args.file.with_extension("svg"));
    if output == args.file {
        return Err(usage(anyhow!("{} is the session itself; give -o FILE", output.display())));
    }
    std::fs::write(&output, svg).with_context(|| format!("{} can't be written", output.display())).map_err(failed)?;
    tell("flame graph", &output);
    Ok(())
}

/// Why a session has no stacks to draw, and what to do.
pub(super) fn why_empty(t: &Timeline, chosen: Option<Span>) -> String {
    let failure = t.captures().flat_map(|(_, news)| news).find_map(|n| match &n.state {
        CaptureState::Failed { what, mend } => Some((what, mend)),
        _ => None,
    });
    match (t.profile().span(), failure) {
        (Some(all), _) if chosen.is_some() => {
            format!("no stacks in that stretch; the session has some from {} to {}", all.from, all.to)
        }
        (Some(_), _) => "all samples are of idle CPUs; --idle shows them".into(),
        (None, Some((what, mend))) => {
            let mend = mend.as_ref().map(|m| format!("; {m}")).unwrap_or_default();
            format!("the session has no stacks, its capture failed: {what}{mend}")
        }
        (None, None) => "the session has no stacks: no capture was taken; press c, or give --capture AT,FOR".into(),
    }
}
