//! Where one stands in the flame graph: zoomed into which frame, pointing at which. Kept as
//! paths of names, so that it survives a new fold.
//!
//! Must not: draw, or hold node numbers longer than a step.

use super::action::Way;
use crate::timeline::stacks::{FlameGraph, NodeId, Step};

/// Where one stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlameState {
    zoom: Vec<Step>,
    at: Vec<Step>,
}

/// Rows of the pane that show no frames: the line about the frame pointed at.
pub const DETAIL_ROWS: u16 = 2;

impl FlameState {
    /// The frame that is as wide as the pane.
    pub fn zoomed(&self, graph: &FlameGraph) -> NodeId {
        graph.nearest(&self.zoom)
    }

    /// The frame that is pointed at: below or at the zoomed one.
    pub fn at(&self, graph: &FlameGraph) -> NodeId {
        let at = graph.nearest(&self.at);
        let zoomed = self.zoomed(graph);
        if self.at.starts_with(&self.zoom) { at.max(zoomed) } else { zoomed }
    }

    /// The first row of frames that is shown when `rows` fit: what is pointed at stays in
    /// sight.
    pub fn first_row(&self, graph: &FlameGraph, rows: u16) -> u32 {
        let base = graph.node(self.zoomed(graph)).depth;
        let below = graph.node(self.at(graph)).depth.saturating_sub(base);
        base + (below + 2).saturating_sub(u32::from(rows.max(1)))
    }

    /// Moves to a neighbour: callers are up, callees down, and the other way round when the graph is
    /// drawn `upward`.
    pub fn step(&mut self, graph: &FlameGraph, way: Way, upward: bool) {
        let (at, zoomed) = (self.at(graph), self.zoomed(graph));
        let way = match way {
            Way::Up if upward => Way::Down,
            Way::Down if upward => Way::Up,
            way => way,
        };
        let to = match way {
            Way::Up if at == zoomed => None,
            Way::Up => graph.parent(at),
            // The widest callee is where the time goes.
            Way::Down => graph.children(at).max_by_key(|c| graph.node(*c).total),
            Way::Left | Way::Right => {
                let node = graph.node(at);
                let same_row = graph.subtree(zoomed).filter(|n| graph.node(*n).depth == node.depth);
                match way {
                    Way::Left => same_row.take_while(|n| *n < at).last(),
                    _ => same_row.into_iter().find(|n| *n > at),
                }
            }
        };
        if let Some(to) = to {
            self.at = graph.path(to);
        }
    }

    /// Points at the frame under a cell of the pane, of so many columns and rows.
    pub fn point(&mut self, graph: &FlameGraph, (x, y): (u16, u16), (width, height): (u16, u16), upward: bool) {
        let zoomed = graph.node(self.zoomed(graph));
        let rows = height.saturating_sub(DETAIL_ROWS);
        if y >= rows || zoomed.total == 0 || width == 0 {
            return;
        }
        let row = if upward { rows - 1 - y } else { y };
        let depth = self.first_row(graph, rows) + u32::from(row);
        let weight = zoomed.start + (u128::from(zoomed.total) * u128::from(x) / u128::from(width)) as u64;
        let hit = graph.subtree(self.zoomed(graph)).find(|n| {
            let node = graph.node(*n);
            node.depth == depth && node.start <= weight && weight < node.start.saturating_add(node.total)
        });
        if let Some(hit) = hit {
            self.at = graph.path(hit);
        }
    }

    /// Zooms into what is pointed at.
    pub fn zoom(&mut self, graph: &FlameGraph) {
        self.zoom = graph.path(self.at(graph));
    }

    /// Zooms out to the caller; false when there is nothing to zoom out of.
    pub fn out(&mut self) -> bool {
        self.zoom.pop().is_some()
    }
}
