//! Connections opened over time, and what opening one took.
//!
//! Must not: count sockets; the sockets pane does.

use super::{Pane, chart_area};
use crate::model::Phase;
use crate::ui::memo::Needs;
use crate::ui::scene::{Scene, round_up};
use crate::ui::units;
use crate::ui::widgets::{Canvas, Dots};
use ratatui::layout::Rect;

/// The pane.
pub struct Connections;

const BELOW: u16 = 2;

impl Pane for Connections {
    fn name(&self) -> &'static str {
        "connections"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        let load = &scene.timeline.opening().load;
        let engine = match load.engine_why.is_empty() {
            true => String::new(),
            false => {
                format!(", {} engine because of {}", units::cut(&load.engine, 20), units::cut(&load.engine_why, 40))
            }
        };
        (format!("connections opened /s{engine}"), scene.over())
    }

    fn needs(&self, width: u16, height: u16) -> Needs {
        Needs { columns: vec![usize::from(chart_area(width, height, BELOW).0.width) * 2], ..Needs::default() }
    }

    fn time_area(&self, _: &Scene<'_>, width: u16, height: u16) -> Option<Rect> {
        Some(chart_area(width, height, BELOW).0)
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let (chart, labelled) = chart_area(on.width(), on.height(), BELOW);
        let axis = scene.axis(usize::from(chart.width) * 2);
        // Connections are not of a route, so a selected one does not narrow this chart.
        let columns = scene.memo.columns(&axis, scene.view.selection.route.as_ref());
        let opened: Vec<Option<f64>> = columns.iter().map(|c| c.and_then(|c| c.per_s(c.opened))).collect();
        if scene.view.selection.route.is_some() {
            scene.nothing(&mut on.part(0, 0, on.width(), chart.height), "connections are not of one route");
        } else if opened.iter().all(Option::is_none) {
            scene.nothing(&mut on.part(0, 0, on.width(), chart.height), "no load yet in this stretch");
        } else {
            let top = round_up(opened.iter().flatten().fold(0.0f64, |a, b| a.max(*b)));
            let mut dots = Dots::new(chart.width, chart.height);
            dots.fill(&opened.iter().map(|v| v.map(|v| v / top)).collect::<Vec<_>>(), theme.accent);
            dots.paint(on, chart.x, chart.y);
            on.put_right(chart.x - 1, 0, &units::short(top), theme.dim);
            if chart.height >= 2 {
                on.put_right(chart.x - 1, chart.height - 1, "0", theme.faint);
            }
        }
        if labelled {
            scene.time_labels(on, chart.x, chart.height, chart.width);
        }
        let sum = &scene.memo.focus;
        if sum.slots == 0 {
            return;
        }
        let y = on.height().saturating_sub(BELOW);
        let mut x = scene.field(on, 0, y, "opened", &units::count(sum.connections_opened), theme.text) + 2;
        x = scene.field(on, x, y, "per request", &per(sum.connections_opened, sum.sent), theme.text) + 2;
        let retried = if sum.retried > 0 { theme.warn } else { theme.dim };
        scene.field(on, x, y, "retried", &units::count(sum.retried), retried);
        let connect = &sum.phases[Phase::Connect];
        if connect.count > 0 {
            let x = scene.field(on, 0, y + 1, "connect p50", &units::time(connect.p50 as f64), theme.text) + 2;
            let x = scene.field(on, x, y + 1, "p99", &units::time(connect.p99 as f64), theme.text) + 2;
            scene.field(on, x, y + 1, "max", &units::time(connect.max as f64), theme.text);
        } else {
            on.put(0, y + 1, "no connection was opened in this stretch", theme.dim);
        }
    }
}

fn per(a: u64, b: u64) -> String {
    if b == 0 { "–".into() } else { format!("{:.2}", a as f64 / b as f64) }
}
