//! What watching costs: each sampler's readings and the wall time they took. That is more
//! than their CPU time, which `perfbench (this)` among the processes has in it.
//!
//! Must not: leave out the dear ones.

use super::Pane;
use crate::model::Span;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Column};

/// The pane.
pub struct Samplers;

const COLUMNS: &[Column] = &[
    Column::wide("sampler", 8),
    Column::number("each", 7, 0),
    Column::number("every", 6, 1),
    Column::number("% time", 6, 0),
];

impl Pane for Samplers {
    fn name(&self) -> &'static str {
        "samplers"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("time watching takes".into(), scene.over())
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let span: Span = scene.view.focus();
        let seconds = span.secs().max(1e-9);
        let mut all: Vec<(String, f64, f64, f64)> = vec![];
        for (name, cost) in scene.timeline.sampling_cost() {
            let (mut n, mut sum) = (0u64, 0i64);
            for (_, ns) in cost.window(span) {
                (n, sum) = (n + 1, sum.saturating_add(ns));
            }
            if n > 0 {
                let sum = sum as f64;
                all.push((name.to_string(), sum / n as f64, seconds / n as f64, sum / 1e7 / seconds));
            }
        }
        if all.is_empty() {
            return scene.nothing(on, "no readings yet");
        }
        all.sort_by(|a, b| b.3.total_cmp(&a.3).then_with(|| a.0.cmp(&b.0)));
        let total: f64 = all.iter().map(|a| a.3).sum();
        all.push(("all".into(), f64::NAN, f64::NAN, total));
        let blank = |v: f64, text: String| if v.is_nan() { String::new() } else { text };
        let rows = all.iter().map(|(name, each, every, share)| {
            vec![
                (name.clone(), if each.is_nan() { theme.strong } else { theme.text }),
                (blank(*each, units::time(*each)), theme.text),
                (blank(*every, units::time(every * 1e9)), theme.dim),
                (format!("{share:.2}"), theme.text),
            ]
        });
        scene.table(on, self.name(), COLUMNS, rows.collect(), None);
    }
}
