//! TCP counters that moved, with what each means.
//!
//! Must not: show what stood still.

use super::Pane;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Column};

/// The pane.
pub struct Counters;

const COLUMNS: &[Column] = &[
    Column::name("counter", 24, 0),
    Column::number("by", 7, 0),
    Column::number("/s", 6, 0),
    Column { spare: 1, ..Column::wide("meaning", 16) },
];

impl Pane for Counters {
    fn name(&self) -> &'static str {
        "counters"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("TCP counters that moved".into(), scene.over())
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        scene.timeline.tcp_moved(scene.view.focus()).len()
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let mut moved = scene.timeline.tcp_moved(scene.view.focus());
        if moved.is_empty() {
            return scene.nothing(on, scene.unread("no TCP counter moved in this stretch"));
        }
        moved.sort_by(|a, b| b.delta.cmp(&a.delta).then(a.metric.cmp(&b.metric)));
        let rows = moved.iter().map(|m| {
            let about = m.metric.about().split(';').next().unwrap_or_default();
            vec![
                (m.metric.name().to_string(), theme.text),
                (units::count(m.delta.unsigned_abs()), theme.text),
                (units::short(m.per_s), theme.accent),
                (about.to_string(), theme.dim),
            ]
        });
        scene.table(on, self.name(), COLUMNS, rows.collect(), None);
    }
}
