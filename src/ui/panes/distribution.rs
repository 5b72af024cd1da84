//! The distribution of response times: how many requests took how long, and the percentiles.
//!
//! Must not: smooth anything.

use super::Pane;
use crate::ui::memo::Needs;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, stacked};

/// The pane.
pub struct Distribution;

impl Pane for Distribution {
    fn name(&self) -> &'static str {
        "distribution"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        let of = scene.view.selection.route.as_ref().map_or(String::new(), |r| format!(" of {}", units::cut(r, 24)));
        (format!("distribution{of}"), scene.over())
    }

    fn needs(&self, _: u16, _: u16) -> Needs {
        Needs { shape: true, routes: true, ..Needs::default() }
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let shape = &scene.memo.shape;
        let total = shape.count();
        if total == 0 {
            return scene.nothing(on, "no response yet in this stretch");
        }
        let (width, height) = (on.width(), on.height());
        let percentiles = 20u16;
        let histogram = if width >= 52 { width - percentiles - 3 } else { 0 };
        if histogram > 0 {
            self.histogram(scene, &mut on.part(0, 0, histogram, height));
        }
        let left = if histogram > 0 { width - percentiles } else { 0 };
        let mut at = on.part(left, 0, percentiles, height);
        // Exact, and not by the buckets of the bars: of all, or of the route as it is kept.
        let of_route = scene.view.selection.route.as_ref();
        let q = match of_route {
            None => Some(scene.memo.focus.response),
            Some(route) => scene.memo.routes.iter().find(|r| r.route == *route).map(|r| r.response),
        };
        let Some(q) = q.filter(|q| q.count > 0) else { return };
        let rows = [
            ("p50", q.p50, theme.strong),
            ("p90", q.p90, theme.text),
            ("p99", q.p99, theme.warn),
            ("p99.9", q.p999, theme.text),
            ("max", q.max, theme.text),
        ];
        for (y, (label, ns, style)) in (0..height).zip(rows) {
            at.put(0, y, label, theme.dim);
            at.put_right(percentiles, y, &units::time(ns as f64), style);
        }
    }
}

impl Distribution {
    /// Two rows a decade or more, as there is room; each as wide as its share.
    fn histogram(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let shape = &scene.memo.shape;
        let low = shape.buckets().next().map_or(1e3, |(low, ..)| low);
        let high = shape.buckets().next_back().map_or(1e9, |(_, high, _)| high);
        let rows = usize::from(on.height());
        if rows == 0 {
            return;
        }
        let (mut low, mut high) = (low.log10(), high.log10());
        // Bounds at round parts of a decade, as fine as there are rows.
        let per_decade = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0]
            .into_iter()
            .rev()
            .find(|p| ((high * p).ceil() - (low * p).floor()) as usize <= rows)
            .unwrap_or(1.0);
        low = (low * per_decade).floor() / per_decade;
        high = (high * per_decade).ceil() / per_decade;
        let n = (((high - low) * per_decade).round() as usize).clamp(1, rows);
        let mut counts = vec![0u64; n];
        for (a, b, count) in shape.buckets() {
            let at = (((a * b).sqrt().log10() - low) * per_decade).clamp(0.0, (n - 1) as f64) as usize;
            counts[at] += u64::from(count);
        }
        let most = counts.iter().copied().max().unwrap_or(1).max(1) as f64;
        let total = shape.count() as f64;
        let bar = on.width().saturating_sub(10 + 8);
        for (y, count) in counts.iter().enumerate() {
            let y = y as u16;
            let upper = 10f64.powf(low + f64::from(y + 1) / per_decade);
            on.put_right(9, y, &format!("<{}", units::time(upper).replace(' ', "")), theme.dim);
            let share = if *count == 0 { 0.0 } else { (*count as f64 / most).max(0.5 / f64::from(bar.max(1))) };
            stacked(on, 10, y, bar, &[(share, theme.accent, '█')], (' ', theme.faint));
            if *count > 0 {
                let percent = 100.0 * *count as f64 / total;
                let width = on.width();
                let text = if percent < 0.05 { units::count(*count) } else { format!("{} %", units::percent(percent)) };
                on.put_right(width, y, &text, theme.dim);
            }
        }
    }
}
