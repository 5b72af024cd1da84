//! The flame graph: callers above, callees below, each frame as wide as its share.
//!
//! Must not: recurse; stacks may be thousands of frames deep.

use super::Pane;
use super::symbols::no_stacks;
use crate::model::FrameKind;
use crate::timeline::stacks::diff::{Change, Per};
use crate::timeline::stacks::{FlameGraph, NodeId, Pattern};
use crate::ui::flame_state::DETAIL_ROWS;
use crate::ui::memo::Needs;
use crate::ui::scene::Scene;
use crate::ui::stack_memo::Difference;
use crate::ui::units;
use crate::ui::widgets::Canvas;
use ratatui::style::{Modifier, Style};

/// The pane.
pub struct Flame;

impl Pane for Flame {
    fn name(&self) -> &'static str {
        "flame"
    }

    fn title(&self, scene: &Scene<'_>) -> (String, String) {
        let way = if scene.app.profile().upward { "callees above callers" } else { "callers above callees" };
        let stacks = &scene.memo.stacks;
        let against = stacks.difference.as_ref().map(|_| format!(" against {}", units::cut(&stacks.with.name, 40)));
        let against = against.unwrap_or_default();
        (format!("flame graph{}{against}, {way}", of_type(scene)), over(scene))
    }

    fn needs(&self, _: u16, _: u16) -> Needs {
        Needs { hot: true, flame: true, ..Needs::default() }
    }

    fn draw(&self, scene: &Scene<'_>, on: &mut Canvas<'_>) {
        let Some(graph) = scene.memo.stacks.flame.as_ref().filter(|g| g.weights.total > 0) else {
            return no_stacks(scene, on);
        };
        let (width, height) = (on.width(), on.height());
        let rows = height.saturating_sub(DETAIL_ROWS);
        self.frames(scene, &mut on.part(0, 0, width, rows), graph);
        self.detail(scene, on, graph, rows);
    }
}

/// What a frame costs more or less than in the rest, when that is looked at.
fn difference<'a>(scene: &Scene<'a>, id: NodeId) -> Option<&'a Change> {
    scene.memo.stacks.difference.as_ref()?.as_ref().ok()?.changes.get(id.0 as usize)
}

/// A cost for people: `12.3 µs a request`, `41 ms a second`.
pub(super) fn cost(value: f64, per: Per, unit: &str) -> String {
    let value = match unit {
        "ns" => units::time(value),
        "bytes" => units::bytes(value),
        _ => units::short(value),
    };
    match per {
        Per::Request => format!("{value}/request"),
        Per::Second => format!("{value}/s"),
        Per::Whole => value,
    }
}

/// Of which sample type the profile is, where it is not the only one.
fn of_type(scene: &Scene<'_>) -> String {
    match scene.timeline.profile().sample_types()[..] {
        [] | [_] => String::new(),
        _ => scene.memo.stacks.weights.event.as_ref().map_or(String::new(), |e| format!(" of {}", units::cut(e, 20))),
    }
}

/// Over which time the profile is.
pub(super) fn over(scene: &Scene<'_>) -> String {
    let profile = scene.timeline.profile();
    match scene.view.selection.span {
        _ if scene.app.profile().rest => "the rest of the time".into(),
        _ if profile.is_empty() => String::new(),
        None if !profile.is_recorded_throughout() => "all captures".into(),
        _ => scene.over(),
    }
}

/// A weight in its unit: `4.1 s of CPU`, `600 GB`; nothing where the unit says no more than a count
/// of samples.
fn weight_of(weight: u64, unit: &str) -> Option<String> {
    match unit {
        "ns" => Some(units::time(weight as f64)),
        "bytes" => Some(units::bytes(weight as f64)),
        "samples" => None,
        unit => Some(format!("{} {}", units::count(weight), units::cut(unit, 16))),
    }
}

impl Flame {
    fn pattern(&self, scene: &Scene<'_>) -> Pattern {
        let search = scene.app.search();
        let selected = scene.view.selection.symbol.as_deref().unwrap_or("");
        Pattern::new(if search.is_empty() { selected } else { search })
    }

    fn frames(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, graph: &FlameGraph) {
        let theme = scene.theme;
        let (width, rows) = (on.width(), on.height());
        let state = scene.app.flame();
        let (zoomed, at) = (state.zoomed(graph), state.at(graph));
        let base = graph.node(zoomed);
        let first = state.first_row(graph, rows);
        let upward = scene.app.profile().upward;
        let pattern = self.pattern(scene);
        let searching = !pattern.is_empty();
        let whole = base.total.max(1);
        let cell = |weight: u64| (u128::from(weight) * u128::from(width) / u128::from(whole)) as u16;
        // What is narrower than a cell is drawn as one thin mark a cell, or not at all where
        // a wider neighbour has it.
        let mut last: Vec<Option<u16>> = vec![None; usize::from(rows)];
        let mut parity: Vec<usize> = vec![0; usize::from(rows)];
        for id in graph.subtree(zoomed) {
            let node = graph.node(id);
            let Some(row) = node.depth.checked_sub(first).filter(|r| *r < u32::from(rows)) else { continue };
            let row = row as u16;
            let row = usize::from(if upward { rows - 1 - row } else { row });
            let from = cell(node.start.saturating_sub(base.start));
            let to = cell(node.start.saturating_sub(base.start).saturating_add(node.total)).min(width);
            if to <= from {
                if last[row] != Some(from) && from < width && on.is_blank(from, row as u16) && node.total * 400 > whole
                {
                    on.glyph(from, row as u16, '▏', theme.faint);
                }
                last[row] = Some(from);
                continue;
            }
            parity[row] += 1;
            let is_found = searching && !node.thread && pattern.matches(&node.symbol);
            let style = match difference(scene, id) {
                Some(_) if is_found => theme.flame_match,
                Some(change) if change.is_noise => theme.same,
                Some(change) => theme.difference(change.ratio()),
                None => self.style(scene, graph, id, is_found, parity[row]),
            };
            let style =
                if searching && !pattern.matches(&node.symbol) { style.add_modifier(Modifier::DIM) } else { style };
            let style = if id == at && scene.app.focused() == self.name() {
                style.add_modifier(Modifier::REVERSED | Modifier::BOLD)
            } else {
                style
            };
            let columns = to - from;
            let mut part = on.part(from, row as u16, columns, 1);
            part.tint(0, 0, columns, 1, style);
            let label = units::cut(&node.symbol, usize::from(columns.saturating_sub(if columns > 3 { 2 } else { 0 })));
            if columns >= 3 {
                part.put(u16::from(columns > 3), 0, &label, style);
            }
        }
        let deepest = graph.subtree(zoomed).map(|id| graph.node(id).depth).max().unwrap_or(0);
        let below = deepest.saturating_sub(first + u32::from(rows.max(1)) - 1);
        if below > 0 && rows > 1 {
            let (y, arrow) = if upward { (0, '↑') } else { (rows - 1, '↓') };
            on.put_right(width, y, &format!(" {arrow} {below} deeper "), theme.dim);
        }
    }

    fn style(&self, scene: &Scene<'_>, graph: &FlameGraph, id: NodeId, matches: bool, parity: usize) -> Style {
        let theme = scene.theme;
        let node = graph.node(id);
        if matches {
            return theme.flame_match;
        }
        if node.depth == 0 || node.thread {
            return theme.row;
        }
        let set = if node.kind.is_kernel() { &theme.flame_kernel } else { &theme.flame_user };
        set.get((parity + node.depth as usize) % set.len().max(1)).copied().unwrap_or_default()
    }

    /// What the frame pointed at costs here and in the rest, and what the colours mean.
    fn compared(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, d: &Difference, change: &Change) {
        let theme = scene.theme;
        let unit = &scene.memo.stacks.weights.unit;
        let shown = |v: f64| cost(v, d.per, unit);
        let before = scene.memo.stacks.with.column;
        let mut x = scene.field(on, 0, 0, "here", &shown(change.after), theme.strong) + 2;
        x = scene.field(on, x, 0, before, &shown(change.before), theme.text) + 2;
        let told = match (change.is_noise, change.ratio()) {
            (true, _) => "may be chance".to_owned(),
            (false, Some(ratio)) => format!("×{ratio:.2}"),
            (false, None) => "only here".to_owned(),
        };
        x = on.put(x, 0, &told, if change.is_noise { theme.dim } else { theme.accent }) + 3;
        if on.width().saturating_sub(x) > 26 {
            x = on.put(x, 0, " less ", theme.difference(Some(0.4))) + 1;
            x = on.put(x, 0, " chance ", theme.same) + 1;
            on.put(x, 0, " more ", theme.difference(Some(2.5)));
        }
    }

    fn detail(&self, scene: &Scene<'_>, on: &mut Canvas<'_>, graph: &FlameGraph, y: u16) {
        let theme = scene.theme;
        let width = on.width();
        let state = scene.app.flame();
        let node = graph.node(state.at(graph));
        let all = graph.weights.total.max(1) as f64;
        let share = |w: u64| format!("{:.1} %", 100.0 * w as f64 / all);
        let kind = match (node.depth, node.thread, node.kind) {
            (0, ..) => "",
            (_, true, _) => "thread ",
            (_, _, FrameKind::User) => "user ",
            (_, _, FrameKind::Kernel) => "kernel ",
            (_, _, FrameKind::Jit) => "jit ",
            (_, _, FrameKind::Inlined) => "inlined ",
        };
        let mut x = on.put(0, y, kind, theme.dim);
        x = on.put(x, y, &units::cut(&node.symbol, usize::from(width / 2)), theme.strong) + 2;
        x = scene.field(on, x, y, "total", &share(node.total), theme.text) + 2;
        x = scene.field(on, x, y, "self", &share(node.self_weight), theme.text) + 2;
        let zoomed = graph.node(state.zoomed(graph));
        if zoomed.depth > 0 {
            let share = 100.0 * node.total as f64 / zoomed.total.max(1) as f64;
            scene.field(on, x, y, "of zoomed", &format!("{share:.1} %"), theme.text);
        }
        if let Some(Err(why)) = &scene.memo.stacks.difference {
            on.put(0, y + 1, &units::cut(why, usize::from(width)), theme.warn);
            return;
        }
        if let (Some(Ok(d)), Some(change)) = (&scene.memo.stacks.difference, difference(scene, state.at(graph))) {
            return self.compared(scene, &mut on.part(0, y + 1, width, 1), d, change);
        }
        let pattern = self.pattern(scene);
        let y = y + 1;
        let samples = format!("{} samples", units::count(graph.weights.samples));
        let mut x = on.put(0, y, &samples, theme.dim) + 2;
        if let Some(weight) = weight_of(graph.weights.total, &graph.weights.unit) {
            x = on.put(x, y, &weight, theme.dim) + 2;
        }
        if graph.weights.lost > 0 {
            x = on.put(x, y, &format!("{} lost", units::count(graph.weights.lost)), theme.warn) + 2;
        }
        if let Some(short) = scene.memo.stacks.shortfall {
            let told = format!("{:.0} % of CPU {}'s work seen", short.percent(), short.cpu);
            x = on.put(x, y, &told, theme.warn) + 2;
        }
        if graph.weights.idle > 0 {
            let idle = graph.weights.idle as f64 / (graph.weights.idle as f64 + all);
            x = on.put(x, y, &format!("idle {:.0} % not shown", 100.0 * idle), theme.dim) + 2;
        }
        if !pattern.text().is_empty() {
            let found = graph.search(&pattern, state.zoomed(graph));
            let text = format!(
                "`{}` in {} frames, {:.1} % of what is shown",
                units::cut(pattern.text(), 30),
                found.nodes.len(),
                100.0 * found.share
            );
            on.put(x, y, &text, if found.nodes.is_empty() { theme.warn } else { theme.accent });
        } else if width.saturating_sub(x) > 30 {
            let kernel = theme.flame_kernel.first().copied().unwrap_or_default();
            let user = theme.flame_user.first().copied().unwrap_or_default();
            x = on.put(x, y, " kernel ", kernel) + 1;
            on.put(x, y, " user ", user);
        }
    }
}
