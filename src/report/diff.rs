//! The difference of two selections of samples, as text and as JSON.
//!
//! Must not: compare; it lays out a [`Comparison`]. Nor show names uncleaned.

use crate::model::{ALL_CPUS, CaptureId, Interval, clean};
use crate::timeline::stacks::Pattern;
use crate::timeline::stacks::diff::{Change, Comparison, DiffRow, FEWEST_SAMPLES, LEVEL, Per, SideSum, order};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// What is laid out.
#[derive(Debug)]
pub struct DiffReport<'a> {
    /// Both sides.
    pub comparison: &'a Comparison<'a>,
    /// What each side is of, in words: its session and what was selected of it.
    pub names: [String; 2],
    /// Patterns whose stacks are summed up.
    pub patterns: &'a [Pattern],
    /// Rows of each table.
    pub top: usize,
}

/// How weights are shown: divided by a factor, in a unit.
struct Scale {
    factor: f64,
    unit: String,
}

impl Scale {
    fn of(c: &Comparison<'_>) -> Scale {
        let [t, _] = c.sample_types();
        let (factor, unit) = match (&*t.unit, c.per()) {
            ("ns", Per::Request) => (1e3, "µs".into()),
            ("ns", Per::Second | Per::Whole) => (1e6, "ms".into()),
            (unit, _) => (1.0, clean(unit, 20)),
        };
        let per = match c.per() {
            Per::Request => "/request",
            Per::Second => "/s",
            Per::Whole => "",
        };
        Scale { factor, unit: format!("{unit}{per}") }
    }

    fn show(&self, weight: f64) -> String {
        number(weight / self.factor)
    }
}

/// The unit that [`amount`] shows weights in: `µs/request`.
pub(super) fn unit(c: &Comparison<'_>) -> String {
    Scale::of(c).unit
}

/// A change in words: `12.3 to 45.6 µs/request, +33.3, 3.71×, p 0.0003`.
pub(super) fn amount(c: &Comparison<'_>, change: &Change) -> String {
    let scale = Scale::of(c);
    let told = match (change.p, change.is_noise) {
        (None, _) => "too few samples to tell".into(),
        (Some(p), true) => format!("within noise, p {}", odds(p)),
        (Some(p), false) => format!("p {}", odds(p)),
    };
    format!(
        "{} to {} {}, {}{}, {told}",
        scale.show(change.before),
        scale.show(change.after),
        scale.unit,
        signed(&scale, change.delta()),
        change.ratio().map(|r| format!(", {}", times(r))).unwrap_or_default()
    )
}

/// The difference as text, at most 100 columns but for long names.
pub fn diff_text(report: &DiffReport<'_>) -> String {
    let c = report.comparison;
    let scale = Scale::of(c);
    let mut out = String::new();
    head(report, &mut out);
    let _ = writeln!(out, "\n{:>11} {:>11} {:>11} {:>8}    {}", "A", "B", "change", "B/A", scale.unit);
    line(&mut out, &scale, &c.whole(), "everything");
    for (pattern, change) in report.patterns.iter().zip(c.sums(report.patterns)) {
        line(&mut out, &scale, &change, &format!("stacks with {}", clean(pattern.text(), 60)));
    }
    let mut rows = c.rows();
    table(report, &rows, |r| &r.own, "self: in the function itself", &mut out);
    rows.sort_by(|x, y| order(&x.total, &y.total).then_with(|| x.symbol.cmp(&y.symbol)));
    table(report, &rows, |r| &r.total, "total: in it and in what it called", &mut out);
    let _ = writeln!(
        out,
        "\n~ within noise: of the changes without a mark at most {} % are expected to be chance.\n\
         ? fewer than {FEWEST_SAMPLES} samples on both sides together, or too short: not judged.\n\
         Noise is what varies within each run. What differs from run to run is not in it: repeat both.",
        LEVEL * 100.0
    );
    out
}

fn head(report: &DiffReport<'_>, out: &mut String) {
    let c = report.comparison;
    for (n, (side, name)) in c.sides().into_iter().zip(&report.names).enumerate() {
        let letter = ["A", "B"][n];
        let _ = writeln!(out, "{letter}  {}", clean(name, 200));
        let _ = writeln!(out, "   {}", observed(side));
        let event = &c.sample_types()[n].event;
        for (id, how) in &side.captures {
            let _ = writeln!(out, "   {}", sampled(*id, how.as_ref(), event));
        }
    }
    let outside = c.sides().map(|s| s.outside);
    let _ = match c.per() {
        Per::Request => writeln!(
            out,
            "Divided by completed requests, both counted over whole slots of load ({} ms; 1 s where it is over an hour old){}.",
            Interval::TICK_NS / 1_000_000,
            match outside {
                [0, 0] => String::new(),
                [a, b] => format!(";\nthe samples at the edges are left out: {a} of A, {b} of B"),
            }
        ),
        Per::Second => writeln!(out, "Divided by the seconds in which samples were taken."),
        Per::Whole => writeln!(out, "Divided by nothing: sums are compared."),
    };
    for note in notes(c) {
        let _ = writeln!(out, "note: {note}");
    }
}

/// `0:03.2 to 0:13.0 (9.8 s)   48123 requests   1940 samples   12 lost (0.6 %)`
fn observed(side: &SideSum) -> String {
    let stretch = match (side.stretches.first(), side.stretches.len()) {
        (Some(s), 1) => format!("{} to {} ({:.1} s)", s.span.from, s.span.to, side.seconds),
        (_, n) => format!("{n} stretches ({:.1} s)", side.seconds),
    };
    let share = side.lost as f64 / (side.samples + side.lost).max(1) as f64 * 100.0;
    let lost = match side.lost {
        0 => "none lost".into(),
        n => format!("{n} lost ({share:.1} %), made up for"),
    };
    format!("{stretch}   {:.0} requests completed   {} samples, {lost}", side.requests, side.samples)
}

fn sampled(id: CaptureId, how: Option<&(u32, String)>, event: &str) -> String {
    let what = if id == CaptureId::RECORDER { "flight recorder".into() } else { format!("capture {}", id.0) };
    match how {
        Some((hz, how)) => format!("{what}: {} at {hz} Hz", clean(how, 80)),
        None => format!("{what}: {}", clean(event, 60)),
    }
}

/// What the reader should know before he believes it.
fn notes(c: &Comparison<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let sides = c.sides();
    let all_cpus =
        |s: &SideSum| s.captures.iter().filter_map(|(_, h)| h.as_ref()).map(|h| h.1.contains(ALL_CPUS)).max();
    if let (Some(a), Some(b)) = (all_cpus(sides[0]), all_cpus(sides[1]))
        && a != b
    {
        let (wide, narrow) = if a { ("A", "B") } else { ("B", "A") };
        notes.push(format!(
            "{wide} holds all processes, {narrow} only some: --process or --thread make them comparable"
        ));
    }
    for (letter, side) in ["A", "B"].into_iter().zip(sides) {
        if side.lost > side.samples / 20 {
            notes.push(format!("many samples of {letter} were lost; what was lost is taken to be like the rest"));
        }
        notes.extend(side.shortfalls.iter().map(|short| format!("of {letter}, {short}")));
        if side.samples == 0 {
            notes.push(format!("{letter} has no sample of what was selected"));
        }
        if !side.is_timed {
            notes.push(format!(
                "samples of {letter} have no times and are taken for independent, which makes noise look smaller"
            ));
        }
    }
    if !c.is_judged() {
        notes.push("nothing is judged: half a second on each side is the least, of samples that can be counted".into());
    }
    notes
}

fn table(report: &DiffReport<'_>, rows: &[DiffRow], of: impl Fn(&DiffRow) -> &Change, title: &str, out: &mut String) {
    let scale = Scale::of(report.comparison);
    let is_there = |r: &&DiffRow| of(r).before > 0.0 || of(r).after > 0.0;
    let all: Vec<&DiffRow> = rows.iter().filter(is_there).collect();
    let certain = all.iter().filter(|r| !of(r).is_noise).count();
    let _ = writeln!(out, "\n{title}   {certain} of {} functions changed", all.len());
    for r in all.iter().take(report.top) {
        let module = if r.module.is_empty() { String::new() } else { format!(" ({})", clean(&r.module, 40)) };
        let kind = if r.kind.suffix().is_empty() { "" } else { r.kind.name() };
        let gap = if kind.is_empty() { "" } else { " " };
        line(out, &scale, of(r), &format!("{kind}{gap}{}{module}", clean(&r.symbol, 200)));
    }
    if all.len() > report.top {
        let hidden = certain.saturating_sub(report.top);
        let _ = writeln!(out, "{:>47} {} more, {hidden} of them changed: --top N", "…", all.len() - report.top);
    }
}

fn line(out: &mut String, scale: &Scale, change: &Change, what: &str) {
    let mark = match (change.p, change.is_noise) {
        (None, _) => "?",
        (Some(_), true) => "~",
        (Some(_), false) => " ",
    };
    let ratio = change.ratio().map_or_else(|| if change.after > 0.0 { "new".into() } else { String::new() }, times);
    let (before, after) = (scale.show(change.before), scale.show(change.after));
    let _ = writeln!(out, "{before:>11} {after:>11} {:>11} {ratio:>8} {mark}  {what}", signed(scale, change.delta()));
}

/// At most nine columns: three or four significant digits.
fn number(v: f64) -> String {
    match v.abs() {
        0.0 => "0".into(),
        a if a < 0.0005 => format!("{v:.1e}"),
        a if a < 9.9995 => format!("{v:.3}"),
        a if a < 99.995 => format!("{v:.2}"),
        a if a < 9_999.95 => format!("{v:.1}"),
        a if a < 9_999_999.5 => format!("{v:.0}"),
        _ => format!("{v:.3e}"),
    }
}

fn signed(scale: &Scale, delta: f64) -> String {
    let text = scale.show(delta);
    if delta > 0.0 { format!("+{text}") } else { text }
}

fn times(ratio: f64) -> String {
    match ratio {
        r if r < 99.95 => format!("{r:.2}×"),
        r if r < 99_999.5 => format!("{r:.0}×"),
        r => format!("{r:.1e}×"),
    }
}

fn odds(p: f64) -> String {
    if p < 1e-4 { format!("{p:.0e}") } else { format!("{p:.4}") }
}

/// The difference as one JSON object with every function; weights in the unit of the samples.
pub fn diff_json(report: &DiffReport<'_>) -> String {
    let c = report.comparison;
    let [first, second] = c.sample_types();
    let sums: Vec<Value> = report
        .patterns
        .iter()
        .zip(c.sums(report.patterns))
        .map(|(pattern, change)| with("pattern", pattern.text(), change_json(&change)))
        .collect();
    let functions: Vec<Value> = c
        .rows()
        .iter()
        .map(|r| {
            json!({
                "symbol": &*r.symbol, "module": &*r.module, "kind": r.kind.name(),
                "self": change_json(&r.own), "total": change_json(&r.total),
            })
        })
        .collect();
    let side = |n: usize, event: &str| {
        let s = c.sides()[n];
        let stretches: Vec<Value> = s
            .stretches
            .iter()
            .map(|x| json!({ "capture": x.capture.0, "from_s": x.span.from.secs(), "to_s": x.span.to.secs() }))
            .collect();
        let captures: Vec<Value> = s
            .captures
            .iter()
            .map(|(id, how)| json!({ "capture": id.0, "hz": how.as_ref().map(|h| h.0), "how": how.as_ref().map(|h| &h.1) }))
            .collect();
        json!({
            "name": report.names[n], "event": event, "stretches": stretches, "captures": captures,
            "seconds": s.seconds, "requests": s.requests, "divisor": s.divisor, "samples": s.samples,
            "lost": s.lost, "outside": s.outside, "weight": s.weight, "slices": s.slices, "timed": s.is_timed,
            "shortfalls": &s.shortfalls,
        })
    };
    super::json::written(&json!({
        "schema": super::SCHEMA, "per": c.per().name(), "unit": &*first.unit, "judged": c.is_judged(), "level": LEVEL,
        "a": side(0, &first.event), "b": side(1, &second.event),
        "notes": notes(c), "whole": change_json(&c.whole()), "sums": sums, "functions": functions,
    }))
}

fn change_json(change: &Change) -> Map<String, Value> {
    let value = json!({
        "before": change.before, "after": change.after, "delta": change.delta(), "ratio": change.ratio(),
        "p": change.p, "noise": change.is_noise,
    });
    if let Value::Object(map) = value { map } else { Map::new() }
}

fn with(key: &str, text: &str, mut map: Map<String, Value>) -> Value {
    map.insert(key.into(), text.into());
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_columns() {
        for (v, text) in [
            (0.0, "0"),
            (0.00012, "1.2e-4"),
            (0.1234, "0.123"),
            (9.9999, "10.00"),
            (-12.345, "-12.35"),
            (1234.56, "1234.6"),
            (-123456.7, "-123457"),
            (1.23456e12, "1.235e12"),
        ] {
            assert_eq!(number(v), text, "{v}");
        }
        for n in -8..30 {
            for v in [1.0, 9.9996, 9.4] {
                let v = v * 10f64.powi(n);
                assert!(number(-v).len() <= 10, "{v}");
            }
        }
        assert_eq!([0.5, 99.96, 1e7].map(times), ["0.50×", "100×", "1.0e7×"]);
        assert_eq!([0.04, 3e-9].map(odds), ["0.0400", "3e-9"]);
    }
}
