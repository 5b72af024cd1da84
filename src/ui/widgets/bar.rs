//! Bars: stacked shares, a gauge with a cliff, a sparkline.
//!
//! Must not: know what is measured.

use super::Canvas;
use ratatui::style::{Color, Style};

/// A bar of `width` cells stacked from shares (0 to 1) with a style and a glyph each, on a
/// track for what is left. Half cells are used where styles carry the meaning.
pub fn stacked(on: &mut Canvas<'_>, x: u16, y: u16, width: u16, shares: &[(f64, Style, char)], track: (char, Style)) {
    let halves = width as usize * 2;
    let solid = shares.iter().all(|(_, _, glyph)| *glyph == '█');
    let mut owner: Vec<Option<usize>> = vec![None; halves];
    let (mut sum, mut start) = (0.0, 0usize);
    for (n, (share, ..)) in shares.iter().enumerate() {
        sum += if share.is_finite() { share.max(0.0) } else { 0.0 };
        // Cumulated and then rounded, so that the ends of all parts are where they belong.
        let mut end = (sum.min(1.0) * halves as f64).round() as usize;
        if !solid {
            end = end.div_ceil(2) * 2;
        }
        owner[start.min(halves)..end.max(start).min(halves)].fill(Some(n));
        start = end.max(start);
    }
    for cell in 0..width {
        let (left, right) = (owner[cell as usize * 2], owner[cell as usize * 2 + 1]);
        let style = |n: usize| shares[n].1;
        match (left, right) {
            (Some(a), Some(b)) if a == b => on.glyph(x + cell, y, shares[a].2, style(a)),
            (Some(a), Some(b)) => {
                let both = Style { bg: style(b).fg, ..style(a) };
                on.glyph(x + cell, y, '▌', both);
            }
            (Some(a), None) => on.glyph(x + cell, y, if solid { '▌' } else { shares[a].2 }, style(a)),
            _ => on.glyph(x + cell, y, track.0, track.1),
        }
    }
}

/// A gauge from 0 to 1 with a marked cliff.
#[derive(Clone, Copy, Debug)]
pub struct Gauge {
    /// The share in use.
    pub share: f64,
    /// The share at which it gets steep.
    pub cliff: Option<f64>,
    /// The look of what is used.
    pub fill: Style,
    /// The look of what is free.
    pub track: Style,
    /// The look of the cliff's mark.
    pub mark: Style,
}

impl Gauge {
    /// Paints the gauge over `width` cells.
    pub fn paint(self, on: &mut Canvas<'_>, x: u16, y: u16, width: u16) {
        stacked(on, x, y, width, &[(self.share, self.fill, '█')], ('─', self.track));
        if let Some(cliff) = self.cliff.filter(|_| width > 2) {
            let at = ((cliff * f64::from(width)) as u16).min(width - 1);
            let passed = self.share * f64::from(width) > f64::from(at);
            let style = match self.fill.fg {
                Some(fill) if passed => Style::new().fg(Color::Black).bg(fill),
                _ => self.mark,
            };
            on.glyph(x + at, y, '┊', style);
        }
    }
}

/// A one-row chart of values 0 to 1, one a cell; `None` leaves the cell blank.
pub fn spark(on: &mut Canvas<'_>, x: u16, y: u16, values: &[Option<f64>], style: Style) {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    for (n, v) in values.iter().enumerate() {
        if let (Some(v), Ok(n)) = (v, u16::try_from(n)) {
            let level = (v.clamp(0.0, 1.0) * 7.0).round() as usize;
            on.glyph(x.saturating_add(n), y, LEVELS[level.min(7)], style);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;

    fn paint(width: u16, with: impl Fn(&mut Canvas<'_>)) -> String {
        let mut buf = Buffer::empty(Rect::new(0, 0, width, 1));
        let area = buf.area;
        with(&mut Canvas::new(&mut buf, area));
        buf.content.iter().map(|c| c.symbol()).collect()
    }

    #[test]
    fn shares_fill_what_they_are_of_the_width() {
        let s = Style::new();
        let bar = |shares: &[(f64, Style, char)]| paint(10, |c| stacked(c, 0, 0, 10, shares, ('·', s)));
        assert_eq!(bar(&[(0.5, s, '█'), (0.25, s, '█')]), "███████▌··");
        assert_eq!(bar(&[(0.5, s, '█'), (0.25, s, '▒')]), "█████▒▒▒··");
        assert_eq!(bar(&[(7.0, s, '█'), (f64::NAN, s, '█')]), "██████████");
        assert_eq!(bar(&[]), "··········");
    }

    #[test]
    fn the_cliff_is_seen_on_both_sides() {
        let g = |share| Gauge { share, cliff: Some(0.5), fill: Style::new(), track: Style::new(), mark: Style::new() };
        assert_eq!(paint(8, |c| g(0.25).paint(c, 0, 0, 8)), "██──┊───");
        assert_eq!(paint(8, |c| g(1.0).paint(c, 0, 0, 8)), "████┊███");
    }

    #[test]
    fn a_sparkline_skips_what_is_not_known() {
        assert_eq!(paint(4, |c| spark(c, 0, 0, &[Some(0.0), None, Some(1.0), Some(9.0)], Style::new())), "▁ ██");
    }
}
