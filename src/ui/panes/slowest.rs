//! The slowest requests: when each was due, its route, what of it the target took.
//!
//! Must not: trust a route's name.

use super::Pane;
use crate::ui::action::Narrow;
use crate::ui::memo::Needs;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Column};

/// The pane.
pub struct Slowest;

const COLUMNS: &[Column] = &[
    Column::number("due", 8, 0),
    Column::number("response", 8, 0),
    Column::number("service", 8, 1),
    Column::name("outcome", 12, 2),
    Column::wide("route", 14),
];

impl Pane for Slowest {
    fn name(&self) -> &'static str {
        "slowest"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("slowest requests".into(), scene.over())
    }

    fn needs(&self, _: u16, _: u16) -> Needs {
        Needs { slowest: true, ..Needs::default() }
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        scene.memo.slowest.len()
    }

    fn open(&self, scene: &Scene<'_>, row: usize) -> Option<Narrow> {
        scene.memo.slowest.get(row).map(|e| Narrow::At(e.due.moved(i64::try_from(e.response_ns).unwrap_or(0))))
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        if scene.memo.slowest.is_empty() {
            return scene.nothing(on, "no request has ended in this stretch");
        }
        let rows = scene.memo.slowest.iter().map(|e| {
            vec![
                (e.due.to_string(), theme.dim),
                (units::time(e.response_ns as f64), theme.text),
                (units::time(e.service_ns as f64), theme.dim),
                (e.outcome.to_string(), theme.outcome(e.outcome)),
                (e.route.to_string(), theme.text),
            ]
        });
        scene.table(on, self.name(), COLUMNS, rows.collect(), None);
    }
}
