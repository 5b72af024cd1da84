//! A dot canvas of 2 × 4 dots a cell: lines and areas over time.
//!
//! Must not: know units or time.

use super::Canvas;
use ratatui::style::Style;

/// Dots to be painted over a canvas. One style a cell: the last one drawn wins.
#[derive(Debug)]
pub struct Dots {
    width: u16,
    height: u16,
    cells: Vec<(u8, Style)>,
}

impl Dots {
    /// No dots on `width` × `height` cells.
    pub fn new(width: u16, height: u16) -> Dots {
        Dots { width, height, cells: vec![(0, Style::new()); width as usize * height as usize] }
    }

    /// Dots across.
    pub fn across(&self) -> usize {
        self.width as usize * 2
    }

    /// Dots from bottom to top.
    pub fn up(&self) -> usize {
        self.height as usize * 4
    }

    /// Sets the dot `x` from the left and `y` from the bottom.
    pub fn set(&mut self, x: usize, y: usize, style: Style) {
        if x >= self.across() || y >= self.up() {
            return;
        }
        let from_top = self.up() - 1 - y;
        let cell = from_top / 4 * self.width as usize + x / 2;
        let bit = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]][from_top % 4][x % 2];
        self.cells[cell].0 |= bit;
        self.cells[cell].1 = style;
    }

    /// A line through `heights` (0 to 1 of the canvas, `None` where there is no value), one
    /// each dot column.
    pub fn line(&mut self, heights: &[Option<f64>], style: Style) {
        let mut before: Option<usize> = None;
        for (x, h) in heights.iter().enumerate() {
            let y = h.map(|h| self.level(h));
            if let Some(y) = y {
                // A steep step is closed up to its neighbour, or it would read as two points.
                let (low, high) =
                    before.map_or((y, y), |b| if b < y { (b + 1, y) } else { (y, b.saturating_sub(1).max(y)) });
                for y in low..=high {
                    self.set(x, y, style);
                }
            }
            before = y;
        }
    }

    /// The area under `heights`.
    pub fn fill(&mut self, heights: &[Option<f64>], style: Style) {
        for (x, h) in heights.iter().enumerate() {
            for y in 0..h.filter(|h| *h > 0.0).map_or(0, |h| self.level(h) + 1) {
                self.set(x, y, style);
            }
        }
    }

    fn level(&self, h: f64) -> usize {
        let top = self.up().saturating_sub(1);
        ((h.clamp(0.0, 1.0) * top as f64).round() as usize).min(top)
    }

    /// Paints the dots; cells without any keep what they show, backgrounds are kept.
    pub fn paint(&self, on: &mut Canvas<'_>, x: u16, y: u16) {
        for (i, (dots, style)) in self.cells.iter().enumerate().filter(|(_, (d, _))| *d != 0) {
            let glyph = char::from_u32(0x2800 + u32::from(*dots)).unwrap_or(' ');
            let (column, row) = ((i % self.width as usize) as u16, (i / self.width as usize) as u16);
            on.glyph(x + column, y + row, glyph, *style);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;

    fn painted(dots: &Dots) -> String {
        let mut buf = Buffer::empty(Rect::new(0, 0, dots.width, dots.height));
        let area = buf.area;
        dots.paint(&mut Canvas::new(&mut buf, area), 0, 0);
        buf.content.iter().map(|c| c.symbol()).collect()
    }

    #[test]
    fn a_line_has_no_holes_and_an_area_reaches_its_line() {
        let mut d = Dots::new(2, 1);
        d.line(&[Some(0.0), Some(1.0), None, Some(0.5)], Style::new());
        assert_eq!(painted(&d), "⡸⠐");
        let mut d = Dots::new(1, 1);
        d.fill(&[Some(1.0), Some(0.0)], Style::new());
        assert_eq!(painted(&d), "⡇");
    }

    #[test]
    fn no_size_no_dots() {
        let mut d = Dots::new(0, 0);
        d.line(&[Some(1.0)], Style::new());
        d.fill(&[Some(1.0)], Style::new());
        assert_eq!(painted(&d), "");
    }
}
