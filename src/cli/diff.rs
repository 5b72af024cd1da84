//! `perfbench diff A B`.
//!
//! Must not: take a profile, or judge what differs.

use super::args::{DiffArgs, PerName, SideName};
use super::no_samples::why_none;
use super::{Failure, failed, print, tell, usage};
use crate::model::{At, CaptureId, Span};
use crate::report::diff::{DiffReport, diff_json, diff_text};
use crate::report::diff_svg::diff_svg;
use crate::timeline::stacks::diff::{Comparison, DiffError, Per, Side, Which};
use crate::timeline::stacks::{Order, Pattern, StackFilter};
use crate::workbench::{Playback, Workbench};
use anyhow::{Context as _, anyhow};
use std::fmt::Write as _;
use std::path::Path;

/// Compares the stacks of two sessions, or of two parts of one.
pub(super) fn diff(args: &DiffArgs) -> Result<(), Failure> {
    let (path_a, path_b) = (&args.before, args.after.as_ref().unwrap_or(&args.before));
    let (mut filter_a, mut filter_b) = (filter(args, Which::Before), filter(args, Which::After));
    if path_a == path_b {
        keep_apart(&mut filter_a, &mut filter_b)?;
    }
    if let Some(svg) = &args.svg
        && (svg == path_a || svg == path_b)
    {
        return Err(usage(anyhow!("{} is a session itself; give --svg another name", svg.display())));
    }
    let a = Playback::load(path_a).map_err(usage)?;
    let other: Workbench;
    let b = match args.after {
        Some(_) => {
            other = Playback::load(path_b).map_err(usage)?;
            &other
        }
        None => &a,
    };
    let sides = [Side { timeline: a.timeline(), filter: filter_a }, Side { timeline: b.timeline(), filter: filter_b }];
    let per = args.per.map(|per| match per {
        PerName::Request => Per::Request,
        PerName::Second => Per::Second,
        PerName::Whole => Per::Whole,
    });
    let comparison = Comparison::new(&sides[0], &sides[1], per).map_err(|e| refused(e, &sides))?;
    if comparison.sides().iter().all(|side| side.samples == 0) {
        return Err(failed(anyhow!("{}", nothing_passes(args, &comparison))));
    }
    let patterns: Vec<Pattern> = args.sum.iter().map(|p| Pattern::new(p)).collect();
    let report = DiffReport {
        comparison: &comparison,
        names: [name(path_a, &sides[0].filter), name(path_b, &sides[1].filter)],
        patterns: &patterns,
        top: args.top,
    };
    if let Some(output) = &args.svg {
        let wide = if args.widths == SideName::A { Which::Before } else { Which::After };
        let flame = comparison.flame(wide, Order::Name, args.by_thread);
        let svg = diff_svg(&report, &flame, wide).map_err(failed)?;
        std::fs::write(output, svg)
            .with_context(|| format!("{} can't be written", output.display()))
            .map_err(failed)?;
        tell("difference flame graph", output);
    }
    print(&if args.json { diff_json(&report) } else { diff_text(&report) })
}

/// Two parts of one session have no sample in common. Where a stretch is given of one side only, and nothing else
/// tells the sides apart, the other is the rest.
fn keep_apart(a: &mut StackFilter, b: &mut StackFilter) -> Result<(), Failure> {
    let what = |f: &StackFilter| StackFilter { span: None, capture: None, ..f.clone() };
    if what(a) != what(b) || a.capture.is_some() && b.capture.is_some() && a.capture != b.capture {
        return Ok(());
    }
    let rest_of = |span: Span| (Some([span].into()), true);
    match (a.span, b.span) {
        (x, y) if a.capture != b.capture => {
            let whole = Span { from: At::START, to: At(u64::MAX) };
            if x.unwrap_or(whole).common(y.unwrap_or(whole)).is_some() {
                let n = a.capture.or(b.capture).map_or(0, |id| id.0);
                let other = if a.capture.is_some() { "--b-capture" } else { "--a-capture" };
                return Err(usage(anyhow!(
                    "both sides have samples of capture {n}: give {other} too, or stretches apart"
                )));
            }
        }
        (None, None) => {
            return Err(usage(anyhow!(
                "A and B are the same samples: give two sessions, or two parts of one by --a 10s-20s --b 40s-50s or --a-capture 1 --b-capture 2"
            )));
        }
        (Some(span), None) => (b.within, b.outside) = rest_of(span),
        (None, Some(span)) => (a.within, a.outside) = rest_of(span),
        (Some(x), Some(y)) => {
            if let Some(Span { from, to }) = x.common(y) {
                let to = if to.0 == u64::MAX { "the end".into() } else { to.to_string() };
                return Err(usage(anyhow!(
                    "A and B have {from} to {to} in common, which can't differ: give stretches apart"
                )));
            }
        }
    }
    Ok(())
}

/// Which samples of a side are meant.
fn filter(args: &DiffArgs, which: Which) -> StackFilter {
    let (range, capture, process) = match which {
        Which::Before => (args.a_range, args.a_capture, args.process.map(|p| p.0)),
        Which::After => (args.b_range, args.b_capture, args.process.map(|p| p.1)),
    };
    StackFilter {
        event: args.event.as_deref().map(Into::into),
        span: range.map(|(from, to)| Span { from: At::START + from, to: to.map_or(At(u64::MAX), |d| At::START + d) }),
        pid: process,
        comm: args.thread.clone(),
        capture: capture.map(CaptureId),
        symbol: args.symbol.as_deref().map(Pattern::new),
        idle: args.idle,
        ..StackFilter::default()
    }
}

/// What a side is of, in words.
fn name(path: &Path, filter: &StackFilter) -> String {
    let mut name = path.display().to_string();
    if let Some(span) = filter.span {
        let _ = match span.to.0 {
            u64::MAX => write!(name, ", from {}", span.from),
            _ => write!(name, ", {} to {}", span.from, span.to),
        };
    }
    if filter.outside {
        name.push_str(", the rest");
    }
    match filter.capture {
        Some(CaptureId::RECORDER) => name.push_str(", flight recorder"),
        Some(CaptureId(n)) => drop(write!(name, ", capture {n}")),
        None => {}
    }
    if let Some(pid) = filter.pid {
        let _ = write!(name, ", process {pid}");
    }
    if let Some(comm) = &filter.comm {
        let _ = write!(name, ", thread {comm}");
    }
    if let Some(symbol) = &filter.symbol {
        let _ = write!(name, ", stacks with {}", symbol.text());
    }
    name
}

/// A selection without samples is a failure, with where there are some; one of other things wrong use.
fn refused(e: DiffError, sides: &[Side<'_>; 2]) -> Failure {
    match &e {
        DiffError::NoSamples { which } => {
            let side = if *which == Which::Before { &sides[0] } else { &sides[1] };
            failed(anyhow!("{e}: {}", why_none(side.timeline, &side.filter)))
        }
        DiffError::NoRequests { .. } => failed(anyhow!("{e}: --per second")),
        DiffError::Mixed { .. } => usage(anyhow!("{e}: --a-capture N, --b-capture N, --event NAME")),
        DiffError::Different { .. } => usage(anyhow!("{e}: --event NAME")),
    }
}

/// Why no sample of either side is left.
fn nothing_passes(args: &DiffArgs, c: &Comparison<'_>) -> String {
    let outside: u64 = c.sides().iter().map(|side| side.outside).sum();
    let filters = [
        ("--process", args.process.is_some()),
        ("--thread", args.thread.is_some()),
        ("--symbol", args.symbol.is_some()),
    ];
    let given: Vec<&str> = filters.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
    match (outside, given.is_empty()) {
        (0, false) => format!("no sample of either side is of the {} given", given.join(" and ")),
        (0, true) => "all samples of both sides are of idle CPUs; --idle compares them".into(),
        (n, _) => {
            format!("all {n} samples lie in slots of load that were not sampled as a whole; --per second counts them")
        }
    }
}
