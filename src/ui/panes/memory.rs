//! Memory: in use, page cache, what is still to be had.
//!
//! Must not: call cache used.

use super::Pane;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, stacked};

/// The pane.
pub struct Memory;

impl Pane for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("memory".into(), scene.instant())
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let Some(m) = scene.timeline.memory(scene.view.instant()) else {
            return scene.nothing(on, "no readings of memory yet");
        };
        let total = m.total.max(1) as f64;
        let used = m.total.saturating_sub(m.available);
        let cached = m.cached.min(m.available);
        let width = on.width();
        let percent = 100.0 * used as f64 / total;
        let style = if percent >= 90.0 { theme.bad } else { theme.accent };
        let parts = [
            (used as f64 / total, style, '█'),
            (cached as f64 / total, theme.faint, if theme.mono { '░' } else { '█' }),
        ];
        stacked(on, 0, 0, width.saturating_sub(6), &parts, ('─', theme.faint));
        on.put_right(width, 0, &format!("{} %", units::percent(percent)), theme.strong);
        let swap = if m.swap_used > 0 { theme.warn } else { theme.dim };
        let fields = [
            ("used", used, theme.text),
            ("of", m.total, theme.text),
            ("to be had", m.available, theme.text),
            ("cache", m.cached, theme.text),
            ("slab", m.slab, theme.text),
            ("dirty", m.dirty, theme.text),
            ("swap", m.swap_used, swap),
        ];
        let (mut x, mut y) = (0, 1);
        for (label, value, style) in fields {
            let value = units::bytes(value as f64);
            let needed = units::width(label) + 1 + 7;
            if x > 0 && usize::from(width.saturating_sub(x)) < needed {
                (x, y) = (0, y + 1);
            }
            x = scene.field(on, x, y, label, &value, style) + 2;
        }
    }
}
