//! Soft interrupts per CPU and kind, and the backlog's drops.
//!
//! Must not: judge one busy CPU.

use super::Pane;
use crate::model::Metric;
use crate::ui::action::Narrow;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Column};

/// The pane.
pub struct Softirq;

const COLUMNS: &[Column] = &[
    Column::number("cpu", 4, 0),
    Column::number("si %", 5, 0),
    Column::number("net_rx/s", 8, 0),
    Column::number("net_tx/s", 8, 3),
    Column::number("timer/s", 7, 4),
    Column::number("sched/s", 7, 5),
    Column::number("rcu/s", 6, 6),
    Column::number("block/s", 7, 7),
    Column::number("packets/s", 9, 2),
    Column::number("dropped", 7, 1),
    Column::number("squeezed", 8, 2),
];

impl Pane for Softirq {
    fn name(&self) -> &'static str {
        "softirq"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("soft interrupts per CPU".into(), scene.now())
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        scene.timeline.instances(Metric::SoftirqNetRx).len()
    }

    fn open(&self, scene: &Scene<'_>, row: usize) -> Option<Narrow> {
        let all = scene.timeline.instances(Metric::SoftirqNetRx);
        all.get(row).and_then(|(i, _)| i.parse().ok()).map(Narrow::Cpu)
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let span = scene.view.recent();
        let cpus = scene.timeline.instances(Metric::SoftirqNetRx);
        if cpus.is_empty() {
            return scene.nothing(on, "no readings of soft interrupts yet");
        }
        let splits = scene.timeline.cpus(span);
        let rows = cpus.iter().map(|(cpu, _)| {
            let number: Option<u32> = cpu.parse().ok();
            let rate = |m| scene.timeline.per_s(m, cpu, span).map_or("–".into(), units::short);
            let delta = |m| scene.timeline.delta(m, cpu, span);
            let si = splits.iter().find(|(n, _)| Some(*n) == number).map(|(_, s)| s.si);
            let count = |m, style| match delta(m) {
                Some(n) if n > 0 => (units::count(n.unsigned_abs()), style),
                Some(_) => ("0".into(), theme.faint),
                None => ("–".into(), theme.faint),
            };
            let chosen = number.is_some() && scene.view.selection.cpu == number;
            vec![
                (cpu.to_string(), if chosen { theme.accent } else { theme.dim }),
                (si.map_or("–".into(), units::percent), theme.cpu[3]),
                (rate(Metric::SoftirqNetRx), theme.text),
                (rate(Metric::SoftirqNetTx), theme.text),
                (rate(Metric::SoftirqTimer), theme.dim),
                (rate(Metric::SoftirqSched), theme.dim),
                (rate(Metric::SoftirqRcu), theme.dim),
                (rate(Metric::SoftirqBlock), theme.dim),
                (rate(Metric::SoftnetProcessed), theme.text),
                count(Metric::SoftnetDropped, theme.bad),
                count(Metric::SoftnetSqueezed, theme.text),
            ]
        });
        scene.table(on, self.name(), COLUMNS, rows.collect(), None);
    }
}
