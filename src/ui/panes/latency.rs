//! Response time over time: a heat map on a logarithmic scale with the lines of p50 and p99.
//!
//! Must not: average percentiles; a line's point is a quantile of its column.

use super::{Pane, chart_area};
use crate::timeline::Band;
use crate::ui::action::Narrow;
use crate::ui::memo::{LoadColumn, Needs};
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Dots, Heat, HeatColumn};
use ratatui::layout::Rect;

/// The pane.
pub struct LatencyMap;

fn below(height: u16) -> u16 {
    if height >= 8 { 2 } else { 1 }
}

impl Pane for LatencyMap {
    fn name(&self) -> &'static str {
        "latency"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        let of = scene.view.selection.route.as_ref().map_or(String::new(), |r| format!(" of {}", units::cut(r, 30)));
        (format!("response time (log){of}"), scene.over())
    }

    fn needs(&self, width: u16, height: u16) -> Needs {
        let chart = chart_area(width, height, below(height)).0;
        Needs { columns: vec![usize::from(chart.width)], ..Needs::default() }
    }

    fn time_area(&self, _: &Scene<'_>, width: u16, height: u16) -> Option<Rect> {
        Some(chart_area(width, height, below(height)).0)
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        self.scaled(scene).map_or(0, |(_, rows)| usize::from(rows))
    }

    fn row_at(&self, _: &Scene<'_>, _: u16, _: u16) -> Option<usize> {
        None // a click there takes hold of the time axis
    }

    fn open(&self, scene: &Scene<'_>, row: usize) -> Option<Narrow> {
        let (scale, rows) = self.scaled(scene)?;
        let row = u16::try_from(row).ok()?;
        Some(Narrow::Band(Band { low_ns: scale.line(row, rows).0, high_ns: u64::MAX }))
    }

    fn band(&self, scene: &Scene<'_>, top: u16, bottom: u16) -> Option<Band> {
        let (scale, rows) = self.scaled(scene)?;
        // A drag along the axis wavers by a line.
        if bottom.saturating_sub(top) < 2 {
            return None;
        }
        let high_ns = if top == 0 { u64::MAX } else { scale.line(top.min(rows), rows).1 };
        Some(Band { low_ns: scale.line(bottom.min(rows.saturating_sub(1)), rows).0, high_ns })
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let (width, height) = (on.width(), on.height());
        let (chart, labelled) = chart_area(width, height, below(height));
        let columns = columns(scene, chart.width);
        match Scale::of(&columns) {
            None => scene.nothing(&mut on.part(0, 0, width, chart.height), "no response yet in this stretch"),
            Some(scale) => {
                let rows = usize::from(chart.height) * 2;
                let heat: Vec<Option<HeatColumn>> = columns.iter().map(|c| c.map(|c| scale.column(c, rows))).collect();
                Heat { columns: &heat }.paint(&mut on.part(chart.x, chart.y, chart.width, chart.height), theme);
                let mut dots = Dots::new(chart.width, chart.height);
                for (q, style) in [(0.5, theme.strong), (0.99, theme.warn)] {
                    let line: Vec<Option<f64>> = columns
                        .iter()
                        .flat_map(|c| {
                            let h = c.and_then(|c| c.shape.quantile(q)).map(|ns| scale.height(ns));
                            [h, h]
                        })
                        .collect();
                    dots.line(&line, style);
                }
                dots.paint(on, chart.x, chart.y);
                self.chosen(scene, &mut on.part(chart.x, chart.y, chart.width, chart.height), scale);
                for (label, h) in scale.labels(chart.height) {
                    on.put_right(chart.x - 1, h, &label, theme.dim);
                }
            }
        }
        if labelled {
            scene.time_labels(on, chart.x, chart.height, chart.width);
        }
        self.numbers(scene, on, height.saturating_sub(below(height)));
    }
}

/// The load by column, where there were responses.
fn columns<'a>(scene: &'a Scene<'_>, width: u16) -> Vec<Option<&'a LoadColumn>> {
    let axis = scene.axis(usize::from(width));
    let all = scene.memo.columns(&axis, scene.view.selection.route.as_ref());
    all.into_iter().map(|c| c.filter(|c| c.shape.buckets().next().is_some())).collect()
}

impl LatencyMap {
    /// The scale as it is drawn, and over how many lines.
    fn scaled(&self, scene: &Scene<'_>) -> Option<(Scale, u16)> {
        let inner = scene.app.layout().places.iter().find(|p| p.pane == self.name())?.inner;
        let chart = chart_area(inner.width, inner.height, below(inner.height)).0;
        Some((Scale::of(&columns(scene, chart.width))?, chart.height))
    }

    /// The line that is pointed at, and the band of response times that is selected.
    fn chosen(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, scale: Scale) {
        let (width, rows) = (on.width(), on.height());
        if let Some(band) = scene.view.selection.band {
            for y in 0..rows {
                let (low, high) = scale.line(y, rows);
                if high > band.low_ns && low < band.high_ns {
                    (0..width).for_each(|x| on.tint_blank_background(x, y, scene.theme.select));
                }
            }
        }
        let pointed = scene.app.row(self.name()).and_then(|n| u16::try_from(n).ok());
        if let Some(y) = pointed.filter(|y| *y < rows) {
            for x in (0..width).filter(|x| x % 2 == 0) {
                if on.is_blank(x, y) {
                    on.glyph(x, y, '╌', scene.theme.cursor);
                }
            }
            let label = format!(" ≥ {} ", units::time(scale.line(y, rows).0 as f64));
            on.put_right(width, y, &label, scene.theme.row);
        }
    }

    fn numbers(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, y: u16) {
        let theme = scene.theme;
        let sum = &scene.memo.focus;
        if sum.response.count == 0 {
            return;
        }
        let (width, height) = (on.width(), on.height());
        let of_route = scene.view.selection.route.is_some();
        let q = sum.response;
        let fields = [
            ("p50", q.p50, theme.strong),
            ("p90", q.p90, theme.text),
            ("p99", q.p99, theme.warn),
            ("p99.9", q.p999, theme.text),
        ];
        let mut x = if of_route { on.put(0, y, "all ", theme.dim) } else { 0 };
        for (label, ns, style) in fields {
            x = scene.field(on, x, y, label, &format!("{:>5}", units::millis(ns as f64)), style) + 2;
        }
        x = on.put(x.saturating_sub(1), y, "ms", theme.dim) + 2;
        let (mut x, y) = if height >= 8 { (0, y + 1) } else { (x, y) };
        x = scene.field(on, x, y, "in flight", &format!("{:>3}", units::count(sum.in_flight)), theme.text) + 2;
        if sum.queued > 0 || width >= 90 {
            let style = if sum.queued > 0 { theme.warn } else { theme.dim };
            x = scene.field(on, x, y, "queued", &units::count(sum.queued), style) + 2;
        }
        if sum.lag.count > 0 && width.saturating_sub(x) >= 20 {
            let lag = sum.lag.p99 as f64;
            let style = if lag > 1e6 { theme.warn } else { theme.text };
            x = scene.field(on, x, y, "send lag p99", &units::time(lag), style) + 2;
        }
        if sum.service.count > 0 && width.saturating_sub(x) >= 20 {
            scene.field(on, x, y, "service p99", &units::time(sum.service.p99 as f64), theme.text);
        }
    }
}

/// The range of the map in ns: from a round number to a round number, so that it stays
/// while values move a little.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(columns: &[Option<&LoadColumn>]) -> Option<Scale> {
        let (mut low, mut high) = (f64::MAX, 0.0f64);
        for c in columns.iter().flatten() {
            low = low.min(c.shape.buckets().next().map_or(f64::MAX, |(low, ..)| low));
            high = high.max(c.shape.buckets().next_back().map_or(0.0, |(_, high, _)| high));
        }
        // Of 1, 3, 10, 30, …
        let half = |ns: f64| ns.log10() * 2.0;
        let (low, high) = ((half(low) + 0.1).floor(), (half(high) - 0.05).ceil());
        (high > 0.0).then(|| Scale { low: 10f64.powf(low / 2.0), high: 10f64.powf(high.max(low + 2.0) / 2.0) })
    }

    /// The response times that a line of so many stands for, ns: the top one is line 0.
    fn line(self, line: u16, of: u16) -> (u64, u64) {
        let at = |from_top: f64| self.low * (self.high / self.low).powf(1.0 - from_top / f64::from(of.max(1)));
        (at(f64::from(line) + 1.0) as u64, at(f64::from(line)) as u64)
    }

    /// The place of a value between bottom and top.
    fn height(self, ns: f64) -> f64 {
        ((ns / self.low).ln() / (self.high / self.low).ln()).clamp(0.0, 1.0)
    }

    fn column(self, c: &LoadColumn, rows: usize) -> HeatColumn {
        let mut out = vec![0u32; rows];
        if rows == 0 {
            return out;
        }
        for (low, high, n) in c.shape.buckets() {
            let at = |ns: f64| ((self.height(ns) * rows as f64) as usize).min(rows - 1);
            let (a, b) = (at(low), at(high));
            let each = n.div_ceil((b - a + 1) as u32);
            out[a..=b].iter_mut().for_each(|o| *o = o.saturating_add(each));
        }
        out
    }

    /// The decades with the row each is at.
    fn labels(self, height: u16) -> Vec<(String, u16)> {
        let mut out: Vec<(String, u16)> = vec![];
        for power in (3..=12).rev() {
            let ns = 10f64.powi(power);
            if ns < self.low * 0.99 || ns > self.high * 1.01 {
                continue;
            }
            let from_top = (1.0 - self.height(ns)) * f64::from(height.saturating_sub(1));
            let row = from_top.round() as u16;
            if out.last().is_none_or(|(_, last)| row > *last) {
                let label = match power {
                    3..=5 => format!("{}µs", 10u32.pow(power as u32 - 3)),
                    6..=8 => format!("{}ms", 10u32.pow(power as u32 - 6)),
                    _ => format!("{}s", 10u32.pow(power as u32 - 9)),
                };
                out.push((label, row));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_labelled_by_decades_from_the_top() {
        let s = Scale { low: 1e5, high: 1e9 };
        let labels = s.labels(9);
        assert_eq!(labels.first().unwrap(), &("1s".to_string(), 0));
        assert_eq!(labels.last().unwrap(), &("100µs".to_string(), 8));
        assert_eq!(labels.len(), 5);
        assert_eq!((s.height(1e5), s.height(1e9), s.height(1e7)), (0.0, 1.0, 0.5));
        assert_eq!(Scale::of(&[None]), None);
        // Four lines over four decades: each is one.
        let lines: Vec<(u64, u64)> = (0..4).map(|n| s.line(n, 4)).collect();
        assert!(lines[0].1.abs_diff(1_000_000_000) < 2 && lines[0].0.abs_diff(100_000_000) < 2, "{lines:?}");
        assert!(lines[3].0.abs_diff(100_000) < 2 && lines[3].1 == lines[2].0, "{lines:?}");
    }
}
