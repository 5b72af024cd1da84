//! The panes: one file and one row of [`PANES`] each.
//!
//! Must not: change anything; a pane draws from a [`Scene`] and answers what its rows mean.

mod callers;
mod captures;
mod client;
mod connections;
mod counters;
mod cpu;
mod cpu_history;
mod disk;
mod distribution;
mod findings;
mod flame;
mod latency;
mod listeners;
mod memory;
mod network;
mod notes;
mod outcomes;
mod phases;
mod ports;
mod pressure;
mod processes;
mod routes;
mod samplers;
mod slowest;
mod sockets;
mod softirq;
mod subsecond;
mod sums;
mod symbols;
mod throughput;
mod traffic;

pub use captures::remaining_s;
pub use client::limits;

use super::action::Narrow;
use super::memo::Needs;
use super::scene::Scene;
use super::widgets::Canvas;
use crate::timeline::Band;
use ratatui::layout::Rect;

/// A piece of the screen that shows one thing.
pub trait Pane: Sync {
    /// Its stable name, by which layouts place it.
    fn name(&self) -> &'static str;

    /// What it shows, and over which time.
    fn title(&self, scene: &Scene<'_>) -> (String, String);

    /// What makes all it shows doubtful, told beside its title; nothing most of the time.
    fn alarm(&self, _scene: &Scene<'_>) -> Option<String> {
        None
    }

    /// What has to be computed before it can draw in so many cells.
    fn needs(&self, _width: u16, _height: u16) -> Needs {
        Needs::default()
    }

    /// How many lines of `width` cells show all it has to show, where it knows: a layout may give it no more.
    fn lines(&self, _scene: &Scene<'_>, _width: u16) -> Option<u16> {
        None
    }

    /// Paints it.
    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>);

    /// Which of its cells lie on the shared time axis.
    fn time_area(&self, _scene: &Scene<'_>, _width: u16, _height: u16) -> Option<Rect> {
        None
    }

    /// How many rows can be pointed at.
    fn rows(&self, _scene: &Scene<'_>) -> usize {
        0
    }

    /// The row shown on a line of a pane of some height: below a header line, scrolled so
    /// that the row pointed at is in sight.
    fn row_at(&self, scene: &Scene<'_>, y: u16, height: u16) -> Option<usize> {
        let rows = self.rows(scene);
        let header = u16::from(height > 2);
        let visible = usize::from(height.saturating_sub(header));
        let offset = super::widgets::Table::offset(scene.app.row(self.name()), rows, visible);
        let n = usize::from(y.checked_sub(header)?) + offset;
        (n < rows).then_some(n)
    }

    /// The response times that a drag from one of its lines to another covers, when lines are response
    /// times and it covers some.
    fn band(&self, _scene: &Scene<'_>, _top: u16, _bottom: u16) -> Option<Band> {
        None
    }

    /// What a click on one of its cells narrows to at once, rather than pointing at the row there.
    fn click(&self, _scene: &Scene<'_>, _x: u16, _y: u16, _inner: Rect) -> Option<Narrow> {
        None
    }

    /// What Enter on a row narrows to.
    fn open(&self, _scene: &Scene<'_>, _row: usize) -> Option<Narrow> {
        None
    }
}

/// Every pane there is.
pub static PANES: &[&dyn Pane] = &[
    &throughput::Throughput,
    &latency::LatencyMap,
    &cpu::Cpu,
    &sockets::Sockets,
    &symbols::Symbols,
    &findings::Findings,
    &outcomes::Outcomes,
    &routes::Routes,
    &slowest::Slowest,
    &distribution::Distribution,
    &connections::Connections,
    &traffic::Traffic,
    &phases::Phases,
    &client::Client,
    &cpu_history::CpuHistory,
    &softirq::Softirq,
    &network::Network,
    &memory::Memory,
    &disk::Disk,
    &pressure::Pressure,
    &processes::Processes,
    &samplers::Samplers,
    &ports::Ports,
    &listeners::Listeners,
    &counters::Counters,
    &flame::Flame,
    &callers::Callers,
    &sums::Sums,
    &subsecond::Subsecond,
    &captures::Captures,
    &notes::Notes,
];

/// The pane of a name.
pub fn find(name: &str) -> Option<&'static dyn Pane> {
    PANES.iter().copied().find(|p| p.name() == name)
}

/// Columns of labels at the left of every chart, so that charts above each other share
/// their time axis to the column.
pub const GUTTER: u16 = 6;

/// The chart's part of a pane whose last `below` rows hold numbers: right of the labels, with
/// a row of time labels under it when there is room. (chart, whether labelled)
pub fn chart_area(width: u16, height: u16, below: u16) -> (Rect, bool) {
    let labelled = height >= below + 7;
    let rows = height.saturating_sub(below + u16::from(labelled));
    (Rect { x: GUTTER.min(width), y: 0, width: width.saturating_sub(GUTTER), height: rows }, labelled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::action::Screen;
    use crate::ui::layout::Layout;
    use std::collections::HashSet;

    #[test]
    fn every_pane_has_a_name_of_its_own_and_a_place() {
        let names: HashSet<&str> = PANES.iter().map(|p| p.name()).collect();
        assert_eq!(names.len(), PANES.len());
        let mut placed = HashSet::new();
        for screen in Screen::ALL {
            for (w, h) in [(80, 24), (80, 60), (120, 36), (200, 60)] {
                for place in Layout::new(Rect::new(0, 0, w, h), screen, None, false, &|_| None).places {
                    assert!(names.contains(place.pane), "the layout names `{}`", place.pane);
                    placed.insert(place.pane);
                }
            }
        }
        assert_eq!(placed, names);
    }
}
