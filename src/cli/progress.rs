//! How a run without a screen is going: one line on stderr, redrawn in place on a terminal,
//! else a fresh one every few seconds.
//!
//! Must not: write to stdout, which belongs to the summary.

use crate::model::{At, CaptureState, Span};
use crate::timeline::{Cursor, Selection, View};
use crate::workbench::Workbench;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// Between two lines when stderr is no terminal, ns.
const LINE_EVERY_NS: u64 = 5_000_000_000;
/// Between two redraws on a terminal, ns.
const REDRAW_EVERY_NS: u64 = 200_000_000;
/// Width of the bar.
const BAR: usize = 20;

/// The line's state.
pub(super) struct Progress {
    duration: Option<Duration>,
    terminal: bool,
    last: At,
    faults: usize,
}

impl Progress {
    pub(super) fn new(duration: Option<Duration>) -> Progress {
        Progress { duration, terminal: std::io::stderr().is_terminal(), last: At::START, faults: 0 }
    }

    /// Shows how it goes, not more often than helps.
    pub(super) fn show(&mut self, w: &Workbench) {
        let t = w.timeline();
        for f in &t.faults()[self.faults..] {
            self.clear();
            let mend = f.mend.as_ref().map(|m| format!("; {}", crate::model::clean(m, 200))).unwrap_or_default();
            say_err!("{}  {}: {}{mend}", f.at, f.place, crate::model::clean(&f.what, 300));
        }
        self.faults = t.faults().len();
        let every = if self.terminal { REDRAW_EVERY_NS } else { LINE_EVERY_NS };
        if t.end().since_ns(self.last) < every {
            return;
        }
        self.last = t.end();
        let line = self.line(w);
        if self.terminal {
            // A line that wraps can't be redrawn in place.
            let width = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
            let line = crate::model::clean(&line, width.saturating_sub(1).max(20));
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        } else {
            say_err!("{line}");
        }
    }

    /// Leaves a clean line behind.
    pub(super) fn clear(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    fn line(&self, w: &Workbench) -> String {
        let t = w.timeline();
        let selection = Selection::default();
        let view = View { timeline: t, cursor: Cursor::Follow, selection: &selection, window_ns: 1_000_000_000 };
        let s = t.load().sum(view.recent_load());
        let mut line = match self.duration {
            Some(d) => {
                let share = (t.end().secs() / d.as_secs_f64().max(1e-9)).min(1.0);
                let full = (share * BAR as f64) as usize;
                format!("[{}{}] {} of {} s", "#".repeat(full), ".".repeat(BAR - full), t.end(), d.as_secs_f64())
            }
            None => t.end().to_string(),
        };
        line += &format!(
            "  offered {:.0}/s  done {:.0}/s  failed {:.0}/s",
            s.per_s(s.offered),
            s.per_s(s.completed),
            s.per_s(s.failed)
        );
        if s.response.count > 0 {
            let ms = |ns: u64| ns as f64 / 1e6;
            line += &format!("  p50 {:.2} ms  p99 {:.2} ms", ms(s.response.p50), ms(s.response.p99));
        } else {
            line += "  p50 – p99 –";
        }
        if let Some(c) = t.cpu_total(Span::ending(t.end(), 1_000_000_000)) {
            line += &format!("  cpu {:.0} %", c.busy());
        }
        if let Some((id, news)) = t.captures().last() {
            match news.last().map(|n| &n.state) {
                Some(CaptureState::Sampling { .. }) => line += &format!("  capture {} sampling", id.0),
                Some(CaptureState::Reading) => line += &format!("  capture {} being read", id.0),
                _ => {}
            }
        }
        line
    }
}
