//! Disks: throughput, requests, wait and busy time.
//!
//! Must not: give a wait where no request ended.

use super::Pane;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Column};

/// The pane.
pub struct Disk;

const COLUMNS: &[Column] = &[
    Column::wide("disk", 6),
    Column::number("read/s", 8, 0),
    Column::number("write/s", 8, 0),
    Column::number("req/s", 6, 2),
    Column::number("wait", 7, 1),
    Column::number("busy %", 6, 0),
];

impl Pane for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("disks".into(), scene.now())
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        scene.timeline.disks(scene.view.recent()).len()
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let mut all = scene.timeline.disks(scene.view.recent());
        if all.is_empty() {
            return scene.nothing(on, scene.unread("this host has no disks of its own"));
        }
        all.sort_by(|a, b| b.busy_percent.total_cmp(&a.busy_percent).then_with(|| a.name.cmp(&b.name)));
        let rows = all.iter().map(|d| {
            vec![
                (d.name.clone(), theme.text),
                (units::bytes(d.read_bytes_per_s), theme.text),
                (units::bytes(d.write_bytes_per_s), theme.text),
                (units::short(d.requests_per_s), theme.dim),
                (d.wait_ms.map_or("–".into(), |ms| units::time(ms * 1e6)), theme.dim),
                (units::percent(d.busy_percent), if d.busy_percent >= 80.0 { theme.bad } else { theme.text }),
            ]
        });
        scene.table(on, self.name(), COLUMNS, rows.collect(), None);
    }
}
