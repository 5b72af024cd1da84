//! What the traffic reader has read: lines, requests, what was skipped and why.
//!
//! Must not: show a line of a log; only counts and places.

use super::Pane;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::Canvas;

/// The pane.
pub struct Traffic;

impl Pane for Traffic {
    fn name(&self) -> &'static str {
        "traffic"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("traffic read".into(), scene.instant())
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let Some(t) = scene.timeline.traffic(scene.view.instant()) else {
            return scene.nothing(on, "nothing read yet");
        };
        let mut y = 0;
        let mut row = |label: &str, value: String, style| {
            on.put(0, y, label, theme.dim);
            on.put(16, y, &value, style);
            y += 1;
        };
        row("format", units::cut(&t.format, 40), theme.text);
        row("lines", t.lines.to_string(), theme.text);
        row("requests", t.requests.to_string(), theme.accent);
        row("out of order", t.out_of_order.to_string(), theme.text);
        let late = if t.outside_window > 0 { theme.warn } else { theme.dim };
        row("too late", t.outside_window.to_string(), late);
        row("repeats", scene.timeline.repeats(scene.view.instant()).to_string(), theme.text);
        let skipped: u64 = t.skipped.iter().map(|s| s.count).sum();
        row("skipped", skipped.to_string(), if skipped > 0 { theme.warn } else { theme.dim });
        for s in &t.skipped {
            let text = format!("{}  first at {}", units::cut(&s.reason, 60), units::cut_front(&s.first, 40));
            on.put_right(9, y, &s.count.to_string(), theme.text);
            on.put(11, y, &text, theme.dim);
            y += 1;
        }
    }
}
