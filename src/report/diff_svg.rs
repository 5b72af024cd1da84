//! A difference flame graph as SVG: boxes as wide as on one side, coloured by what changed.
//!
//! inferno colours by name or by the change of a function's own weight; here a box has the colour of its
//! whole subtree's change where that is certain, so that colour can be followed to its cause, and no
//! colour where it may be chance. Orange and blue, light to deep, are told apart with any colour vision.
//!
//! Must not: read a profile, or let a name become markup.

use super::diff::{DiffReport, amount, unit};
use super::svg::{SvgError, printable};
use crate::timeline::stacks::diff::{Change, DiffFlame, Which};
use crate::timeline::stacks::{FlameGraph, FlameNode};
use std::fmt::Write as _;

/// Width of the boxes together, pixels.
const WIDTH: f64 = 1180.0;
/// Height of a row.
const ROW: f64 = 17.0;
/// Boxes narrower than this can't be seen and are left out.
const NARROWEST: f64 = 0.25;
/// Zoom and search.
const SCRIPT: &str = include_str!("../../assets/diff-flame.js");

/// Draws the difference. `wide`: the side whose weights are the widths of `flame`.
///
/// # Errors
/// When that side has no weight.
pub fn diff_svg(report: &DiffReport<'_>, flame: &DiffFlame, wide: Which) -> Result<String, SvgError> {
    let c = report.comparison;
    let graph = &flame.graph;
    let total = graph.nodes.first().map_or(0, |root| root.total);
    if total == 0 {
        return Err(SvgError::Empty);
    }
    let scale = WIDTH / total as f64;
    let shown = |node: &FlameNode| node.total as f64 * scale >= NARROWEST;
    let deepest = graph.nodes.iter().filter(|n| shown(n)).map(|n| n.depth).max().unwrap_or(0);
    let (head, foot) = (118.0, 30.0);
    let bottom = head + ROW * (f64::from(deepest) + 1.0);
    let height = bottom + foot;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{height}\" viewBox=\"0 0 {w} {height}\" data-width=\"{WIDTH}\">\n\
         <style>text{{font-family:monospace;font-size:11px;fill:#111}} .h{{font-size:15px}} .l{{font-size:12px}} .b rect{{stroke-width:1}} #search{{cursor:pointer}} .b{{cursor:pointer}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fdfdfa\"/>",
        w = WIDTH + 20.0
    );
    let _ = writeln!(out, "<text class=\"h\" x=\"10\" y=\"22\">{}</text>", text(&format!("Difference, {}", unit(c))));
    for (n, name) in report.names.iter().enumerate() {
        let line = format!("{}  {name}", ["A", "B"][n]);
        let _ = writeln!(out, "<text class=\"l\" x=\"10\" y=\"{}\">{}</text>", 40 + 16 * n, text(&line));
    }
    let side = if wide == Which::Before { "A" } else { "B" };
    let all = amount(c, &c.whole());
    let gone = gone(flame);
    let line = format!("everything: {all}.  Widths are those of {side}.{gone}");
    let _ = writeln!(out, "<text class=\"l\" x=\"10\" y=\"72\">{}</text>", text(&line));
    legend(&mut out);
    for (node, change) in graph.nodes.iter().zip(&flame.changes).filter(|(n, _)| shown(n)) {
        let (x, w) = (node.start as f64 * scale, node.total as f64 * scale);
        let y = bottom - ROW * (f64::from(node.depth) + 1.0);
        let name = format!("{}{}", node.symbol, node.kind.suffix());
        let title = format!("{name}: {}", amount(c, change));
        let _ = writeln!(
            out,
            "<g class=\"b\" data-x=\"{x:.3}\" data-w=\"{w:.3}\" data-d=\"{}\" data-n=\"{}\"><title>{}</title>\
             <rect x=\"{:.2}\" y=\"{y}\" width=\"{:.2}\" height=\"{}\" rx=\"1\" fill=\"{}\"/>\
             <text x=\"{:.2}\" y=\"{}\">{}</text></g>",
            node.depth,
            text(&name),
            text(&title),
            10.0 + x,
            (w - 0.5).max(0.1),
            ROW - 1.0,
            colour(change),
            13.0 + x,
            y + 12.0,
            text(&fit(&printable(&name), w)),
        );
    }
    let _ = writeln!(out, "<text id=\"found\" x=\"10\" y=\"{}\"></text>", bottom + 20.0);
    let _ = writeln!(out, "<script type=\"text/ecmascript\"><![CDATA[\n{SCRIPT}]]></script>\n</svg>");
    Ok(out)
}

/// What has no width here because only the other side has it.
fn gone(flame: &DiffFlame) -> String {
    let root = flame.graph.children(FlameGraph::ROOT).next();
    let is_gone = |n: &(&FlameNode, &Change)| n.0.total == 0 && !n.1.is_noise;
    match (root, flame.graph.nodes.iter().zip(&flame.changes).filter(is_gone).count()) {
        (None, _) | (_, 0) => String::new(),
        (_, n) => format!("  {n} boxes that changed have no width here; --widths of the other side shows them."),
    }
}

fn legend(out: &mut String) {
    let new = Change { before: 0.0, after: 1.0, p: Some(0.0), is_noise: false };
    let changed = |ratio: f64| Change { before: 1.0, after: ratio, ..new };
    let noise = Change { is_noise: true, ..new };
    let marks = [
        (changed(0.5), "half or less"),
        (changed(0.84), "less"),
        (noise, "within noise, or too few to tell"),
        (changed(1.19), "more"),
        (new, "twice or more, or new"),
    ];
    let mut x = 10.0;
    for (change, what) in marks {
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"84\" width=\"14\" height=\"14\" fill=\"{}\"/><text x=\"{}\" y=\"95\">{what}</text>",
            colour(&change),
            x + 19.0
        );
        x += 40.0 + 6.8 * what.len() as f64;
    }
    let _ = writeln!(out, "<text id=\"search\" x=\"{x}\" y=\"95\" text-decoration=\"underline\">search</text>");
}

/// Grey where it may be chance; else from light at no change to deep at twice or half.
fn colour(change: &Change) -> String {
    if change.is_noise {
        return "rgb(222,222,222)".into();
    }
    let strength = change.ratio().map_or(1.0, |r| if r > 0.0 { r.log2().abs().min(1.0) } else { 1.0 });
    let (light, deep) = match change.delta() > 0.0 {
        true => ([252.0, 222.0, 178.0], [240.0, 132.0, 28.0]),
        false => ([205.0, 225.0, 244.0], [84.0, 154.0, 220.0]),
    };
    let mix = |n: usize| light[n] + (deep[n] - light[n]) * strength;
    format!("rgb({:.0},{:.0},{:.0})", mix(0), mix(1), mix(2))
}

/// As much of a name as fits.
fn fit(name: &str, width: f64) -> String {
    let most = ((width - 6.0) / 7.0).floor().max(0.0) as usize;
    match name.chars().count() {
        _ if most < 3 => String::new(),
        n if n <= most => name.into(),
        _ => name.chars().take(most - 2).chain("..".chars()).collect(),
    }
}

/// Text for an element or an attribute.
fn text(raw: &str) -> String {
    let mut safe = String::with_capacity(raw.len());
    for c in printable(raw).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::super::svg::tests::well_formed;
    use super::*;
    use crate::model::{
        At, CaptureId, CaptureNews, CaptureState, Event, Frame, FrameKind, Sample, Span, StackTable, Stacks,
    };
    use crate::report::diff::{diff_json, diff_text};
    use crate::timeline::Timeline;
    use crate::timeline::stacks::diff::{Comparison, Side};
    use crate::timeline::stacks::{Order, Pattern, StackFilter};

    const MS: u64 = 1_000_000;

    /// Ten seconds in which each of these stacks was met so many times, evenly.
    fn session(stacks: &[(&str, u64)]) -> Timeline {
        let mut table = StackTable::default();
        let mut samples = Vec::new();
        for &(stack, count) in stacks {
            let mut id = None;
            for symbol in stack.split(';') {
                let frame = table.frame(Frame::new(symbol, "m", FrameKind::User));
                id = Some(table.push(id, frame));
            }
            for n in 0..count {
                let at = At(n * 10_000 * MS / count);
                samples.push(Sample { at, cpu: 0, pid: 1, tid: 1, comm: "x".into(), stack: id, weight: 10 * MS });
            }
        }
        samples.sort_by_key(|s| s.at);
        let span = Span { from: At(0), to: At(10_000 * MS) };
        let (capture, samples_count) = (CaptureId(1), samples.len() as u64);
        let (event, unit) = ("cpu-clock".into(), "ns".into());
        let mut t = Timeline::new();
        t.apply(&Event::Stacks(Stacks { at: span.to, capture, event, unit, table, samples, lost: 0 }));
        let sampling = CaptureState::Sampling { for_ns: 1, hz: 99, how: "perf, all CPUs, <b>\x1b[2J".into() };
        t.apply(&Event::Capture(CaptureNews { at: At(0), id: capture, state: sampling }));
        let state = CaptureState::Done { span, samples: samples_count, lost: 0, notes: vec![] };
        t.apply(&Event::Capture(CaptureNews { at: span.to, id: capture, state }));
        t
    }

    fn side(t: &Timeline) -> Side<'_> {
        Side { timeline: t, filter: StackFilter::default() }
    }

    const EVIL: &str = "<script>alert('x')</script>&\"]]>\x1b[2J\u{0}\u{202e}";

    #[test]
    fn what_changed_has_a_colour_and_what_did_not_is_grey() {
        let (a, b) = (
            session(&[("main;gone", 300), ("main;same", 200), ("main;more", 100)]),
            session(&[("main;new", 100), ("main;same", 204), ("main;more", 150)]),
        );
        let c = Comparison::new(&side(&a), &side(&b), None).unwrap();
        let patterns = [Pattern::new("same|more")];
        let report = DiffReport { comparison: &c, names: ["old".into(), "new".into()], patterns: &patterns, top: 20 };
        let flame = c.flame(Which::After, Order::Name, false);
        let svg = diff_svg(&report, &flame, Which::After).unwrap();
        assert_eq!(well_formed(&svg), Ok(()));
        let fill = |name: &str| {
            let line =
                svg.lines().find(|l| l.contains(&format!("data-n=\"{name}\""))).unwrap_or_else(|| panic!("{name}"));
            line.split("fill=\"").nth(1).unwrap().split('"').next().unwrap().to_string()
        };
        assert_eq!((fill("same"), fill("new")), ("rgb(222,222,222)".into(), "rgb(240,132,28)".into()));
        assert!(fill("more").starts_with("rgb(24") && fill("more") != fill("new"), "{}", fill("more"));
        assert!(!svg.contains("data-n=\"gone\"") && svg.contains("1 boxes that changed have no width here"));
        let flame = c.flame(Which::Before, Order::Name, false);
        let svg = diff_svg(&report, &flame, Which::Before).unwrap();
        assert!(svg.contains("data-n=\"gone\"") && svg.contains("fill=\"rgb(84,154,220)\""));
        // 300 × 10 ms in 10 s.
        assert!(svg.contains("<title>gone: 300.0 to 0 ms/s, -300.0, 0.00×, p "), "{svg}");

        let text = diff_text(&report);
        let line = |name: &str| text.lines().find(|l| l.contains(name)).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(line("gone")[..5], ["300.0", "0", "-300.0", "0.00×", "gone"]);
        assert_eq!(line(" new (m)")[..4], ["0", "100.0", "+100.0", "new"]);
        assert_eq!(line("same (m)")[3..6], ["1.02×", "~", "same"]);
        assert_eq!(line("stacks with")[..3], ["300.0", "354.0", "+54.00"]);
        assert!(text.contains("3 of 4 functions changed"), "{text}");
        assert!(text.contains("capture 1: perf, all CPUs, <b>·[2J at 99 Hz"), "{text}");

        let json: serde_json::Value = serde_json::from_str(&diff_json(&report)).unwrap();
        assert_eq!((json["per"].as_str(), json["unit"].as_str()), (Some("second"), Some("ns")));
        assert_eq!(json["functions"][0]["symbol"], "gone");
        let near = |value: &serde_json::Value, want: f64| (value.as_f64().unwrap() - want).abs() < 1.0;
        assert!(near(&json["functions"][0]["self"]["delta"], -300e6), "{json}");
        assert_eq!(json["functions"][0]["self"]["noise"], false);
        assert!(near(&json["sums"][0]["after"], 354e6) && json["sums"][0]["pattern"] == "same|more", "{json}");
        assert_eq!(json["a"]["samples"], 600);
    }

    #[test]
    fn names_stay_names() {
        let evil = format!("main;{}", EVIL.replace(';', ":"));
        let (a, b) = (session(&[(&evil, 50)]), session(&[(&evil, 150)]));
        let c = Comparison::new(&side(&a), &side(&b), None).unwrap();
        let patterns = [Pattern::new(EVIL)];
        let report = DiffReport { comparison: &c, names: [EVIL.into(), EVIL.into()], patterns: &patterns, top: 20 };
        let svg = diff_svg(&report, &c.flame(Which::After, Order::Name, true), Which::After).unwrap();
        assert_eq!(well_formed(&svg), Ok(()));
        assert!(!svg.contains("<script>alert") && svg.contains("&lt;script&gt;alert"));
        for text in [diff_text(&report), diff_json(&report)] {
            assert!(!text.chars().any(|c| c != '\n' && crate::model::is_obeyed(c)), "{text:?}");
        }
    }

    #[test]
    fn a_side_without_weight_is_not_drawn() {
        let (a, b) = (session(&[("main", 50)]), session(&[("other", 50)]));
        let main = StackFilter { symbol: Some(Pattern::new("main")), ..StackFilter::default() };
        let of = |t| Side { timeline: t, filter: main.clone() };
        let c = Comparison::new(&of(&a), &of(&b), None).unwrap();
        let report = DiffReport { comparison: &c, names: Default::default(), patterns: &[], top: 9 };
        let draw = |wide| diff_svg(&report, &c.flame(wide, Order::Name, false), wide);
        assert!(draw(Which::Before).is_ok());
        assert!(matches!(draw(Which::After), Err(SvgError::Empty)));
    }
}
