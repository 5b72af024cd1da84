//! TCP sockets by state, local ports per destination against their budget, TIME_WAIT over
//! time.
//!
//! Must not: judge; the cliff at half of the ports is a fact of the kernel's search.

use super::{GUTTER, Pane};
use crate::model::Metric;
use crate::timeline::PortUse;
use crate::ui::scene::{Scene, round_up};
use crate::ui::units;
use crate::ui::widgets::{Canvas, Dots, Gauge};
use ratatui::layout::Rect;
use ratatui::style::Style;

/// The pane.
pub struct Sockets;

/// Rows of states and ports above the chart.
fn above(height: u16) -> u16 {
    if height >= 5 { 4 } else { height }
}

/// connect() searches ports of one parity first: past half of the range each call gets
/// dearer. Source: Linux net/ipv4/inet_hashtables.c, __inet_hash_connect.
pub const CLIFF: f64 = 0.5;

/// The style of a share of ports in use.
pub fn ports_style(scene: &Scene<'_>, percent: f64) -> Style {
    match percent {
        p if p >= 90.0 => scene.theme.bad,
        p if p >= 100.0 * CLIFF => scene.theme.warn,
        _ => scene.theme.accent,
    }
}

/// `full in 18 s`, when the use grows and the end is near enough to matter.
pub fn full_in(p: &PortUse) -> Option<String> {
    p.full_in_s().filter(|s| *s < 600.0).map(|s| format!("full in {}", units::time(s * 1e9)))
}

impl Pane for Sockets {
    fn name(&self) -> &'static str {
        "sockets"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("sockets by TCP state".into(), scene.instant())
    }

    fn time_area(&self, _: &Scene<'_>, width: u16, height: u16) -> Option<Rect> {
        let above = above(height);
        (height >= above + 2).then(|| {
            let labelled = u16::from(height - above >= 6);
            Rect {
                x: GUTTER.min(width),
                y: above,
                width: width.saturating_sub(GUTTER),
                height: height - above - labelled,
            }
        })
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let (width, height) = (on.width(), on.height());
        let at = scene.view.instant();
        let states = scene.timeline.tcp_states(at);
        let ports = scene.timeline.ports(at);
        let time_wait = scene.timeline.gauge(Metric::TcpTimeWait, "", at);
        if states.is_empty() && ports.is_empty() && time_wait.is_none() {
            return scene.nothing(on, "no readings of sockets yet");
        }
        self.states(scene, on, &states, time_wait);
        match self.target(scene, &ports) {
            None => {
                on.put(0, 1, "ports per destination: none in use, or not permitted to read", theme.dim);
            }
            Some(p) => self.ports(scene, on, p),
        }
        let Some(area) = self.time_area(scene, width, height) else { return };
        let axis = scene.axis(usize::from(area.width) * 2);
        let values = scene.gauge_columns(&axis, Metric::TcpTimeWait, "");
        let top = round_up(values.iter().flatten().fold(0.0f64, |a, b| a.max(*b)));
        let scaled: Vec<Option<f64>> = values.iter().map(|v| v.map(|v| v / top)).collect();
        let mut dots = Dots::new(area.width, area.height);
        dots.fill(&scaled, theme.cpu[6]);
        dots.paint(on, area.x, area.y);
        on.put(0, above(height) - 1, "TIME_WAIT over time", theme.dim);
        on.put_right(area.x - 1, area.y, &units::short(top), theme.dim);
        if area.height >= 2 {
            on.put_right(area.x - 1, area.y + area.height - 1, "0", theme.faint);
        }
        if area.y + area.height < height {
            scene.time_labels(on, area.x, height - 1, area.width);
        }
    }
}

impl Sockets {
    /// The destination the run is about, else the one with the most ports in use.
    fn target<'a>(&self, scene: &Scene<'_>, ports: &'a [PortUse]) -> Option<&'a PortUse> {
        let address = &scene.timeline.opening().target_address;
        ports.iter().find(|p| p.destination == *address).or_else(|| ports.iter().max_by_key(|p| p.used))
    }

    fn states(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, states: &[(String, u64)], time_wait: Option<i64>) {
        let theme = scene.theme;
        // The three that tell most come first and keep their place.
        let of = |name: &str| states.iter().find(|(s, _)| s == name).map(|(_, n)| *n);
        let established = of("ESTAB").or_else(|| {
            let at = scene.view.instant();
            scene.timeline.gauge(Metric::TcpCurrEstab, "", at).and_then(|n| u64::try_from(n).ok())
        });
        let waiting = of("TIME_WAIT").or_else(|| time_wait.and_then(|n| u64::try_from(n).ok()));
        let mut x = 0;
        for (name, n, style) in [
            ("ESTAB", established, theme.strong),
            ("SYN_SENT", of("SYN_SENT").or(Some(0)).filter(|_| !states.is_empty()), theme.strong),
            ("TIME_WAIT", waiting, theme.strong),
        ] {
            let (value, style) =
                n.map_or(("–".into(), theme.dim), |n| (units::count(n), if n == 0 { theme.dim } else { style }));
            x = scene.field(on, x, 0, name, &format!("{value:>5}"), style) + 2;
        }
        for (name, n) in states.iter().filter(|(s, _)| !["ESTAB", "SYN_SENT", "TIME_WAIT"].contains(&s.as_str())) {
            if usize::from(on.width().saturating_sub(x)) < name.len() + 6 {
                break;
            }
            x = scene.field(on, x, 0, &units::cut(name, 12), &units::count(*n), theme.text) + 2;
        }
    }

    fn ports(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, p: &PortUse) {
        let theme = scene.theme;
        let width = on.width();
        let style = ports_style(scene, p.percent());
        let mut x = on.put(0, 1, "ports → ", theme.dim);
        x = on.put(x, 1, &units::cut(&p.destination, 24), theme.text) + 2;
        x = on.put(x, 1, &format!("{}/{}", p.used, p.budget), theme.text) + 2;
        x = on.put(x, 1, &format!("{} %", units::percent(p.percent())), style) + 2;
        if let Some(full) = full_in(p)
            && usize::from(width.saturating_sub(x)) >= units::width(&full)
        {
            on.put(x, 1, &full, theme.bad);
        }
        let note = format!("┊ cliff {:.0} %", CLIFF * 100.0);
        let bar = width.saturating_sub(units::width(&note) as u16 + 2);
        let gauge = Gauge {
            share: p.percent() / 100.0,
            cliff: Some(CLIFF),
            fill: style,
            track: theme.faint,
            mark: theme.strong,
        };
        gauge.paint(on, 0, 2, bar);
        on.put(bar + 1, 2, &note, theme.dim);
    }
}
