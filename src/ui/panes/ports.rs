//! Local ports in use to each destination, as a table.
//!
//! Must not: sum over destinations: each has a budget of its own.

use super::Pane;
use super::sockets::{full_in, ports_style};
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Column};

/// The pane.
pub struct Ports;

const COLUMNS: &[Column] = &[
    Column::wide("destination", 18),
    Column::number("used", 6, 0),
    Column::number("of", 6, 2),
    Column::number("%", 4, 0),
    Column::number("estab", 6, 4),
    Column::number("syn", 5, 3),
    Column::number("t_wait", 6, 3),
    Column::number("grows", 7, 2),
    Column::number("", 13, 1),
];

impl Pane for Ports {
    fn name(&self) -> &'static str {
        "ports"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("local ports per destination".into(), scene.instant())
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        scene.timeline.ports(scene.view.instant()).len()
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let mut ports = scene.timeline.ports(scene.view.instant());
        if ports.is_empty() {
            return scene.nothing(on, scene.unread("no local port in use to a destination that is watched"));
        }
        ports.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.destination.cmp(&b.destination)));
        let rows = ports.iter().map(|p| {
            let grows = format!("{}{}/s", if p.growth_per_s > 0.0 { "+" } else { "" }, units::short(p.growth_per_s));
            vec![
                (p.destination.clone(), theme.text),
                (units::count(p.used), theme.text),
                (units::count(p.budget), theme.dim),
                (units::percent(p.percent()), ports_style(scene, p.percent())),
                (units::count(p.established), theme.text),
                (units::count(p.syn_sent), if p.syn_sent > 0 { theme.warn } else { theme.dim }),
                (units::count(p.time_wait), theme.text),
                (grows, theme.dim),
                (full_in(p).unwrap_or_default(), theme.bad),
            ]
        });
        scene.table(on, self.name(), COLUMNS, rows.collect(), None);
    }
}
