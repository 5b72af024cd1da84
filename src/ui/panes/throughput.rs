//! Offered and completed requests over time, failures in front of them.
//!
//! Must not: compute sums; they come with the scene.

use super::{Pane, chart_area};
use crate::model::Span;
use crate::timeline::steer::{Steered, Target};
use crate::ui::memo::{LoadColumn, Needs};
use crate::ui::scene::{Scene, round_up};
use crate::ui::units;
use crate::ui::widgets::{Canvas, Dots, spark};
use ratatui::layout::Rect;

/// The pane.
pub struct Throughput;

/// Rows of numbers under the chart: none when it would have less than three.
fn below(height: u16) -> u16 {
    u16::from(height >= 4)
}

impl Pane for Throughput {
    fn name(&self) -> &'static str {
        "throughput"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        let of = scene.view.selection.route.as_ref().map_or(String::new(), |r| format!(" of {}", units::cut(r, 30)));
        (format!("throughput /s{of}"), scene.over())
    }

    fn alarm(&self, scene: &Scene<'_>) -> Option<String> {
        super::limits(scene).map(|why| format!("client limits: {why}"))
    }

    fn needs(&self, width: u16, height: u16) -> Needs {
        let chart = chart_area(width, height, below(height)).0;
        Needs { columns: vec![usize::from(chart.width) * 2], ..Needs::default() }
    }

    fn time_area(&self, _: &Scene<'_>, width: u16, height: u16) -> Option<Rect> {
        Some(chart_area(width, height, below(height)).0)
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let (chart, labelled) = chart_area(on.width(), on.height(), below(on.height()));
        let axis = scene.axis(usize::from(chart.width) * 2);
        let columns = scene.memo.columns(&axis, scene.view.selection.route.as_ref());
        if columns.iter().all(Option::is_none) {
            scene.nothing(&mut on.part(0, 0, on.width(), chart.height), "no load yet in this stretch");
        } else {
            let rate = |of: fn(&LoadColumn) -> Option<f64>| -> Vec<Option<f64>> {
                columns.iter().map(|c| c.and_then(|c| c.per_s(of(c)?))).collect()
            };
            let offered = rate(|c| c.offered);
            let completed = rate(|c| Some(c.completed));
            let failed = rate(|c| Some(c.failed));
            let errors = rate(|c| Some(c.server_errors));
            let target: Vec<Option<f64>> = axis.spans().map(|(_, span)| target_per_s(scene, span)).collect();
            let all = offered.iter().chain(&completed).chain(&failed).chain(&target);
            let most = all.flatten().fold(0.0f64, |a, b| a.max(*b));
            let top = round_up(most);
            let scaled = |v: &[Option<f64>]| -> Vec<Option<f64>> { v.iter().map(|v| v.map(|v| v / top)).collect() };
            let strip = u16::from(chart.height >= 5);
            let chart = Rect { height: chart.height - strip, ..chart };
            let mut dots = Dots::new(chart.width, chart.height);
            dots.fill(&scaled(&completed), theme.accent);
            dots.line(&scaled(&offered), theme.strong);
            dots.paint(on, chart.x, chart.y);
            // Where it is not covered: what was to be offered and was not.
            for (x, target) in (0..chart.width).zip(scaled(&target).into_iter().step_by(2)) {
                let Some(share) = target else { continue };
                let y = ((1.0 - share) * f64::from(chart.height)).clamp(0.0, f64::from(chart.height.saturating_sub(1)));
                if on.is_blank(chart.x + x, y as u16) {
                    on.glyph(chart.x + x, y as u16, '╌', theme.dim);
                }
            }
            if strip > 0 {
                let mean = |v: &[Option<f64>]| v.iter().flatten().sum::<f64>() / v.len().max(1) as f64;
                let bad: Vec<(f64, f64)> =
                    errors.chunks(2).zip(failed.chunks(2)).map(|(e, f)| (mean(e), mean(f))).collect();
                let ended: Vec<f64> = completed.chunks(2).zip(&bad).map(|(c, (_, failed))| mean(c) + failed).collect();
                self.strip(scene, on, chart, &bad, &ended);
            }
            on.put_right(chart.x - 1, 0, &units::short(top), theme.dim);
            if chart.height >= 5 {
                on.put_right(chart.x - 1, chart.height / 2, &units::short(top / 2.0), theme.faint);
            }
            if chart.height >= 2 {
                on.put_right(chart.x - 1, chart.height - 1, "0", theme.faint);
            }
        }
        if labelled {
            scene.time_labels(on, chart.x, chart.height, chart.width);
        }
        if below(on.height()) > 0 {
            let y = on.height() - 1;
            self.numbers(scene, on, y);
        }
    }
}

impl Throughput {
    /// A row of its own for requests that failed, which would drown at the scale of all. As
    /// high as the logarithm of their share: one in ten thousand is seen, all fill it.
    fn strip(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, chart: Rect, bad: &[(f64, f64)], ended: &[f64]) {
        let theme = scene.theme;
        let y = chart.height;
        let most = bad.iter().map(|(e, f)| e + f).fold(0.0f64, f64::max);
        on.put_right(chart.x.saturating_sub(1), y, "err", if most > 0.0 { theme.bad } else { theme.faint });
        for (n, ((errors, failed), ended)) in bad.iter().zip(ended).enumerate().filter(|(_, ((e, f), _))| e + f > 0.0) {
            let style = if *failed > 0.0 { theme.bad } else { theme.warn };
            spark(on, chart.x + n as u16, y, &[Some(((errors + failed) / ended.max(1e-9)).log10() / 4.0 + 1.0)], style);
        }
    }

    fn numbers(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, y: u16) {
        let theme = scene.theme;
        let sum = &scene.memo.focus;
        if sum.slots == 0 {
            return;
        }
        let n = |count: u64| format!("{:>5}", units::short(sum.per_s(count)));
        let failed = if sum.failed > 0 { theme.bad } else { theme.dim };
        let errors = if sum.server_errors() > 0 { theme.warn } else { theme.dim };
        let mut x = 0;
        x = scene.field(on, x, y, "mean offered", &n(sum.offered), theme.strong) + 2;
        x = scene.field(on, x, y, "done", &n(sum.completed), theme.accent) + 2;
        x = scene.field(on, x, y, "failed", &n(sum.failed), failed) + 2;
        x = scene.field(on, x, y, "5xx", &n(sum.server_errors()), errors) + 2;
        if sum.dropped > 0 {
            x = scene.field(on, x, y, "dropped", &units::count(sum.dropped), theme.bad) + 2;
        }
        if on.width().saturating_sub(x) >= 16 {
            scene.field(on, x, y, "in", &format!("{:>8}/s", units::bytes(sum.per_s(sum.received_bytes))), theme.text);
        }
    }
}

/// What was to be offered in a stretch, where the plan or the user said so as a rate; phases and a
/// scaled recording are as steep as what they offered.
fn target_per_s(scene: &Scene<'_>, span: Span) -> Option<f64> {
    let load = scene.timeline.load().span();
    let is_loaded = span.from < load.to && span.to > load.from;
    if !is_loaded || scene.view.selection.route.is_some() {
        return None;
    }
    let steered = Steered::at(scene.timeline, span.to);
    match steered.target {
        _ if steered.paused => Some(0.0),
        Some(Target::Rate(per_s)) => Some(per_s),
        _ => None,
    }
}
