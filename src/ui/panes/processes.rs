//! perfbench itself and the target's processes: the load client is always a suspect.
//!
//! Must not: trust a process's name.

use super::Pane;
use crate::timeline::ProcessUse;
use crate::ui::action::Narrow;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Column};

/// The pane.
pub struct Processes;

const COLUMNS: &[Column] = &[
    Column::wide("process", 16),
    Column::number("us %", 5, 0),
    Column::number("sy %", 5, 0),
    Column::number("rss", 7, 1),
    Column::number("threads", 7, 3),
    Column::number("fds", 6, 2),
    Column::number("limit", 7, 4),
];

/// The id in `PID name`.
fn pid(p: &ProcessUse) -> Option<u32> {
    p.instance.split(' ').next()?.parse().ok()
}

impl Pane for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("processes, % of one CPU".into(), scene.now())
    }

    fn rows(&self, scene: &Scene<'_>) -> usize {
        scene.timeline.processes(scene.view.recent()).len()
    }

    fn open(&self, scene: &Scene<'_>, row: usize) -> Option<Narrow> {
        scene.timeline.processes(scene.view.recent()).get(row).and_then(pid).map(Narrow::Process)
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let all = scene.timeline.processes(scene.view.recent());
        if all.is_empty() {
            return scene.nothing(on, "no readings of processes yet");
        }
        let rows = all.iter().map(|p| {
            let name = if p.is_self() { "perfbench (this)".to_string() } else { p.instance.clone() };
            let chosen = pid(p).is_some() && scene.view.selection.process == pid(p);
            let near_limit = matches!((p.fds, p.fd_limit), (Some(n), Some(l)) if l > 0 && n * 10 >= l * 9);
            vec![
                (name, if chosen { theme.accent } else { theme.text }),
                (units::percent(p.us), theme.cpu[0]),
                (units::percent(p.sy), theme.cpu[1]),
                (units::bytes(p.rss as f64), theme.text),
                (units::count(p.threads), theme.dim),
                (p.fds.map_or("–".into(), units::count), if near_limit { theme.bad } else { theme.dim }),
                (p.fd_limit.map_or("–".into(), units::count), theme.faint),
            ]
        });
        scene.table(on, self.name(), COLUMNS, rows.collect(), None);
    }
}
