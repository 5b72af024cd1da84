//! Accept queues of the target's listeners when it listens on this host.
//!
//! Must not: guess: ListenOverflows counts retried SYNs too.

use super::Pane;
use crate::model::Metric;
use crate::ui::scene::Scene;
use crate::ui::units;
use crate::ui::widgets::{Canvas, Gauge};

/// The pane.
pub struct Listeners;

impl Pane for Listeners {
    fn name(&self) -> &'static str {
        "listeners"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        ("accept queues of local listeners".into(), scene.instant())
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let theme = scene.theme;
        let at = scene.view.instant();
        let all = scene.timeline.instances(Metric::ListenBacklog);
        let mut y = 0;
        for (name, _) in all {
            let queue = scene.timeline.gauge(Metric::ListenQueue, name, at);
            let backlog = scene.timeline.gauge(Metric::ListenBacklog, name, at);
            let (Some(queue), Some(backlog)) = (queue, backlog) else { continue };
            let share = if backlog > 0 { queue as f64 / backlog as f64 } else { 0.0 };
            let style = if share >= 0.8 { theme.bad } else { theme.accent };
            let name = units::cut(name, 22);
            let left = units::width(&name) as u16 + 2;
            on.put(0, y, &name, theme.text);
            let text = format!("{queue} of {backlog} waiting");
            let bar = on.width().saturating_sub(left + units::width(&text) as u16 + 2);
            Gauge { share, cliff: None, fill: style, track: theme.faint, mark: theme.faint }.paint(on, left, y, bar);
            let width = on.width();
            on.put_right(width, y, &text, if queue > 0 { theme.text } else { theme.dim });
            y += 1;
        }
        if y == 0 {
            scene.nothing(on, scene.unread("the target does not listen on this host"));
        }
    }
}
