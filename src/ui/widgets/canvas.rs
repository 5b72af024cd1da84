//! A piece of the screen to paint on, with its own coordinates; nothing leaves it.
//!
//! Must not: fail: what does not fit is cut.

use crate::ui::units;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};

/// A piece of the screen. Coordinates count from its upper left corner.
#[derive(Debug)]
pub struct Canvas<'a> {
    buf: &'a mut Buffer,
    area: Rect,
}

impl<'a> Canvas<'a> {
    /// The part of `buf` inside `area`.
    pub fn new(buf: &'a mut Buffer, area: Rect) -> Canvas<'a> {
        let area = area.intersection(*buf.area());
        Canvas { buf, area }
    }

    /// Columns.
    pub fn width(&self) -> u16 {
        self.area.width
    }

    /// Rows.
    pub fn height(&self) -> u16 {
        self.area.height
    }

    /// A smaller piece of this one.
    pub fn part(&mut self, x: u16, y: u16, width: u16, height: u16) -> Canvas<'_> {
        let x = x.min(self.area.width);
        let y = y.min(self.area.height);
        let area = Rect {
            x: self.area.x + x,
            y: self.area.y + y,
            width: width.min(self.area.width - x),
            height: height.min(self.area.height - y),
        };
        Canvas { buf: self.buf, area }
    }

    /// Writes `text` at a place, cut at the right edge; gives the column after it. Text
    /// from outside goes through [`units::cut`] first.
    pub fn put(&mut self, x: u16, y: u16, text: &str, style: Style) -> u16 {
        if x >= self.area.width || y >= self.area.height {
            return x;
        }
        let left = (self.area.width - x) as usize;
        let (after, _) = self.buf.set_stringn(self.area.x + x, self.area.y + y, text, left, style);
        after - self.area.x
    }

    /// Writes `text` so that it ends before column `end`; gives the column it starts at.
    pub fn put_right(&mut self, end: u16, y: u16, text: &str, style: Style) -> u16 {
        let x = end.saturating_sub(u16::try_from(units::width(text)).unwrap_or(u16::MAX));
        self.put(x, y, text, style);
        x
    }

    /// Empties a row of cells.
    pub fn clear(&mut self, x: u16, y: u16, width: u16) {
        let part = self.part(x, y, width, 1).area;
        for at in part.positions() {
            self.buf[at].reset();
        }
    }

    /// Writes `text` right-aligned in `width` columns from `x` on; gives the column after.
    pub fn put_right_of(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
        self.put_right(x + width, y, text, style);
        x + width
    }

    /// Writes a sentence over as many rows as it needs and there are; gives the next row.
    pub fn wrap(&mut self, x: u16, y: u16, text: &str, style: Style) -> u16 {
        let columns = self.area.width.saturating_sub(x) as usize;
        let mut row = y;
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && units::width(&line) + 1 + units::width(word) > columns {
                self.put(x, row, &line, style);
                row = row.saturating_add(1);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.put(x, row, &units::cut(&line, columns), style);
        row.saturating_add(1)
    }

    /// Writes a sentence in the middle.
    pub fn centre(&mut self, text: &str, style: Style) {
        let w = u16::try_from(units::width(text)).unwrap_or(u16::MAX);
        let (width, y) = (self.area.width, self.area.height / 2);
        if w <= width {
            self.put((width - w) / 2, y, text, style);
        } else {
            let rows = u16::try_from(units::width(text)).unwrap_or(u16::MAX) / width.max(1) + 1;
            self.wrap(0, y.saturating_sub(rows / 2), text, style);
        }
    }

    /// Sets one cell.
    pub fn glyph(&mut self, x: u16, y: u16, glyph: char, style: Style) {
        if x < self.area.width && y < self.area.height {
            self.buf[(self.area.x + x, self.area.y + y)].set_char(glyph).set_style(style);
        }
    }

    /// Lays a style over cells and leaves what they show.
    pub fn tint(&mut self, x: u16, y: u16, width: u16, height: u16, style: Style) {
        let part = self.part(x, y, width, height).area;
        self.buf.set_style(part, style);
    }

    /// Lays a style over a cell unless it has a background of its own.
    pub fn tint_blank_background(&mut self, x: u16, y: u16, style: Style) {
        if x < self.area.width && y < self.area.height {
            let cell = &mut self.buf[(self.area.x + x, self.area.y + y)];
            if cell.bg == Color::Reset {
                cell.set_style(style);
            }
        }
    }

    /// Takes the colour out of a column, except where it lies in the background too.
    pub fn fade(&mut self, x: u16, style: Style) {
        for y in 0..self.area.height {
            self.tint_blank_background(x, y, style);
        }
    }

    /// Whether a cell shows nothing yet.
    pub fn is_blank(&self, x: u16, y: u16) -> bool {
        x < self.area.width
            && y < self.area.height
            && matches!(self.buf[(self.area.x + x, self.area.y + y)].symbol(), " " | "\u{2800}")
    }
}

/// Turns every cell of the screen into ASCII: what a terminal without Unicode can show.
pub(in crate::ui) fn to_ascii(buf: &mut Buffer) {
    for cell in &mut buf.content {
        let symbol = cell.symbol();
        if symbol.is_ascii() {
            continue;
        }
        let c = symbol.chars().next().map_or(' ', ascii_of);
        cell.set_char(c);
    }
}

fn ascii_of(c: char) -> char {
    match c {
        '─' | '━' | '–' | '—' | '▔' | '╌' | '┄' => '-',
        '│' | '┃' | '┊' | '╎' | '╵' | '▏' | '▎' | '▍' => '|',
        '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' => '+',
        '⠀' => ' ',
        '\u{2801}'..='\u{28ff}' => braille_of(c),
        '█' | '▊' | '▋' | '▌' => '#',
        '▉' => '@',
        '▓' => '%',
        '▚' => '&',
        '▒' => '+',
        '▞' => '=',
        '░' => '.',
        '▁' | '▂' => '_',
        '▃' | '▄' => '-',
        '▅' | '▆' => '=',
        '▇' | '▀' => '#',
        '●' | '•' => '*',
        '▶' | '›' | '→' | '▸' => '>',
        '←' => '<',
        '↑' | '⇧' | '▲' => '^',
        '↓' | '▼' => 'v',
        '❚' => 'I',
        '■' => '#',
        '⚑' => '!',
        '±' => '~',
        '◆' => '*',
        '⧗' => 't',
        '×' => 'x',
        'µ' | 'μ' => 'u',
        '·' => '.',
        '…' => '~',
        _ => '?',
    }
}

/// A braille cell by where its dots are: a line high, in the middle or low, or an area.
fn braille_of(c: char) -> char {
    let dots = (c as u32 - 0x2800) as u8;
    let rows = [0x09u8, 0x12, 0x24, 0xc0].map(|mask| (dots & mask).count_ones());
    match rows {
        [a, b, 0, 0] if a > 0 && b == 0 => '\'',
        [0, 0, 0, d] if d > 0 => '.',
        [0, 0, ..] => '_',
        [0, _, _, 0] => '-',
        [.., 0] if dots.count_ones() < 4 => '"',
        _ if dots.count_ones() >= 5 => '#',
        _ => ':',
    }
}
