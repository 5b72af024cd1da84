//! Pressure: the share of time in which tasks waited for CPU, memory or disk.
//!
//! Must not: use the kernel's averages; shares come from the totals.

use super::Pane;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Gauge};

/// The pane.
pub struct Pressure;

impl Pane for Pressure {
    fn name(&self) -> &'static str {
        "pressure"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("pressure, % of time".into(), scene.now())
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let all = scene.timeline.pressure(scene.view.recent());
        if all.is_empty() {
            return scene.nothing(on, scene.unread("this kernel has no /proc/pressure"));
        }
        let (width, height) = (on.width(), on.height());
        // In two columns when rows are short.
        let columns = if usize::from(height) < all.len() && width >= 50 { 2 } else { 1 };
        let cell = width / columns;
        let rows = all.len().div_ceil(usize::from(columns));
        for (n, (name, percent)) in all.iter().enumerate() {
            let (x, y) = ((n / rows) as u16 * cell, (n % rows) as u16);
            let style = if *percent >= 40.0 { theme.warn } else { theme.accent };
            on.put(x, y, name, theme.dim);
            let bar = cell.saturating_sub(12 + 6 + 1);
            Gauge { share: percent / 100.0, cliff: None, fill: style, track: theme.faint, mark: theme.faint }.paint(
                on,
                x + 12,
                y,
                bar,
            );
            on.put_right(x + 12 + bar + 5, y, &units::percent(*percent), theme.text);
        }
    }
}
