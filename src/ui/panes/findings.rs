//! What the rules say about the stretch in focus, with evidence and advice.
//!
//! Must not: judge; it shows verdicts of the diagnosis.

use super::Pane;
use crate::model::{Finding, Severity};
use crate::ui::action::Narrow;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::Canvas;

/// The pane.
pub struct Findings;

impl Pane for Findings {
    fn name(&self) -> &'static str {
        "findings"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        let n = scene.memo.findings.len();
        (if n == 0 { "findings".into() } else { format!("findings {n}") }, scene.over())
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        scene.memo.findings.len()
    }

    fn row_at(&self, _: &Scene<'_>, _: u16, _: u16) -> Option<usize> {
        None // rows have different heights
    }

    fn open(&self, scene: &Scene<'_>, row: usize) -> Option<Narrow> {
        scene.memo.findings.get(row).map(|f| Narrow::Span(f.span))
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        if scene.memo.findings.is_empty() {
            let is_over = scene.timeline.closing().is_some();
            return scene.nothing(on, if is_over { "none" } else { "none yet" });
        }
        let roomy = on.height() >= 14;
        let selected = scene.app.row(self.name());
        let mut y = 0;
        for (n, f) in scene.memo.findings.iter().enumerate().skip(selected.unwrap_or(0).saturating_sub(1)) {
            let from = y;
            let style = match f.severity {
                Severity::Critical => theme.bad,
                Severity::Warning => theme.warn,
                Severity::Note => theme.text,
            };
            on.put(0, y, "⚑", style);
            y = on.wrap(2, y, &units::cut(&f.title, 400), style);
            if selected == Some(n) {
                let width = on.width();
                on.tint(0, from, width, y - from, theme.row);
            }
            if roomy || selected == Some(n) {
                y = self.detail(scene, on, f, y);
            }
        }
    }
}

impl Findings {
    fn detail(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, f: &Finding, y: u16) -> u16 {
        let theme = scene.theme;
        let mut y = on.wrap(4, y, &format!("{}–{}", f.span.from, f.span.to), theme.dim);
        for e in &f.evidence {
            y = on.wrap(4, y, &format!("· {}", units::cut(&e.text, 300)), theme.dim);
        }
        on.wrap(4, y, &format!("→ {}", units::cut(&f.advice, 400)), theme.text) + 1
    }
}
