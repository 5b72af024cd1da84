//! Busy CPU time over time: all CPUs, or the one selected.
//!
//! Must not: add up readings of different stretches.

use super::{Pane, chart_area};
use crate::model::Metric;
use crate::ui::scene::Scene;
use crate::ui::widgets::{Canvas, Dots};
use ratatui::layout::Rect;

/// The pane.
pub struct CpuHistory;

/// Its name.
pub(super) const NAME: &str = "cpu history";

impl Pane for CpuHistory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        let of = scene.view.selection.cpu.map_or("all CPUs".to_string(), |n| format!("cpu {n}"));
        (format!("busy %, {of}: st/us/sy/si"), scene.over())
    }

    fn time_area(&self, _: &Scene<'_>, width: u16, height: u16) -> Option<Rect> {
        Some(chart_area(width, height, 0).0)
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        draw(scene, on);
    }
}

/// Paints the chart; the pane of the CPUs does too where it has room left.
pub fn draw(scene: &Scene<'_>, on: &mut Canvas<'_>) {
    let theme = scene.theme;
    let (chart, labelled) = chart_area(on.width(), on.height(), 0);
    let axis = scene.axis(usize::from(chart.width) * 2);
    let names: Vec<String> = match scene.view.selection.cpu {
        Some(n) => vec![n.to_string()],
        None => scene.timeline.instances(Metric::CpuIdle).iter().map(|(i, _)| i.to_string()).collect(),
    };
    let sum = |metric: Metric| -> Vec<Option<f64>> {
        let mut all: Vec<Option<f64>> = vec![None; axis.columns];
        for name in &names {
            for (a, v) in all.iter_mut().zip(scene.rate_columns(&axis, metric, name)) {
                *a = match (*a, v) {
                    (Some(a), Some(v)) => Some(a + v),
                    (a, v) => a.or(v),
                };
            }
        }
        all
    };
    let [user, nice, system, softirq, irq, steal] =
        [Metric::CpuUser, Metric::CpuNice, Metric::CpuSystem, Metric::CpuSoftirq, Metric::CpuIrq, Metric::CpuSteal]
            .map(sum);
    if user.iter().all(Option::is_none) {
        return scene.nothing(on, "no readings of the CPUs yet");
    }
    let ticks = f64::from(scene.timeline.opening().host.ticks_per_s.max(1)) * names.len().max(1) as f64;
    // Stacked from the bottom: interrupts, system, user, what the hypervisor took.
    let mut level: Vec<Option<f64>> = vec![None; axis.columns];
    let mut layers = vec![];
    for (parts, style) in [
        (vec![&softirq, &irq], theme.cpu[3]),
        (vec![&system], theme.cpu[1]),
        (vec![&user, &nice], theme.cpu[0]),
        (vec![&steal], theme.cpu[6]),
    ] {
        for (n, l) in level.iter_mut().enumerate() {
            for part in &parts {
                if let Some(v) = part[n] {
                    *l = Some(l.unwrap_or(0.0) + v / ticks);
                }
            }
        }
        layers.push((level.clone(), style));
    }
    let mut dots = Dots::new(chart.width, chart.height);
    for (level, style) in layers.iter().rev() {
        dots.fill(level, *style);
    }
    dots.paint(on, chart.x, chart.y);
    on.put_right(chart.x - 1, 0, "100", theme.dim);
    if chart.height >= 2 {
        on.put_right(chart.x - 1, chart.height - 1, "0", theme.faint);
    }
    if chart.height >= 5 {
        on.put_right(chart.x - 1, chart.height / 2, "50", theme.faint);
    }
    if labelled {
        scene.time_labels(on, chart.x, chart.height, chart.width);
    }
}
