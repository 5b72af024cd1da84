//! A table: columns with a header, right-aligned numbers, a selected row, a scroll offset.
//!
//! Must not: sort or choose; rows come as they are shown.

use super::Canvas;
use crate::ui::units;
use ratatui::style::{Modifier, Style};

/// Which edge a column's text keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Names.
    Left,
    /// Numbers.
    Right,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its header.
    pub title: &'static str,
    /// Its width in cells; the least of it, when it takes what is left.
    pub width: u16,
    /// Whether it takes what is left.
    pub grows: bool,
    /// Which edge its text keeps to.
    pub align: Align,
    /// The order in which columns go when there is no room: 0 stays always.
    pub spare: u8,
}

impl Column {
    /// A column of numbers.
    pub const fn number(title: &'static str, width: u16, spare: u8) -> Column {
        Column { title, width, grows: false, align: Align::Right, spare }
    }

    /// A column of names.
    pub const fn name(title: &'static str, width: u16, spare: u8) -> Column {
        Column { title, width, grows: false, align: Align::Left, spare }
    }

    /// A column of names that takes what is left, `least` cells before others have to go.
    pub const fn wide(title: &'static str, least: u16) -> Column {
        Column { title, width: least, grows: true, align: Align::Left, spare: 0 }
    }
}

/// A row: a text and a style each column.
pub type Row = Vec<(String, Style)>;

/// A table to be painted.
#[derive(Debug)]
pub struct Table<'a> {
    /// The columns.
    pub columns: &'a [Column],
    /// All rows.
    pub rows: Vec<Row>,
    /// The row that is pointed at.
    pub selected: Option<usize>,
    /// Which column the rows are sorted by, for its header.
    pub sorted: Option<usize>,
    /// Styles: header, selected row.
    pub styles: (Style, Style),
}

impl Table<'_> {
    /// The first row shown when `height` rows fit: the selected row stays in sight.
    pub fn offset(selected: Option<usize>, rows: usize, height: usize) -> usize {
        let last = rows.saturating_sub(height);
        selected.map_or(0, |s| (s + 1).saturating_sub(height).min(last))
    }

    /// Paints the table, its header on the first row unless that is half of all there is.
    pub fn paint(&self, on: &mut Canvas<'_>) {
        let widths = self.widths(on.width());
        let header = u16::from(on.height() > 2);
        self.paint_row(on, 0, &widths, |n| {
            let sorted = self.sorted == Some(n);
            let style = if sorted { self.styles.0.add_modifier(Modifier::UNDERLINED) } else { self.styles.0 };
            (header > 0).then(|| (self.columns[n].title.to_string(), style))
        });
        let height = usize::from(on.height().saturating_sub(header));
        let offset = Table::offset(self.selected, self.rows.len(), height);
        for (y, row) in self.rows.iter().enumerate().skip(offset).take(height) {
            let line = (y - offset) as u16 + header;
            self.paint_row(on, line, &widths, |n| row.get(n).cloned());
            if self.selected == Some(y) {
                let width = on.width();
                on.tint(0, line, width, 1, self.styles.1);
            }
        }
    }

    fn paint_row(&self, on: &mut Canvas<'_>, y: u16, widths: &[u16], cell: impl Fn(usize) -> Option<(String, Style)>) {
        let mut x = 0;
        for (n, w) in widths.iter().enumerate().filter(|(_, w)| **w > 0) {
            if let Some((text, style)) = cell(n) {
                match self.columns[n].align {
                    Align::Left => on.put(x, y, &units::cut_middle(&text, usize::from(*w)), style),
                    Align::Right => on.put_right(x + w, y, &units::cut(&text, usize::from(*w)), style),
                };
            }
            x += w + GAP;
        }
    }

    /// The width of each column; 0 for those that had to go, which the one that rows are sorted by never has.
    fn widths(&self, total: u16) -> Vec<u16> {
        let mut keep: Vec<bool> = vec![true; self.columns.len()];
        let need = |keep: &[bool]| -> u16 {
            let kept = self.columns.iter().zip(keep).filter(|(_, k)| **k);
            kept.map(|(c, _)| c.width + GAP).sum::<u16>().saturating_sub(GAP)
        };
        while need(&keep) > total {
            let last = (0..keep.len())
                .filter(|n| keep[*n] && self.columns[*n].spare > 0 && self.sorted != Some(*n))
                .max_by_key(|n| self.columns[*n].spare);
            let Some(n) = last else { break };
            keep[n] = false;
        }
        let left = total.saturating_sub(need(&keep));
        let flexible = self.columns.iter().zip(&keep).filter(|(c, k)| **k && c.grows).count().max(1) as u16;
        // The widest gives way when there is less than the least.
        let lacking = need(&keep).saturating_sub(total);
        let width = |c: &Column| if c.grows { (c.width + left / flexible).saturating_sub(lacking) } else { c.width };
        self.columns.iter().zip(&keep).map(|(c, k)| if *k { width(c).min(total) } else { 0 }).collect()
    }
}

/// Cells between two columns.
const GAP: u16 = 2;
#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;

    fn painted(width: u16, selected: Option<usize>) -> Vec<String> {
        painted_sorted(width, selected, None)
    }

    fn painted_sorted(width: u16, selected: Option<usize>, sorted: Option<usize>) -> Vec<String> {
        const COLUMNS: &[Column] =
            &[Column::wide("route", 10), Column::number("n/s", 5, 0), Column::number("p99 ms", 6, 1)];
        let row = |a: &str, b: &str, c: &str| [a, b, c].map(|t| (t.to_string(), Style::new())).to_vec();
        let table = Table {
            columns: COLUMNS,
            rows: vec![row("/", "1", "2"), row("/a/long/path/indeed", "12.3k", "931"), row("/z", "3", "4")],
            selected,
            sorted,
            styles: (Style::new(), Style::new()),
        };
        let mut buf = Buffer::empty(Rect::new(0, 0, width, 3));
        let area = buf.area;
        table.paint(&mut Canvas::new(&mut buf, area));
        buf.content.chunks(width.max(1) as usize).map(|r| r.iter().map(|c| c.symbol()).collect()).collect()
    }

    #[test]
    fn numbers_end_at_one_edge_and_spare_columns_go_first() {
        let want = ["route           n/s  p99 ms", "/                 1       2", "/a/lon…ndeed  12.3k     931"];
        assert_eq!(painted(27, None), want);
        assert!(painted(18, None)[0].starts_with("route") && !painted(18, None)[0].contains("p99"));
        assert!(painted_sorted(18, None, Some(2))[0].contains("p99"), "the column that is sorted by stays");
        painted(0, None);
    }

    #[test]
    fn the_selected_row_stays_in_sight() {
        assert!(painted(30, Some(2))[2].starts_with("/z"));
        assert_eq!(
            (Table::offset(Some(0), 9, 3), Table::offset(Some(8), 9, 3), Table::offset(Some(99), 2, 3)),
            (0, 6, 0)
        );
    }
}
