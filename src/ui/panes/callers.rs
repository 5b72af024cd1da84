//! One function with what called it and what it called: the one that is selected, else the one
//! pointed at in the flame graph or among the hot symbols, else the hottest.
//!
//! Must not: trust a symbol: its name comes from the profiled binary.

use super::Pane;
use crate::timeline::stacks::Edge;
use crate::ui::action::Narrow;
use crate::ui::memo::Needs;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::Canvas;

/// The pane.
pub struct Callers;

/// Rows of callers, the function itself, rows of callees: how many of each fit, and are there.
fn split(scene: &Scene<'_>, height: u16) -> (usize, usize) {
    let peek = &scene.memo.stacks.peek;
    let room = usize::from(height.saturating_sub(2));
    let callees = peek.callees.len().min(room.div_ceil(2).max(room.saturating_sub(peek.callers.len())));
    (peek.callers.len().min(room - callees), callees)
}

impl Callers {
    fn height(&self, scene: &Scene<'_>) -> u16 {
        scene.app.layout().places.iter().find(|p| p.pane == self.name()).map_or(0, |p| p.inner.height)
    }

    /// The edge on a row, and whether it calls rather than is called.
    fn edge<'a>(&self, scene: &Scene<'a>, row: usize) -> Option<&'a Edge> {
        let (callers, callees) = split(scene, self.height(scene));
        match row.checked_sub(callers) {
            None => scene.memo.stacks.peek.callers.get(callers - 1 - row),
            Some(n) => scene.memo.stacks.peek.callees.get(n).filter(|_| n < callees),
        }
    }
}

impl Pane for Callers {
    fn name(&self) -> &'static str {
        "callers"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        match scene.memo.stacks.peek_of.is_empty() {
            true => ("callers and callees".into(), String::new()),
            false => ("callers and callees".into(), "% of all".into()),
        }
    }

    fn needs(&self, _: u16, _: u16) -> Needs {
        Needs { hot: true, peek: true, ..Needs::default() }
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        let (callers, callees) = split(scene, self.height(scene));
        callers + callees
    }

    fn row_at(&self, scene: &Scene<'_>, y: u16, _: u16) -> Option<usize> {
        let (callers, callees) = split(scene, self.height(scene));
        let y = usize::from(y);
        match y {
            y if y < callers => Some(y),
            y if y < callers + 2 => None,
            y => (y - 2 < callers + callees).then(|| y - 2),
        }
    }

    fn open(&self, scene: &Scene<'_>, row: usize) -> Option<Narrow> {
        self.edge(scene, row).map(|e| Narrow::Symbol(e.symbol.to_string()))
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let (peek, all) = (&scene.memo.stacks.peek, scene.memo.stacks.weights.total.max(1) as f64);
        if scene.memo.stacks.peek_of.is_empty() {
            return scene.nothing(on, "no stacks yet");
        }
        let width = on.width();
        let share = |w: u64| format!("{:.1}", 100.0 * w as f64 / all);
        let (callers, callees) = split(scene, on.height());
        let selected = scene.app.row(self.name());
        let mut line = |y: u16, e: &Edge, arrow: char, row: usize| {
            on.put_right(6, y, &share(e.weight), theme.text);
            on.glyph(7, y, arrow, theme.faint);
            let style = if e.kind.is_kernel() { theme.dim } else { theme.text };
            on.put(9, y, &units::cut(&e.symbol, usize::from(width.saturating_sub(9))), style);
            if selected == Some(row) {
                on.tint(0, y, width, 1, theme.row);
            }
        };
        for row in 0..callers {
            // The heaviest stands next to the function.
            line(row as u16, &peek.callers[callers - 1 - row], '↘', row);
        }
        for n in 0..callees {
            line((callers + 2 + n) as u16, &peek.callees[n], '↗', callers + n);
        }
        let y = callers as u16;
        on.put_right(6, y, &share(peek.total), theme.strong);
        on.put(9, y, &units::cut(&scene.memo.stacks.peek_of, usize::from(width.saturating_sub(9))), theme.accent);
        let mut x = scene.field(on, 9, y + 1, "self", &format!("{} %", share(peek.self_weight)), theme.dim) + 2;
        if let Some(us) = scene.memo.stacks.us_per_request(peek.total) {
            let us = format!("{us}/req");
            if usize::from(width.saturating_sub(x)) >= us.chars().count() {
                x = on.put(x, y + 1, &us, theme.dim) + 2;
            }
        }
        let hidden = peek.callers.len() + peek.callees.len() - callers - callees;
        if hidden > 0 && width.saturating_sub(x) > 10 {
            on.put_right(width, y + 1, &format!("{hidden} more"), theme.faint);
        }
    }
}
