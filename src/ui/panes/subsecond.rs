//! When within each second there were samples: a column a second, its parts from the bottom up. What
//! comes in bursts, pauses all at once or beats shows as a pattern that no sum over seconds has.
//!
//! Must not: take a second without samples for one that was idle.

use super::{GUTTER, Pane};
use crate::model::At;
use crate::ui::action::Narrow;
use crate::ui::memo::Needs;
use crate::ui::scene::{Scene, clock};
use crate::ui::widgets::{Canvas, Heat, HeatColumn};

/// The pane.
pub struct Subsecond;

/// Parts of a second for so many rows of cells: two a cell.
fn parts(height: u16) -> u32 {
    u32::from(height.saturating_sub(1).max(1)) * 2
}

/// The first second shown in so many columns: the latest are in sight.
fn first(scene: &Scene<'_>, columns: u16) -> u64 {
    let seconds = &scene.memo.stacks.subsecond.columns;
    let last = seconds.last().map_or(0, |c| c.0);
    let begin = seconds.first().map_or(0, |c| c.0);
    (last + 1).saturating_sub(u64::from(columns)).max(begin)
}

impl Pane for Subsecond {
    fn name(&self) -> &'static str {
        "subsecond"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("samples within each second".into(), super::flame::over(scene))
    }

    fn needs(&self, _: u16, height: u16) -> Needs {
        Needs { hot: true, subsecond: parts(height), ..Needs::default() }
    }

    fn click(&self, scene: &Scene<'_>, x: u16, y: u16, inner: ratatui::layout::Rect) -> Option<Narrow> {
        let rows = inner.height.saturating_sub(1);
        let column = x.checked_sub(GUTTER).filter(|_| y < rows)?;
        let second = first(scene, inner.width.saturating_sub(GUTTER)) + u64::from(column);
        let map = &scene.memo.stacks.subsecond;
        let low = u32::from(rows - 1 - y) * 2;
        let (a, b) = (map.span(second, low), map.span(second, low + 1));
        (!a.is_empty()).then_some(Narrow::Span(crate::model::Span { from: a.from, to: b.to.max(a.to) }))
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let map = &scene.memo.stacks.subsecond;
        let (width, height) = (on.width(), on.height());
        if map.columns.is_empty() || width <= GUTTER || height < 3 {
            return scene.nothing(on, "no stacks yet");
        }
        let (rows, columns) = (height - 1, width - GUTTER);
        let from = first(scene, columns);
        let scale = |w: u64| (u128::from(w) * 1000 / u128::from(map.most.max(1))) as u32;
        let heat: Vec<Option<HeatColumn>> = (from..from + u64::from(columns))
            .map(|s| {
                let found = map.columns.binary_search_by_key(&s, |c| c.0).ok()?;
                Some(map.columns[found].1.iter().map(|w| scale(*w)).collect())
            })
            .collect();
        Heat { columns: &heat }.paint(&mut on.part(GUTTER, 0, columns, rows), theme);
        for (text, y) in [("1 s", 0), (".5", rows / 2), ("0", rows - 1)] {
            on.put_right(GUTTER - 1, y, text, theme.dim);
        }
        if let Some(span) = scene.view.selection.span {
            // Only what is a part of some seconds can be shown as chosen here.
            let (a, b) = (span.from.0 / 1_000_000_000, span.to.0 / 1_000_000_000);
            for s in a.max(from)..=b.min(from + u64::from(columns)) {
                if let Some(x) = s.checked_sub(from).and_then(|x| u16::try_from(x).ok()).filter(|x| *x < columns) {
                    on.tint_blank_background(GUTTER + x, rows - 1, theme.select);
                }
            }
        }
        let mut x = 0;
        while x < columns {
            let label = format!("╵{}", clock(At((from + u64::from(x)).saturating_mul(1_000_000_000))));
            if x + 7 <= columns {
                on.put(GUTTER + x, rows, &label, theme.dim);
            }
            x += 10;
        }
    }
}
