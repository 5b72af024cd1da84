//! `perfbench profile FILE`: the functions of a session's stacks by what they cost.
//!
//! Must not: add up stacks itself.

use super::no_samples::why_none;
use super::stack_args::StackArgs;
use super::{Failure, failed, print, usage};
use crate::model::{FrameKind, OFF_CPU, SourceLine, clean};
use crate::timeline::Timeline;
use crate::timeline::stacks::{Edge, Hot, HotLine, Pattern, StackFilter, Weights};
use crate::workbench::Playback;
use anyhow::anyhow;
use clap::ValueEnum;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// Functions
    Function,
    /// Lines of source
    Line,
}

#[derive(Debug, clap::Args)]
pub(super) struct PrintArgs {
    /// The session file
    file: PathBuf,
    /// Functions to show, those with the most of their own first
    #[arg(long, value_name = "N", default_value_t = 30)]
    top: usize,
    /// First those with the most of their own and what they call together
    #[arg(long)]
    cumulative: bool,
    /// What all stacks with such a function come to, each counted once: useragent|UserAgent|ua_parser
    #[arg(long, value_name = "PATTERN")]
    sum: Option<String>,
    /// The functions with such a name, what called them and what they call
    #[arg(long, value_name = "PATTERN", conflicts_with = "sum")]
    peek: Option<String>,
    /// What is told apart
    #[arg(long, value_enum, value_name = "WHAT", default_value = "function", conflicts_with_all = ["sum", "peek"])]
    by: By,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    samples: StackArgs,
}

/// Prints what was asked.
pub(super) fn profile(args: &PrintArgs) -> Result<(), Failure> {
    let workbench = Playback::load(&args.file).map_err(usage)?;
    let t = workbench.timeline();
    let filter = args.samples.filter(t)?;
    let weights = t.profile().weights(&filter);
    if weights.samples == 0 {
        return Err(failed(anyhow!(why_none(t, &filter))));
    }
    let what = What { t, filter: &filter, weights: &weights };
    if let Some(text) = args.sum.as_ref().or(args.peek.as_ref()) {
        let pattern = Pattern::new(text);
        if pattern.is_empty() {
            return Err(usage(anyhow!("give a part of a name, or several with | between them")));
        }
        return match args.sum {
            Some(_) => print(&what.sum(&pattern, args.json)),
            None => print(&what.peek(&pattern, args.json)?),
        };
    }
    let mut rows: Vec<Cost> = match args.by {
        By::Function => t.profile().hot(&filter).into_iter().map(Cost::from).collect(),
        By::Line => t.profile().lines(&filter).into_iter().map(Cost::from).collect(),
    };
    if args.cumulative {
        rows.sort_by_key(|h| Reverse((h.total, h.self_weight)));
    }
    print(&if args.json { what.json(&rows, args.by) } else { what.text(&rows, args.top, args.by) })
}

/// A function, or a line of it, with what it cost.
struct Cost {
    symbol: Arc<str>,
    module: Arc<str>,
    kind: FrameKind,
    line: Option<SourceLine>,
    self_weight: u64,
    total: u64,
}

impl From<Hot> for Cost {
    fn from(Hot { symbol, module, kind, self_weight, total }: Hot) -> Cost {
        Cost { symbol, module, kind, line: None, self_weight, total }
    }
}

impl From<HotLine> for Cost {
    fn from(HotLine { symbol, module, kind, line, self_weight, total }: HotLine) -> Cost {
        Cost { symbol, module, kind, line, self_weight, total }
    }
}

/// What is shown.
struct What<'a> {
    t: &'a Timeline,
    filter: &'a StackFilter,
    weights: &'a Weights,
}

impl What<'_> {
    /// The events of the samples that are meant.
    fn events(&self) -> Vec<String> {
        let profile = self.t.profile();
        let meant = |event: &std::sync::Arc<str>| {
            let one = StackFilter { event: Some(event.clone()), ..self.filter.clone() };
            self.filter.event.as_ref().map_or_else(|| profile.is_meant(event), |e| e == event)
                && profile.weights(&one).samples > 0
        };
        let types = profile.sample_types();
        let mut events: Vec<String> = types.iter().filter(|t| meant(&t.event)).map(|t| clean(&t.event, 60)).collect();
        events.dedup();
        events
    }

    fn text(&self, hot: &[Cost], top: usize, by: By) -> String {
        let of = Amount::of(&self.weights.unit, self.weights.total);
        let mut out = self.heading(&of);
        out += &format!(
            "\n{:>12} {:>7} {:>7} {:>12} {:>7}  {}\n",
            "self",
            "self %",
            "sum %",
            "total",
            "total %",
            by.column()
        );
        let share = |n: u64| n as f64 * 100.0 / self.weights.total.max(1) as f64;
        let mut sum = 0u64;
        for h in hot.iter().take(top) {
            sum = sum.saturating_add(h.self_weight);
            let line = h.line.as_ref().map(|l| format!("  {}:{}", clean(&l.file, 200), l.line)).unwrap_or_default();
            out += &format!(
                "{:>12} {:>7.2} {:>7.2} {:>12} {:>7.2}  {}{line}{}\n",
                of.show(h.self_weight),
                share(h.self_weight),
                share(sum),
                of.show(h.total),
                share(h.total),
                clean(&h.symbol, 200),
                module(&h.module, h.kind)
            );
        }
        if hot.len() > top {
            out += &format!("{} more {}s; --top {} shows all\n", hot.len() - top, by.column(), hot.len());
        }
        out
    }

    /// What is looked at.
    fn heading(&self, of: &Amount) -> String {
        let profile = self.t.profile();
        let mut out = format!(
            "{}\n{}: {} in {} samples\n",
            clean(&self.t.opening().target, 100),
            self.events().join(" and "),
            of.exact(self.weights.total),
            self.weights.samples
        );
        if self.weights.idle > 0 {
            let who =
                if self.events().iter().all(|e| e.starts_with(OFF_CPU)) { "threads without work" } else { "idle CPUs" };
            out += &format!("{who}, not shown: {}; --idle shows them\n", of.exact(self.weights.idle));
        }
        for short in self.t.shortfalls(self.filter) {
            out += &format!("note: {short}\n");
        }
        let others: Vec<String> = profile
            .sample_types()
            .iter()
            .filter(|t| !self.events().contains(&clean(&t.event, 60)))
            .map(|t| clean(&t.event, 60))
            .collect();
        if !others.is_empty() {
            out += &format!("other sample types: {}\n", others.join(", "));
        }
        out
    }

    fn json(&self, rows: &[Cost], by: By) -> String {
        let cost = |h: &Cost| {
            let mut row = json!({"symbol": *h.symbol, "module": *h.module, "kind": h.kind.name(),
                                 "self": h.self_weight, "total": h.total});
            if let Some(line) = &h.line {
                row["file"] = json!(*line.file);
                row["line"] = json!(line.line);
            }
            row
        };
        let rows: Vec<Value> = rows.iter().map(cost).collect();
        pretty(&self.with_head(json!({format!("{}s", by.column()): rows})))
    }

    /// The functions that match with what stands next to them on the stacks.
    fn peek(&self, pattern: &Pattern, as_json: bool) -> Result<String, Failure> {
        let peek = self.t.profile().peek(self.filter, pattern);
        if peek.total == 0 {
            let text = clean(pattern.text(), 200);
            return Err(failed(anyhow!(
                "no stack has a function like {text}; `perfbench profile` lists those there are"
            )));
        }
        if as_json {
            let edges = |edges: &[Edge]| -> Vec<Value> {
                let edge = |e: &Edge| json!({"symbol": *e.symbol, "module": *e.module, "kind": e.kind.name(), "weight": e.weight});
                edges.iter().map(edge).collect()
            };
            return Ok(pretty(&self.with_head(json!({
                "pattern": pattern.text(), "sum": peek.total, "self": peek.self_weight, "outermost": peek.outermost,
                "recursive": peek.recursive, "callers": edges(&peek.callers), "callees": edges(&peek.callees),
            }))));
        }
        let of = Amount::of(&self.weights.unit, self.weights.total);
        let share = |n: u64| n as f64 * 100.0 / peek.total.max(1) as f64;
        let mut out = self.heading(&of);
        out += "\n";
        let mut row = |mark: &str, weight: u64, name: &str| {
            out += &format!("{:>12} {:>7.2}  {mark} {name}\n", of.show(weight), share(weight));
        };
        for e in &peek.callers {
            row("↗", e.weight, &format!("{}{}", clean(&e.symbol, 200), module(&e.module, e.kind)));
        }
        if peek.outermost > 0 {
            row("↗", peek.outermost, "nobody: it is outermost");
        }
        row("→", peek.total, &format!("{}, of its own {}", clean(pattern.text(), 200), of.show(peek.self_weight)));
        for e in &peek.callees {
            row("↘", e.weight, &format!("{}{}", clean(&e.symbol, 200), module(&e.module, e.kind)));
        }
        Ok(out)
    }

    fn sum(&self, pattern: &Pattern, as_json: bool) -> String {
        let matched = self.t.profile().matched(self.filter, pattern);
        let of = Amount::of(&self.weights.unit, self.weights.total);
        let share = matched as f64 / self.weights.total.max(1) as f64;
        if as_json {
            return pretty(&self.with_head(json!({"pattern": pattern.text(), "sum": matched, "share": share})));
        }
        format!(
            "{} of {}, {:.2} %, are in stacks with a function like {} ({})\n",
            of.exact(matched),
            of.exact(self.weights.total),
            share * 100.0,
            clean(pattern.text(), 200),
            self.events().join(" and ")
        )
    }

    fn with_head(&self, mut body: Value) -> Value {
        let types: Vec<Value> =
            self.t.profile().sample_types().iter().map(|t| json!({"event": *t.event, "unit": *t.unit})).collect();
        let mut all = json!({
            "events": self.events(), "unit": *self.weights.unit, "total": self.weights.total,
            "samples": self.weights.samples, "idle": self.weights.idle, "sample_types": types,
            "shortfalls": self.t.shortfalls(self.filter),
        });
        if let (Some(all), Some(body)) = (all.as_object_mut(), body.as_object_mut()) {
            all.append(body);
        }
        all
    }
}

fn module(module: &str, kind: FrameKind) -> String {
    match module {
        "" => String::new(),
        module => format!("  ({}{})", clean(module, 80), if kind.is_kernel() { ", kernel" } else { "" }),
    }
}

impl By {
    fn column(self) -> &'static str {
        match self {
            By::Function => "function",
            By::Line => "line",
        }
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Weights in a unit that fits the largest of them.
struct Amount {
    unit: String,
    divisor: f64,
    raw: String,
}

impl Amount {
    fn of(unit: &str, most: u64) -> Amount {
        let steps: &[(f64, &str)] = match unit {
            "ns" => &[(1e9, "s"), (1e6, "ms"), (1e3, "µs")],
            "bytes" => &[(f64::powi(2.0, 30), "GiB"), (f64::powi(2.0, 20), "MiB"), (f64::powi(2.0, 10), "KiB")],
            _ => &[],
        };
        let step = steps.iter().find(|(divisor, _)| most as f64 >= *divisor);
        let raw = clean(unit, 40);
        step.map_or_else(
            || Amount { unit: raw.clone(), divisor: 1.0, raw: raw.clone() },
            |(divisor, unit)| Amount { unit: (*unit).into(), divisor: *divisor, raw: raw.clone() },
        )
    }

    fn show(&self, n: u64) -> String {
        if self.divisor == 1.0 { n.to_string() } else { format!("{:.2} {}", n as f64 / self.divisor, self.unit) }
    }

    /// With the number as it is, when that is not shown already.
    fn exact(&self, n: u64) -> String {
        if self.divisor == 1.0 { format!("{n} {}", self.raw) } else { format!("{} ({n} {})", self.show(n), self.raw) }
    }
}
