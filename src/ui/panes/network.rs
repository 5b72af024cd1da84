//! Network interfaces: bytes and packets against the link's speed.
//!
//! Must not: give per cent of a speed that is not known.

use super::Pane;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Column};

/// The pane.
pub struct Network;

const COLUMNS: &[Column] = &[
    Column::wide("interface", 9),
    Column::number("in/s", 8, 0),
    Column::number("out/s", 8, 0),
    Column::number("link %", 6, 1),
    Column::number("pkt in/s", 8, 3),
    Column::number("pkt out/s", 9, 4),
    Column::number("dropped", 7, 2),
    Column::number("errors", 6, 5),
];

impl Pane for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("network".into(), scene.now())
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        scene.timeline.interfaces(scene.view.recent()).len()
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let mut all = scene.timeline.interfaces(scene.view.recent());
        if all.is_empty() {
            return scene.nothing(on, "no readings of interfaces yet");
        }
        all.sort_by(|a, b| {
            let busy = |i: &crate::timeline::InterfaceUse| i.rx_bytes_per_s + i.tx_bytes_per_s;
            busy(b).total_cmp(&busy(a)).then_with(|| a.name.cmp(&b.name))
        });
        let rows = all.iter().map(|i| {
            let share = i.link_bytes_per_s.map(|l| 100.0 * i.rx_bytes_per_s.max(i.tx_bytes_per_s) / l);
            let style = if share.is_some_and(|s| s >= 80.0) { theme.bad } else { theme.text };
            let flag = |n: i64| if n > 0 { theme.bad } else { theme.faint };
            vec![
                (i.name.clone(), theme.text),
                (units::bytes(i.rx_bytes_per_s), theme.text),
                (units::bytes(i.tx_bytes_per_s), theme.text),
                (share.map_or("–".into(), units::percent), if share.is_some() { style } else { theme.faint }),
                (units::short(i.rx_packets_per_s), theme.dim),
                (units::short(i.tx_packets_per_s), theme.dim),
                (units::count(i.dropped.unsigned_abs()), flag(i.dropped)),
                (units::count(i.errors.unsigned_abs()), flag(i.errors)),
            ]
        });
        scene.table(on, self.name(), COLUMNS, rows.collect(), None);
    }
}
