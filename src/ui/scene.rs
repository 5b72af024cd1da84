//! What a pane sees when it draws: the view, what was computed for it, the state of the
//! screen and the theme. Everything by shared reference: drawing changes nothing.
//!
//! Must not: compute what takes longer than a frame may.

use super::app::App;
use super::axis::Axis;
use super::memo::Memo;
use super::theme::Theme;
use super::units;
use super::widgets::{Canvas, Column, Row, Table};
use crate::model::{At, Span};
use crate::timeline::{Cursor, Timeline, View};
use crate::workbench::Workbench;
use ratatui::style::Style;

/// What a pane draws from.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The timeline at the cursor, with the selection.
    pub view: View<'a>,
    /// The timeline.
    pub timeline: &'a Timeline,
    /// What was computed for this view.
    pub memo: &'a Memo,
    /// The state of the screen.
    pub app: &'a App,
    /// The colours.
    pub theme: &'a Theme,
}

impl<'a> Scene<'a> {
    /// The scene of an app over a workbench.
    pub fn new(app: &'a App, workbench: &'a Workbench) -> Scene<'a> {
        Scene { view: app.view(workbench), timeline: workbench.timeline(), memo: app.memo(), app, theme: app.theme() }
    }

    /// The shared time axis over so many columns.
    pub fn axis(&self, columns: usize) -> Axis {
        Axis::new(self.view.window_ns, columns, self.memo.edge, self.memo.moving)
    }

    /// Paints the table of a pane, with the row that is chosen in that pane.
    pub fn table(&self, on: &mut Canvas<'_>, pane: &str, columns: &[Column], rows: Vec<Row>, sorted: Option<usize>) {
        let styles = (self.theme.dim, self.theme.row);
        Table { columns, rows, selected: self.app.row(pane), sorted, styles }.paint(on);
    }

    /// Over which time sums and percentiles are: `last 60 s`, `60 s to 1:42.0`, `start to 0:42.0`,
    /// or the selected stretch.
    pub fn over(&self) -> String {
        match (self.view.selection.span, self.view.cursor) {
            (Some(s), _) => format!("{}–{}", s.from, s.to),
            (None, Cursor::Follow) => format!("last {}", length(self.view.window_ns)),
            (None, Cursor::Pinned(At::START)) => "at the start".into(),
            // There is less than a window before it.
            (None, Cursor::Pinned(at)) if at.0 < self.view.window_ns => format!("start to {at}"),
            (None, Cursor::Pinned(at)) => format!("{} to {at}", length(self.view.window_ns)),
        }
    }

    /// Over which time present values are: `now`, `at 0:42.0`, or the selected stretch.
    pub fn now(&self) -> String {
        match (self.view.selection.span, self.view.cursor) {
            (Some(s), _) => format!("{}–{}", s.from, s.to),
            (None, Cursor::Follow) => "now".into(),
            (None, Cursor::Pinned(at)) => format!("at {at}"),
        }
    }

    /// At which instant gauges are.
    pub fn instant(&self) -> String {
        match (self.view.selection.span, self.view.cursor) {
            (Some(s), _) => format!("at {}", s.to),
            (None, Cursor::Follow) => "now".into(),
            (None, Cursor::Pinned(at)) => format!("at {at}"),
        }
    }

    /// The values of a gauge by column: its highest reading there, or the one before while
    /// it is not older than two readings.
    pub fn gauge_columns(&self, axis: &Axis, metric: crate::model::Metric, instance: &str) -> Vec<Option<f64>> {
        let Some(series) = self.timeline.series(metric, instance) else { return vec![None; axis.columns] };
        let whole = axis.whole();
        let mut found: Vec<Option<f64>> = vec![None; axis.columns];
        let from = At(whole.from.0.saturating_sub(HOLD_NS));
        let mut before: Option<(usize, f64, At)> = None;
        for (at, value) in series.window(Span { from, to: whole.to }) {
            let value = value as f64;
            let column = axis.column_of(at);
            if let Some((c, v, since)) = before {
                let until = column.unwrap_or(0);
                if at.since_ns(since) <= HOLD_NS {
                    found.iter_mut().take(until).skip(c).for_each(|f| *f = f.or(Some(v)));
                }
            }
            if let Some(c) = column {
                found[c] = Some(found[c].map_or(value, |f: f64| f.max(value)));
            }
            before = Some((column.unwrap_or(0), value, at));
        }
        if let Some((c, v, since)) = before {
            let until = axis.column_of(At(since.0.saturating_add(HOLD_NS))).unwrap_or(axis.columns);
            let edge = axis.column_of(self.timeline.end()).map_or(axis.columns, |n| n + 1);
            found.iter_mut().take(until.min(edge)).skip(c).for_each(|f| *f = f.or(Some(v)));
        }
        found
    }

    /// The rate of a counter by column: that of the reading each column lies before.
    pub fn rate_columns(&self, axis: &Axis, metric: crate::model::Metric, instance: &str) -> Vec<Option<f64>> {
        let Some(series) = self.timeline.series(metric, instance) else { return vec![None; axis.columns] };
        let whole = axis.whole();
        let mut found: Vec<Option<f64>> = vec![None; axis.columns];
        let until = At(whole.to.0.saturating_add(HOLD_NS));
        let from = At(whole.from.0.saturating_sub(HOLD_NS));
        let mut before: Option<At> = None;
        for (at, rate) in series.rates(Span { from, to: until }) {
            let start = before.unwrap_or(At(at.0.saturating_sub(1_000_000_000)));
            if at.since_ns(start) <= HOLD_NS
                && let Some((a, b)) = axis.columns_of(Span { from: start.min(at), to: at })
            {
                found[a..b].fill(Some(rate));
            }
            before = Some(at);
        }
        found
    }

    /// Labels of the time axis on a row of a canvas, under a chart that starts at `x`.
    pub fn time_labels(&self, on: &mut Canvas<'_>, x: u16, y: u16, width: u16) {
        let axis = self.axis(usize::from(width));
        for (column, at) in axis.ticks(12) {
            let text = clock(at);
            let from = x + column as u16;
            if usize::from(width) > column + units::width(&text) {
                on.glyph(from, y, '╵', self.theme.faint);
                on.put(from + 1, y, &text, self.theme.faint.patch(self.theme.dim));
            }
        }
    }

    /// Why there is nothing to show: `why`, unless the host has not been read at all.
    pub fn unread(&self, why: &'static str) -> &'static str {
        if self.timeline.sampling_cost().is_empty() { "no readings yet" } else { why }
    }

    /// Says in the middle of a pane why there is nothing to show.
    pub fn nothing(&self, on: &mut Canvas<'_>, why: &str) {
        on.centre(why, self.theme.dim);
    }

    /// A label and a value, the value standing out; gives the column after both.
    pub fn field(&self, on: &mut Canvas<'_>, x: u16, y: u16, label: &str, value: &str, style: Style) -> u16 {
        let x = on.put(x, y, label, self.theme.dim);
        on.put(x + 1, y, value, style)
    }
}

/// Readings further apart than this are not joined, ns.
const HOLD_NS: u64 = 6_000_000_000;

/// A length of time for titles: `60 s`, `10 min`.
pub fn length(ns: u64) -> String {
    match ns / 1_000_000_000 {
        s if s < 120 => format!("{s} s"),
        s if s < 7200 && s % 60 == 0 => format!("{} min", s / 60),
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s => format!("{:.1} h", s as f64 / 3600.0),
    }
}

/// An instant to the second: `0:42`, `1:02:03`.
pub fn clock(at: At) -> String {
    let text = at.to_string();
    text.split('.').next().unwrap_or_default().to_string()
}

/// The next round number at or above `v`, for the top of a scale.
pub fn round_up(v: f64) -> f64 {
    if !v.is_finite() || v <= 0.0 {
        return 1.0;
    }
    let unit = 10f64.powf(v.log10().floor());
    [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0]
        .iter()
        .map(|m| m * unit)
        .find(|m| *m >= v * 0.9999)
        .unwrap_or(10.0 * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        let r: Vec<f64> = [0.0, 0.9, 1.0, 4931.0, 12_300.0, f64::NAN].into_iter().map(round_up).collect();
        assert_eq!(r, [1.0, 1.0, 1.0, 5000.0, 15_000.0, 1.0]);
    }

    #[test]
    fn lengths_are_short() {
        let s = 1_000_000_000;
        assert_eq!(
            [10 * s, 60 * s, 600 * s, 5400 * s, 7200 * s].map(length),
            ["10 s", "60 s", "10 min", "90 min", "2 h"]
        );
        assert_eq!(clock(At(3_723 * s)), "1:02:03");
    }
}
