//! Sums over patterns: what is scattered over the whole flame graph added up, each stack once,
//! however many of its frames match.
//!
//! Must not: trust a pattern to be short.

use super::Pane;
use crate::ui::action::Narrow;
use crate::ui::memo::Needs;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Column};

/// The pane.
pub struct Sums;

const COLUMNS: &[Column] =
    &[Column::number("total %", 7, 0), Column::number("per request", 11, 1), Column::wide("pattern", 12)];

impl Pane for Sums {
    fn name(&self) -> &'static str {
        "sums"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("sums over a pattern".into(), super::flame::over(scene))
    }

    fn needs(&self, _: u16, _: u16) -> Needs {
        Needs { hot: true, sums: true, ..Needs::default() }
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        scene.memo.stacks.sums.len()
    }

    fn open(&self, scene: &Scene<'_>, row: usize) -> Option<Narrow> {
        scene.memo.stacks.sums.get(row).map(|(pattern, _)| Narrow::Symbol(pattern.clone()))
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        if scene.memo.stacks.sums.is_empty() {
            return scene.nothing(on, "/ finds symbols: a|b sums up both");
        }
        let all = scene.memo.stacks.weights.total.max(1) as f64;
        let rows = scene.memo.stacks.sums.iter().map(|(pattern, weight)| {
            let chosen = scene.view.selection.symbol.as_ref() == Some(pattern);
            vec![
                (format!("{:.1}", 100.0 * *weight as f64 / all), theme.strong),
                (scene.memo.stacks.us_per_request(*weight).unwrap_or_else(|| "–".into()), theme.text),
                (units::cut(pattern, 200), if chosen { theme.accent } else { theme.text }),
            ]
        });
        scene.table(on, self.name(), COLUMNS, rows.collect(), None);
    }
}
