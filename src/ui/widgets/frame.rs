//! The lines between panes: one grid with joined corners, so that the screen reads as one
//! instrument.
//!
//! Must not: know what is in a cell of the grid.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

const UP: u8 = 1;
const DOWN: u8 = 2;
const LEFT: u8 = 4;
const RIGHT: u8 = 8;

/// Lines collected before they are painted, so that crossings join.
#[derive(Debug)]
pub struct Grid {
    area: Rect,
    lines: Vec<u8>,
    style: Vec<Style>,
}

impl Grid {
    /// An empty grid over a part of the screen.
    pub fn new(area: Rect) -> Grid {
        let cells = area.area() as usize;
        Grid { area, lines: vec![0; cells], style: vec![Style::new(); cells] }
    }

    /// Adds the border of a rectangle that may reach beyond the grid: `x`, `y` may be
    /// negative, and what is outside is not painted.
    pub fn frame(&mut self, x: i32, y: i32, width: i32, height: i32, style: Style) {
        let (right, bottom) = (x + width - 1, y + height - 1);
        for column in x..=right {
            let along = if column > x { LEFT } else { 0 } | if column < right { RIGHT } else { 0 };
            self.add(column, y, along, style);
            self.add(column, bottom, along, style);
        }
        for row in y..=bottom {
            let along = if row > y { UP } else { 0 } | if row < bottom { DOWN } else { 0 };
            self.add(x, row, along, style);
            self.add(right, row, along, style);
        }
    }

    fn add(&mut self, x: i32, y: i32, lines: u8, style: Style) {
        let (Ok(x), Ok(y)) = (u16::try_from(x), u16::try_from(y)) else { return };
        if self.area.contains((x, y).into()) {
            let i = (y - self.area.y) as usize * self.area.width as usize + (x - self.area.x) as usize;
            self.lines[i] |= lines;
            self.style[i] = style;
        }
    }

    /// Paints the lines.
    pub fn paint(&self, buf: &mut Buffer) {
        // By the bits UP, DOWN, LEFT, RIGHT.
        const GLYPHS: [char; 16] = [' ', '│', '│', '│', '─', '┘', '┐', '┤', '─', '└', '┌', '├', '─', '┴', '┬', '┼'];
        let width = self.area.width as usize;
        for (i, lines) in self.lines.iter().enumerate().filter(|(_, l)| **l != 0) {
            let at = (self.area.x + (i % width) as u16, self.area.y + (i / width) as u16);
            if let Some(cell) = buf.cell_mut(at) {
                cell.set_char(GLYPHS[*lines as usize & 15]).set_style(self.style[i]);
            }
        }
    }
}
