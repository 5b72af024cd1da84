//! A heat map: columns of counts by row, two rows a cell where there are colours.
//!
//! Must not: know that one axis is time.

use super::Canvas;
use crate::ui::theme::Theme;
use ratatui::style::Style;

/// Counts of one column from the lowest row to the highest.
pub type HeatColumn = Vec<u32>;

/// A heat map of `columns`, each with twice as many rows as cells are high.
#[derive(Debug)]
pub struct Heat<'a> {
    /// From left to right; `None` where nothing is known.
    pub columns: &'a [Option<HeatColumn>],
}

impl Heat<'_> {
    /// Paints the map. The scale is logarithmic: one slow request among thousands is seen.
    pub fn paint(&self, on: &mut Canvas<'_>, theme: &Theme) {
        let most = self.columns.iter().flatten().flatten().copied().max().unwrap_or(0);
        let scale = f64::from(most).ln_1p().max(f64::MIN_POSITIVE);
        let level = |n: u32| f64::from(n).ln_1p() / scale;
        let height = on.height();
        for (x, column) in self.columns.iter().enumerate() {
            let (Some(column), Ok(x)) = (column, u16::try_from(x)) else { continue };
            for y in 0..height {
                let low = usize::from(height - 1 - y) * 2;
                let lower = column.get(low).copied().unwrap_or(0);
                let upper = column.get(low + 1).copied().unwrap_or(0);
                if lower == 0 && upper == 0 {
                    continue;
                }
                let colour = |n: u32| (n > 0).then(|| theme.heat(level(n))).flatten();
                match (colour(upper), colour(lower)) {
                    (Some(u), Some(l)) => on.glyph(x, y, '▀', Style::new().fg(u).bg(l)),
                    (Some(u), None) => on.glyph(x, y, '▀', Style::new().fg(u)),
                    (None, Some(l)) => on.glyph(x, y, '▄', Style::new().fg(l)),
                    (None, None) => on.glyph(x, y, Theme::shade(level(lower.max(upper))), theme.text),
                }
            }
        }
    }
}
