//! The load client's own ledger: what perfbench itself takes for a request, how late it is, and
//! whether that limits the run.
//!
//! Must not: judge by itself; the findings say what limits.

use super::Pane;
use crate::timeline::ClientLateness;
use crate::ui::memo::Needs;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::Canvas;
use ratatui::style::Style;

/// The pane.
pub struct Client;

/// A line of labels and values.
type Line = Vec<(&'static str, String, Style)>;

impl Pane for Client {
    fn name(&self) -> &'static str {
        "client"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("load client: perfbench itself".into(), scene.over())
    }

    fn needs(&self, _: u16, _: u16) -> Needs {
        Needs { client: true, ..Needs::default() }
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let ledger = &scene.memo.client;
        if ledger.threads.is_empty() && ledger.memory.is_none() {
            return scene.nothing(on, scene.unread("no readings of perfbench itself in this stretch"));
        }
        let (text, style) = match limits(scene) {
            Some(why) => (format!("⚑ limits this run: {why}"), theme.bad),
            None if ledger.threads.is_empty() => ("whether it limits the run is not known".into(), theme.dim),
            None => ("does not limit this run".into(), theme.good),
        };
        let width = on.width();
        on.put(0, 0, &units::cut(&text, usize::from(width)), style);
        let lines = [self.cost(scene), self.threads(scene), self.lateness(scene), self.memory(scene)];
        let shown = lines.into_iter().filter(|l| !l.is_empty());
        for (y, line) in (1..on.height()).zip(shown) {
            let mut x = 0;
            for (label, value, style) in line {
                let needed = units::width(label) + 1 + units::width(&value);
                if usize::from(x) + needed > usize::from(width) {
                    break;
                }
                x = scene.field(on, x, y, label, &value, style) + 2;
            }
        }
    }
}

/// Why the client limits the run, gravest first; `None` when it does not.
pub fn limits<'a>(scene: &Scene<'a>) -> Option<&'a str> {
    scene.memo.findings.iter().find(|f| f.limits_client()).map(|f| f.title.as_str())
}

impl Client {
    fn threads(&self, scene: &Scene<'_>) -> Line {
        let theme = scene.theme;
        let mut all: Vec<_> = scene.memo.client.threads.iter().collect();
        all.sort_by(|a, b| b.cpu_percent.total_cmp(&a.cpu_percent));
        let Some(most) = all.first() else { return vec![] };
        let style = |percent: f64| if percent >= 95.0 { theme.bad } else { theme.text };
        let mut line = vec![
            ("busiest thread", format!("{} %", units::percent(most.cpu_percent)), style(most.cpu_percent)),
            ("at most", format!("{} %", units::percent(most.peak_percent)), style(most.peak_percent)),
        ];
        if let (Some(least), true) = (all.last(), all.len() > 1) {
            line.push(("least", format!("{} %", units::percent(least.cpu_percent)), theme.text));
            line.push(("of", format!("{} threads", all.len()), theme.dim));
        }
        line
    }

    fn cost(&self, scene: &Scene<'_>) -> Line {
        let theme = scene.theme;
        let ledger = &scene.memo.client;
        let time = |us: f64| units::time(us * 1e3);
        let mut line: Line = vec![];
        line.extend(ledger.load_cpu_us_per_request().map(|us| ("CPU/request", time(us), theme.strong)));
        line.extend(ledger.process_cpu_us_per_request().map(|us| ("in all", time(us), theme.text)));
        if let (Some(percent), Some(us)) = (ledger.run_wait_percent(), ledger.run_wait_us_per_request()) {
            let style = if percent >= 10.0 { theme.bad } else { theme.text };
            line.push(("wait for a CPU", format!("{} %", units::percent(percent)), style));
            line.push(("a request", time(us), theme.text));
        }
        line
    }

    fn lateness(&self, scene: &Scene<'_>) -> Line {
        let theme = scene.theme;
        let late = ClientLateness::of(scene.timeline, &scene.memo.focus);
        if late.lag.count == 0 {
            return vec![];
        }
        let [p50, p99, max] = [late.lag.p50, late.lag.p99, late.lag.max].map(|ns| units::time(ns as f64));
        let style = if late.lag.p99 > 1_000_000 { theme.warn } else { theme.text };
        let mut line = vec![("send lag p50", p50, theme.text), ("p99", p99, style), ("max", max, theme.text)];
        let dropped = if late.dropped > 0 { theme.bad } else { theme.dim };
        line.push(("dropped", units::count(late.dropped), dropped));
        if let Some(short) = late.short_percent() {
            let style = if short > 0.1 { theme.warn } else { theme.dim };
            line.push(("offered short", format!("{:.2} %", short.max(0.0)), style));
        }
        line
    }

    fn memory(&self, scene: &Scene<'_>) -> Line {
        let theme = scene.theme;
        let ledger = &scene.memo.client;
        let bytes = |n: Option<u64>| n.map(|n| units::bytes(n as f64));
        let mut line: Line = vec![];
        line.extend(bytes(ledger.memory).map(|text| ("memory", text, theme.text)));
        line.extend(bytes(ledger.memory_peak).map(|text| ("peak", text, theme.text)));
        line.extend(bytes(ledger.memory_limit).map(|text| ("of", text, theme.dim)));
        if let (Some(fds), Some(limit)) = (ledger.fds, ledger.fd_limit) {
            let style = if fds.saturating_mul(10) >= limit.saturating_mul(9) { theme.warn } else { theme.text };
            line.push(("fds", format!("{}/{}", units::count(fds), units::count(limit)), style));
        }
        line
    }
}
